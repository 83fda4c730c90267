"""Stochastic gradient steps with scikit-learn's schedules on the softmax of several classes."""

import numpy as np

from libc.string cimport memset

from fastlogreg.kernels.dispatch cimport active_kernels, block_kernels, sgd_state, softmax_batches
from fastlogreg.steps.gradient cimport GradientSteps
from fastlogreg.data.rows cimport RowBlock
from fastlogreg.steps.base cimport Steps

from fastlogreg.steps.classes import coef_of_rows, labels, padded_intercept, rows_of_features
from fastlogreg.data.rows import writable

# Rows of a block, unless a batch has more: their copies stay in the first two levels of cache.
cdef Py_ssize_t BLOCK_ROWS = 128


cdef class SoftmaxGradientSteps(GradientSteps):
    """Stochastic gradient descent with scikit-learn's schedules on the softmax, for single samples or batches.

    A step is that of `GradientSteps`, for all classes at once. The intercepts of sparse X move as far as those of dense
    X.

    Parameters
    ----------
    coef : ndarray of shape (K, n_features)
    intercept : ndarray of shape (K,)
    sparse, settings
        As for `GradientSteps`.
    """

    cdef public object intercept
    cdef public object average_intercept
    cdef public object values
    cdef readonly Py_ssize_t n_classes

    def __init__(self, coef, intercept, bint sparse, settings):
        n_classes, n_features = coef.shape
        self.settings, self.n_classes = settings, n_classes
        self.rows_a_step = settings["batch_size"]
        capacity = max(1, BLOCK_ROWS // self.rows_a_step) * self.rows_a_step
        self.block = RowBlock(capacity, n_features, sparse, False, False)
        # dense rows are padded, and so are their features' coefficients
        self.coef = rows_of_features(coef, n_features if sparse else self.block.width)
        self.intercept, self.average_intercept = padded_intercept(intercept), np.zeros(self.coef.shape[1])
        self.average_coef = np.zeros_like(self.coef) if settings["average"] else None
        self.had_l1 = np.zeros_like(self.coef)
        self._set_rule()
        self._rule.intercept_rate = settings["fit_intercept"]
        memset(&self._state, 0, sizeof(sgd_state))
        self._state.t = self._state.scale = self._state.shrink = self._state.average_b = 1.0
        self._bind()

    cdef void _bind(self):
        cdef double[:, ::1] coef = self.coef, average = self.average_coef, had = self.had_l1
        self._state.coef, self._state.had_l1 = &coef[0, 0], &had[0, 0]
        self._state.average_coef = &average[0, 0] if average is not None else NULL
        self.values = np.empty((self.rows_a_step, coef.shape[1]))

    cdef Steps _fork(self):
        restore, (settings, n_classes, block, arrays, *numbers) = self._snapshot()
        arrays = [None if array is None else array.copy() for array in arrays]
        return restore(dict(settings), n_classes, block, arrays, *numbers)

    def _snapshot(self):
        cdef sgd_state *s = &self._state
        arrays = self.coef, self.average_coef, self.had_l1, self.intercept, self.average_intercept
        scalars = s.scale, s.average_a, s.average_b, s.accrued_l1, s.t
        sums = self.loss_sum, self.penalty_sum, self.count
        return _restored_gradient_steps, (self.settings, self.n_classes, self.block, arrays, scalars, sums)

    def settle(self):
        Steps.settle(self)

    def _inherit(self, double t, GradientSteps average, GradientSteps cuts):
        GradientSteps._inherit(self, t, average, cuts)
        if average is not None:
            self.average_intercept[:] = average.average_intercept

    def _running(self):
        coef = coef_of_rows(self._state.scale * self.coef[:self.block.n_features], self.n_classes)
        return coef, self.intercept[:self.n_classes].copy()

    def end_epoch(self):
        Steps.end_epoch(self)
        self._charge(self._rule.l1, self._rule.l2)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef softmax_batches all
        cdef double[::1] intercept = self.intercept, average = self.average_intercept
        cdef double[::1] zeros = np.zeros(len(self.intercept))
        cdef double[:, ::1] values = self.values
        cdef Py_ssize_t[::1] label = labels(block)
        memset(&all, 0, sizeof(softmax_batches))
        all.n_classes, all.width, all.label = self.n_classes, intercept.shape[0], &label[0]
        all.intercept, all.average_intercept, all.zeros = &intercept[0], &average[0], &zeros[0]
        all.rows, all.X, all.layout = block.rows(), block.view(), block.kernels()
        all.rows.batch_size, all.rows.logits_out = self.rows_a_step, &values[0, 0]
        all.X.n_features = self.coef.shape[0]
        with nogil:
            self.loss_sum += kernels.sgd_softmax(&all, &self._rule, &self._state)
        self.count += block.count

    def _solution(self):
        cdef sgd_state *state = &self._state
        coef, intercept = state.scale * self.coef, self.intercept
        if 0 < self._rule.average < state.t:
            coef = (self.average_coef + state.average_a * self.coef) / state.average_b
            intercept = self.average_intercept
        return coef_of_rows(coef[:self.block.n_features], self.n_classes), intercept[:self.n_classes].copy()


def _restored_gradient_steps(settings, n_classes, block, arrays, scalars, sums):
    start = np.zeros((n_classes, block.n_features))
    cdef SoftmaxGradientSteps steps = SoftmaxGradientSteps(start, start[:, 0], block.sparse, settings)
    cdef sgd_state *s = &steps._state
    steps.block = block
    steps.coef, steps.average_coef, steps.had_l1, steps.intercept, steps.average_intercept = writable(arrays)
    s.scale, s.average_a, s.average_b, s.accrued_l1, s.t = scalars
    steps.loss_sum, steps.penalty_sum, steps.count = sums
    steps._bind()
    return steps
