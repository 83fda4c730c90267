cdef class Point:
    cdef readonly object parameters
    cdef readonly double value
    cdef readonly object gradient
    cdef readonly object handle
    cdef const double[::1] parameters_view
    cdef const double[::1] gradient_view
