from fastlogreg.kernels.dispatch cimport sgd_rule, sgd_state
from fastlogreg.steps.base cimport Steps


cdef class GradientSteps(Steps):
    cdef readonly dict settings
    cdef public object coef
    cdef public object average_coef
    cdef public object had_l1
    cdef public object pending_row
    cdef double[::1] _coef
    cdef sgd_rule _rule
    cdef sgd_state _state

    cdef void _bind(self)
    cdef bint _one_by_one(self)
