/* Sigmoid cross-entropy of a logit u against a target probability p, from one exponential e = exp(-|u|):
 *
 *   loss       L(u)   = log1p(e) + |u| (u >= 0 ? 1 - p : p)
 *   residual   L'(u)  = (1 - p) sigma(u) - p sigma(-u),  with s = 1 / (1 + e), sigma(|u|) = s and sigma(-|u|) = e s
 *   curvature  L''(u) = e s^2
 *
 * Neither a difference of nearly equal numbers (for p = 0 and 1) nor an overflow can occur. */

typedef struct {
    vdouble loss, residual, curvature;
} cross_entropy;

static inline __attribute__((always_inline)) cross_entropy cross_entropy_of(vdouble u, vdouble p, int want_loss) {
    const vdouble size = absolute(u);
    const vint positive = u >= 0.0;
    const vdouble e = exp_nonpositive(-size);
    const vdouble s = 1.0 / (1.0 + e);
    const vdouble q = 1.0 - p;
    cross_entropy at = {{0}, {0}, {0}};
    if (want_loss)
        at.loss = log1p_unit(e) + size * select(positive, q, p);
    at.residual = s * select(positive, q - p * e, q * e - p);
    at.curvature = e * s * s;
    return at;
}

/* Multiplied by the weights; lanes past the end of the samples get weight 0. */
static inline cross_entropy weighted(cross_entropy at, const double *weight, ptrdiff_t i, ptrdiff_t n) {
    const vdouble ones = splat(1.0);
    if (!weight && n - i >= LANES)
        return at;
    const vdouble s = load_first(weight ? weight + i : (const double *)&ones, n - i);
    return (cross_entropy){at.loss * s, at.residual * s, at.curvature * s};
}

static block_sums bce(ptrdiff_t n, const double *logits, const double *target, const double *weight, int want_loss,
                      double *loss_out, double *residual_out, double *curvature_out) {
    vdouble loss = {0}, residual = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vdouble u = load_first(logits + i, n - i), p = load_first(target + i, n - i);
        const cross_entropy at = weighted(cross_entropy_of(u, p, want_loss), weight, i, n);
        loss += at.loss;
        residual += at.residual;
        if (loss_out)
            store_first(loss_out + i, at.loss, n - i);
        if (residual_out)
            store_first(residual_out + i, at.residual, n - i);
        if (curvature_out)
            store_first(curvature_out + i, at.curvature, n - i);
    }
    return (block_sums){sum_of_lanes(&loss), sum_of_lanes(&residual)};
}

static double multiply(ptrdiff_t n, const double *factor, double *values) {
    vdouble sum = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vdouble product = load_first(values + i, n - i) * load_first(factor + i, n - i);
        store_first(values + i, product, n - i);
        sum += product;
    }
    return sum_of_lanes(&sum);
}

static void bce_line(ptrdiff_t n, const double *from, const double *to, double t, const double *target,
                     const double *weight, double *sums_out) {
    vdouble loss = {0}, slope = {0}, curvature = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vdouble start = load_first(from + i, n - i), p = load_first(target + i, n - i);
        const vdouble direction = load_first(to + i, n - i) - start;
        const cross_entropy at = weighted(cross_entropy_of(start + t * direction, p, 1), weight, i, n);
        loss += at.loss;
        slope += at.residual * direction;
        curvature += at.curvature * direction * direction;
    }
    sums_out[0] = sum_of_lanes(&loss);
    sums_out[1] = sum_of_lanes(&slope);
    sums_out[2] = sum_of_lanes(&curvature);
}

static void sigmoid(ptrdiff_t n, const double *logits, double *prob_out, double *complement_out) {
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vdouble u = load_first(logits + i, n - i);
        const vint positive = u >= 0.0;
        const vdouble e = exp_nonpositive(-absolute(u));
        const vdouble s = 1.0 / (1.0 + e);
        if (prob_out)
            store_first(prob_out + i, select(positive, s, e * s), n - i);
        if (complement_out)
            store_first(complement_out + i, select(positive, e * s, s), n - i);
    }
}
