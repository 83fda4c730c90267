/* Dense X whose rows are contiguous (C order). Included once for each REAL (float, double).
 *
 * A row is read in whole vectors of ROW_LANES doubles; its last n_features % ROW_LANES entries are read with the vector
 * that ends with the row, against coefficients whose overlapping lanes are zero, so no element is read outside it. */

#define VECTORS_AT_ONCE 8
#define MOMENT_VECTORS 4
#define SHORT_VECTORS 8
#define VECTOR NAME(vector)

typedef REAL NAME(packed) __attribute__((vector_size(ROW_LANES * sizeof(REAL))));
typedef double VECTOR __attribute__((vector_size(ROW_LANES * sizeof(double))));

static inline VECTOR NAME(load)(const REAL *x) {
    NAME(packed) values;
    memcpy(&values, x, sizeof values);
    return WIDEN(values);
}

static inline VECTOR NAME(load_double)(const double *x) {
    VECTOR values;
    memcpy(&values, x, sizeof values);
    return values;
}

/* The last of a coefficient row's `vectors`, zero where it overlaps the one before; of a short row, beyond its end. */
static inline VECTOR NAME(last_of)(const double *row, ptrdiff_t n_features, ptrdiff_t vectors) {
    const ptrdiff_t tail = n_features - (vectors - 1) * ROW_LANES;
    double padded[ROW_LANES] = {0};
    memcpy(padded + (vectors > 1 ? ROW_LANES - tail : 0), row + n_features - tail, (size_t)tail * sizeof(double));
    return NAME(load_double)(padded);
}

static inline __attribute__((always_inline)) void NAME(dots)(const REAL *x, ptrdiff_t stride, int rows,
                                                             const double *coef, VECTOR coef_tail, ptrdiff_t n_features,
                                                             VECTOR *terms_out) {
    ptrdiff_t whole = n_features - n_features % ROW_LANES;
    VECTOR sums[ROW_LANES] = {{0}};
    for (ptrdiff_t j = 0; j < whole; j += ROW_LANES) {
        VECTOR w = NAME(load_double)(coef + j);
        for (int i = 0; i < rows; i++)
            sums[i] += NAME(load)(x + i * stride + j) * w;
    }
    if (whole < n_features)
        for (int i = 0; i < rows; i++)
            sums[i] += NAME(load)(x + i * stride + n_features - ROW_LANES) * coef_tail;
    for (int i = 0; i < rows; i++)
        terms_out[i] = sums[i];
}

/* The last of a row's vectors, which ends with the row; `part`: the row is shorter than a vector. */
static inline __attribute__((always_inline)) VECTOR NAME(load_last)(const REAL *x, ptrdiff_t n_features, int part) {
    return part ? WIDEN(LOAD_PART(x, n_features)) : NAME(load)(x + n_features - ROW_LANES);
}

/* Rows of at most SHORT_VECTORS vectors, whose coefficients stay in registers; as many rows at once as a vector has
 * lanes. */
static inline __attribute__((always_inline)) void NAME(logits_of_short_rows)(const REAL *x, ptrdiff_t stride,
                                                                             ptrdiff_t count, ptrdiff_t n_features,
                                                                             int vectors, int part, const double *coef,
                                                                             double intercept, double *logits_out) {
    VECTOR w[SHORT_VECTORS], start = {intercept};
    for (int v = 0; v < vectors - 1; v++)
        w[v] = NAME(load_double)(coef + v * ROW_LANES);
    w[vectors - 1] = NAME(last_of)(coef, n_features, vectors);
    ptrdiff_t i = 0;
    for (; i + ROW_LANES <= count; i += ROW_LANES) {
        VECTOR sums[ROW_LANES];
        for (int r = 0; r < ROW_LANES; r++) {
            sums[r] = start;
            for (int v = 0; v < vectors - 1; v++)
                sums[r] += NAME(load)(x + r * stride + v * ROW_LANES) * w[v];
            sums[r] += NAME(load_last)(x + r * stride, n_features, part) * w[vectors - 1];
        }
        PASTE(sums_of_, ROW_LANES)(sums, logits_out + i);
        x += ROW_LANES * stride;
    }
    for (; i < count; i++, x += stride) {
        VECTOR sum = start;
        for (int v = 0; v < vectors - 1; v++)
            sum += NAME(load)(x + v * ROW_LANES) * w[v];
        sum += NAME(load_last)(x, n_features, part) * w[vectors - 1];
        logits_out[i] = PASTE(sum_of_, ROW_LANES)(&sum);
    }
}

