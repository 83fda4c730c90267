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

/* The rows of panels, and of the matrices summed from them, hold a multiple of eight doubles: whole vectors. */
#define PANEL_ALIGNMENT 8

/* Where columns are contiguous, entries are collected from 128 rows at a time: a kilobyte of each column. */
#define ENTRY_ROWS 128

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
    CSR_ONES_I32, /* all entries are one: values are not read */
    CSR_ONES_I64,
    N_LAYOUTS
} layout;

/* Where the products of a row's entries belong in X' diag(weight) X with a dense block of n_block columns and sparse
 * rows for the others, the rare ones: see fastlogreg/data/sparse_gram.pyx. If some row has entries in a rare column and
 * a column of the block, the rare column's bit for that is set; a rare column before it is then among its pairs. */
typedef struct {
    ptrdiff_t n_block, n_rare;
    const int32_t *places; /* of each column of X: below n_block in the block, from there on among the rare ones */
    ptrdiff_t n_words;
    uint64_t *words;            /* n_rare x n_words, a bit for each column of the block */
    const int32_t *ranks;       /* n_rare x n_words, the bits set before a word */
    const int64_t *link_starts; /* of each rare column's values with the block */
    const int32_t *link_columns;
    const int64_t *pair_starts; /* of each rare column's products with rare ones before it */
    const int32_t *pair_columns;
    const ptrdiff_t *first_pairs; /* in X up to each eighth row */
    const int32_t *pair_places;   /* of two rare columns in a row, one row after the other */
} sparse_pattern;

/* Columns that `sweep_links` takes at once: a divisor of the 64 bits of a word. */
#define LINK_PANEL 16

/* Sums of products: the block with a last column of ones in its upper triangle, ((n_block + 1) squared); of the rare
 * columns the squares and the sums, and their products with the block and with one another. */
typedef struct {
    double *block, *squares, *sums, *links, *pairs;
} sparse_products;

/* The dual of ``sum_i cost_i L_i + |w|^2 / 2``, whose variables are residuals p_i - q_i with q_i in [0, 1], and
 * the coefficients that they make: w = sum_i cost_i (p_i - q_i) (x_i - center), held as a sum over x_i and another. */
typedef struct {
    const double *target; /* p */
    const double *cost;   /* a sample of cost zero is skipped */
    const double *center; /* where it is not NULL, center_dots are written first */
    double *center_dots;  /* x_i . center */
    double center_square; /* center . center */
    double give;          /* what the intercept gives way by, times the sum of variables */
    double *residual, *logits;
    double *coef;           /* sum_i cost_i (p_i - q_i) x_i */
    double intercept;       /* of centered columns, where the sum of variables is zero */
    double sum, center_dot; /* sum_i cost_i (p_i - q_i), and coef . center */
    double *gains;          /* of each sample's latest visit, or PASSED_OVER */
    double least_gain;      /* a sample whose latest gain is less is skipped, but not twice in a row */
} dual_problem;

#define PASSED_OVER (-1.0)

/* What a sweep of the dual did. */
typedef struct {
    double gain;                   /* what the dual objective fell by, to second order */
    double gap;                    /* the sum of each sample's duality gap before its visit, to second order */
    ptrdiff_t n_visits, n_entries; /* samples visited, and their entries */
} dual_sweep_sums;

/* Coefficients, gradients, logits and residuals of K outputs are K rows, one after the other: `coef` and
 * `gradient` with n_features entries in a row, `logits` and `residual` with their leading dimension given. */
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
     * what is beyond n_features + 1 stays as it is, or becomes 0. */
    void (*fill_panel)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                       const double *shift, ptrdiff_t width, double *panel);

    /* Dense: gram[j, l] += sum_i weight_i z_ij z_il for j <= l, rows `width` > n_features apart, z_i = (x_i - shift,
     * 1). Zeros in z take only the time of reading them. columns, values: scratch, ENTRY_ROWS x width each. */
    void (*add_gram_of_entries)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                                const double *shift, ptrdiff_t width, int32_t *columns, double *values, double *gram);

    /* CSR: gram[j, l] += sum_i weight_i x_ij x_il for j <= l, n_features x n_features */
    void (*add_gram)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight, double *gram);

    /* CSR: sets the bits of the block's columns that rare ones meet, and writes n_rare times the later plus the earlier
     * of each two rare columns in a row. Returns the number of pairs, or -1 where there are more than `room`. `row` is
     * scratch for the longest row and one entry more. */
    ptrdiff_t (*mark_pairs)(const design_view *X, const sparse_pattern *pattern, int32_t *row,
                            ptrdiff_t *first_pairs_out, int64_t *pairs_out, ptrdiff_t room);

    /* CSR: products += those of the samples' entries, times their weights; `first` is a multiple of 8. `row_values` and
     * `row` are scratch for twice the longest row and one entry more. */
    void (*add_sparse_gram)(const design_view *X, ptrdiff_t first, ptrdiff_t count, const double *weight,
                            const sparse_pattern *pattern, double *row_values, int32_t *row,
                            const sparse_products *products);

    /* CSR: a sweep of dual coordinate descent over blocks of block_rows samples: see csr_rows.h. */
    dual_sweep_sums (*dual_sweep)(const design_view *X, ptrdiff_t n_blocks, const ptrdiff_t *blocks,
                                  ptrdiff_t block_rows, dual_problem *dual);

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

/* Targets of consecutive samples: labels 0 and 1, or probabilities where `label` is NULL. */
typedef struct {
    const double *prob;
    const uint8_t *label;
} targets;

