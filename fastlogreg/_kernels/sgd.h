/* Stochastic gradient steps, on rows that the caller has gathered: dense rows padded with zeros to whole vectors, or
 * CSR with doubles and 32-bit columns.
 *
 * A step takes w <- shrink w + move x with shrink = max(0, 1 - (1 - l1_ratio) eta alpha) and
 * move = -eta weight (sigma(u) - target), then truncates w by the L1 penalty that has accrued (Tsuruoka, Tsujii and
 * Ananiadou 2009). The chain from one logit to the next is what takes the time, so without L1 the dense loop computes
 * the next logit before it applies the step, from u' = shrink (w . x') + move (x . x'): the last step of a call is left
 * pending in `sgd_state`, which makes the numbers independent of how samples are cut into calls. */

static inline double sgd_eta(const sgd_rule *rule, double t) {
    if (rule->schedule == SGD_OPTIMAL)
        return 1.0 / (rule->alpha * (rule->optimal_start + t - 1.0));
    if (rule->schedule == SGD_INVSCALING)
        return rule->eta0 / (rule->power_t == 0.5 ? sqrt(t) : pow(t, rule->power_t));
    return rule->eta0;
}

/* sigma(u) - target, without cancellation for labels and without a branch: signs of u cannot be foreseen. */
static inline double sgd_slope(double u, double target) {
    const vdouble logit = splat(u), a = exp_nonpositive(-absolute(logit));
    const double other = 1.0 - target;
    return select(logit >= 0.0, other - target * a, other * a - target)[0] / (1.0 + a[0]);
}

static inline double sgd_larger(double a, double b) { return a > b ? a : b; }

/* What a step of length eta does to the state's scalars: sets shrink, move and the average's share. */
static inline void sgd_move(const sgd_rule *rule, sgd_state *state, double eta, double weight, double slope) {
    state->move = -(eta * weight) * slope; /* the slope is what the next logit waits for */
    state->shrink = sgd_larger(1.0 - rule->l2 * eta, 0.0);
    state->accrued_l1 += rule->l1 * eta;
    state->intercept += rule->intercept_rate * state->move;
    state->share = 0.0;
    if (rule->average > 0.0 && state->t >= rule->average) {
        state->share = 1.0 / (state->t - rule->average + 1.0);
        state->average_intercept += (state->intercept - state->average_intercept) * state->share;
    }
    state->t += 1.0;
}

typedef struct {
    double with_coef, with_row;
} sgd_dots;

/* w . next and x . next */
static inline sgd_dots sgd_dots_of(ptrdiff_t width, const double *w, const double *x, const double *next) {
    vdouble with_coef = {0}, with_row = {0};
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const vdouble y = load_f64(next + j);
        with_coef += load_f64(w + j) * y;
        with_row += load_f64(x + j) * y;
    }
    return (sgd_dots){sum_of_lanes(&with_coef), sum_of_lanes(&with_row)};
}

/* Applies the pending step to w, with its row `done`; then w . next and x . next, and |w|^2. */
static inline __attribute__((always_inline)) sgd_dots sgd_advance(ptrdiff_t width, sgd_state *state, const double *done,
                                                                  const double *x, const double *next, int average) {
    vdouble with_coef = {0}, with_row = {0}, square = {0};
    const double shrink = state->shrink, move = state->move, share = state->share;
    double *w = state->coef, *mean = state->average_coef;
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const vdouble moved = shrink * load_f64(w + j) + move * load_f64(done + j);
        const vdouble y = load_f64(next + j);
        store_f64(w + j, moved);
        with_coef += moved * y;
        with_row += load_f64(x + j) * y;
        square += moved * moved;
        if (average) {
            const vdouble m = load_f64(mean + j);
            store_f64(mean + j, m + share * (moved - m));
        }
    }
    state->square = sum_of_lanes(&square);
    return (sgd_dots){sum_of_lanes(&with_coef), sum_of_lanes(&with_row)};
}

/* Functions that do nothing but prefetch are pure in GCC's eyes, which deletes calls of them: these must be inlined
 * before it looks. */
#define SGD_PREFETCHES static inline __attribute__((always_inline)) void

/* The i-th range that is wanted next. */
SGD_PREFETCHES sgd_ask(const sgd_rows *rows, ptrdiff_t i) {
    if (i < rows->n_ahead)
        for (const char *at = rows->ahead[i].begin; at < rows->ahead[i].end; at += 64)
            __builtin_prefetch(at);
}

#define SPARSE_ROWS_AHEAD 4

