cdef class QuadraticInParameters:
    cdef readonly object curvature
    cdef readonly object center
    cdef readonly bint is_strict
    cdef readonly bint is_uniform
    cdef readonly bint is_zero
    cdef const double[::1] _curvature
    cdef const double[::1] _center

    cpdef double value(self, const double[::1] parameters) noexcept
    cpdef void add_gradient(self, const double[::1] parameters, double[::1] gradient) noexcept
    cdef inline double _from_center(self, const double[::1] parameters, Py_ssize_t i) noexcept
