/* Softmax cross-entropy of the logits u of a sample's classes against target probabilities p, which sum to one:
 *
 *   loss      sum_k p_k (log sum_l exp(u_l) - u_k) = sum_k p_k (m - u_k) + log1p(sum_l exp(u_l - m) - 1),  m = max u
 *   residual  softmax(u)_k - p_k
 *
 * All terms of the loss are positive, and the sum under log1p is taken without the one that is 1, so nothing cancels.
 * For a label, the residual of its class is minus the sum of the others.
 *
 * A block holds `count` samples of `width` doubles, a multiple of PANEL_ALIGNMENT; classes beyond n_classes are padding
 * with logits of -infinity, and so with probabilities and residuals of zero. */

static inline double largest_of_row(ptrdiff_t width, const double *values) {
    vdouble largest = load_f64(values);
    for (ptrdiff_t k = LANES; k < width; k += LANES) {
        const vdouble v = load_f64(values + k);
        largest = select(v > largest, v, largest);
    }
    double of_all = largest[0];
    for (int lane = 1; lane < LANES; lane++)
        of_all = largest[lane] > of_all ? largest[lane] : of_all;
    return of_all;
}

static inline double sum_of_row(ptrdiff_t width, const double *values) {
    vdouble sum = {0};
    for (ptrdiff_t k = 0; k < width; k += LANES)
        sum += load_f64(values + k);
    return sum_of_lanes(&sum);
}

/* values = exp(values - m), m being the largest, which is returned. */
static inline double exponentials_of_row(ptrdiff_t width, double *values) {
    const double largest = largest_of_row(width, values);
    for (ptrdiff_t k = 0; k < width; k += LANES)
        store_f64(values + k, exp_nonpositive(load_f64(values + k) - largest));
    return largest;
}

static inline void scale_row(ptrdiff_t width, double factor, double *values) {
    for (ptrdiff_t k = 0; k < width; k += LANES)
        store_f64(values + k, factor * load_f64(values + k));
}

/* The sum of a row of exponentials without one that is 1. */
static inline double sum_beside_largest(ptrdiff_t width, double *values) {
    ptrdiff_t k = 0;
    while (k + 1 < width && values[k] != 1.0)
        k++;
    const double largest = values[k];
    values[k] = 0.0;
    const double sum = sum_of_row(width, values);
    values[k] = largest;
    return sum + (largest - 1.0); /* NaN where the row holds one */
}

/* One sample of softmax_loss: the residual in place of the logits, the loss without its log1p, and in *excess what
 * log1p is to be taken of. */
static inline double residual_of_label(ptrdiff_t width, ptrdiff_t label, double weight, double *values,
                                       double *excess) {
    const double of_label = values[label];
    const double largest = exponentials_of_row(width, values);
    const double exponential = values[label];
    values[label] = 0.0;
    const double others = sum_of_row(width, values);
    *excess = others + (exponential - 1.0);
    scale_row(width, weight / (others + exponential), values);
    values[label] = -weight * (others / (others + exponential));
    return largest - of_label;
}

static inline double residual_of_target(ptrdiff_t width, ptrdiff_t n_classes, const double *target, double weight,
                                        double *values, double *excess) {
    const double largest = largest_of_row(width, values);
    double linear = 0.0;
    for (ptrdiff_t k = 0; k < n_classes; k++)
        linear += target[k] * (largest - values[k]);
    exponentials_of_row(width, values);
    *excess = sum_beside_largest(width, values);
    scale_row(width, weight / (1.0 + *excess), values);
    for (ptrdiff_t k = 0; k < n_classes; k++)
        values[k] -= weight * target[k];
    return linear;
}

static double softmax_loss(ptrdiff_t count, ptrdiff_t width, ptrdiff_t n_classes, const ptrdiff_t *label,
                           const double *target, const double *weight, double *values) {
    double linear = 0.0;
    vdouble logarithms = {0};
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        double excess[LANES] = {0}, weights[LANES] = {0};
        for (ptrdiff_t r = 0; r < LANES && i + r < count; r++) {
            double *row = values + (i + r) * width;
            weights[r] = weight ? weight[i + r] : 1.0;
            linear += weights[r] * (label ? residual_of_label(width, label[i + r], weights[r], row, excess + r)
                                          : residual_of_target(width, n_classes, target + (i + r) * n_classes,
                                                               weights[r], row, excess + r));
        }
        logarithms += load_f64(weights) * log1p_nonnegative(load_f64(excess));
    }
    return linear + sum_of_lanes(&logarithms);
}

static void softmax(ptrdiff_t count, ptrdiff_t width, double *values) {
    for (ptrdiff_t i = 0; i < count; i++, values += width) {
        exponentials_of_row(width, values);
        scale_row(width, 1.0 / sum_of_row(width, values), values);
    }
}

/* values = weight_i prob_k (values_k - sum_l prob_l values_l): the Hessian of the loss in the logits times `values`. */
static void softmax_product(ptrdiff_t count, ptrdiff_t width, const double *prob, const double *weight,
                            double *values) {
    for (ptrdiff_t i = 0; i < count; i++, prob += width, values += width) {
        vdouble products = {0};
        for (ptrdiff_t k = 0; k < width; k += LANES)
            products += load_f64(prob + k) * load_f64(values + k);
        const double mean = sum_of_lanes(&products), s = weight ? weight[i] : 1.0;
        for (ptrdiff_t k = 0; k < width; k += LANES)
            store_f64(values + k, s * load_f64(prob + k) * (load_f64(values + k) - mean));
    }
}

/* sums[k] += sum_i values[i, k] */
static void add_rows(ptrdiff_t count, ptrdiff_t width, const double *values, double *sums) {
    for (ptrdiff_t k = 0; k < width; k += LANES) {
        vdouble sum = load_f64(sums + k);
        for (ptrdiff_t i = 0; i < count; i++)
            sum += load_f64(values + i * width + k);
        store_f64(sums + k, sum);
    }
}

/* sums += factor values, one row */
static inline void add_multiple(ptrdiff_t width, double factor, const double *values, double *sums) {
    for (ptrdiff_t k = 0; k < width; k += LANES)
        store_f64(sums + k, load_f64(sums + k) + factor * load_f64(values + k));
}
