/* Stochastic gradient steps, on rows where they lie or as the caller has copied them: dense rows of doubles, or CSR
 * with doubles and 32-bit columns.
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

/* sigma(u) - target, without cancellation for labels and without a branch: the signs of u cannot be predicted. */
static inline double sgd_slope(double u, double target) {
    const vdouble logit = splat(u), a = exp_nonpositive(-absolute(logit));
    const double other = 1.0 - target;
    return select(logit >= 0.0, other - target * a, other * a - target)[0] / (1.0 + a[0]);
}

/* Up to this |u|, exp(u) = 2^k exp(r) is far from overflow, and so is a step times it. */
#define SGD_EXP_LARGEST 300.0

/* -step (sigma(u) - target) = (step target e - step (1 - target)) / (1 + e) with e = exp(-u), which cancels nothing for
 * labels. One step waits for the one before, so what counts is the length of the chain from u: no clamping, one term to
 * reduce the argument, the polynomial of `exp_nonpositive` as a tree, and the rest of ln 2 in the power of two. */
static inline double sgd_move_of(double u, double target, double step) {
    if (!(fabs(u) < SGD_EXP_LARGEST))
        return -step * sgd_slope(u, target);
    const double shifted = u * -0x1.71547652b82fep+0 + ROUND_TO_INTEGER, k = shifted - ROUND_TO_INTEGER;
    const double r = -u - k * LN2_HIGH, r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    power -= power * (k * (LN2_MIDDLE + LN2_LOW));
    const double low = (1.0 + r) + r2 * (EXP_Q0 + r * EXP_Q1);
    const double middle = (EXP_Q2 + r * EXP_Q3) + r2 * (EXP_Q4 + r * EXP_Q5);
    const double high = ((EXP_Q6 + r * EXP_Q7) + r2 * (EXP_Q8 + r * EXP_Q9)) + r4 * EXP_Q10;
    const double e = power * ((low + r4 * middle) + r8 * high);
    return (step * target * e - step * (1.0 - target)) / (1.0 + e);
}

static inline double sgd_larger(double a, double b) { return a > b ? a : b; }

/* What a step of length eta does to the state's scalars: sets shrink, move and the average's share. */
static inline void sgd_move(const sgd_rule *rule, sgd_state *state, double eta, double move) {
    state->move = move;
    state->shrink = sgd_larger(1.0 - rule->l2 * eta, 0.0);
    state->accrued_l1 += rule->l1 * eta;
    state->share = rule->average > 0.0 && state->t >= rule->average ? 1.0 / (state->t - rule->average + 1.0) : 0.0;
    state->t += 1.0;
}

/* The pending step's part in the intercept. */
static inline void sgd_move_intercept(const sgd_rule *rule, sgd_state *state) {
    state->intercept += rule->intercept_rate * state->move;
    state->average_intercept += (state->intercept - state->average_intercept) * state->share;
}

/* Records that no step is pending. */
static inline void sgd_settle(sgd_state *state) {
    state->shrink = 1.0;
    state->move = state->share = 0.0;
}

/* The row that is asked for in the turn of row i; empty where none is left. */
static inline sparse_row sgd_coming(const sgd_rows *rows, ptrdiff_t i) {
    const sparse_row none = {NULL, NULL, 0};
    return i + rows->ahead < rows->count + rows->n_ahead ? rows->rows[i + rows->ahead] : none;
}

/* Asks for the entries of a sparse row from k on, for the last one at least. */
PREFETCHES sgd_ask_entries(const sparse_row *row, ptrdiff_t k) {
    if (row->count == 0)
        return;
    k = k < row->count ? k : row->count - 1;
    ask_for_bytes(row->values + k, (row->count - k) * (ptrdiff_t)sizeof(double));
    ask_for_bytes(row->columns + k, (row->count - k) * (ptrdiff_t)sizeof(int32_t));
}

/* Asks for the row that comes some rows after row i. Of a dense one whole vectors: where it ends within a vector, the
 * load of that part waits for all the cache lines that the whole would touch. */
PREFETCHES sgd_ask(const sgd_rows *rows, ptrdiff_t i) {
    const sparse_row row = sgd_coming(rows, i);
    if (row.columns)
        sgd_ask_entries(&row, 0);
    else if (row.values)
        ask_for_bytes(row.values, (row.count + LANES - 1) / LANES * (ptrdiff_t)sizeof(vdouble));
}

typedef struct {
    double with_coef, with_row;
} sgd_dots;

