from fastlogreg.data.rows cimport FedSamples, RowBlock


cdef class ReadAhead:
    cdef FedSamples _fed
    cdef Py_ssize_t _first
    cdef readonly Py_ssize_t n_blocks
    cdef RowBlock _even
    cdef RowBlock _odd
    cdef Py_ssize_t _ended
    cdef bint _patient
    cdef Py_ssize_t _wanted
    cdef Py_ssize_t _passed
    cdef Py_ssize_t[2] _ready

    cdef RowBlock take(self, Py_ssize_t b)
    cdef bint _await(self, Py_ssize_t b) noexcept nogil
    cdef void _run(self, RowBlock even, RowBlock odd) noexcept nogil
    cdef Py_ssize_t _next(self, Py_ssize_t b) noexcept nogil
    cdef bint _copy(self, RowBlock block, Py_ssize_t b) noexcept nogil
    cdef void end(self) noexcept nogil
