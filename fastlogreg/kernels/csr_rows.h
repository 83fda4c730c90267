/* CSR: included once for each kind of values and each INDEX (columns and row starts). VALUES(X) declares what
 * VALUE(at), the entry in place `at`, needs; VALUE_ROW(at) is a vector of entries from there on, VALUE_SIZE the size of
 * one. Entries of a row may come in any order, and if a column comes twice its values add up, as in SciPy. */

static void NAME(logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                         const double *coef, const double *intercept, double *logits_out, ptrdiff_t logits_stride) {
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++) {
        const INDEX begin = starts[first + i], end = starts[first + i + 1];
        for (ptrdiff_t k = 0; k < n_outputs; k++) {
            const double *w = coef + k * X->n_features;
            row_f64 sums = {0}, others = {0}; /* two chains hide the additions' latency */
            double rest = 0.0;
            INDEX at = begin;
            for (; at + 2 * ROW_LANES_F64 <= end; at += 2 * ROW_LANES_F64) {
                sums += VALUE_ROW(at) * GATHER(w, columns + at);
                others += VALUE_ROW(at + ROW_LANES_F64) * GATHER(w, columns + at + ROW_LANES_F64);
            }
            if (at + ROW_LANES_F64 <= end) {
                sums += VALUE_ROW(at) * GATHER(w, columns + at);
                at += ROW_LANES_F64;
            }
            for (; at < end; at++)
                rest += VALUE(at) * w[columns[at]];
            sums += others;
            logits_out[k * logits_stride + i] = intercept[k] + (sum_of_row_f64(&sums) + rest);
        }
    }
}

static void NAME(add_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                               const double *residual, ptrdiff_t residual_stride, double *gradient) {
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t k = 0; k < n_outputs; k++) {
            double *g = gradient + k * X->n_features;
            const double r = residual[k * residual_stride + i];
            for (INDEX at = starts[first + i]; at < starts[first + i + 1]; at++)
                g[columns[at]] += r * VALUE(at);
        }
}

static void NAME(add_moments)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                              const double *shift, double *row_scratch, double *sums, double *squares) {
    (void)shift;
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++) {
        const INDEX begin = starts[first + i], end = starts[first + i + 1];
        /* x_ij is the sum of its entries: gather the row first, then square it. */
        for (INDEX at = begin; at < end; at++)
            row_scratch[columns[at]] += VALUE(at);
        for (INDEX at = begin; at < end; at++) {
            const double x = row_scratch[columns[at]];
            row_scratch[columns[at]] = 0.0;
            sums[columns[at]] += weight[i] * x;
            squares[columns[at]] += weight[i] * x * x;
        }
    }
}

static void NAME(add_gram)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight, double *gram) {
    const ptrdiff_t d = X->n_features;
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++) {
        const INDEX begin = starts[first + i], end = starts[first + i + 1];
        for (INDEX at = begin; at < end; at++) {
            const ptrdiff_t j = columns[at];
            const double scaled = weight[i] * VALUE(at);
            gram[j * d + j] += scaled * VALUE(at);
            for (INDEX other = at + 1; other < end; other++) {
                const ptrdiff_t l = columns[other];
                const double product = scaled * VALUE(other);
                gram[j < l ? j * d + l : l * d + j] += j == l ? 2.0 * product : product;
            }
        }
    }
}

