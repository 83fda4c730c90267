/* gram += panel' panel, the rank-k update of a symmetric matrix: its upper triangle in tiles that stay in registers
 * while they run down the panel. A tile has TILE_ROWS rows and up to TILE_VECTORS vectors of columns; each sample costs
 * it a broadcast a row, a load a vector and a multiply-add for each pair. BLAS packs its operands first, which costs
 * more than the products where a matrix has some fifty columns. */

#define TILE_ROWS PANEL_ALIGNMENT
#if LANES == 8
#define TILE_VECTORS 3
#else
#define TILE_VECTORS 1
#endif

/* Rows [row, row + TILE_ROWS) and `vectors` vectors of columns from `column` on. */
static inline __attribute__((always_inline)) void add_tile(ptrdiff_t count, ptrdiff_t width, const double *panel,
                                                           ptrdiff_t row, ptrdiff_t column, int vectors, double *gram) {
    vdouble sums[TILE_ROWS][TILE_VECTORS] = {{{0}}};
    for (ptrdiff_t i = 0; i < count; i++, panel += width) {
        vdouble right[TILE_VECTORS];
        for (int v = 0; v < vectors; v++)
            right[v] = load_f64(panel + column + v * LANES);
        for (int r = 0; r < TILE_ROWS; r++)
            for (int v = 0; v < vectors; v++)
                sums[r][v] += panel[row + r] * right[v];
    }
    for (int r = 0; r < TILE_ROWS; r++) {
        double *out = gram + (row + r) * width + column;
        for (int v = 0; v < vectors; v++)
            store_f64(out + v * LANES, load_f64(out + v * LANES) + sums[r][v]);
    }
}

static void add_rank_update(ptrdiff_t count, ptrdiff_t width, const double *panel, double *gram) {
    for (ptrdiff_t row = 0; row < width; row += TILE_ROWS) {
        ptrdiff_t column = row;
        for (; column + TILE_VECTORS * LANES <= width; column += TILE_VECTORS * LANES)
            add_tile(count, width, panel, row, column, TILE_VECTORS, gram);
        for (; column < width; column += LANES)
            add_tile(count, width, panel, row, column, 1, gram);
    }
}
