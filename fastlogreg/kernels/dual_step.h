/* Dual coordinate descent for logistic regression (Yu, Huang and Lin 2011), in logits.
 *
 * With everything else fixed, the dual objective of sample i is least where its probability q = sigma(theta) belongs
 * to the logit that the coefficients then give it,
 *
 *   theta + K (q - q_0) = u,   K = cost_i (|x_i - center|^2 + give),
 *
 * u being its logit at the q_0 it had. The left side rises with theta, convex below zero and concave above: Newton's
 * steps that do not cross zero to the wrong side of it converge from anywhere. */

/* Rows of the next block that are asked for: enough to be on their way before the first is needed. */
#define PREFETCHED_ROWS 2
/* Newton's steps end with one shorter than this: the error left is about the square of it. */
#define LAST_DUAL_STEP 1e-3
#define MAX_DUAL_STEPS 50

static inline double scalar_sigmoid(double u) { return 1.0 / (1.0 + exp(-u)); }

/* Whether to skip sample i in this sweep. */
static inline int passes_over(dual_problem *dual, ptrdiff_t i) {
    if (dual->cost[i] == 0.0)
        return 1;
    if (!(dual->gains[i] != PASSED_OVER && dual->gains[i] < dual->least_gain))
        return 0;
    dual->gains[i] = PASSED_OVER;
    return 1;
}

/* Moves the residual and the sums of it, adds to the sums of the sweep, and returns what is to be added to the
 * coefficients in units of x_i. */
static inline double dual_step(dual_problem *dual, ptrdiff_t i, double x_dot, double x_square, dual_sweep_sums *sums) {
    const double cost = dual->cost[i];
    const double p = dual->target[i], center_dot = dual->center_dots[i], before = dual->logits[i];
    const double off_center = x_dot - dual->sum * center_dot - dual->center_dot + dual->sum * dual->center_square;
    const double u = off_center + dual->intercept + dual->give * dual->sum;
    const double square = x_square - 2.0 * center_dot + dual->center_square;
    const double K = cost * ((square > 0.0 ? square : 0.0) + dual->give);
    const double q_before = p - dual->residual[i];
    const int positive = K * (0.5 - q_before) < u;
    double theta = positive == (before > 0.0) ? before : 0.0;
    for (int step = 0; step < MAX_DUAL_STEPS; step++) {
        const double q = scalar_sigmoid(theta);
        double next = theta - (theta + K * (q - q_before) - u) / (1.0 + K * q * (1.0 - q));
        if (positive != (next > 0.0))
            next = 0.0;
        const double moved = fabs(next - theta);
        theta = next;
        if (moved < LAST_DUAL_STEP)
            break;
    }
    /* p - q, of labels without cancellation */
    const double residual = p > 0.5 ? scalar_sigmoid(-theta) - (1.0 - p) : p - scalar_sigmoid(theta);
    const double step = cost * (residual - dual->residual[i]);
    const double gain = 0.5 * (before - u) * step;
    dual->gains[i] = gain > 0.0 ? gain : 0.0;
    sums->gain += gain;
    sums->gap += 0.5 * cost * q_before * ((1.0 - p) + dual->residual[i]) * (before - u) * (before - u);
    dual->residual[i] = residual;
    dual->logits[i] = theta;
    dual->sum += step;
    dual->center_dot += step * center_dot;
    return step;
}
