from fastlogreg._kernels.dispatch cimport sgd_rule, sgd_state
from fastlogreg._sgd.steps cimport Steps


cdef class DiagonalSteps(Steps):
    cdef readonly tuple penalty
    cdef public object sums
    cdef public object curvature
    cdef sgd_rule _rule
    cdef sgd_state _state

    cdef _begin(self, coef, double alpha, double l1_ratio, bint fit_intercept)
    cdef void _bind(self)
