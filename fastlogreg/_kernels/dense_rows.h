/* Dense X whose rows are contiguous (C order). Included once for each REAL (float, double).
 *
 * A row is read in whole vectors of ROW_LANES doubles; its last n_features % ROW_LANES entries are read with the vector
 * that ends with the row, against coefficients whose overlapping lanes are zero, so no element is read outside it. */

#define VECTORS_AT_ONCE 8
#define MOMENT_VECTORS 4
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

/* A coefficient row's last vector, zero where it overlaps the one before. */
static inline VECTOR NAME(tail_of)(const double *row, ptrdiff_t n_features) {
    ptrdiff_t tail = n_features % ROW_LANES;
    double padded[ROW_LANES] = {0};
    memcpy(padded + ROW_LANES - tail, row + n_features - tail, (size_t)tail * sizeof(double));
    return NAME(load_double)(padded);
}

static inline double NAME(short_dot)(const REAL *x, const double *coef, ptrdiff_t n_features) {
    double sum = 0.0;
    for (ptrdiff_t j = 0; j < n_features; j++)
        sum += (double)x[j] * coef[j];
    return sum;
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

/* As many rows at once as a vector has lanes. */
static void NAME(logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                         const double *coef, const double *intercept, double *logits_out, ptrdiff_t logits_stride) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *x = (const REAL *)X->values + first * stride;
    for (ptrdiff_t k = 0; k < n_outputs; k++) {
        const double *w = coef + k * d;
        double *u = logits_out + k * logits_stride;
        if (d < ROW_LANES) {
            for (ptrdiff_t i = 0; i < count; i++)
                u[i] = intercept[k] + NAME(short_dot)(x + i * stride, w, d);
            continue;
        }
        VECTOR w_tail = NAME(tail_of)(w, d), terms[ROW_LANES];
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

/* gradient_out[0..] += sum_i residual[i] x_i over `vectors` vectors of columns, kept in registers. The last of them
 * reaches back over `overlap` columns that the one before has served. Meanwhile the same columns of `prefetch` samples
 * of the next block are asked for: memory would otherwise stand idle. */
static inline __attribute__((always_inline)) void NAME(add_strip)(const REAL *x, ptrdiff_t stride, ptrdiff_t count,
                                                                  ptrdiff_t prefetch, const double *residual,
                                                                  int vectors, ptrdiff_t overlap,
                                                                  double *gradient_out) {
    const ptrdiff_t last = (vectors - 1) * ROW_LANES - overlap;
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
            sums[(r + 1) * vectors - 1] += NAME(load)(row + last) * residual[i + r];
        }
    for (; i < count; i++) {
        for (int v = 0; v < vectors - 1; v++)
            sums[v] += NAME(load)(x + i * stride + v * ROW_LANES) * residual[i];
        sums[vectors - 1] += NAME(load)(x + i * stride + last) * residual[i];
    }
    for (int v = vectors; v < rows * vectors; v++)
        sums[v % vectors] += sums[v];
    for (int v = 0; v < vectors - 1; v++)
        for (int lane = 0; lane < ROW_LANES; lane++)
            gradient_out[v * ROW_LANES + lane] += sums[v][lane];
    for (ptrdiff_t lane = overlap; lane < ROW_LANES; lane++)
        gradient_out[last + lane] += sums[vectors - 1][lane];
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
        const ptrdiff_t overlap = strip + 1 == n_strips ? n_vectors * ROW_LANES - d : 0;
        const REAL *column = x + begin * ROW_LANES;
        double *g = gradient + begin * ROW_LANES;
#define STRIP(vectors)                                                                                                 \
    case vectors:                                                                                                      \
        NAME(add_strip)(column, stride, count, prefetch, residual, vectors, overlap, g);                               \
        break;
        switch (end - begin) { STRIP(1) STRIP(2) STRIP(3) STRIP(4) STRIP(5) STRIP(6) STRIP(7) STRIP(8) }
#undef STRIP
        begin = end;
    }
}

