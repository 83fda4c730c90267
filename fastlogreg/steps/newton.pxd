cdef double STALE

cdef factorize(curvature, double share, scale, Py_ssize_t n, double[:, ::1] factor)
