/* Block primitives: everything fastlogreg does to a block of consecutive samples.
 *
 * What they own: nothing. They allocate nothing, raise nothing, hold no lock and know neither threads nor
 * objectives; the callers cut the samples into blocks, add up partial sums and own all memory.
 * One source (block_kernels_impl.h) is compiled once per instruction set; dispatch.pyx picks a table at import.
 * Values of X are float or double and are widened to double in registers, so every sum is a double.
 */
#ifndef FASTLOGREG_BLOCK_KERNELS_H
#define FASTLOGREG_BLOCK_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Panels and what is summed from them have rows of whole multiples of so many doubles. */
#define PANEL_ALIGNMENT 8

/* How X lies in memory; the layout fixes which of the fields are used. */
typedef struct {
    const void *values;     /* dense: X[0, 0]; CSR: the stored values */
    const void *columns;    /* CSR: the column of each stored value, any order, repeats add up */
    const void *row_starts; /* CSR: n_samples + 1 positions in values */
    ptrdiff_t n_samples;
    ptrdiff_t n_features;
    ptrdiff_t stride; /* dense: elements from one row (C order) or one column (F order) to the next */
} design_view;

typedef enum {
    C_ORDER_F64,
    C_ORDER_F32,
    F_ORDER_F64,
    F_ORDER_F32,
    CSR_F64_I32,
    CSR_F32_I32,
    CSR_F64_I64,
    CSR_F32_I64,
    N_LAYOUTS
} layout;

/* The dual of ``sum_i cost_i L_i + |w|^2 / 2``, whose variables are residuals p_i - q_i with q_i in [0, 1], and
 * the coefficients that they make: w = sum_i cost_i (p_i - q_i) (x_i - center), held as a sum over x_i and another. */
typedef struct {
    const double *target; /* p */
    const double *cost;   /* of zero: the sample is passed over */
    const double *center; /* where it is not NULL, center_dots are written first */
    double *center_dots;  /* x_i . center */
    double center_square; /* center . center */
    double give;          /* of the intercept, for a sum of variables */
    double *residual, *logits;
    double *coef;           /* sum_i cost_i (p_i - q_i) x_i */
    double intercept;       /* of centered columns, where the sum of variables is zero */
    double sum, center_dot; /* sum_i cost_i (p_i - q_i), and coef . center */
} dual_problem;

/* Coefficients, gradients, logits and residuals of K outputs are K rows, one after the other: `coef` and
 * `gradient` with n_features entries a row, `logits` and `residual` with their leading dimension given. */
typedef struct {
    /* logits_out[k, i] = intercept[k] + x_i . coef[k] for the block's samples */
    void (*logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs, const double *coef,
                   const double *intercept, double *logits_out, ptrdiff_t logits_stride);

    /* gradient[k, j] += sum_i residual[k, i] x_ij */
    void (*add_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n_outputs,
                         const double *residual, ptrdiff_t residual_stride, double *gradient);

    /* sums[j] += sum_i weight_i (x_ij - shift_j), squares[j] += sum_i weight_i (x_ij - shift_j)^2.
     * CSR takes shift = 0 and needs row_scratch: n_features zeros, zeros again on return. */
    void (*add_moments)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                        const double *shift, double *row_scratch, double *sums, double *squares);

    /* panel[i, j] = sqrt(weight_i) (x_ij - shift_j), panel[i, n_features] = sqrt(weight_i); rows `width` apart,
     * what is beyond n_features + 1 stays as it is. */
    void (*fill_panel)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                       const double *shift, ptrdiff_t width, double *panel);

    /* CSR: gram[j, l] += sum_i weight_i x_ij x_il for j <= l, n_features x n_features */
    void (*add_gram)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight, double *gram);

    /* CSR: a sweep of dual coordinate descent over blocks of block_rows samples: see csr_rows.h. Returns what the dual
     * objective fell by, in its second order. */
    double (*dual_sweep)(const design_view *X, ptrdiff_t n_blocks, const ptrdiff_t *blocks, ptrdiff_t block_rows,
                         dual_problem *dual);

    /* Many classes at once: coefficients and gradients have a row of `width` for each feature, logits and residuals one
     * for each sample of the block; width is a multiple of PANEL_ALIGNMENT.
     * logits_out[i, k] = intercept[k] + sum_j x_ij coef[j, k] */
    void (*class_logits)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width, const double *coef,
                         const double *intercept, double *logits_out);

    /* gradient[j, k] += sum_i x_ij residual[i, k] */
    void (*add_class_gradient)(const design_view *X, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width,
                               const double *residual, double *gradient);
} layout_kernels;

typedef struct {
    double loss, residual;
} block_sums;

typedef struct {
    const char *begin, *end;
} memory_range;

typedef struct {
    const double *values;
    const int32_t *columns;
    ptrdiff_t count;
} sparse_row;