SGD_PREFETCHES sgd_ask_row(const sgd_rows *rows, ptrdiff_t i) {
    if (i >= rows->count)
        return;
    const sparse_row row = rows->rows[i];
    for (ptrdiff_t k = 0; k < row.count; k += 8)
        __builtin_prefetch(row.values + k);
    for (ptrdiff_t k = 0; k < row.count; k += 16)
        __builtin_prefetch(row.columns + k);
}

static inline __attribute__((always_inline)) void sgd_dense_linear(const sgd_rows *rows, const sgd_rule *rule,
                                                                   sgd_state *whole, int average) {
    const ptrdiff_t width = rows->width;
    sgd_state local = *whole, *state = &local;
    const double *done = state->pending_row;
    sgd_dots dots = sgd_dots_of(width, state->coef, done, rows->values);
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const double *x = rows->values + i * width;
        const double *next = i + 1 < rows->count ? x + width : x;
        sgd_ask(rows, i);
        const double u = state->intercept + (state->shrink * dots.with_coef + state->move * dots.with_row);
        dots = sgd_advance(width, state, done, x, next, average);
        rows->logits_out[i] = u;
        state->penalty_sum += 0.5 * rule->l2 * state->square;
        sgd_move(rule, state, sgd_eta(rule, state->t), rows->weight[i], sgd_slope(u, rows->target[i]));
        done = x;
    }
    memmove(state->pending_row, done, (size_t)width * sizeof(double));
    *whole = local;
}

/* One coefficient truncated towards zero by the L1 penalty it has not had yet; `had` is what it had, signed. */
static inline double sgd_truncated(double w, double accrued, double *had) {
    const double size = sgd_larger(fabs(w) - accrued - (w > 0.0 ? *had : -*had), 0.0);
    const double cut = w > 0.0 ? size : w < 0.0 ? -size : w;
    *had += cut - w;
    return cut;
}

static void sgd_dense_l1(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state) {
    const ptrdiff_t width = rows->width;
    double *w = state->coef, *mean = state->average_coef;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const double *x = rows->values + i * width;
        sgd_ask(rows, i);
        const double u = state->intercept + sgd_dots_of(width, w, w, x).with_coef;
        rows->logits_out[i] = u;
        state->penalty_sum += 0.5 * rule->l2 * state->square + rule->l1 * state->absolute;
        sgd_move(rule, state, sgd_eta(rule, state->t), rows->weight[i], sgd_slope(u, rows->target[i]));
        double square = 0.0, absolute_sum = 0.0;
        for (ptrdiff_t j = 0; j < width; j++) {
            const double moved = state->shrink * w[j] + state->move * x[j];
            square += moved * moved;
            absolute_sum += fabs(moved);
            if (state->share > 0.0)
                mean[j] += state->share * (moved - mean[j]);
            w[j] = sgd_truncated(moved, state->accrued_l1, state->had_l1 + j);
        }
        state->square = square;
        state->absolute = absolute_sum;
        state->shrink = 1.0; /* nothing is pending */
        state->move = 0.0;
    }
}

static void sgd_dense(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state) {
    if (rule->l1 > 0.0)
        sgd_dense_l1(rows, rule, state);
    else if (rule->average > 0.0)
        sgd_dense_linear(rows, rule, state, 1);
    else
        sgd_dense_linear(rows, rule, state, 0);
}

/* The coefficients are scale coef, their average is (average_coef + average_a coef) / average_b (Bottou 2012); this
 * makes both plain. */
static void sgd_unscale(sgd_state *state, ptrdiff_t n_features) {
    for (ptrdiff_t j = 0; j < n_features; j++) {
        if (state->average_coef)
            state->average_coef[j] = (state->average_coef[j] + state->average_a * state->coef[j]) / state->average_b;
        state->coef[j] *= state->scale;
    }
    state->average_a = 0.0;
    state->average_b = 1.0;
    state->scale = 1.0;
}

#define SGD_SMALLEST_SCALE 1e-9

/* Brings scale back where shrinking has made it tiny. */
static inline void sgd_shrink(sgd_state *state, ptrdiff_t n_features) {
    state->scale *= state->shrink;
    if (state->scale < SGD_SMALLEST_SCALE)
        sgd_unscale(state, n_features);
}

/* The coefficient of column j without the L1 penalty it has not had yet. */
static inline void sgd_truncate(sgd_state *state, ptrdiff_t j) {
    const double before = state->scale * state->coef[j];
    const double cut = sgd_truncated(before, state->accrued_l1, state->had_l1 + j);
    state->coef[j] = cut / state->scale;
    if (state->average_coef)
        state->average_coef[j] -= state->average_a * (cut - before) / state->scale;
}