/* w . next and x . next */
static inline sgd_dots sgd_dots_of(ptrdiff_t width, const double *w, const double *x, const double *next) {
    vdouble with_coef = {0}, with_row = {0};
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const vdouble y = load_first(next + j, width - j);
        with_coef += load_f64(w + j) * y;
        with_row += load_first(x + j, width - j) * y;
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
        const vdouble moved = shrink * load_f64(w + j) + move * load_first(done + j, width - j);
        const vdouble y = load_first(next + j, width - j);
        store_f64(w + j, moved);
        with_coef += moved * y;
        with_row += load_first(x + j, width - j) * y;
        square += moved * moved;
        if (average) {
            const vdouble m = load_f64(mean + j);
            store_f64(mean + j, m + share * (moved - m));
        }
    }
    state->square = sum_of_lanes(&square);
    return (sgd_dots){sum_of_lanes(&with_coef), sum_of_lanes(&with_row)};
}

/* The losses of up to LANES samples that end before sample `end`; their logits are known. */
static inline vdouble sgd_losses(const sgd_rows *rows, ptrdiff_t end) {
    const ptrdiff_t count = end % LANES ? end % LANES : LANES;
    const double *logits = rows->logits_out + end - count, *target = rows->target + end - count;
    const vdouble ones = splat(1.0);
    return cross_entropy_of(load_first(logits, count), load_first(target, count), 1).loss *
           load_first((const double *)&ones, count);
}

static inline __attribute__((always_inline)) double sgd_dense_linear(const sgd_rows *rows, const sgd_rule *rule,
                                                                     sgd_state *whole, int average) {
    const ptrdiff_t width = rows->width;
    sgd_state local = *whole, *state = &local;
    const double *done = state->pending_row;
    vdouble loss = {0};
    sgd_dots dots = sgd_dots_of(width, state->coef, done, rows->rows[0].values);
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const double *x = rows->rows[i].values, *next = i + 1 < rows->count ? rows->rows[i + 1].values : x;
        sgd_ask(rows, i);
        /* Only one number has to wait for the step before: its move. */
        const double standing = state->intercept + state->shrink * dots.with_coef;
        const double u = standing + state->move * (dots.with_row + rule->intercept_rate);
        dots = sgd_advance(width, state, done, x, next, average);
        sgd_move_intercept(rule, state);
        rows->logits_out[i] = u;
        state->penalty_sum += 0.5 * rule->l2 * state->square;
        const double eta = sgd_eta(rule, state->t);
        sgd_move(rule, state, eta, sgd_move_of(u, rows->target[i], eta * rows->weight[i]));
        done = x;
        if (i % LANES == LANES - 1)
            loss += sgd_losses(rows, i + 1);
    }
    if (rows->count % LANES)
        loss += sgd_losses(rows, rows->count);
    memmove(state->pending_row, done, (size_t)width * sizeof(double));
    *whole = local;
    return sum_of_lanes(&loss);
}

static inline double sgd_loss(const sgd_rows *rows) {
    return bce(rows->count, rows->logits_out, (targets){rows->target, NULL}, NULL, 1, NULL, NULL, NULL).loss;
}

/* One coefficient truncated towards zero by the L1 penalty it has not had yet; `had` is what it had, signed. */
static inline double sgd_truncated(double w, double accrued, double *had) {
    const double size = sgd_larger(fabs(w) - accrued - (w > 0.0 ? *had : -*had), 0.0);
    const double cut = w > 0.0 ? size : w < 0.0 ? -size : w;
    *had += cut - w;
    return cut;
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

/* Truncates the coefficient of column j by the L1 penalty it has not had yet. `average_coef` is not told, so the
 * average takes in what is cut off as if it had been cut from its first step on: that is SGDClassifier's. */
static inline void sgd_truncate(sgd_state *state, ptrdiff_t j) {
    const double before = state->scale * state->coef[j];
    state->coef[j] = sgd_truncated(before, state->accrued_l1, state->had_l1 + j) / state->scale;
}

/* The average takes in its share of the coefficients, once average_coef has been told what these grew by. */
static inline void sgd_share(sgd_state *state) {
    if (state->share < 1.0)
        state->average_b /= 1.0 - state->share;
    state->average_a += state->share * state->average_b * state->scale;
}

/* Truncations, and the average, as in `sgd_truncate`. */
static double sgd_dense_l1(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state) {
    const ptrdiff_t width = rows->width;
    double *w = state->coef, *mean = state->average_coef;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const double *x = rows->rows[i].values;
        sgd_ask(rows, i);
        const double u = state->intercept + state->scale * sgd_dots_of(width, w, w, x).with_coef;
        rows->logits_out[i] = u;
        state->penalty_sum += 0.5 * rule->l2 * state->square + rule->l1 * state->absolute;
        const double eta = sgd_eta(rule, state->t);
        sgd_move(rule, state, eta, sgd_move_of(u, rows->target[i], eta * rows->weight[i]));
        sgd_move_intercept(rule, state);
        sgd_shrink(state, width);
        const double scale = state->scale, unscale = 1.0 / scale, move = state->move * unscale;
        const double in_mean = state->share > 0.0 ? state->average_a * move : 0.0;
        double square = 0.0, absolute_sum = 0.0;
        for (ptrdiff_t j = 0; j < width; j++) {
            const double moved = scale * (w[j] + move * x[j]);
            square += moved * moved;
            absolute_sum += fabs(moved);
            if (in_mean != 0.0)
                mean[j] -= in_mean * x[j];
            w[j] = unscale * sgd_truncated(moved, state->accrued_l1, state->had_l1 + j);
        }
        if (state->share > 0.0)
            sgd_share(state);
        state->square = square;
        state->absolute = absolute_sum;
        sgd_settle(state);
    }
    return sgd_loss(rows);
}

