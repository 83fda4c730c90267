from fastlogreg.kernels.dispatch cimport sgd_rule, sgd_state
from fastlogreg.steps.base cimport Steps


cdef class DiagonalSteps(Steps):
    cdef readonly tuple penalty
    cdef public object models
    cdef object _known_solution
    cdef sgd_rule _rule
    cdef sgd_state _state

    cdef _begin(self, coef, double alpha, double l1_ratio, bint fit_intercept)
    cdef _set_rule(self, double alpha, double l1_ratio, bint fit_intercept)
    cdef _hold(self, coef)
    cdef void _bind(self)
    cdef _minimizer(self)
    cdef _coef_of_models(self)
