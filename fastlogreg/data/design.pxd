from fastlogreg.kernels.dispatch cimport (
    PANEL_ALIGNMENT, block_kernels, chunk_function, design_view, layout_kernels, targets,
)


cdef struct pass_job:
    const design_view *X
    const layout_kernels *kernels
    const block_kernels *pointwise
    Py_ssize_t n_chunks
    Py_ssize_t block_rows
    Py_ssize_t n_outputs
    Py_ssize_t work               # entries of X to be read, times what many outputs add
    Py_ssize_t partial_size       # doubles a chunk leaves: see each pass
    double *partials              # n_chunks x partial_size
    Py_ssize_t scratch_size
    double *scratch               # n_threads x scratch_size
    const double *coef
    const double *intercept
    targets target                # n_outputs x n
    const double *offset          # n_outputs x n, added to the logits, or NULL
    const double *of_samples      # what else a pass reads with the samples: see each pass
    const double *weight
    const double *shift
    double *logits                # n_outputs x n, or NULL where a pass need not keep them


cdef class Design:
    cdef readonly Py_ssize_t n_samples
    cdef readonly Py_ssize_t n_features
    cdef readonly Py_ssize_t n_passes
    cdef readonly Py_ssize_t n_threads
    cdef readonly object X
    cdef design_view view
    cdef const layout_kernels *kernels
    cdef const block_kernels *pointwise
    cdef object _keep_alive
    cdef double[::1] _partials
    cdef double[::1] _scratch

    cdef void check_shape(self, str name, Py_ssize_t n_rows, Py_ssize_t n_columns, Py_ssize_t n_outputs) except *
    cdef void check_weight(self, const double[::1] weight) except *
    cdef void sum_loss_gradient(self, Py_ssize_t n_outputs, const double *coef, const double *intercept,
                                targets target, const double *weight, const double *offset, double *logits,
                                double *sums) except *
    cdef Py_ssize_t _outputs(self, const double[:, ::1] coef, const double[::1] intercept) except -1
    cdef void check_gram(self, const double[::1] weight, const double[::1] center) except *
    cdef void check_columns(self, const double[::1] of_columns) except *
    cdef pass_job pass_job_of(self, Py_ssize_t n_outputs, Py_ssize_t chunk_limit, Py_ssize_t partial_size,
                              Py_ssize_t readings=*)
    cdef void give_scratch(self, pass_job *job, Py_ssize_t size, bint zeros=*)
    cdef Py_ssize_t _threads(self, const pass_job *job)
    cdef run(self, chunk_function chunk, pass_job *job)
    cdef void run_into(self, chunk_function chunk, pass_job *job, double *sums) except *
    cdef Py_ssize_t count_entries(self)
    cdef Py_ssize_t bytes_a_row(self)
    cdef Py_ssize_t block_rows(self)
    cdef Py_ssize_t class_block_rows(self, Py_ssize_t width)
    cdef Py_ssize_t least_gram_chunks(self)
    cdef Py_ssize_t chunk_limit_of(self, Py_ssize_t n_outputs=*)


cdef symmetric(const double[::1] upper, Py_ssize_t width, Py_ssize_t n)
cdef recentered(gram, shift)
cdef Py_ssize_t rows_of_block(Py_ssize_t block_bytes, Py_ssize_t bytes_a_row)


cdef inline Py_ssize_t panel_width(Py_ssize_t n_features) noexcept nogil:
    """Columns of a panel: the features and a one, and zeros up to whole vectors."""
    return (n_features // PANEL_ALIGNMENT + 1) * PANEL_ALIGNMENT


cdef inline void add_to(Py_ssize_t count, const double *values, double *sums) noexcept nogil:
    """``sums += values``."""
    cdef Py_ssize_t i
    for i in range(count):
        sums[i] += values[i]
