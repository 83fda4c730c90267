/* Sigmoid cross-entropy of a logit u against a target probability p, from one exponential e = exp(-|u|):
 *
 *   loss       L(u)   = log1p(e) + |u| (u >= 0 ? 1 - p : p)
 *   residual   L'(u)  = (1 - p) sigma(u) - p sigma(-u) = (u >= 0 ? (1 - p) - a : a - p)
 *   curvature  L''(u) = a - a^2
 *
 * with a = sigma(-|u|) = e / (1 + e) <= 1/2.
 *
 * Nothing overflows, and for labels (p = 0 and 1) nothing cancels. Where the residual of a soft target is small beside
 * its two terms, it is computed again by exact_residual.h. */

typedef struct {
    vdouble loss, residual, curvature;
    vdouble e, linear; /* the loss is log1p(e) + linear */
} cross_entropy;

static inline __attribute__((always_inline)) cross_entropy cross_entropy_of(vdouble u, vdouble p, int want_loss) {
    const vdouble size = absolute(u);
    const vint positive = u >= 0.0;
    const vdouble e = exp_nonpositive(-size);
    const vdouble s = 1.0 / (1.0 + e);
    const vdouble q = 1.0 - p;
    const vdouble a = e * s;
    cross_entropy at = {{0}, select(positive, q - a, a - p), a - a * a, e, size * select(positive, q, p)};
    if (want_loss)
        at.loss = log1p_unit(e) + at.linear;
    return at;
}

/* Of samples i to i + count, at most LANES. */
static inline vdouble load_targets(targets target, ptrdiff_t i, ptrdiff_t count) {
    return target.label ? load_bytes(target.label + i, count) : load_first(target.prob + i, count);
}

/* Multiplied by the weights of `count` samples; lanes past them get weight 0. */
static inline __attribute__((always_inline)) cross_entropy weighted(cross_entropy at, const double *weight,
                                                                    ptrdiff_t count) {
    if (!weight && count == LANES)
        return at;
    const vdouble ones = splat(1.0);
    const vdouble s = load_first(weight ? weight : (const double *)&ones, count);
    at.loss *= s;
    at.residual *= s;
    at.curvature *= s;
    return at;
}

static inline vdouble sigmoid_of(vdouble u) {
    const vdouble e = exp_nonpositive(-absolute(u));
    const vdouble s = 1.0 / (1.0 + e);
    return select(u >= 0.0, s, e * s);
}

/* Writes the residuals of soft targets again, with full accuracy where they cancel, and returns the sum of all. */
static __attribute__((noinline)) double repair_residuals(ptrdiff_t n, const double *logits, const double *prob,
                                                         const double *weight, double *residual_out) {
    vdouble sum = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vdouble u = load_first(logits + i, n - i), p = load_first(prob + i, n - i);
        cross_entropy at = cross_entropy_of(u, p, 0);
        /* Below half of one of its two terms, their roundings could add up to 4 units in the last place. */
        const vdouble size = absolute(at.residual), a = sigmoid_of(-absolute(u));
        const vint cancels = (size < 0.5 * a) | (size < 0.5 * select(u >= 0.0, 1.0 - p, p));
        if (any_lane(cancels))
            at.residual = select(cancels, exact_residual(u, p), at.residual);
        at = weighted(at, weight ? weight + i : NULL, n - i < LANES ? n - i : LANES);
        sum += at.residual;
        store_first(residual_out + i, at.residual, n - i);
    }
    return sum_of_lanes(&sum);
}

typedef struct {
    vdouble loss, residual;
    vdouble softness; /* sum of p (1 - p): 0 for labels alone */
} bce_sums;

/* One vector of `bce`: samples i to i + count, count <= LANES. */
static inline __attribute__((always_inline)) void bce_vector(ptrdiff_t i, ptrdiff_t count, const double *logits,
                                                             targets target, const double *weight, int want_loss,
                                                             double *loss_out, double *residual_out,
                                                             double *curvature_out, bce_sums *sums) {
    const vdouble u = load_first(logits + i, count), p = load_targets(target, i, count);
    const cross_entropy at = weighted(cross_entropy_of(u, p, want_loss), weight ? weight + i : NULL, count);
    sums->loss += at.loss;
    sums->residual += at.residual;
    sums->softness += p * (1.0 - p);
    if (loss_out)
        store_first(loss_out + i, at.loss, count);
    if (residual_out)
        store_first(residual_out + i, at.residual, count);
    if (curvature_out)
        store_first(curvature_out + i, at.curvature, count);
}

/* Factors 1 + e <= 2 that are multiplied before a logarithm is taken. */
#define PRODUCT_TERMS 16

/* `bce` of whole vectors of samples that all weigh one, where only the sum of the losses is wanted: the logarithms of
 * products of 1 + e. What a product exceeds one by grows by terms that are positive, (1 + above) (1 + e) - 1 = above +
 * e (1 + above), so that sums of small losses keep their digits. */
static inline __attribute__((always_inline)) void bce_of_ones(ptrdiff_t n, const double *logits, targets target,
                                                              double *residual_out, double *curvature_out,
                                                              bce_sums *sums) {
    for (ptrdiff_t i = 0; i < n;) {
        const ptrdiff_t end = i + PRODUCT_TERMS * LANES < n ? i + PRODUCT_TERMS * LANES : n;
        vdouble above = {0};
        for (; i < end; i += LANES) {
            const vdouble p = load_targets(target, i, LANES);
            const cross_entropy at = cross_entropy_of(load_f64(logits + i), p, 0);
            above += at.e * (1.0 + above);
            sums->loss += at.linear;
            sums->residual += at.residual;
            sums->softness += p * (1.0 - p);
            if (residual_out)
                store_f64(residual_out + i, at.residual);
            if (curvature_out)
                store_f64(curvature_out + i, at.curvature);
        }
        sums->loss += log1p_nonnegative(above);
    }
}

static block_sums bce(ptrdiff_t n, const double *logits, targets target, const double *weight, int want_loss,
                      double *loss_out, double *residual_out, double *curvature_out) {
    bce_sums sums = {{0}, {0}, {0}};
    ptrdiff_t i = 0;
    if (want_loss && !weight && !loss_out) {
        i = n - n % LANES;
        bce_of_ones(i, logits, target, residual_out, curvature_out, &sums);
    }
    for (; i + LANES <= n; i += LANES)
        bce_vector(i, LANES, logits, target, weight, want_loss, loss_out, residual_out, curvature_out, &sums);
    if (i < n)
        bce_vector(i, n - i, logits, target, weight, want_loss, loss_out, residual_out, curvature_out, &sums);
    block_sums totals = {sum_of_lanes(&sums.loss), sum_of_lanes(&sums.residual)};
    if (residual_out && sum_of_lanes(&sums.softness) != 0.0)
        totals.residual = repair_residuals(n, logits, target.prob, weight, residual_out);
    return totals;
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

static void bce_line(ptrdiff_t n, const double *from, const double *to, double t, targets target, const double *weight,
                     double *sums_out) {
    vdouble loss = {0}, slope = {0}, curvature = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const vdouble start = load_first(from + i, n - i), p = load_targets(target, i, n - i);
        const vdouble direction = load_first(to + i, n - i) - start;
        const cross_entropy at = weighted(cross_entropy_of(start + t * direction, p, 1), weight ? weight + i : NULL,
                                          n - i < LANES ? n - i : LANES);
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
        if (prob_out)
            store_first(prob_out + i, sigmoid_of(u), n - i);
        if (complement_out)
            store_first(complement_out + i, sigmoid_of(-u), n - i);
    }
}
