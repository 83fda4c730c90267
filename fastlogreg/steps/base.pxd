from fastlogreg.data.rows cimport FedSamples, RowBlock


cdef Py_ssize_t MAX_EXACT_WIDTH


cdef class Steps:
    cdef readonly RowBlock block
    cdef Py_ssize_t rows_a_step
    cdef public double loss_sum
    cdef public double penalty_sum
    cdef public double count

    cdef Py_ssize_t _append(self, FedSamples fed, Py_ssize_t first)
    cdef bint _worth_reading_ahead(self, FedSamples fed)
    cdef Py_ssize_t _feed_ahead(self, FedSamples fed, Py_ssize_t first)
    cdef _centre(self, origin)
    cdef _charge(self, double l1, double l2)
    cdef Steps _fork(self)
    cdef _provisional(self)
    cdef _take_steps(self)
