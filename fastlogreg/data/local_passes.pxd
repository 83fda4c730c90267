from fastlogreg.data.design cimport Design


cdef class LocalPasses:
    cdef readonly Design design
    cdef readonly object samples
    cdef readonly Py_ssize_t n_classes
    cdef readonly double total_weight