/* As many rows at once as a vector has lanes. */
static void NAME(logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                         const double *coef, const double *intercept, double *logits_out, ptrdiff_t logits_stride) {
    const ptrdiff_t d = X->n_features, stride = X->stride, n_vectors = (d + ROW_LANES - 1) / ROW_LANES;
    const REAL *x = (const REAL *)X->values + first * stride;
    for (ptrdiff_t k = 0; k < n_outputs; k++) {
        const double *w = coef + k * d;
        double *u = logits_out + k * logits_stride;
#define SHORT(vectors, part)                                                                                           \
    case vectors - part:                                                                                               \
        NAME(logits_of_short_rows)(x, stride, count, d, vectors, part, w, intercept[k], u);                            \
        continue;
        switch (d < ROW_LANES ? 0 : n_vectors) {
            SHORT(1, 1) SHORT(1, 0) SHORT(2, 0) SHORT(3, 0) SHORT(4, 0) SHORT(5, 0) SHORT(6, 0) SHORT(7, 0) SHORT(8, 0)
        }
#undef SHORT
        VECTOR w_tail = NAME(last_of)(w, d, n_vectors), terms[ROW_LANES];
        ptrdiff_t i = 0;
        for (; i + ROW_LANES <= count; i += ROW_LANES) {
            NAME(dots)(x + i * stride, stride, ROW_LANES, w, w_tail, d, terms);
            PASTE(sums_of_, ROW_LANES)(terms, u + i);
            for (int r = 0; r < ROW_LANES; r++)
                u[i + r] += intercept[k];
        }
        for (; i < count; i++) {
            NAME(dots)(x + i * stride, stride, 1, w, w_tail, d, terms);
            u[i] = intercept[k] + PASTE(sum_of_, ROW_LANES)(terms);
        }
    }
}

/* gradient_out[0..] += sum_i residual[i] x_i over `vectors` vectors of `width` columns, kept in registers. The last of
 * them reaches back over columns that the one before has served; `part`: there is one, and fewer columns than it has
 * lanes. Meanwhile the same columns of `prefetch` samples of the next block are asked for: memory would otherwise stand
 * idle. */
static inline __attribute__((always_inline)) void NAME(add_strip)(const REAL *x, ptrdiff_t stride, ptrdiff_t count,
                                                                  ptrdiff_t prefetch, const double *residual,
                                                                  int vectors, int part, ptrdiff_t width,
                                                                  double *gradient_out) {
    const int rows = VECTORS_AT_ONCE / vectors; /* at once: one sum waits for its last term while others grow */
    VECTOR sums[VECTORS_AT_ONCE] = {{0}};
    const REAL *next = x + count * stride;
    ptrdiff_t i = 0;
    for (; i + rows <= count; i += rows)
        for (int r = 0; r < rows; r++) {
            const REAL *row = x + (i + r) * stride;
            if (i + r < prefetch)
                for (int line = 0; line < vectors * ROW_LANES * (int)sizeof(REAL); line += 64)
                    __builtin_prefetch((const char *)(next + (i + r) * stride) + line);
            for (int v = 0; v < vectors - 1; v++)
                sums[r * vectors + v] += NAME(load)(row + v * ROW_LANES) * residual[i + r];
            sums[(r + 1) * vectors - 1] += NAME(load_last)(row, width, part) * residual[i + r];
        }
    for (; i < count; i++) {
        for (int v = 0; v < vectors - 1; v++)
            sums[v] += NAME(load)(x + i * stride + v * ROW_LANES) * residual[i];
        sums[vectors - 1] += NAME(load_last)(x + i * stride, width, part) * residual[i];
    }
    for (int v = vectors; v < rows * vectors; v++)
        sums[v % vectors] += sums[v];
    for (int v = 0; v < vectors - 1; v++)
        for (int lane = 0; lane < ROW_LANES; lane++)
            gradient_out[v * ROW_LANES + lane] += sums[v][lane];
    const ptrdiff_t last = part ? 0 : width - ROW_LANES;
    for (ptrdiff_t j = (vectors - 1) * ROW_LANES; j < width; j++)
        gradient_out[j] += sums[vectors - 1][j - last];
}

