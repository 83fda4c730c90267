cdef class Coordinates:
    cdef readonly object center
    cdef readonly object inverse_scale
    cdef readonly double inverse_intercept_scale
    cdef readonly bint fit_intercept
    cdef const double[::1] _center
    cdef const double[::1] _inverse_scale

    cdef void write_coef(self, Py_ssize_t n_outputs, const double *parameters, double *coef,
                         double *intercept) noexcept nogil
    cdef void write_gradient(self, Py_ssize_t n_outputs, const double *of_coef, const double *of_intercept,
                             double factor, const double *ridge, const double *parameters,
                             double *gradient) noexcept nogil


cpdef double half_square(const double[::1] ridge, const double[::1] parameters) noexcept