static ptrdiff_t NAME(mark_pairs)(const design_view *X, const sparse_pattern *pattern, int32_t *row,
                                  ptrdiff_t *first_pairs_out, int64_t *pairs_out, ptrdiff_t room) {
    const INDEX *columns = X->columns, *starts = X->row_starts;
    const ptrdiff_t n_block = pattern->n_block, n_words = pattern->n_words;
    ptrdiff_t n_pairs = 0;
    for (ptrdiff_t i = 0; i < X->n_samples; i++) {
        if (i % 8 == 0)
            first_pairs_out[i / 8] = n_pairs;
        ptrdiff_t n_rare = 0;
        for (INDEX at = starts[i]; at < starts[i + 1]; at++) {
            const int32_t place = pattern->places[columns[at]];
            row[n_rare] = place - (int32_t)n_block;
            n_rare += place >= n_block;
        }
        if (n_pairs + n_rare * (n_rare - 1) / 2 > room)
            return -1;
        for (ptrdiff_t a = 0; a < n_rare; a++) {
            uint64_t *words = pattern->words + row[a] * n_words;
            for (INDEX at = starts[i]; at < starts[i + 1]; at++) {
                const int32_t place = pattern->places[columns[at]];
                if (place < n_block)
                    words[place >> 6] |= UINT64_C(1) << (place & 63);
            }
            for (ptrdiff_t b = 0; b < a; b++)
                if (row[a] != row[b]) {
                    const int64_t later = row[a] > row[b] ? row[a] : row[b];
                    pairs_out[n_pairs++] = later * pattern->n_rare + (row[a] + row[b] - later);
                }
        }
    }
    return n_pairs;
}

static void NAME(add_sparse_gram)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                                  const sparse_pattern *pattern, double *row_values, int32_t *row,
                                  const sparse_products *products) {
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    const ptrdiff_t n_block = pattern->n_block;
    const int32_t *pair_places = pattern->pair_places + pattern->first_pairs[first / 8];
    for (ptrdiff_t i = 0; i < count; i++) {
        /* the block's entries and a one in front, the rare ones behind */
        const INDEX begin = starts[first + i], end = starts[first + i + 1];
        int32_t *rare = row + (end - begin) + 1;
        double *rare_values = row_values + (end - begin) + 1;
        ptrdiff_t n_dense = 0, n_rare = 0;
        for (INDEX at = begin; at < end; at++) {
            const int32_t place = pattern->places[columns[at]];
            if (place < n_block) {
                row[n_dense] = place;
                row_values[n_dense++] = VALUE(at);
            } else {
                rare[n_rare] = place - (int32_t)n_block;
                rare_values[n_rare++] = VALUE(at);
            }
        }
        row[n_dense] = (int32_t)n_block;
        row_values[n_dense] = 1.0;
        add_row_products(n_dense + 1, row, row_values, weight[i], n_block + 1, products->block);
        for (ptrdiff_t a = 0; a < n_rare; a++) {
            const double scaled = weight[i] * rare_values[a];
            products->squares[rare[a]] += scaled * rare_values[a];
            products->sums[rare[a]] += scaled;
            add_links(pattern, rare[a], n_dense, row, row_values, scaled, products->links);
            for (ptrdiff_t b = 0; b < a; b++)
                if (rare[a] == rare[b])
                    products->squares[rare[a]] += 2.0 * scaled * rare_values[b];
                else
                    products->pairs[*pair_places++] += scaled * rare_values[b];
        }
    }
}

static void NAME(fill_panel)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                             const double *shift, ptrdiff_t width, double *panel) {
    const ptrdiff_t d = X->n_features;
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++) {
        double *row = panel + i * width;
        const double s = sqrt(weight[i]);
        for (ptrdiff_t j = 0; j < d; j++)
            row[j] = -shift[j];
        for (INDEX at = starts[first + i]; at < starts[first + i + 1]; at++)
            row[columns[at]] += VALUE(at);
        for (ptrdiff_t j = 0; j < d; j++)
            row[j] *= s;
        row[d] = s;
    }
}

static void NAME(class_logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width,
                               const double *coef, const double *intercept, double *logits_out) {
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++, logits_out += width) {
        memcpy(logits_out, intercept, (size_t)width * sizeof(double));
        for (INDEX at = starts[first + i]; at < starts[first + i + 1]; at++)
            add_multiple(width, VALUE(at), coef + (ptrdiff_t)columns[at] * width, logits_out);
    }
}