static void NAME(add_gradient_row)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t prefetch,
                                   const double *residual, double *gradient) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *x = (const REAL *)X->values + first * stride;
    const ptrdiff_t n_vectors = (d + ROW_LANES - 1) / ROW_LANES;
    const ptrdiff_t n_strips = (n_vectors + VECTORS_AT_ONCE - 1) / VECTORS_AT_ONCE;
    ptrdiff_t begin = 0;
    for (ptrdiff_t strip = 0; strip < n_strips; strip++) {
        const ptrdiff_t end = n_vectors * (strip + 1) / n_strips; /* strips of nearly equal width */
        const ptrdiff_t width = (strip + 1 == n_strips ? d : end * ROW_LANES) - begin * ROW_LANES;
        const REAL *column = x + begin * ROW_LANES;
        double *g = gradient + begin * ROW_LANES;
#define STRIP(vectors, part)                                                                                           \
    case vectors - part:                                                                                               \
        NAME(add_strip)(column, stride, count, prefetch, residual, vectors, part, width, g);                           \
        break;
        switch (width < ROW_LANES ? 0 : end - begin) {
            STRIP(1, 1)
            STRIP(1, 0) STRIP(2, 0) STRIP(3, 0) STRIP(4, 0) STRIP(5, 0) STRIP(6, 0) STRIP(7, 0) STRIP(8, 0)
        }
#undef STRIP
        begin = end;
    }
}

static void NAME(add_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                               const double *residual, ptrdiff_t residual_stride, double *gradient) {
    const ptrdiff_t d = X->n_features, left = X->n_samples - first - count;
    for (ptrdiff_t k = 0; k < n_outputs; k++) {
        const ptrdiff_t prefetch = k > 0 ? 0 : left < count ? left : count;
        NAME(add_gradient_row)(X, first, count, prefetch, residual + k * residual_stride, gradient + k * d);
    }
}

/* `add_moments` of `vectors` vectors of `width` columns, in registers; the last of them as in `add_strip`. */
static inline __attribute__((always_inline)) void
NAME(add_moments_strip)(const REAL *x, ptrdiff_t stride, ptrdiff_t count, const double *weight, const double *shift,
                        int vectors, int part, ptrdiff_t width, double *sums_out, double *squares_out) {
    VECTOR sums[MOMENT_VECTORS] = {{0}}, squares[MOMENT_VECTORS] = {{0}}, center[MOMENT_VECTORS];
    const ptrdiff_t last = part ? 0 : width - ROW_LANES;
    for (int v = 0; v < vectors - 1; v++)
        center[v] = NAME(load_double)(shift + v * ROW_LANES);
    center[vectors - 1] = part ? NAME(last_of)(shift, width, 1) : NAME(load_double)(shift + last);
    for (ptrdiff_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const REAL *row = x + i * stride;
            const VECTOR values = v < vectors - 1 ? NAME(load)(row + v * ROW_LANES) : NAME(load_last)(row, width, part);
            const VECTOR offset = values - center[v], weighted = weight[i] * offset;
            sums[v] += weighted;
            squares[v] += weighted * offset;
        }
    for (ptrdiff_t j = 0; j < width; j++) {
        const ptrdiff_t v = j / ROW_LANES, lane = v < vectors - 1 ? j % ROW_LANES : j - last;
        sums_out[j] += sums[v][lane];
        squares_out[j] += squares[v][lane];
    }
}

