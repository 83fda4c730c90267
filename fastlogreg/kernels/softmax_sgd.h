/* Stochastic steps for the softmax of several classes. A coefficient is what it is in sgd.h, whose schedules, scale,
 * average and truncation these steps share; a row of X meets the rows of its columns' coefficients, a vector of classes
 * at a time. */

/* logits = intercept + scale logits, for a batch's rows. */
static inline void softmax_scaled_logits(ptrdiff_t count, ptrdiff_t width, double scale, const double *intercept,
                                         double *logits) {
    for (ptrdiff_t i = 0; i < count; i++, logits += width)
        for (ptrdiff_t k = 0; k < width; k += LANES)
            store_f64(logits + k, load_f64(intercept + k) + scale * load_f64(logits + k));
}

/* Truncates the coefficients of the columns that the samples have entries in, so that dense X gives what sparse X does.
 */
static void softmax_truncate_columns(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width,
                                     sgd_state *state) {
    const int32_t *columns = X->columns, *starts = X->row_starts;
    if (columns) {
        for (ptrdiff_t k = starts[first] * width; k < starts[first + count] * width; k++)
            sgd_truncate(state, columns[k / width] * width + k % width);
        return;
    }
    for (ptrdiff_t j = 0; j < X->n_features; j++) {
        const double *x = (const double *)X->values + first * X->stride + j;
        int met = 0;
        for (ptrdiff_t i = 0; i < count; i++)
            met |= x[i * X->stride] != 0.0;
        for (ptrdiff_t k = 0; met && k < width; k++)
            sgd_truncate(state, j * width + k);
    }
}

/* Moves the intercepts by the sums of `moves` (count x n_classes of each row's width), and their average. */
static void softmax_move_intercepts(const softmax_batches *all, ptrdiff_t count, double share, const double *moves) {
    add_rows(count, all->width, moves, all->intercept);
    if (share > 0.0)
        for (ptrdiff_t k = 0; k < all->n_classes; k++)
            all->average_intercept[k] += share * (all->intercept[k] - all->average_intercept[k]);
}

/* One step along the mean gradient of `count` samples from `first` on; returns their loss. */
static double softmax_batch_step(const softmax_batches *all, ptrdiff_t first, ptrdiff_t count, const sgd_rule *rule,
                                 sgd_state *state) {
    const sgd_rows *rows = &all->rows;
    const design_view *X = &all->X;
    const layout_kernels *layout = all->layout;
    const ptrdiff_t width = all->width;
    double *values = rows->logits_out; /* logits, then residuals, then moves */
    layout->class_logits(X, first, count, width, state->coef, all->zeros, values);
    softmax_scaled_logits(count, width, state->scale, all->intercept, values);
    const double loss = softmax_loss(count, width, all->n_classes, all->label + first, NULL, NULL, values);
    const double eta = sgd_eta(rule, state->t);
    for (ptrdiff_t i = 0; i < count; i++)
        scale_row(width, -eta * rows->weight[first + i] / (double)count, values + i * width);
    sgd_move(rule, state, eta, 0.0); /* the step's scalars */
    if (rule->intercept_rate > 0.0)
        softmax_move_intercepts(all, count, state->share, values);
    sgd_shrink(state, X->n_features * width);
    if (state->scale != 1.0)
        scale_row(count * width, 1.0 / state->scale, values);
    layout->add_class_gradient(X, first, count, width, values, state->coef);
    if (state->share > 0.0) {
        scale_row(count * width, -state->average_a, values);
        layout->add_class_gradient(X, first, count, width, values, state->average_coef);
        sgd_share(state);
    }
    if (rule->l1 > 0.0)
        softmax_truncate_columns(X, first, count, width, state);
    return loss;
}

static double sgd_softmax(const softmax_batches *all, const sgd_rule *rule, sgd_state *whole) {
    const ptrdiff_t size = all->rows.batch_size, count = all->rows.count;
    sgd_state local = *whole;
    double loss = 0.0;
    for (ptrdiff_t first = 0; first < count; first += size)
        loss += softmax_batch_step(all, first, count - first < size ? count - first : size, rule, &local);
    *whole = local;
    return loss;
}

