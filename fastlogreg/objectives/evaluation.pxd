from fastlogreg.objectives.coordinates cimport Coordinates
from fastlogreg.data.design cimport Design
from fastlogreg.kernels.dispatch cimport targets


cdef class Point:
    cdef readonly object parameters
    cdef readonly double value
    cdef readonly object gradient
    cdef object _logits
    cdef Evaluation _evaluation
    cdef const double[::1] parameters_view
    cdef const double[::1] gradient_view


cdef class Evaluation:
    cdef Design _design
    cdef Coordinates _coordinates
    cdef Py_ssize_t _n_outputs
    cdef targets _target
    cdef object _keep_alive
    cdef const double[::1] _sample_weight
    cdef const double[::1] _ridge
    cdef double _total_weight
    cdef double[::1] _scratch

    cdef _memory_for_logits(self, Point recycle)
