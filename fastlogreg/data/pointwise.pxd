from fastlogreg.kernels.dispatch cimport targets


cdef targets targets_of(values, Py_ssize_t size) except *
