/* Dense X whose columns are contiguous (Fortran order, as in a pandas frame). Included once for each REAL. The block's
 * part of a column is one short contiguous run, so vectors go over samples, several columns at a time to spare
 * most readings of the logits or residuals; products with residuals keep a sum for each. */

#define COLUMNS_AT_ONCE 8
#define DOTS_AT_ONCE 4

typedef REAL NAME(packed) __attribute__((vector_size(LANES * sizeof(REAL))));

static inline vdouble NAME(load)(const REAL *x) {
    NAME(packed) values;
    memcpy(&values, x, sizeof values);
    return WIDEN(values);
}

/* The next block's part of a column, asked for while this block is in cache. */
static inline void NAME(prefetch_column)(const design_view *X, ptrdiff_t j, ptrdiff_t row, ptrdiff_t count) {
    const REAL *x = (const REAL *)X->values + j * X->stride;
    ptrdiff_t end = row + count < X->n_samples ? row + count : X->n_samples;
    for (ptrdiff_t i = row; i < end; i += 64 / (ptrdiff_t)sizeof(REAL))
        __builtin_prefetch(x + i, 0, 2);
}

/* logits_out += sum_c w_c x_c for a few columns x_c; with an intercept, that is where they start. */
static inline __attribute__((always_inline)) void NAME(add_columns)(const REAL *x, ptrdiff_t stride, int columns,
                                                                    ptrdiff_t count, const double *w,
                                                                    const double *intercept, double *logits_out) {
    double of_column[COLUMNS_AT_ONCE];
    for (int c = 0; c < columns; c++)
        of_column[c] = w[c];
    const double start = intercept ? *intercept : 0.0;
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        vdouble sum = intercept ? splat(start) : load_f64(logits_out + i);
        for (int c = 0; c < columns; c++)
            sum += NAME(load)(x + c * stride + i) * of_column[c];
        store_f64(logits_out + i, sum);
    }
    for (; i < count; i++) {
        double sum = intercept ? start : logits_out[i];
        for (int c = 0; c < columns; c++)
            sum += (double)x[c * stride + i] * of_column[c];
        logits_out[i] = sum;
    }
}

static void NAME(logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                         const double *coef, const double *intercept, double *logits_out, ptrdiff_t logits_stride) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *block = (const REAL *)X->values + first;
    for (ptrdiff_t k = 0; k < n_outputs; k++)
        for (ptrdiff_t j = 0; j < d; j += COLUMNS_AT_ONCE) {
#define COLUMNS(columns)                                                                                               \
    case columns:                                                                                                      \
        NAME(add_columns)(block + j * stride, stride, columns, count, coef + k * d + j, j ? NULL : intercept + k,      \
                          logits_out + k * logits_stride);                                                             \
        break;
            switch (d - j < COLUMNS_AT_ONCE ? d - j : COLUMNS_AT_ONCE) {
                COLUMNS(1) COLUMNS(2) COLUMNS(3) COLUMNS(4) COLUMNS(5) COLUMNS(6) COLUMNS(7) COLUMNS(8)
            }
#undef COLUMNS
        }
}

/* gradient_out[c] += x_c . residual for a few columns x_c. */
static inline __attribute__((always_inline)) void NAME(add_dots)(const REAL *x, ptrdiff_t stride, int columns,
                                                                 ptrdiff_t count, const double *residual,
                                                                 double *gradient_out) {
    vdouble sums[DOTS_AT_ONCE] = {{0}};
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int c = 0; c < columns; c++)
            sums[c] += NAME(load)(x + c * stride + i) * load_f64(residual + i);
    for (int c = 0; c < columns; c++) {
        double sum = sum_of_lanes(&sums[c]);
        for (ptrdiff_t rest = i; rest < count; rest++)
            sum += (double)x[c * stride + rest] * residual[rest];
        gradient_out[c] += sum;
    }
}

static void NAME(add_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                               const double *residual, ptrdiff_t residual_stride, double *gradient) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *block = (const REAL *)X->values + first;
    for (ptrdiff_t k = 0; k < n_outputs; k++)
        for (ptrdiff_t j = 0; j < d; j += DOTS_AT_ONCE) {
            const ptrdiff_t columns = d - j < DOTS_AT_ONCE ? d - j : DOTS_AT_ONCE;
            if (k == 0)
                for (ptrdiff_t c = 0; c < columns; c++)
                    NAME(prefetch_column)(X, j + c, first + count, count);
#define COLUMNS(columns)                                                                                               \
    case columns:                                                                                                      \
        NAME(add_dots)(block + j * stride, stride, columns, count, residual + k * residual_stride,                     \
                       gradient + k * d + j);                                                                          \
        break;
            switch (columns) { COLUMNS(1) COLUMNS(2) COLUMNS(3) COLUMNS(4) }
#undef COLUMNS
        }
}