static double sgd_dense(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state) {
    if (rule->l1 > 0.0)
        return sgd_dense_l1(rows, rule, state);
    if (rule->average > 0.0)
        return sgd_dense_linear(rows, rule, state, 1);
    return sgd_dense_linear(rows, rule, state, 0);
}

/* w . x. Meanwhile `coming` is asked for, a cache line at a time: more at once would wait for one another. */
static inline __attribute__((always_inline)) double sgd_sparse_dot(const sparse_row *row, const double *w,
                                                                   const sparse_row *coming) {
    row_f64 sums[8 / ROW_LANES_F64] = {{0}}; /* as many chains hide the additions' latency */
    const double *x = row->values;
    const int32_t *column = row->columns;
    ptrdiff_t k = 0;
    for (; k + 8 <= row->count; k += 8) {
        if (k < coming->count) {
            __builtin_prefetch(coming->values + k);
            __builtin_prefetch(coming->columns + k);
        }
        for (int part = 0; part < 8; part += ROW_LANES_F64)
            sums[part / ROW_LANES_F64] += load_row_f64(x + k + part) * GATHER(w, column + k + part);
    }
    sgd_ask_entries(coming, k);
    for (; k + ROW_LANES_F64 <= row->count; k += ROW_LANES_F64)
        sums[0] += load_row_f64(x + k) * GATHER(w, column + k);
    double rest = 0.0;
    for (; k < row->count; k++)
        rest += x[k] * w[column[k]];
    for (int part = 1; part < 8 / ROW_LANES_F64; part++)
        sums[0] += sums[part];
    return sum_of_row_f64(&sums[0]) + rest;
}

static inline void sgd_sparse_add(const sparse_row *row, double factor, double *w) {
    const double *x = row->values;
    const int32_t *column = row->columns;
    ptrdiff_t k = 0;
    for (; k + ROW_LANES_F64 <= row->count; k += ROW_LANES_F64) {
        const row_f64 moves = factor * load_row_f64(x + k);
        for (int lane = 0; lane < ROW_LANES_F64; lane++)
            w[column[k + lane]] += moves[lane];
    }
    for (; k < row->count; k++)
        w[column[k]] += factor * x[k];
}

static double sgd_csr(const sgd_rows *rows, const sgd_rule *rule, sgd_state *whole) {
    sgd_state local = *whole, *state = &local;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const sparse_row row = rows->rows[i], coming = sgd_coming(rows, i);
        const double u = state->intercept + state->scale * sgd_sparse_dot(&row, state->coef, &coming);
        rows->logits_out[i] = u;
        const double eta = sgd_eta(rule, state->t);
        sgd_move(rule, state, eta, sgd_move_of(u, rows->target[i], eta * rows->weight[i]));
        sgd_move_intercept(rule, state);
        sgd_shrink(state, rows->width);
        const double move = state->move * (1.0 / state->scale); /* only the product waits for the logit */
        sgd_sparse_add(&row, move, state->coef);
        if (state->share > 0.0) {
            sgd_sparse_add(&row, -state->average_a * move, state->average_coef);
            sgd_share(state);
        }
        if (rule->l1 > 0.0)
            for (ptrdiff_t k = 0; k < row.count; k++)
                sgd_truncate(state, row.columns[k]);
        sgd_settle(state);
    }
    *whole = local;
    return sgd_loss(rows);
}

