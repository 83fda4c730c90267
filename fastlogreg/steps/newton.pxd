cdef double STALE
cdef double TRUSTED_MOVE

cdef move_origin(gram, shift)
cdef factorize(curvature, double share, scale, Py_ssize_t n, double[:, ::1] factor)