static inline targets targets_from(targets all, ptrdiff_t first) {
    if (all.label)
        return (targets){NULL, all.label + first};
    return (targets){all.prob + first, NULL};
}

static inline double target_of(targets all, ptrdiff_t i) { return all.label ? (double)all.label[i] : all.prob[i]; }

/* A row of X: `columns` is NULL where it is dense. */
typedef struct {
    const double *values;
    const int32_t *columns;
    ptrdiff_t count;
} sparse_row;

/* Rows for stochastic steps, all dense or all CSR. */
typedef struct {
    ptrdiff_t count;
    ptrdiff_t width;        /* columns of X */
    const sparse_row *rows; /* count, and n_ahead more that will come after them and may be asked for */
    ptrdiff_t n_ahead;
    ptrdiff_t ahead; /* the rows before its turn at which a row is asked for */
    const double *target;
    const double *weight;
    double *logits_out; /* before each step; of the last batch alone where steps take several samples */
    ptrdiff_t batch_size;
    double *residual; /* scratch, batch_size */
} sgd_rows;

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
    double *coef, *average_coef; /* rows of whole vectors, padded with 0; the average may be NULL */
    double *had_l1, *pending_row;
    double scale, average_a, average_b; /* CSR and batches: of coef and average_coef */
    double shrink, move, share;         /* dense single rows: the pending step, with pending_row */
    double intercept, average_intercept;
    double square, absolute; /* dense single rows: norms of the coefficients */
    double accrued_l1;
    double *models;   /* sgd_diagonal, in place of coef: each column's sum and curvature, of classes a row of each */
    double *products; /* its scratch, two for each entry of the longest row in whole vectors */
    double intercept_curvature;
    double penalty_sum; /* dense single rows: over samples */
    double t;
} sgd_state;

/* The same for several classes: coefficients, and what goes with each, have a row of `width` for each feature, and
 * intercepts one, -infinity beyond n_classes. Of `rows`, target and residual stay unused; logits_out has room for a
 * batch's rows of `width`. */
typedef struct {
    sgd_rows rows;
    design_view X; /* sgd_softmax: the same rows, copied */
    const layout_kernels *layout;
    ptrdiff_t n_classes, width;
    const ptrdiff_t *label;
    const double *target; /* n_classes a row, where there are no labels; sgd_softmax_diagonal only */
    const double *zeros;  /* width */
    double *intercept;
    double *average_intercept;   /* may be NULL */
    double *intercept_curvature; /* sgd_softmax_diagonal, whose scratch is 7 x width of zeros */
    double *scratch;
} softmax_batches;

typedef struct {
    const char *isa;
    const layout_kernels *of_layout[N_LAYOUTS];

    /* Sigmoid cross-entropy of logits u against targets p in [0, 1]; loss, residual and curvature are multiplied by
     * weight. weight and each of the outputs may be NULL. Returns sums; the loss's is 0 when want_loss is 0. */
    block_sums (*bce)(ptrdiff_t n, const double *logits, targets target, const double *weight, int want_loss,
                      double *loss_out, double *residual_out, double *curvature_out);

    /* gram += panel' panel in the upper triangle; both have rows of `width`, a multiple of PANEL_ALIGNMENT. What is
     * below the diagonal holds no meaning. */
    void (*add_rank_update)(ptrdiff_t count, ptrdiff_t width, const double *panel, double *gram);

    /* For LINK_PANEL of the block's columns and ones, from `first` on: their links with the rare columns go through a
     * symmetric Gauss-Seidel sweep with this diagonal, and the products of the result with the links of the whole block
     * and ones are written (n_block + 1, LINK_PANEL). `sweep` is scratch, n_rare rows of LINK_PANEL. */
    void (*sweep_links)(const sparse_pattern *pattern, const sparse_products *of, const double *diagonal,
                        ptrdiff_t first, double *sweep, double *products_out);

    /* values *= factor; returns the sum of the products. */
    double (*multiply)(ptrdiff_t n, const double *factor, double *values);

    /* Sums of the cross-entropy along the line u(t) = from + t (to - from): sums_out = {loss, d loss / dt, d^2 loss /
     * dt^2}. */
    void (*bce_line)(ptrdiff_t n, const double *from, const double *to, double t, targets target, const double *weight,
                     double *sums_out);

    /* sigma(u) and sigma(-u); either output may be NULL. */
    void (*sigmoid)(ptrdiff_t n, const double *logits, double *prob_out, double *complement_out);

    /* upper_out[i] = labels[i] == upper. Returns whether all are lower or upper. */
    int (*tell_apart)(ptrdiff_t n, const int64_t *labels, int64_t lower, int64_t upper, uint8_t *upper_out);

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

    /* Stochastic steps in the rows' order, one for each row or batch; all return the sum of the losses before them. */
    double (*sgd_dense)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);
    double (*sgd_csr)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);
    double (*sgd_by_batches)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);
    double (*sgd_diagonal)(const sgd_rows *rows, const sgd_rule *rule, sgd_state *state);

    /* The same for the softmax of several classes, by batches or row by row; both return the sum of the losses. */
    double (*sgd_softmax)(const softmax_batches *batches, const sgd_rule *rule, sgd_state *state);
    double (*sgd_softmax_diagonal)(const softmax_batches *batches, const sgd_rule *rule, sgd_state *state);
} block_kernels;

/* The table for an instruction set, or NULL when this build or this machine lacks it. */
const block_kernels *block_kernels_named(const char *isa);

/* The instruction sets in rising order of preference, ended by NULL. */
extern const char *const block_kernels_names[];

#endif