/* The average takes in its share of the coefficients, once average_coef has been told what these grew by. */
static inline void sgd_share(sgd_state *state) {
    if (state->share < 1.0)
        state->average_b /= 1.0 - state->share;
    state->average_a += state->share * state->average_b * state->scale;
}

static inline double sgd_sparse_dot(const sparse_row *row, const double *w) {
    double sum[4] = {0.0, 0.0, 0.0, 0.0}; /* four chains hide the additions' latency */
    ptrdiff_t k = 0;
    for (; k + 4 <= row->count; k += 4)
        for (int lane = 0; lane < 4; lane++)
            sum[lane] += row->values[k + lane] * w[row->columns[k + lane]];
    for (; k < row->count; k++)
        sum[0] += row->values[k] * w[row->columns[k]];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static inline void sgd_sparse_add(const sparse_row *row, double factor, double *w) {
    for (ptrdiff_t k = 0; k < row->count; k++)
        w[row->columns[k]] += factor * row->values[k];
}

static void sgd_csr(const sgd_rows *rows, const sgd_rule *rule, sgd_state *whole) {
    sgd_state local = *whole, *state = &local;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const sparse_row row = rows->rows[i];
        sgd_ask_row(rows, i + SPARSE_ROWS_AHEAD);
        const double u = state->intercept + state->scale * sgd_sparse_dot(&row, state->coef);
        rows->logits_out[i] = u;
        sgd_move(rule, state, sgd_eta(rule, state->t), rows->weight[i], sgd_slope(u, rows->target[i]));
        sgd_shrink(state, rows->width);
        const double move = state->move / state->scale;
        sgd_sparse_add(&row, move, state->coef);
        if (state->share > 0.0) {
            sgd_sparse_add(&row, -state->average_a * move, state->average_coef);
            sgd_share(state);
        }
        if (rule->l1 > 0.0)
            for (ptrdiff_t k = 0; k < row.count; k++)
                sgd_truncate(state, row.columns[k]);
        state->shrink = 1.0; /* nothing is pending */
        state->move = 0.0;
    }
    *whole = local;
}

/* g with g = weight (target - sigma(u + g reach)): between 0 and its value at reach = 0, by safeguarded Newton. */
static double sgd_implicit_slope(double u, double target, double weight, double reach) {
    double g = -weight * sgd_slope(u, target);
    double low = fmin(g, 0.0), high = fmax(g, 0.0);
    for (int i = 0; i < 60; i++) { /* halving alone takes fifty */
        const double slope = sgd_slope(u + g * reach, target), p = slope + target;
        const double excess = g + weight * slope;
        if (excess > 0.0)
            high = g;
        else
            low = g;
        const double step = excess / (1.0 + weight * reach * p * (1.0 - p)), next = g - step;
        if (fabs(step) <= 1e-7 * weight) /* the error is about the square of Newton's last step */
            return next;
        g = next > low && next < high ? next : 0.5 * (low + high);
    }
    return g;
}

/* The share of a sample's curvature that each of its columns is charged, for columns that move together. */
#define SGD_CURVATURE_SHARE 0.5

static inline double sgd_soft(double v, double threshold) {
    return v > threshold ? v - threshold : v < -threshold ? v + threshold : 0.0;
}

/* The curvature of a column and its penalty so far; nothing so far is the sample's own at w = 0. */
static inline double sgd_scale(double so_far, double weight, double x) {
    return so_far > 0.0 ? so_far : 0.25 * SGD_CURVATURE_SHARE * weight * x * x;
}

/* The row's logit without the intercept, and what a unit of the residual moves it by; leaves w_j x_ij. */
static sgd_dots sgd_diagonal_dots(const sparse_row *row, const sgd_state *state, double weight, double ridge,
                                  double threshold) {
    const double *x = row->values, *v = state->coef, *h = state->curvature;
    const int32_t *column = row->columns;
    double *product = state->products, u = 0.0, reach = 0.0;
#pragma omp simd reduction(+ : u, reach)
    for (ptrdiff_t k = 0; k < row->count; k++) {
        const double scale = sgd_scale(ridge + h[column[k]], weight, x[k]);
        const double step = scale > 0.0 ? x[k] / scale : 0.0;
        product[k] = step * sgd_soft(v[column[k]], threshold);
        u += product[k];
        reach += step * x[k];
    }
    return (sgd_dots){u, reach};
}

