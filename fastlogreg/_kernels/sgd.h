/* Stochastic gradient steps of one sample each, on rows that the caller has gathered: dense rows padded with zeros to
 * whole vectors, or CSR with doubles and 32-bit columns.
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

/* sigma(u) - target, without cancellation for labels. */
static inline double sgd_slope(double u, double target) {
    const double a = exp_nonpositive(splat(-fabs(u)))[0];
    const double large = 1.0 / (1.0 + a), small = a * large;
    return u >= 0.0 ? (1.0 - target) * large - target * small : (1.0 - target) * small - target * large;
}

/* What a sample with logit u does to the state's scalars: sets shrink, move and the share of the average. */
static inline void sgd_move(const sgd_rule *rule, sgd_state *state, double u, double target, double weight) {
    const double eta = sgd_eta(rule, state->t);
    state->move = -eta * sgd_slope(u, target) * weight;
    state->shrink = fmax(0.0, 1.0 - rule->l2 * eta);
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

/* The i-th range that is wanted next. */
static inline void sgd_ask(const sgd_rows *rows, ptrdiff_t i) {
    if (i < rows->n_ahead)
        for (const char *at = rows->ahead[i].begin; at < rows->ahead[i].end; at += 64)
            __builtin_prefetch(at);
}

#define SPARSE_ROWS_AHEAD 4

static inline void sgd_ask_row(const sgd_rows *rows, ptrdiff_t i) {
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
        sgd_move(rule, state, u, rows->target[i], rows->weight[i]);
        done = x;
    }
    memmove(state->pending_row, done, (size_t)width * sizeof(double));
    *whole = local;
}

/* One coefficient truncated towards zero by the L1 penalty it has not had yet; `had` is what it had, signed. */
static inline double sgd_truncated(double w, double accrued, double *had) {
    const double cut = w > 0.0 ? fmax(0.0, w - (accrued + *had)) : w < 0.0 ? fmin(0.0, w + (accrued - *had)) : w;
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
        sgd_move(rule, state, u, rows->target[i], rows->weight[i]);
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

/* Adds to a coefficient; returns what its square grew by. */
static inline double sgd_add(double *w, double step) {
    const double before = *w, after = before + step;
    *w = after;
    return step * (before + after);
}

#define SGD_SMALLEST_SCALE 1e-9

static void sgd_csr(const sgd_rows *rows, const sgd_rule *rule, sgd_state *whole) {
    sgd_state local = *whole, *state = &local;
    double *w = state->coef, *mean = state->average_coef;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const double *x = rows->rows[i].values;
        const int32_t *column = rows->rows[i].columns;
        const ptrdiff_t n = rows->rows[i].count;
        sgd_ask_row(rows, i + SPARSE_ROWS_AHEAD);
        double sum[4] = {0.0, 0.0, 0.0, 0.0};
        ptrdiff_t k = 0;
        for (; k + 4 <= n; k += 4)
            for (int lane = 0; lane < 4; lane++)
                sum[lane] += x[k + lane] * w[column[k + lane]];
        for (; k < n; k++)
            sum[0] += x[k] * w[column[k]];
        const double u = state->intercept + state->scale * ((sum[0] + sum[1]) + (sum[2] + sum[3]));
        rows->logits_out[i] = u;
        state->penalty_sum += 0.5 * rule->l2 * state->square + rule->l1 * state->absolute;
        sgd_move(rule, state, u, rows->target[i], rows->weight[i]);
        state->scale *= state->shrink;
        state->square *= state->shrink * state->shrink;
        state->absolute *= state->shrink;
        if (state->scale < SGD_SMALLEST_SCALE)
            sgd_unscale(state, rows->width);
        const double move = state->move / state->scale, of_average = state->average_a * move;
        double grown[4] = {0.0, 0.0, 0.0, 0.0}; /* of the squared norm; four chains hide the additions' latency */
        for (k = 0; k + 4 <= n; k += 4)
            for (int lane = 0; lane < 4; lane++)
                grown[lane] += sgd_add(w + column[k + lane], move * x[k + lane]);
        for (; k < n; k++)
            grown[0] += sgd_add(w + column[k], move * x[k]);
        const double square = (grown[0] + grown[1]) + (grown[2] + grown[3]);
        state->square += square * state->scale * state->scale;
        if (state->share > 0.0) {
            for (k = 0; k < n; k++)
                mean[column[k]] -= of_average * x[k];
            if (state->share < 1.0)
                state->average_b /= 1.0 - state->share;
            state->average_a += state->share * state->average_b * state->scale;
        }
        if (rule->l1 > 0.0)
            for (k = 0; k < n; k++) {
                double *place = w + column[k];
                const double before = *place, moved = state->scale * before;
                const double cut = sgd_truncated(moved, state->accrued_l1, state->had_l1 + column[k]);
                *place = cut / state->scale;
                state->absolute += fabs(cut) - fabs(moved - state->move * x[k]);
                state->square += cut * cut - moved * moved;
                if (mean)
                    mean[column[k]] -= state->average_a * (*place - before);
            }
        state->shrink = 1.0;
        state->move = 0.0;
    }
    *whole = local;
}

/* g with g = weight (target - sigma(u + g reach)): between 0 and its value at reach = 0, by safeguarded Newton. */
static double sgd_implicit_slope(double u, double target, double weight, double reach) {
    double g = -weight * sgd_slope(u, target);
    double low = fmin(g, 0.0), high = fmax(g, 0.0);
    for (int i = 0; i < 8; i++) {
        const double slope = sgd_slope(u + g * reach, target), p = slope + target;
        const double excess = g + weight * slope;
        if (excess > 0.0)
            high = g;
        else
            low = g;
        const double newton = g - excess / (1.0 + weight * reach * p * (1.0 - p));
        const double next = newton > low && newton < high ? newton : 0.5 * (low + high);
        if (fabs(next - g) <= 1e-12 * weight)
            return next;
        g = next;
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

static void sgd_diagonal(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state) {
    double *v = state->coef, *h = state->curvature;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const double *x = rows->rows[i].values;
        const int32_t *column = rows->rows[i].columns;
        const ptrdiff_t n = rows->rows[i].count;
        const double weight = rows->weight[i];
        sgd_ask_row(rows, i + SPARSE_ROWS_AHEAD);
        state->t += weight;
        const double ridge = rule->l2 * state->t, threshold = rule->l1 * state->t;
        double u = state->intercept, reach = 0.0;
        for (ptrdiff_t k = 0; k < n; k++) {
            const double scale = sgd_scale(ridge + h[column[k]], weight, x[k]);
            const double step = scale > 0.0 ? x[k] / scale : 0.0;
            u += step * sgd_soft(v[column[k]], threshold);
            reach += step * x[k];
        }
        rows->logits_out[i] = u;
        if (weight == 0.0)
            continue;
        const double p = sgd_slope(u, rows->target[i]) + rows->target[i], curvature = weight * p * (1.0 - p);
        const double rate = rule->intercept_rate / (state->intercept_curvature + curvature + 0.25 * weight);
        const double g = sgd_implicit_slope(u, rows->target[i], weight, reach + rate);
        for (ptrdiff_t k = 0; k < n; k++) {
            const double added = SGD_CURVATURE_SHARE * curvature * x[k] * x[k];
            const double scale = sgd_scale(ridge + h[column[k]], weight, x[k]);
            const double w = scale > 0.0 ? sgd_soft(v[column[k]], threshold) / scale : 0.0;
            v[column[k]] += g * x[k] + added * w;
            h[column[k]] += added;
        }
        state->intercept_curvature += curvature;
        state->intercept += rate * g;
    }
}