static void NAME(add_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                               const double *residual, ptrdiff_t residual_stride, double *gradient) {
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const ptrdiff_t left = X->n_samples - first - count;
    for (ptrdiff_t k = 0; k < n_outputs; k++) {
        const double *r = residual + k * residual_stride;
        if (d >= ROW_LANES) {
            const ptrdiff_t prefetch = k > 0 ? 0 : left < count ? left : count;
            NAME(add_gradient_row)(X, first, count, prefetch, r, gradient + k * d);
            continue;
        }
        const REAL *x = (const REAL *)X->values + first * stride;
        for (ptrdiff_t i = 0; i < count; i++)
            for (ptrdiff_t j = 0; j < d; j++)
                gradient[k * d + j] += (double)x[i * stride + j] * r[i];
    }
}

/* `add_moments` of `vectors` vectors of columns, in registers; the last of them as in `add_strip`. */
static inline __attribute__((always_inline)) void
NAME(add_moments_strip)(const REAL *x, ptrdiff_t stride, ptrdiff_t count, const double *weight, const double *shift,
                        int vectors, ptrdiff_t overlap, double *sums_out, double *squares_out) {
    VECTOR sums[MOMENT_VECTORS] = {{0}}, squares[MOMENT_VECTORS] = {{0}}, center[MOMENT_VECTORS];
    ptrdiff_t at[MOMENT_VECTORS];
    for (int v = 0; v < vectors; v++) {
        at[v] = v * ROW_LANES - (v == vectors - 1 ? overlap : 0);
        center[v] = NAME(load_double)(shift + at[v]);
    }
    for (ptrdiff_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const VECTOR offset = NAME(load)(x + i * stride + at[v]) - center[v];
            const VECTOR weighted = weight[i] * offset;
            sums[v] += weighted;
            squares[v] += weighted * offset;
        }
    for (int v = 0; v < vectors; v++)
        for (ptrdiff_t lane = v == vectors - 1 ? overlap : 0; lane < ROW_LANES; lane++) {
            sums_out[at[v] + lane] += sums[v][lane];
            squares_out[at[v] + lane] += squares[v][lane];
        }
}

static void NAME(add_moments)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                              const double *shift, double *row_scratch, double *sums, double *squares) {
    (void)row_scratch;
    const ptrdiff_t d = X->n_features, stride = X->stride;
    const REAL *x = (const REAL *)X->values + first * stride;
    if (d < ROW_LANES) {
        for (ptrdiff_t i = 0; i < count; i++)
            for (ptrdiff_t j = 0; j < d; j++) {
                const double offset = (double)x[i * stride + j] - shift[j], weighted = weight[i] * offset;
                sums[j] += weighted;
                squares[j] += weighted * offset;
            }
        return;
    }
    for (ptrdiff_t j = 0; j < d; j += MOMENT_VECTORS * ROW_LANES) {
        const ptrdiff_t left = (d - j + ROW_LANES - 1) / ROW_LANES;
        const ptrdiff_t overlap = left <= MOMENT_VECTORS ? left * ROW_LANES - (d - j) : 0;
#define STRIP(vectors)                                                                                                 \
    case vectors:                                                                                                      \
        NAME(add_moments_strip)(x + j, stride, count, weight, shift + j, vectors, overlap, sums + j, squares + j);     \
        break;
        switch (left < MOMENT_VECTORS ? left : MOMENT_VECTORS) { STRIP(1) STRIP(2) STRIP(3) STRIP(4) }
#undef STRIP
    }
}

static void NAME(fill_panel)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                             const double *shift, ptrdiff_t width, double *panel) {
    const ptrdiff_t d = X->n_features;
    for (ptrdiff_t i = 0; i < count; i++) {
        const REAL *x = (const REAL *)X->values + (first + i) * X->stride;
        double *row = panel + i * width;
        const double s = sqrt(weight[i]);
        row[d] = s;
        if (d < ROW_LANES) {
            for (ptrdiff_t j = 0; j < d; j++)
                row[j] = s * ((double)x[j] - shift[j]);
            continue;
        }
        for (ptrdiff_t j = 0; j < d; j += ROW_LANES) {
            const ptrdiff_t at = j + ROW_LANES <= d ? j : d - ROW_LANES;
            const VECTOR offset = s * (NAME(load)(x + at) - NAME(load_double)(shift + at));
            memcpy(row + at, &offset, sizeof offset);
        }
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
    .class_logits = NAME(class_logits),
    .add_class_gradient = NAME(add_class_gradient),
};

#undef VECTOR
#undef VECTORS_AT_ONCE
#undef MOMENT_VECTORS