/* A sample's implicit step: see softmax_implicit_slope. Each array has a row of `width`. */
typedef struct {
    ptrdiff_t width, n_classes;
    ptrdiff_t label;      /* or -1 */
    const double *target; /* n_classes, without a label */
    double weight;
    double *logits; /* before the step */
    double *reach;  /* what a unit of each class's slope moves its logit by */
    double *slope;
    double *prob, *step;
} softmax_sample;

static inline double softmax_target(const softmax_sample *sample, ptrdiff_t k) {
    return sample->label >= 0 ? k == sample->label : sample->target[k];
}

/* The probabilities at logits + reach slope, and there weight loss + 1/2 sum_k reach_k slope_k^2. */
static double softmax_proximal_value(const softmax_sample *sample) {
    const ptrdiff_t width = sample->width;
    double *prob = sample->prob, linear = 0.0, square = 0.0;
    for (ptrdiff_t k = 0; k < width; k++) {
        const double move = sample->reach[k] * sample->slope[k];
        prob[k] = sample->logits[k] + move;
        square += move * sample->slope[k];
    }
    const double largest = largest_of_row(width, prob);
    for (ptrdiff_t k = 0; k < sample->n_classes; k++)
        linear += softmax_target(sample, k) * (largest - prob[k]);
    exponentials_of_row(width, prob);
    const double sum = sum_of_row(width, prob);
    scale_row(width, 1.0 / sum, prob);
    return sample->weight * (linear + log(sum)) + 0.5 * square;
}

/* The Newton step to the slopes g with g = weight (target - prob): J step = -(g - weight (target - prob)) with
 * J = I + weight (diag(prob) - prob prob') diag(reach), a diagonal and one more rank. Returns the largest product of a
 * class's step and what it moves the logit by, about twice the error that is left. */
static double softmax_newton_step(const softmax_sample *sample) {
    const double *prob = sample->prob, weight = sample->weight;
    double product = 0.0, pivot = 0.0, largest = 0.0;
    for (ptrdiff_t k = 0; k < sample->n_classes; k++) {
        const double diagonal = 1.0 + weight * prob[k] * sample->reach[k];
        const double excess = sample->slope[k] - weight * (softmax_target(sample, k) - prob[k]);
        sample->step[k] = -excess;
        product -= prob[k] * sample->reach[k] * excess / diagonal;
        pivot += prob[k] / diagonal;
    }
    for (ptrdiff_t k = 0; k < sample->n_classes; k++) {
        const double share = weight * prob[k];
        sample->step[k] = (sample->step[k] + share * product / pivot) / (1.0 + share * sample->reach[k]);
        largest = fmax(largest, sample->step[k] * sample->step[k] * sample->reach[k]);
    }
    return largest;
}

/* The slopes g that solve g_k = weight (target_k - softmax(logits + reach g)_k), by Newton steps that descend on the
 * strictly convex value whose gradient this is, from slopes of zero, where the value and `prob` are known. */
static void softmax_implicit_slope(const softmax_sample *sample, double value) {
    const ptrdiff_t n_classes = sample->n_classes;
    for (int i = 0; i < 30; i++) {
        double length = 1.0, next;
        const double largest = softmax_newton_step(sample);
        for (ptrdiff_t k = 0; k < n_classes; k++)
            sample->slope[k] += sample->step[k];
        if (!(largest > 1e-13 * sample->weight))
            return;
        while (!((next = softmax_proximal_value(sample)) <= value + 1e-14 * fabs(value)) && length > 1e-6) {
            length *= 0.5;
            for (ptrdiff_t k = 0; k < n_classes; k++)
                sample->slope[k] -= length * sample->step[k];
        }
        value = next;
    }
}