/* g with g = weight (target - sigma(u + g reach)): between 0 and its value at reach = 0, by safeguarded steps of
 * Householder's third order from 0, as each sigmoid takes as long as many products; `slope` is sigma(u) - target. */
static double sgd_implicit_slope(double u, double target, double weight, double reach, double slope) {
    const double most = -weight * slope;
    double g = 0.0, low = fmin(most, 0.0), high = fmax(most, 0.0);
    for (int i = 0; i < 60; i++) { /* halving alone takes fifty */
        const double p = slope + target, q = p * (1.0 - p), excess = g + weight * slope, far = reach * excess;
        if (excess > 0.0)
            high = g;
        else
            low = g;
        /* 1 + pull, 2 bend / far and 6 twist are the derivatives of z + weight reach sigma(u + z) in z = g reach */
        const double pull = weight * reach * q, diagonal = 1.0 + pull, square = diagonal * diagonal;
        const double bend = pull * (0.5 - p) * far, twist = pull * (1.0 / 6.0 - q);
        const double step = excess * (square - bend) / (diagonal * (square - 2.0 * bend) + twist * far * far);
        const double next = g - step, move = step * reach;
        if (fabs(step * move) * (move * move) <= 1e-12 * weight) /* the error is at most a hundredth of that */
            return next;
        g = next > low && next < high ? next : 0.5 * (low + high);
        slope = sgd_move_of(u + g * reach, target, -1.0);
    }
    return g;
}

/* The share of a sample's curvature that is charged to each of its columns: half, as columns move together. */
#define SGD_CURVATURE_SHARE 0.5

/* Numbers shrunk towards zero by a threshold. */
static inline vdouble sgd_soft(vdouble v, double threshold) {
    const vdouble less = v - threshold, more = v + threshold, zero = {0};
    return select(v > threshold, less, select(v < -threshold, more, zero));
}

/* The sums and the curvatures of LANES columns. */
static inline void sgd_load_models(const double *models, const int32_t *column, vdouble *sum, vdouble *curvature) {
    const vdouble even = load_pairs(models, column), odd = load_pairs(models, column + 1);
    *sum = EVEN_LANES(even, odd);
    *curvature = ODD_LANES(even, odd);
}

/* The same of the first `count` of them, and zeros. */
static inline void sgd_load_first_models(const double *models, const int32_t *column, ptrdiff_t count, vdouble *sum,
                                         vdouble *curvature) {
    int32_t place[LANES];
    double copied[2 * LANES] = {0.0};
    for (int i = 0; i < LANES; i++)
        place[i] = i;
    for (ptrdiff_t i = 0; i < count; i++)
        store_pair(copied, i, load_pair(models, column[i]));
    sgd_load_models(copied, place, sum, curvature);
}

/* The row's logit without the intercept, and what a unit of the residual moves it by, while `coming` is asked for as in
 * sgd_sparse_dot. Writes, a vector of each in turn, w_j x_ij and the least curvature that is charged to the column: a
 * step must not turn out longer than it was reckoned here, and where a column has no curvature yet it is reckoned with
 * `unseen`, the sample's own at w = 0. */
static inline __attribute__((always_inline)) sgd_dots sgd_diagonal_dots(const sparse_row *row, const sgd_state *state,
                                                                        double unseen, double ridge, double threshold,
                                                                        const sparse_row *coming) {
    const vdouble zero = {0};
    vdouble u = zero, reach = zero, sum, curvature;
    ptrdiff_t k = 0;
    for (; k < row->count; k += LANES) {
        const ptrdiff_t count = row->count - k;
        const vdouble x = load_first(row->values + k, count);
        if (k < coming->count) {
            __builtin_prefetch(coming->values + k);
            __builtin_prefetch(coming->columns + k);
        }
        if (count >= LANES)
            sgd_load_models(state->models, row->columns + k, &sum, &curvature);
        else
            sgd_load_first_models(state->models, row->columns + k, count, &sum, &curvature);
        const vdouble so_far = ridge + curvature;
        const vint seen = so_far > 0.0;
        const vdouble scale = select(seen, so_far, unseen * x * x);
        const vdouble step = select(scale > 0.0, x / scale, zero), product = step * sgd_soft(sum, threshold);
        store_f64(state->products + 2 * k, product);
        store_f64(state->products + 2 * k + LANES, select(seen, zero, splat(unseen)));
        u += product;
        reach += step * x;
    }
    sgd_ask_entries(coming, k);
    return (sgd_dots){sum_of_lanes(&u), sum_of_lanes(&reach)};
}

