/* gram += panel' panel, the rank-k update of a symmetric matrix: its upper triangle in tiles. */

static void add_rank_update(ptrdiff_t count, ptrdiff_t width, const double *panel, double *gram) {
    for (ptrdiff_t row = 0; row < width; row += TILE_ROWS) {
        ptrdiff_t column = row;
        for (; column + TILE_VECTORS * LANES <= width; column += TILE_VECTORS * LANES)
            add_tile_f64(count, TILE_ROWS, TILE_VECTORS, panel + row, 1, width, panel + column, width,
                         gram + row * width + column, width);
        for (; TILE_VECTORS > 2 && column + 2 * LANES <= width; column += 2 * LANES)
            add_tile_f64(count, TILE_ROWS, 2, panel + row, 1, width, panel + column, width, gram + row * width + column,
                         width);
        for (; column < width; column += LANES)
            add_tile_f64(count, TILE_ROWS, 1, panel + row, 1, width, panel + column, width, gram + row * width + column,
                         width);
    }
}
