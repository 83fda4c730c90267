/* Dense X times the coefficients of many classes at once. Included once for each REAL and order, with ROW_STRIDE and
 * COLUMN_STRIDE, the elements from one row and column to the next, and ADD_TILE. Tiles of X meet vectors of classes. */

/* out (n_rows x width) += left (n_rows x n_terms) right (n_terms x width), `vectors` vectors of columns of it. */
static inline __attribute__((always_inline)) void
NAME(add_strip_of_products)(ptrdiff_t n_rows, ptrdiff_t n_terms, ptrdiff_t width, int vectors, const REAL *left,
                            ptrdiff_t row_stride, ptrdiff_t term_stride, const double *right, double *out) {
    ptrdiff_t row = 0;
#define TILES(rows)                                                                                                    \
    for (; row + (rows) <= n_rows; row += (rows))                                                                      \
        ADD_TILE(n_terms, rows, vectors, left + row * row_stride, row_stride, term_stride, right, width,               \
                 out + row * width, width);
    TILES(TILE_ROWS) TILES(4) TILES(2) TILES(1)
#undef TILES
}

static void NAME(add_products)(ptrdiff_t n_rows, ptrdiff_t n_terms, ptrdiff_t width, const REAL *left,
                               ptrdiff_t row_stride, ptrdiff_t term_stride, const double *right, double *out) {
    ptrdiff_t column = 0;
#define STRIPS(vectors)                                                                                                \
    for (; column + (vectors) * LANES <= width; column += (vectors) * LANES)                                           \
        NAME(add_strip_of_products)(n_rows, n_terms, width, vectors, left, row_stride, term_stride, right + column,    \
                                    out + column);
#if TILE_VECTORS == 3
    STRIPS(3)
    STRIPS(2)
#endif
    STRIPS(1)
#undef STRIPS
}

static void NAME(class_logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width,
                               const double *coef, const double *intercept, double *logits_out) {
    for (ptrdiff_t i = 0; i < count; i++)
        memcpy(logits_out + i * width, intercept, (size_t)width * sizeof(double));
    const REAL *x = (const REAL *)X->values + first * (ROW_STRIDE);
    NAME(add_products)(count, X->n_features, width, x, ROW_STRIDE, COLUMN_STRIDE, coef, logits_out);
}

static void NAME(add_class_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width,
                                     const double *residual, double *gradient) {
    const REAL *x = (const REAL *)X->values + first * (ROW_STRIDE);
    NAME(add_products)(X->n_features, count, width, x, COLUMN_STRIDE, ROW_STRIDE, residual, gradient);
}
