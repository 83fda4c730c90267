from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef extern from "block_kernels.h" nogil:
    Py_ssize_t PANEL_ALIGNMENT
    Py_ssize_t ENTRY_ROWS
    Py_ssize_t LINK_PANEL

    ctypedef struct design_view:
        const void *values
        const void *columns
        const void *row_starts
        Py_ssize_t n_samples
        Py_ssize_t n_features
        Py_ssize_t stride

    cdef enum:
        C_ORDER_F64
        C_ORDER_F32
        F_ORDER_F64
        F_ORDER_F32
        CSR_F64_I32
        CSR_F32_I32
        CSR_F64_I64
        CSR_F32_I64
        CSR_ONES_I32
        CSR_ONES_I64

    ctypedef struct sparse_pattern:
        Py_ssize_t n_block, n_rare
        const int32_t *places
        Py_ssize_t n_words
        uint64_t *words
        const int32_t *ranks
        const int64_t *link_starts
        const int32_t *link_columns
        const int64_t *pair_starts
        const int32_t *pair_columns
        const Py_ssize_t *first_pairs
        const int32_t *pair_places

    ctypedef struct sparse_products:
        double *block
        double *squares
        double *sums
        double *links
        double *pairs

    ctypedef struct dual_problem:
        const double *target
        const double *cost
        const double *center
        double *center_dots
        double center_square
        double give
        double *residual
        double *logits
        double *coef
        double intercept
        double sum
        double center_dot
        double *gains
        double least_gain

    ctypedef struct dual_sweep_sums:
        double gain
        double gap
        Py_ssize_t n_visits
        Py_ssize_t n_entries

    ctypedef struct layout_kernels:
        void (*logits)(const design_view *, Py_ssize_t first, Py_ssize_t count, Py_ssize_t n_outputs,
                       const double *coef, const double *intercept, double *logits_out,
                       Py_ssize_t logits_stride) noexcept nogil
        void (*add_gradient)(const design_view *, Py_ssize_t first, Py_ssize_t count, Py_ssize_t n_outputs,
                             const double *residual, Py_ssize_t residual_stride, double *gradient) noexcept nogil
        void (*add_moments)(const design_view *, Py_ssize_t first, Py_ssize_t count, const double *weight,
                            const double *shift, double *row_scratch, double *sums, double *squares) noexcept nogil
        void (*fill_panel)(const design_view *, Py_ssize_t first, Py_ssize_t count, const double *weight,
                           const double *shift, Py_ssize_t width, double *panel) noexcept nogil
        void (*add_gram_of_entries)(const design_view *, Py_ssize_t first, Py_ssize_t count, const double *weight,
                                    const double *shift, Py_ssize_t width, int32_t *columns, double *values,
                                    double *gram) noexcept nogil
        void (*add_gram)(const design_view *, Py_ssize_t first, Py_ssize_t count, const double *weight,
                         double *gram) noexcept nogil
        Py_ssize_t (*mark_pairs)(const design_view *, const sparse_pattern *, int32_t *row,
                                 Py_ssize_t *first_pairs_out, int64_t *pairs_out, Py_ssize_t room) noexcept nogil
        void (*add_sparse_gram)(const design_view *, Py_ssize_t first, Py_ssize_t count, const double *weight,
                                const sparse_pattern *, double *row_values, int32_t *row,
                                const sparse_products *) noexcept nogil
        void (*class_logits)(const design_view *, Py_ssize_t first, Py_ssize_t count, Py_ssize_t width,
                             const double *coef, const double *intercept, double *logits_out) noexcept nogil
        void (*add_class_gradient)(const design_view *, Py_ssize_t first, Py_ssize_t count, Py_ssize_t width,
                                   const double *residual, double *gradient) noexcept nogil
        dual_sweep_sums (*dual_sweep)(const design_view *, Py_ssize_t n_blocks, const Py_ssize_t *blocks,
                                      Py_ssize_t block_rows, dual_problem *dual) noexcept nogil

    ctypedef struct block_sums:
        double loss
        double residual

    ctypedef struct targets:
        const double *prob
        const uint8_t *label

    targets targets_from(targets all, Py_ssize_t first)
    double target_of(targets all, Py_ssize_t i)

    ctypedef struct sparse_row:
        const double *values
        const int32_t *columns
        Py_ssize_t count

    ctypedef struct sgd_rows:
        Py_ssize_t count
        Py_ssize_t width
        const sparse_row *rows
        Py_ssize_t n_ahead
        Py_ssize_t ahead
        const double *target
        const double *weight
        double *logits_out
        Py_ssize_t batch_size
        double *residual

    ctypedef enum sgd_schedule:
        SGD_CONSTANT
        SGD_OPTIMAL
        SGD_INVSCALING

    ctypedef struct sgd_rule:
        sgd_schedule schedule
        double eta0, power_t, alpha, optimal_start
        double l1, l2
        double intercept_rate
        double average

    ctypedef struct sgd_state:
        double *coef
        double *average_coef
        double *had_l1
        double *pending_row
        double scale, average_a, average_b
        double shrink, move, share
        double intercept, average_intercept
        double square, absolute
        double accrued_l1
        double *models
        double *products
        double intercept_curvature
        double penalty_sum
        double t

    ctypedef struct softmax_batches:
        sgd_rows rows
        design_view X
        const layout_kernels *layout
        Py_ssize_t n_classes
        Py_ssize_t width
        const Py_ssize_t *label
        const double *target
        const double *zeros
        double *intercept
        double *average_intercept
        double *intercept_curvature
        double *scratch

    ctypedef struct block_kernels:
        const char *isa
        const layout_kernels **of_layout
        block_sums (*bce)(Py_ssize_t n, const double *logits, targets target, const double *weight,
                          int want_loss, double *loss_out, double *residual_out, double *curvature_out) noexcept nogil
        void (*add_rank_update)(Py_ssize_t count, Py_ssize_t width, const double *panel, double *gram) noexcept nogil
        void (*sweep_links)(const sparse_pattern *, const sparse_products *, const double *diagonal, Py_ssize_t first,
                            double *sweep, double *products_out) noexcept nogil
        double (*multiply)(Py_ssize_t n, const double *factor, double *values) noexcept nogil
        void (*bce_line)(Py_ssize_t n, const double *start, const double *end, double t, targets target,
                         const double *weight, double *sums_out) noexcept nogil
        void (*sigmoid)(Py_ssize_t n, const double *logits, double *prob_out, double *complement_out) noexcept nogil
        bint (*tell_apart)(Py_ssize_t n, const int64_t *labels, int64_t lower, int64_t upper,
                           uint8_t *upper_out) noexcept nogil
        double (*softmax_loss)(Py_ssize_t count, Py_ssize_t width, Py_ssize_t n_classes, const Py_ssize_t *label,
                               const double *target, const double *weight, double *values) noexcept nogil
        void (*softmax)(Py_ssize_t count, Py_ssize_t width, double *values) noexcept nogil
        void (*softmax_product)(Py_ssize_t count, Py_ssize_t width, const double *prob, const double *weight,
                                double *values) noexcept nogil
        void (*add_rows)(Py_ssize_t count, Py_ssize_t width, const double *values, double *sums) noexcept nogil
        double (*sgd_dense)(const sgd_rows *, const sgd_rule *, sgd_state *) noexcept nogil
        double (*sgd_csr)(const sgd_rows *, const sgd_rule *, sgd_state *) noexcept nogil
        double (*sgd_by_batches)(const sgd_rows *, const sgd_rule *, sgd_state *) noexcept nogil
        double (*sgd_diagonal)(const sgd_rows *, const sgd_rule *, sgd_state *) noexcept nogil
        double (*sgd_softmax)(const softmax_batches *, const sgd_rule *, sgd_state *) noexcept nogil
        double (*sgd_softmax_diagonal)(const softmax_batches *, const sgd_rule *, sgd_state *) noexcept nogil

    const block_kernels *block_kernels_named(const char *isa)
    const char **block_kernels_names


cdef extern from "parallel.h" nogil:
    ctypedef void (*chunk_function)(void *job, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil
    void run_chunks(chunk_function chunk, void *job, Py_ssize_t n_chunks, Py_ssize_t n_threads)
    int openmp_max_threads()
    Py_ssize_t chunk_start(Py_ssize_t n_samples, Py_ssize_t n_chunks, Py_ssize_t c)


cdef const block_kernels *active_kernels() noexcept nogil
