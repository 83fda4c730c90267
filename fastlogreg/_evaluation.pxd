cdef class Point:
    cdef readonly object parameters
    cdef readonly double value
    cdef readonly object gradient
    cdef readonly object logits