static void NAME(add_moments)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                              const double *shift, double *row_scratch, double *sums, double *squares) {
    (void)row_scratch;
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *x = (const REAL *)X->values + first * stride;
    const ptrdiff_t whole = MOMENT_VECTORS * ROW_LANES;
    for (ptrdiff_t j = 0; j < d; j += whole) {
        const ptrdiff_t width = d - j < whole ? d - j : whole;
#define STRIP(vectors, part)                                                                                           \
    case vectors - part:                                                                                               \
        NAME(add_moments_strip)(x + j, stride, count, weight, shift + j, vectors, part, width, sums + j, squares + j); \
        break;
        switch (d < ROW_LANES ? 0 : (width + ROW_LANES - 1) / ROW_LANES) {
            STRIP(1, 1) STRIP(1, 0) STRIP(2, 0) STRIP(3, 0) STRIP(4, 0)
        }
#undef STRIP
    }
}

/* A row of a panel, without the root of the weight that ends it. */
static inline __attribute__((always_inline)) void
NAME(fill_row)(const REAL *x, ptrdiff_t d, double root, const double *shift, VECTOR shift_of_part, double *row) {
    if (d < ROW_LANES) {
        const VECTOR offset = root * (WIDEN(LOAD_PART(x, d)) - shift_of_part);
        memcpy(row, &offset, sizeof offset);
        return;
    }
    for (ptrdiff_t j = 0; j < d; j += ROW_LANES) {
        const ptrdiff_t at = j + ROW_LANES <= d ? j : d - ROW_LANES;
        const VECTOR offset = root * (NAME(load)(x + at) - NAME(load_double)(shift + at));
        memcpy(row + at, &offset, sizeof offset);
    }
}

/* Roots of LANES weights at once take little longer than one. */
static void NAME(fill_panel)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                             const double *shift, ptrdiff_t width, double *panel) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *x = (const REAL *)X->values + first * stride;
    const VECTOR shift_of_part = NAME(last_of)(shift, d < ROW_LANES ? d : 0, 1);
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const vdouble weights = load_first(weight + i, count - i);
        double roots[LANES];
        for (int r = 0; r < LANES; r++)
            roots[r] = sqrt(weights[r]);
        for (int r = 0; r < LANES && i + r < count; r++) {
            double *row = panel + (i + r) * width;
            NAME(fill_row)(x + (i + r) * stride, d, roots[r], shift, shift_of_part, row);
            row[d] = roots[r];
        }
    }
}

/* Writes the entries of x - shift that are not zero, and returns their number. */
static inline ptrdiff_t NAME(collect_entries)(const REAL *x, ptrdiff_t d, const double *shift, int32_t *columns,
                                              double *values) {
    ptrdiff_t n = 0;
    for (ptrdiff_t first = 0; first < d; first += 64) {
        const ptrdiff_t count = d - first < 64 ? d - first : 64;
        uint64_t entries = 0;
        ptrdiff_t j = 0;
        for (; j + ROW_LANES <= count; j += ROW_LANES)
            entries |= PASTE(not_zero_, ROW_LANES)(NAME(load)(x + first + j) - NAME(load_double)(shift + first + j))
                       << j;
        for (; j < count; j++)
            entries |= (uint64_t)(x[first + j] != shift[first + j]) << j;
        for (; entries; entries &= entries - 1) {
            const ptrdiff_t column = first + __builtin_ctzll(entries);
            columns[n] = (int32_t)column;
            values[n++] = (double)x[column] - shift[column];
        }
    }
    return n;
}

static void NAME(add_gram_of_entries)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                                      const double *shift, ptrdiff_t width, int32_t *columns, double *values,
                                      double *gram) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *x = (const REAL *)X->values + first * stride;
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t n = NAME(collect_entries)(x + i * stride, d, shift, columns, values);
        columns[n] = (int32_t)d;
        values[n] = 1.0;
        add_row_products(n + 1, columns, values, weight[i], width, gram);
    }
}

#define ROW_STRIDE X->stride
#define COLUMN_STRIDE 1
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

#undef VECTOR
#undef VECTORS_AT_ONCE
#undef MOMENT_VECTORS
#undef SHORT_VECTORS
