/* out[r, c] += sum_t left[r, t] right[t, c] for a tile of `rows` rows and `vectors` vectors of columns, which stays in
 * registers over all terms t. Each term costs a broadcast for each row, a load for each vector and a multiply-add for
 * each pair. BLAS packs its operands first, which costs more than the products for some fifty rows or columns.
 * Included once for each REAL, the type of `left`; element (r, t) of it lies at r row_stride + t term_stride. */

static inline __attribute__((always_inline)) void
NAME(add_tile)(ptrdiff_t n_terms, int rows, int vectors, const REAL *left, ptrdiff_t row_stride, ptrdiff_t term_stride,
               const double *right, ptrdiff_t right_stride, double *out, ptrdiff_t out_stride) {
    vdouble sums[TILE_ROWS][TILE_VECTORS] = {{{0}}};
    for (ptrdiff_t t = 0; t < n_terms; t++, left += term_stride, right += right_stride) {
        vdouble of_term[TILE_VECTORS];
        for (int v = 0; v < vectors; v++)
            of_term[v] = load_f64(right + v * LANES);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++)
                sums[r][v] += (double)left[r * row_stride] * of_term[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            double *at = out + r * out_stride + v * LANES;
            store_f64(at, load_f64(at) + sums[r][v]);
        }
}