static void sgd_diagonal(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state) {
    double *v = state->coef, *h = state->curvature;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const sparse_row row = rows->rows[i];
        const double weight = rows->weight[i];
        sgd_ask_row(rows, i + SPARSE_ROWS_AHEAD);
        state->t += weight;
        const sgd_dots dots = sgd_diagonal_dots(&row, state, weight, rule->l2 * state->t, rule->l1 * state->t);
        const double u = state->intercept + dots.with_coef;
        rows->logits_out[i] = u;
        if (weight == 0.0)
            continue;
        const double p = sgd_slope(u, rows->target[i]) + rows->target[i], curvature = weight * p * (1.0 - p);
        const double rate = rule->intercept_rate / (state->intercept_curvature + curvature + 0.25 * weight);
        const double g = sgd_implicit_slope(u, rows->target[i], weight, dots.with_row + rate);
        const double charged = SGD_CURVATURE_SHARE * curvature;
        for (ptrdiff_t k = 0; k < row.count; k++) {
            const double x = row.values[k];
            v[row.columns[k]] += (g + charged * state->products[k]) * x;
            h[row.columns[k]] += charged * x * x;
        }
        state->intercept_curvature += curvature;
        state->intercept += rate * g;
    }
}

static void sgd_truncate_columns(const design_view *X, ptrdiff_t first, ptrdiff_t count, sgd_state *state) {
    const int32_t *columns = X->columns, *starts = X->row_starts;
    if (columns)
        for (ptrdiff_t k = starts[first]; k < starts[first + count]; k++)
            sgd_truncate(state, columns[k]);
    else
        for (ptrdiff_t j = 0; j < X->n_features; j++)
            sgd_truncate(state, j);
}

/* The samples between one call of the logits' kernel and the next, which ask for as many of the rows to come. */
#define SGD_ROWS_AT_ONCE 8

/* One step along the mean gradient of `count` samples from `first` on; returns their loss. */
static double sgd_batch_step(const sgd_batches *batches, ptrdiff_t first, ptrdiff_t count, const sgd_rule *rule,
                             sgd_state *state) {
    const sgd_rows *rows = &batches->rows;
    const layout_kernels *layout = batches->layout;
    const double zero = 0.0, *target = rows->target + first, *weight = rows->weight + first;
    double *logits = rows->logits_out, *residual = batches->residual;
    for (ptrdiff_t i = 0; i < count; i += SGD_ROWS_AT_ONCE) {
        const ptrdiff_t n = count - i < SGD_ROWS_AT_ONCE ? count - i : SGD_ROWS_AT_ONCE;
        for (ptrdiff_t k = i; k < i + n; k++)
            sgd_ask(rows, first + k);
        layout->logits(&batches->X, first + i, n, 1, state->coef, &zero, logits + i, n);
    }
    for (ptrdiff_t i = 0; i < count; i++)
        logits[i] = state->intercept + state->scale * logits[i];
    const double loss = bce(count, logits, target, NULL, 1, NULL, residual, NULL).loss;
    double residuals = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        residual[i] *= weight[i];
        residuals += residual[i];
    }
    const double eta = sgd_eta(rule, state->t);
    sgd_move(rule, state, eta, 1.0 / (double)count, residuals);
    sgd_shrink(state, batches->X.n_features);
    for (ptrdiff_t i = 0; i < count; i++)
        residual[i] *= -eta / ((double)count * state->scale);
    layout->add_gradient(&batches->X, first, count, 1, residual, count, state->coef);
    if (state->share > 0.0) {
        for (ptrdiff_t i = 0; i < count; i++)
            residual[i] *= -state->average_a;
        layout->add_gradient(&batches->X, first, count, 1, residual, count, state->average_coef);
        sgd_share(state);
    }
    if (rule->l1 > 0.0)
        sgd_truncate_columns(&batches->X, first, count, state);
    return loss;
}

static double sgd_by_batches(const sgd_batches *batches, const sgd_rule *rule, sgd_state *whole) {
    const ptrdiff_t size = batches->batch_size, count = batches->rows.count;
    sgd_state local = *whole;
    double loss = 0.0;
    for (ptrdiff_t first = 0; first < count; first += size)
        loss += sgd_batch_step(batches, first, count - first < size ? count - first : size, rule, &local);
    local.shrink = 1.0; /* nothing is pending */
    local.move = 0.0;
    *whole = local;
    return loss;
}