/* The row's logits, added to those given, and what a unit of each class's slope moves them by; leaves w_jk x_ij. */
static void softmax_diagonal_dots(const sparse_row *row, const softmax_sample *sample, const sgd_state *state,
                                  double unseen, double ridge, double threshold) {
    const ptrdiff_t width = sample->width;
    const vdouble zero = {0};
    for (ptrdiff_t k = 0; k < width; k += LANES) {
        vdouble logits = load_f64(sample->logits + k), reach = zero;
        for (ptrdiff_t e = 0; e < row->count; e++) {
            const double x = row->values[e], *sums = state->models + row->columns[e] * (2 * width) + k;
            const vdouble so_far = ridge + load_f64(sums + width);
            const vdouble scale = select(so_far > 0.0, so_far, splat(unseen * x * x));
            const vdouble step = select(scale > 0.0, x / scale, zero);
            const vdouble product = step * sgd_soft(load_f64(sums), threshold);
            store_f64(state->products + e * width + k, product);
            logits += product;
            reach += step * x;
        }
        store_f64(sample->logits + k, logits);
        store_f64(sample->reach + k, reach);
    }
}

/* sums += (slope + charged product) x, curvature += charged x^2, and where there is none, no less than `unseen` x^2 */
static void softmax_diagonal_update(const sparse_row *row, ptrdiff_t width, const double *slope, const double *charged,
                                    double unseen, double ridge, sgd_state *state) {
    const vdouble least = splat(unseen);
    for (ptrdiff_t e = 0; e < row->count; e++) {
        const double x = row->values[e], *product = state->products + e * width;
        double *v = state->models + row->columns[e] * (2 * width), *h = v + width;
        for (ptrdiff_t k = 0; k < width; k += LANES) {
            const vdouble c = load_f64(charged + k), so_far = load_f64(h + k);
            const vdouble larger = select(c > least, c, least);
            store_f64(v + k, load_f64(v + k) + (load_f64(slope + k) + c * load_f64(product + k)) * x);
            store_f64(h + k, so_far + select(ridge + so_far > 0.0, c, larger) * (x * x));
        }
    }
}

static double sgd_softmax_diagonal(const softmax_batches *all, const sgd_rule *rule, sgd_state *state) {
    const sgd_rows *rows = &all->rows;
    const ptrdiff_t width = all->width, n_classes = all->n_classes;
    double *row_of = all->scratch, *charged = row_of + 5 * width, *rate = row_of + 6 * width, loss = 0.0;
    softmax_sample sample = {.width = width, .n_classes = n_classes};
    sample.logits = row_of, sample.reach = row_of + width, sample.slope = row_of + 2 * width;
    sample.prob = row_of + 3 * width, sample.step = row_of + 4 * width;
    const double at_zero = (double)(n_classes - 1) / (double)(n_classes * n_classes); /* p (1 - p) */
    for (ptrdiff_t i = 0; i < rows->count; i++) {
        const sparse_row row = rows->rows[i];
        const double weight = rows->weight[i];
        sgd_ask(rows, i);
        if (weight == 0.0)
            continue;
        state->t += weight;
        sample.weight = weight;
        sample.label = all->target ? -1 : all->label[i];
        sample.target = all->target ? all->target + i * n_classes : NULL;
        memcpy(sample.logits, all->intercept, (size_t)width * sizeof(double));
        const double unseen = SGD_CURVATURE_SHARE * at_zero * weight, ridge = rule->l2 * state->t;
        softmax_diagonal_dots(&row, &sample, state, unseen, ridge, rule->l1 * state->t);
        memset(sample.slope, 0, (size_t)width * sizeof(double));
        const double value = softmax_proximal_value(&sample);
        loss += value;
        for (ptrdiff_t k = 0; k < n_classes; k++) {
            const double curvature = weight * sample.prob[k] * (1.0 - sample.prob[k]);
            charged[k] = SGD_CURVATURE_SHARE * curvature;
            all->intercept_curvature[k] += curvature;
            rate[k] = rule->intercept_rate / (all->intercept_curvature[k] + 0.25 * weight);
            sample.reach[k] += rate[k];
        }
        softmax_implicit_slope(&sample, value);
        softmax_diagonal_update(&row, width, sample.slope, charged, unseen, ridge, state);
        for (ptrdiff_t k = 0; k < n_classes; k++)
            all->intercept[k] += rate[k] * sample.slope[k];
    }
    return loss;
}
