/* The products of a CSR row's entries, added where a `sparse_pattern` has them. */

/* gram[j, l] += weight x_j x_l of a row's entries, for j <= l */
static inline void add_row_products(ptrdiff_t count, const int32_t *columns, const double *values, double weight,
                                    ptrdiff_t width, double *gram) {
    for (ptrdiff_t a = 0; a < count; a++) {
        const ptrdiff_t j = columns[a];
        const double scaled = weight * values[a];
        gram[j * width + j] += scaled * values[a];
        for (ptrdiff_t b = a + 1; b < count; b++) {
            const ptrdiff_t l = columns[b];
            const double product = scaled * values[b];
            gram[j < l ? j * width + l : l * width + j] += j == l ? 2.0 * product : product;
        }
    }
}

/* The products of a rare column with the row's columns of the block. */
static inline void add_links(const sparse_pattern *pattern, ptrdiff_t rare, ptrdiff_t count, const int32_t *columns,
                             const double *values, double scaled, double *links) {
    const uint64_t *words = pattern->words + rare * pattern->n_words;
    const int32_t *ranks = pattern->ranks + rare * pattern->n_words;
    double *own = links + pattern->link_starts[rare];
    for (ptrdiff_t b = 0; b < count; b++) {
        const int32_t word = columns[b] >> 6;
        const uint64_t before = words[word] & ((UINT64_C(1) << (columns[b] & 63)) - 1);
        own[ranks[word] + __builtin_popcountll(before)] += scaled * values[b];
    }
}

/* sums += factor * values, rows of LINK_PANEL */
static inline void add_panel_row(double factor, const double *values, double *sums) {
    for (ptrdiff_t c = 0; c < LINK_PANEL; c += LANES)
        store_f64(sums + c, load_f64(sums + c) + factor * load_f64(values + c));
}

/* The links of a rare column with LINK_PANEL of the block's columns and ones; zero beyond. */
static inline void fill_panel_row(const sparse_pattern *pattern, const sparse_products *of, ptrdiff_t rare,
                                  ptrdiff_t first, double *row) {
    const ptrdiff_t word = rare * pattern->n_words + first / 64, shift = first % 64;
    const uint64_t before = pattern->words[word] & ((UINT64_C(1) << shift) - 1);
    const double *link = of->links + pattern->link_starts[rare] + pattern->ranks[word] + __builtin_popcountll(before);
    for (ptrdiff_t c = 0; c < LINK_PANEL; c++)
        row[c] = pattern->words[word] >> (shift + c) & 1 ? *link++ : 0.0;
    if (pattern->n_block - first < LINK_PANEL)
        row[pattern->n_block - first] = of->sums[rare];
}

static void sweep_links(const sparse_pattern *pattern, const sparse_products *of, const double *diagonal,
                        ptrdiff_t first, double *sweep, double *products_out) {
    const int64_t *starts = pattern->pair_starts;
    memset(products_out, 0, (size_t)((pattern->n_block + 1) * LINK_PANEL) * sizeof(double));
    for (ptrdiff_t r = 0; r < pattern->n_rare; r++) {
        double *row = sweep + r * LINK_PANEL;
        fill_panel_row(pattern, of, r, first, row);
        for (int64_t at = starts[r]; at < starts[r + 1]; at++)
            add_panel_row(-of->pairs[at], sweep + pattern->pair_columns[at] * LINK_PANEL, row);
        for (ptrdiff_t c = 0; c < LINK_PANEL; c++)
            row[c] /= diagonal[r];
    }
    for (ptrdiff_t r = pattern->n_rare - 1; r >= 0; r--) {
        const double *row = sweep + r * LINK_PANEL;
        for (int64_t at = starts[r]; at < starts[r + 1]; at++) {
            const ptrdiff_t earlier = pattern->pair_columns[at];
            add_panel_row(-of->pairs[at] / diagonal[earlier], row, sweep + earlier * LINK_PANEL);
        }
        for (int64_t at = pattern->link_starts[r]; at < pattern->link_starts[r + 1]; at++)
            add_panel_row(of->links[at], row, products_out + pattern->link_columns[at] * LINK_PANEL);
        add_panel_row(of->sums[r], row, products_out + pattern->n_block * LINK_PANEL);
    }
}