/* Rows for stochastic steps. */
typedef struct {
    ptrdiff_t count;
    ptrdiff_t width;        /* dense: doubles a row, a multiple of PANEL_ALIGNMENT; CSR: columns of X */
    const double *values;   /* dense */
    const sparse_row *rows; /* CSR */
    const double *target;
    const double *weight;
    double *logits_out; /* before each step */
    ptrdiff_t n_ahead;  /* dense: while these rows are at work, so many ranges of memory are asked for */
    const memory_range *ahead;
} sgd_rows;

/* The same rows for steps of several samples each; dense or CSR as `layout` has them. */
typedef struct {
    sgd_rows rows;
    design_view X; /* dense: columns is NULL */
    const layout_kernels *layout;
    ptrdiff_t batch_size;
    double *residual; /* scratch, batch_size */
} sgd_batches;

typedef enum { SGD_CONSTANT, SGD_OPTIMAL, SGD_INVSCALING } sgd_schedule;

/* alpha belongs to the penalty alpha (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|^2), which l1 and l2 are the parts of. */
typedef struct {
    sgd_schedule schedule;
    double eta0, power_t, alpha, optimal_start;
    double l1, l2;
    double intercept_rate; /* of a coefficient's step: 0 without an intercept */
    double average;        /* the step from which coefficients are averaged, or 0 */
} sgd_rule;

typedef struct {
    double *coef, *average_coef, *had_l1, *pending_row; /* average_coef may be NULL, had_l1 without L1 */
    double scale, average_a, average_b;                 /* CSR and batches: of coef and average_coef */
    double shrink, move, share;                         /* dense single rows: the pending step, with pending_row */
    double intercept, average_intercept;
    double square, absolute; /* dense single rows: norms of the coefficients */
    double accrued_l1;
    double *curvature; /* of each column, for sgd_diagonal, whose coef holds sums */
    double *products;  /* its scratch, one for each entry of the longest row */
    double intercept_curvature;
    double penalty_sum; /* dense single rows: over samples */
    double t;
} sgd_state;

typedef struct {
    const char *isa;
    const layout_kernels *of_layout[N_LAYOUTS];

    /* Sigmoid cross-entropy of logits u against targets p in [0, 1]; loss, residual and curvature are multiplied by
     * weight. weight and each of the outputs may be NULL. Returns sums; the loss's is 0 when want_loss is 0. */
    block_sums (*bce)(ptrdiff_t n, const double *logits, const double *target, const double *weight, int want_loss,
                      double *loss_out, double *residual_out, double *curvature_out);

    /* gram += panel' panel in the upper triangle; both have rows of `width`, a multiple of PANEL_ALIGNMENT. What is
     * below the diagonal holds no meaning. */
    void (*add_rank_update)(ptrdiff_t count, ptrdiff_t width, const double *panel, double *gram);

    /* values *= factor; returns the sum of the products. */
    double (*multiply)(ptrdiff_t n, const double *factor, double *values);

    /* Sums of the cross-entropy along the line u(t) = from + t (to - from): sums_out = {loss, d loss / dt, d^2 loss /
     * dt^2}. */
    void (*bce_line)(ptrdiff_t n, const double *from, const double *to, double t, const double *target,
                     const double *weight, double *sums_out);

    /* sigma(u) and sigma(-u); either output may be NULL. */
    void (*sigmoid)(ptrdiff_t n, const double *logits, double *prob_out, double *complement_out);

    /* Softmax cross-entropy of logits (count x width; see softmax.h) against labels in [0, n_classes), or where `label`
     * is NULL against target probabilities (count x n_classes), times `weight`, which may be NULL. Writes the residuals
     * over the logits and returns the loss. */
    double (*softmax_loss)(ptrdiff_t count, ptrdiff_t width, ptrdiff_t n_classes, const ptrdiff_t *label,
                           const double *target, const double *weight, double *values);

    /* The classes' probabilities in place of their logits. */
    void (*softmax)(ptrdiff_t count, ptrdiff_t width, double *values);

    /* values_ik = weight_i prob_ik (values_ik - sum_l prob_il values_il), the Hessian in the logits times `values`;
     * `weight` may be NULL. */
    void (*softmax_product)(ptrdiff_t count, ptrdiff_t width, const double *prob, const double *weight, double *values);

    /* sums[k] += sum_i values[i, k] */
    void (*add_rows)(ptrdiff_t count, ptrdiff_t width, const double *values, double *sums);

    /* Stochastic gradient steps in the rows' order: one a row, or one a batch, which returns the sum of the losses. */
    void (*sgd_dense)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);
    void (*sgd_csr)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);
    double (*sgd_by_batches)(const sgd_batches *batches, const sgd_rule *rule, sgd_state *state);
    void (*sgd_diagonal)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);
} block_kernels;

/* The table for an instruction set, or NULL when this build or this machine lacks it. */
const block_kernels *block_kernels_named(const char *isa);

/* The instruction sets in rising order of preference, ended by NULL. */
extern const char *const block_kernels_names[];

#endif
