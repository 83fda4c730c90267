from fastlogreg._kernels.dispatch cimport sgd_rule, sgd_state
from fastlogreg._sgd.rows cimport Steps


cdef class DiagonalSteps(Steps):
    cdef readonly tuple penalty
    cdef public object models
    cdef sgd_rule _rule
    cdef sgd_state _state

    cdef _begin(self, coef, double alpha, double l1_ratio, bint fit_intercept)
    cdef void _bind(self)
