"""What steps for two classes and for several share: rows copied into blocks, and scheduled gradient steps."""

cimport cython
from libc.stdint cimport int32_t

from fastlogreg._kernels.dispatch cimport design_view, layout_kernels, memory_range, sgd_rule, sgd_state, sparse_row


@cython.final
cdef class Rows:
    cdef readonly Py_ssize_t n_samples
    cdef readonly Py_ssize_t n_features
    cdef readonly bint sparse
    cdef bint _single
    cdef bint _wide_indices
    cdef const char *_values
    cdef Py_ssize_t _row_stride
    cdef Py_ssize_t _column_stride
    cdef const void *_columns
    cdef const void *_starts
    cdef object _keep_alive

    cdef Py_ssize_t row_entries(self, Py_ssize_t i) noexcept nogil
    cdef Py_ssize_t longest_row(self)
    cdef void copy_dense(self, Py_ssize_t i, double *out) noexcept nogil
    cdef void copy_sparse(self, Py_ssize_t i, double *values, int32_t *columns) noexcept nogil
    cdef sparse_row row_in_place(self, Py_ssize_t i) noexcept nogil
    cdef Py_ssize_t ranges(self, Py_ssize_t i, memory_range *out) noexcept nogil


@cython.final
cdef class RowBlock:
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t capacity
    cdef Py_ssize_t width
    cdef readonly Py_ssize_t n_features
    cdef readonly bint sparse
    cdef bint ones
    cdef bint in_place
    cdef public object values
    cdef public object columns
    cdef public object starts
    cdef public object target
    cdef public object weight
    cdef public object logits
    cdef double[::1] _values
    cdef int32_t[::1] _columns
    cdef int32_t[::1] _starts
    cdef double[::1] _target
    cdef double[::1] _weight
    cdef double[::1] _logits
    cdef double[::1] _residual
    cdef Py_ssize_t n_ahead
    cdef object _places
    cdef memory_range *_ahead
    cdef sparse_row *_rows

    cdef void _bind(self)
    cdef Py_ssize_t append(self, Rows rows, const double[::1] target, const double[::1] weight,
                           const int32_t[::1] order, Py_ssize_t first)
    cdef void _append(self, Rows rows, const double *target, const double *weight, const int32_t *order,
                      Py_ssize_t first, Py_ssize_t n, Py_ssize_t end) noexcept nogil
    cdef void _look_ahead(self, Rows rows, const int32_t *order, Py_ssize_t first, Py_ssize_t end) noexcept nogil
    cdef void _append_sparse(self, Rows rows, Py_ssize_t i, Py_ssize_t at) noexcept nogil
    cdef Py_ssize_t _append_entries(self, Rows rows, Py_ssize_t i, Py_ssize_t end) noexcept nogil
    cdef void _reserve(self, Rows rows, const int32_t[::1] order, Py_ssize_t first, Py_ssize_t n)
    cdef design_view view(self) noexcept nogil
    cdef const layout_kernels *kernels(self) noexcept nogil


cdef class Steps:
    cdef readonly RowBlock block
    cdef public double loss_sum
    cdef public double penalty_sum
    cdef public double count

    cdef _charge(self, double l1, double l2)
    cdef _take_steps(self)


cdef class GradientSteps(Steps):
    cdef readonly dict settings
    cdef public object coef
    cdef public object average_coef
    cdef public object had_l1
    cdef public object pending_row
    cdef double[::1] _coef
    cdef sgd_rule _rule
    cdef sgd_state _state
    cdef Py_ssize_t _batch_size

    cdef void _bind(self)