static void NAME(add_moments)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                              const double *shift, double *row_scratch, double *sums, double *squares) {
    (void)row_scratch;
    for (ptrdiff_t j = 0; j < X->n_features; j++) {
        const REAL *x = (const REAL *)X->values + j * X->stride + first;
        const double center = shift[j];
        vdouble vsum = {0}, vsquare = {0};
        ptrdiff_t i = 0;
        for (; i + LANES <= count; i += LANES) {
            const vdouble offset = NAME(load)(x + i) - center, weighted = load_f64(weight + i) * offset;
            vsum += weighted;
            vsquare += weighted * offset;
        }
        double sum = sum_of_lanes(&vsum), square = sum_of_lanes(&vsquare);
        for (; i < count; i++) {
            const double offset = (double)x[i] - center, weighted = weight[i] * offset;
            sum += weighted;
            square += weighted * offset;
        }
        sums[j] += sum;
        squares[j] += square;
    }
}

static void NAME(fill_panel)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                             const double *shift, ptrdiff_t width, double *panel) {
    const ptrdiff_t d = X->n_features;
    for (ptrdiff_t i = 0; i < count; i++)
        panel[i * width + d] = sqrt(weight[i]);
    for (ptrdiff_t j = 0; j < d; j++) {
        const REAL *x = (const REAL *)X->values + j * X->stride + first;
        for (ptrdiff_t i = 0; i < count; i++)
            panel[i * width + j] = panel[i * width + d] * ((double)x[i] - shift[j]);
    }
}

/* Appends the values of a column that differ from its shift to the entries of their rows. Each row has n_entries as
 * yet, and its entries begin `width` after those of the row before. */
static inline void NAME(append_entries)(const REAL *x, ptrdiff_t count, double shift, int32_t column, ptrdiff_t width,
                                        ptrdiff_t *n_entries, int32_t *columns, double *values) {
    for (ptrdiff_t first = 0; first < count; first += 64) {
        const ptrdiff_t rows = count - first < 64 ? count - first : 64;
        uint64_t entries = 0;
        ptrdiff_t i = 0;
        for (; i + LANES <= rows; i += LANES)
            entries |= PASTE(not_zero_, LANES)(NAME(load)(x + first + i) - shift) << i;
        for (; i < rows; i++)
            entries |= (uint64_t)(x[first + i] != shift) << i;
        for (; entries; entries &= entries - 1) {
            const ptrdiff_t row = first + __builtin_ctzll(entries), at = row * width + n_entries[row]++;
            columns[at] = column;
            values[at] = (double)x[row] - shift;
        }
    }
}

static void NAME(add_gram_of_entries)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                                      const double *shift, ptrdiff_t width, int32_t *columns, double *values,
                                      double *gram) {
    for (ptrdiff_t i = 0; i < count; i += ENTRY_ROWS) {
        const ptrdiff_t rows = count - i < ENTRY_ROWS ? count - i : ENTRY_ROWS;
        ptrdiff_t n_entries[ENTRY_ROWS] = {0};
        for (ptrdiff_t j = 0; j < X->n_features; j++) {
            NAME(prefetch_column)(X, j, first + i + rows, ENTRY_ROWS);
            NAME(append_entries)((const REAL *)X->values + j * X->stride + first + i, rows, shift[j], (int32_t)j, width,
                                 n_entries, columns, values);
        }
        for (ptrdiff_t r = 0; r < rows; r++) {
            const ptrdiff_t begin = r * width;
            columns[begin + n_entries[r]] = (int32_t)X->n_features;
            values[begin + n_entries[r]] = 1.0;
            add_row_products(n_entries[r] + 1, columns + begin, values + begin, weight[i + r], width, gram);
        }
    }
}

#define ROW_STRIDE 1
#define COLUMN_STRIDE X->stride
#include "dense_classes.h"
#undef ROW_STRIDE
#undef COLUMN_STRIDE

static const layout_kernels NAME(kernels) = {
    .logits = NAME(logits),
    .add_gradient = NAME(add_gradient),
    .add_moments = NAME(add_moments),
    .fill_panel = NAME(fill_panel),
    .add_gram_of_entries = NAME(add_gram_of_entries),
    .class_logits = NAME(class_logits),
    .add_class_gradient = NAME(add_class_gradient),
};

#undef COLUMNS_AT_ONCE
#undef DOTS_AT_ONCE