/* sums += (g + charged w_j x_ij) x_ij, curvatures += charged x_ij^2 */
static void sgd_diagonal_update(const sparse_row *row, double g, double charged, sgd_state *state) {
    double *models = state->models;
    const vdouble of_all = splat(charged);
    for (ptrdiff_t k = 0; k < row->count; k += LANES) {
        const vdouble x = load_first(row->values + k, row->count - k);
        const vdouble product = load_f64(state->products + 2 * k), least = load_f64(state->products + 2 * k + LANES);
        const vdouble of_sum = (g + charged * product) * x;
        const vdouble of_curvature = select(of_all > least, of_all, least) * (x * x);
        const int32_t *column = row->columns + k;
        const ptrdiff_t count = row->count - k < LANES ? row->count - k : LANES;
        double more[2 * LANES];
        store_f64(more, EVEN_LANES(of_sum, of_curvature));
        store_f64(more + LANES, ODD_LANES(of_sum, of_curvature));
        for (ptrdiff_t i = 0; i < count; i++) {
            const vdouble2 pair = load_pair(models, column[i]);
            store_pair(models, column[i], pair + load_pair(more + i % 2 * LANES, i / 2));
        }
    }
}

static double sgd_diagonal(const sgd_rows *rows, const sgd_rule *rule, sgd_state *whole) {
    sgd_state local = *whole, *state = &local;
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const sparse_row row = rows->rows[i], coming = sgd_coming(rows, i);
        const double weight = rows->weight[i];
        state->t += weight;
        const double unseen = 0.25 * SGD_CURVATURE_SHARE * weight, ridge = rule->l2 * state->t;
        const sgd_dots dots = sgd_diagonal_dots(&row, state, unseen, ridge, rule->l1 * state->t, &coming);
        const double u = state->intercept + dots.with_coef;
        rows->logits_out[i] = u;
        if (weight == 0.0)
            continue;
        const double slope = sgd_move_of(u, rows->target[i], -1.0);
        const double p = slope + rows->target[i], curvature = weight * p * (1.0 - p);
        const double rate = rule->intercept_rate / (state->intercept_curvature + curvature + 0.25 * weight);
        const double g = sgd_implicit_slope(u, rows->target[i], weight, dots.with_row + rate, slope);
        sgd_diagonal_update(&row, g, SGD_CURVATURE_SHARE * curvature, state);
        state->intercept_curvature += curvature;
        state->intercept += rate * g;
    }
    *whole = local;
    return bce(rows->count, rows->logits_out, (targets){rows->target, NULL}, rows->weight, 1, NULL, NULL, NULL).loss;
}

static void sgd_truncate_columns(const sgd_rows *rows, ptrdiff_t first, ptrdiff_t count, sgd_state *state) {
    for (ptrdiff_t i = first; i < first + count; i++) {
        const sparse_row *row = rows->rows + i;
        for (ptrdiff_t k = 0; row->columns && k < row->count; k++)
            sgd_truncate(state, row->columns[k]);
    }
    for (ptrdiff_t j = 0; !rows->rows[first].columns && j < rows->width; j++)
        sgd_truncate(state, j);
}

#define SGD_ROWS_AT_ONCE 8

/* w . x of n <= SGD_ROWS_AT_ONCE dense rows; w is read once for all. */
static inline __attribute__((always_inline)) void sgd_dense_dots(const sparse_row *rows, int n, ptrdiff_t width,
                                                                 const double *w, double *dots_out) {
    vdouble sums[SGD_ROWS_AT_ONCE] = {{0}};
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const vdouble of_w = load_f64(w + j);
        for (int i = 0; i < n; i++)
            sums[i] += of_w * load_first(rows[i].values + j, width - j);
    }
    if (n == SGD_ROWS_AT_ONCE)
        for (int i = 0; i < n; i += LANES)
            PASTE(sums_of_, LANES)(sums + i, dots_out + i);
    else
        for (int i = 0; i < n; i++)
            dots_out[i] = sum_of_lanes(&sums[i]);
}