static void NAME(add_class_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width,
                                     const double *residual, double *gradient) {
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    for (ptrdiff_t i = 0; i < count; i++, residual += width)
        for (INDEX at = starts[first + i]; at < starts[first + i + 1]; at++)
            add_multiple(width, VALUE(at), residual, gradient + (ptrdiff_t)columns[at] * width);
}

PREFETCHES NAME(ask_for_rows)(const design_view *X, ptrdiff_t first, ptrdiff_t count) {
    const INDEX begin = ((const INDEX *)X->row_starts)[first],
                n = ((const INDEX *)X->row_starts)[first + count] - begin;
    if (VALUE_SIZE)
        ask_for_bytes((const char *)X->values + begin * VALUE_SIZE, n * VALUE_SIZE);
    ask_for_bytes((const INDEX *)X->columns + begin, n * (ptrdiff_t)sizeof(INDEX));
}

/* For each sample, the residual that minimises the dual objective while the others are fixed: see dual_step. */
static dual_sweep_sums NAME(dual_sweep)(const design_view *X, ptrdiff_t n_blocks, const ptrdiff_t *blocks,
                                        ptrdiff_t block_rows, dual_problem *dual) {
    VALUES(X);
    const INDEX *columns = X->columns, *starts = X->row_starts;
    const ptrdiff_t n = X->n_samples;
    const double zero = 0.0;
    double *w = dual->coef;
    dual_sweep_sums sums = {0};
    for (ptrdiff_t b = 0; b < n_blocks; b++) {
        const ptrdiff_t first = blocks[b] * block_rows;
        const ptrdiff_t count = n - first < block_rows ? n - first : block_rows;
        if (b + 1 < n_blocks) {
            const ptrdiff_t next = blocks[b + 1] * block_rows;
            NAME(ask_for_rows)(X, next, n - next < PREFETCHED_ROWS ? n - next : PREFETCHED_ROWS);
        }
        for (ptrdiff_t i = first; i < first + count; i++) {
            if (passes_over(dual, i))
                continue;
            const INDEX begin = starts[i], end = starts[i + 1];
            sums.n_visits++;
            sums.n_entries += end - begin;
            if (dual->center)
                NAME(logits)(X, i, 1, 1, dual->center, &zero, &dual->center_dots[i], 1);
            row_f64 dots[2] = {{0}}, squares[2] = {{0}}; /* two chains hide the additions' latency */
            INDEX at = begin;
            for (; at + 2 * ROW_LANES_F64 <= end; at += 2 * ROW_LANES_F64)
                for (int c = 0; c < 2; c++) {
                    const row_f64 x = VALUE_ROW(at + c * ROW_LANES_F64);
                    dots[c] += x * GATHER(w, columns + at + c * ROW_LANES_F64);
                    squares[c] += x * x;
                }
            double x_dot = 0.0, x_square = 0.0;
            for (; at < end; at++) {
                const double x = VALUE(at);
                x_dot += x * w[columns[at]];
                x_square += x * x;
            }
            dots[0] += dots[1];
            squares[0] += squares[1];
            x_dot += sum_of_row_f64(&dots[0]);
            x_square += sum_of_row_f64(&squares[0]);
            const double step = dual_step(dual, i, x_dot, x_square, &sums);
            for (at = begin; at < end; at++)
                w[columns[at]] += step * VALUE(at);
        }
    }
    return sums;
}

static const layout_kernels NAME(kernels) = {
    .logits = NAME(logits),
    .add_gradient = NAME(add_gradient),
    .add_moments = NAME(add_moments),
    .add_gram = NAME(add_gram),
    .mark_pairs = NAME(mark_pairs),
    .add_sparse_gram = NAME(add_sparse_gram),
    .fill_panel = NAME(fill_panel),
    .class_logits = NAME(class_logits),
    .add_class_gradient = NAME(add_class_gradient),
    .dual_sweep = NAME(dual_sweep),
};
