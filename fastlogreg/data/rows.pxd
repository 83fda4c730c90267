from libc.stdint cimport int32_t

from fastlogreg.kernels.dispatch cimport design_view, layout_kernels, sgd_rows, sparse_row, targets


cdef enum value_type:
    DOUBLE
    SINGLE
    HALF
    INT8
    UINT8
    INT16
    UINT16
    INT32
    UINT32
    INT64
    UINT64


cdef class Rows:
    cdef readonly Py_ssize_t n_samples
    cdef readonly Py_ssize_t n_features
    cdef readonly bint sparse
    cdef value_type _type
    cdef Py_ssize_t _item_bytes
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
    cdef void _spread(self, Py_ssize_t i, double *out) noexcept nogil
    cdef void copy_sparse(self, Py_ssize_t i, double *values, int32_t *columns) noexcept nogil
    cdef bint holds_doubles(self, bint sparse) noexcept nogil
    cdef sparse_row row_in_place(self, Py_ssize_t i) noexcept nogil
    cdef const char *row_begin(self, Py_ssize_t i) noexcept nogil
    cdef const char *columns_begin(self, Py_ssize_t i) noexcept nogil
    cdef Py_ssize_t index_bytes(self) noexcept nogil
    cdef Py_ssize_t row_bytes(self, Py_ssize_t i) noexcept nogil
    cdef Py_ssize_t mean_row_bytes(self) noexcept nogil


cdef class FedSamples:
    cdef readonly Rows rows
    cdef readonly Py_ssize_t count
    cdef targets _target
    cdef object _keep_alive
    cdef const double[::1] _weight
    cdef const int32_t[::1] _order

    cdef Py_ssize_t sample(self, Py_ssize_t k) noexcept nogil
    cdef Py_ssize_t bytes(self)
    cdef Py_ssize_t entries(self, Py_ssize_t first, Py_ssize_t n) noexcept nogil


cdef class RowBlock:
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t capacity
    cdef Py_ssize_t width
    cdef readonly Py_ssize_t n_features
    cdef readonly bint sparse
    cdef bint ones
    cdef bint in_place
    cdef bint _shared
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
    cdef Py_ssize_t _n_copied
    cdef Py_ssize_t _ahead
    cdef Py_ssize_t _n_ahead
    cdef object _places
    cdef sparse_row *_rows

    cdef void _bind(self)
    cdef Py_ssize_t append(self, FedSamples fed, Py_ssize_t first)
    cdef bint copies(self, Rows rows) noexcept nogil
    cdef void copy(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil
    cdef void _point_to_rows(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil
    cdef void _gather(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil
    cdef void _copy_rows(self, FedSamples fed, Rows rows, Py_ssize_t first, Py_ssize_t n) noexcept nogil
    cdef void _copy(self, Rows rows, Py_ssize_t i) noexcept nogil
    cdef void _point_to_copy(self, Py_ssize_t at) noexcept nogil
    cdef Py_ssize_t _copy_entries(self, Rows rows, Py_ssize_t i, Py_ssize_t end) noexcept nogil
    cdef Py_ssize_t room_for(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil
    cdef bint has_room(self, Py_ssize_t n_entries) noexcept nogil
    cdef void make_room(self, Py_ssize_t n_entries)
    cdef void own(self)
    cdef RowBlock empty_copy(self)
    cdef RowBlock fork(self)
    cdef own_arrays(self)
    cdef void clear(self) noexcept nogil
    cdef sgd_rows rows(self) noexcept nogil
    cdef design_view view(self) noexcept nogil
    cdef const layout_kernels *kernels(self) noexcept nogil
    cdef moments(self)
    cdef subtract(self, const double[::1] origin)
    cdef _subtract_from_entries(self, const double[::1] origin)
    cdef bint _has_entry(self, Py_ssize_t start, Py_ssize_t count, Py_ssize_t column) noexcept nogil
    cdef _append_missing(self, const double[::1] origin, const int32_t[::1] missing)
    cdef add_gram(self, const Py_ssize_t[::1] drawn, const double[::1] weight, double *gram)