/* w . x of `count` rows from `first` on, while as many of the rows to come are asked for. */
static void sgd_dots_of_rows(const sgd_rows *rows, ptrdiff_t first, ptrdiff_t count, const double *w,
                             double *dots_out) {
    const sparse_row *row = rows->rows + first;
    ptrdiff_t i = 0;
    if (row->columns) {
        for (; i < count; i++) {
            const sparse_row coming = sgd_coming(rows, first + i);
            dots_out[i] = sgd_sparse_dot(row + i, w, &coming);
        }
        return;
    }
    for (; i + SGD_ROWS_AT_ONCE <= count; i += SGD_ROWS_AT_ONCE) {
        for (int k = 0; k < SGD_ROWS_AT_ONCE; k++)
            sgd_ask(rows, first + i + k);
        sgd_dense_dots(row + i, SGD_ROWS_AT_ONCE, rows->width, w, dots_out + i);
    }
    for (; i < count; i++) {
        sgd_ask(rows, first + i);
        sgd_dense_dots(row + i, 1, rows->width, w, dots_out + i);
    }
}

/* w += sum_i factor_i x_i over `vectors` vectors of columns from j on, which stay in registers. */
static inline __attribute__((always_inline)) void sgd_add_strip(const sparse_row *rows, ptrdiff_t count, ptrdiff_t j,
                                                                ptrdiff_t width, int vectors, const double *factor,
                                                                double *w) {
    vdouble sums[4] = {{0}};
    for (ptrdiff_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++)
            sums[v] +=
                factor[i] * load_first(rows[i].values + j + v * LANES, v + 1 < vectors ? LANES : width - j - v * LANES);
    for (int v = 0; v < vectors; v++)
        store_f64(w + j + v * LANES, load_f64(w + j + v * LANES) + sums[v]);
}

static void sgd_add_rows(const sgd_rows *rows, ptrdiff_t first, ptrdiff_t count, const double *factor, double *w) {
    const sparse_row *row = rows->rows + first;
    const ptrdiff_t width = rows->width;
    if (row->columns) {
        for (ptrdiff_t i = 0; i < count; i++)
            sgd_sparse_add(row + i, factor[i], w);
        return;
    }
    for (ptrdiff_t j = 0; j < width; j += 4 * LANES) {
        const ptrdiff_t left = (width - j + LANES - 1) / LANES;
        switch (left < 4 ? left : 4) {
        case 1:
            sgd_add_strip(row, count, j, width, 1, factor, w);
            break;
        case 2:
            sgd_add_strip(row, count, j, width, 2, factor, w);
            break;
        case 3:
            sgd_add_strip(row, count, j, width, 3, factor, w);
            break;
        default:
            sgd_add_strip(row, count, j, width, 4, factor, w);
        }
    }
}

/* One step along the mean gradient of `count` samples from `first` on; returns their loss. */
static double sgd_batch_step(const sgd_rows *rows, ptrdiff_t first, ptrdiff_t count, const sgd_rule *rule,
                             sgd_state *state) {
    const double *target = rows->target + first, *weight = rows->weight + first;
    double *logits = rows->logits_out, *residual = rows->residual;
    sgd_dots_of_rows(rows, first, count, state->coef, logits);
    for (ptrdiff_t i = 0; i < count; i++)
        logits[i] = state->intercept + state->scale * logits[i];
    const double loss = bce(count, logits, (targets){target, NULL}, NULL, 1, NULL, residual, NULL).loss;
    double residuals = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        residual[i] *= weight[i];
        residuals += residual[i];
    }
    const double eta = sgd_eta(rule, state->t);
    sgd_move(rule, state, eta, -(eta / (double)count) * residuals);
    sgd_move_intercept(rule, state);
    sgd_shrink(state, rows->width);
    for (ptrdiff_t i = 0; i < count; i++)
        residual[i] *= -eta / ((double)count * state->scale);
    sgd_add_rows(rows, first, count, residual, state->coef);
    if (state->share > 0.0) {
        for (ptrdiff_t i = 0; i < count; i++)
            residual[i] *= -state->average_a;
        sgd_add_rows(rows, first, count, residual, state->average_coef);
        sgd_share(state);
    }
    if (rule->l1 > 0.0)
        sgd_truncate_columns(rows, first, count, state);
    sgd_settle(state);
    return loss;
}

static double sgd_by_batches(const sgd_rows *rows, const sgd_rule *rule, sgd_state *whole) {
    const ptrdiff_t size = rows->batch_size, count = rows->count;
    sgd_state local = *whole;
    double loss = 0.0;
    for (ptrdiff_t first = 0; first < count; first += size)
        loss += sgd_batch_step(rows, first, count - first < size ? count - first : size, rule, &local);
    *whole = local;
    return loss;
}
