"""Steps of single samples of several classes with a curvature for each coefficient."""

import numpy as np

from libc.stdint cimport int32_t
from libc.string cimport memset

from fastlogreg._kernels.dispatch cimport active_kernels, block_kernels, sgd_rule, sgd_state, softmax_batches
from fastlogreg._sgd.rows cimport RowBlock, Rows, Steps

from fastlogreg._sgd.classes import centred, coef_of_rows, labels, padded_intercept, rows_of_features
from fastlogreg._sgd.diagonal import minimizer_of_models
from fastlogreg._sgd.rows import writable

# Rows copied at a time where steps are of few: they stay in the first two levels of cache.
cdef Py_ssize_t BLOCK_ROWS = 128


cdef class SoftmaxDiagonalSteps(Steps):
    """Steps of single samples with a curvature for each coefficient, for X with very many columns, and for L1.

    As `DiagonalSteps`, a class in place of the one logit: the slopes g solve ``g = s (p - softmax(u + r g))`` in all
    classes together.

    Parameters
    ----------
    coef : ndarray of shape (K, n_features)
    intercept : ndarray of shape (K,)
    alpha, l1_ratio : float
    fit_intercept : bool

    Attributes
    ----------
    targets : ndarray of shape (n, K) or None
        As for `SoftmaxNewtonSteps`.
    """

    cdef readonly Py_ssize_t n_classes
    cdef readonly tuple penalty
    cdef public object targets
    cdef public object sums
    cdef public object curvature
    cdef public object intercepts
    cdef sgd_rule _rule
    cdef sgd_state _state

    def __init__(self, coef, intercept, double alpha, double l1_ratio, bint fit_intercept):
        self.n_classes, n_features = coef.shape
        self.penalty = alpha, l1_ratio, fit_intercept
        memset(&self._rule, 0, sizeof(sgd_rule))
        memset(&self._state, 0, sizeof(sgd_state))
        self._rule.l1, self._rule.l2 = alpha * l1_ratio, alpha * (1.0 - l1_ratio)
        self._rule.intercept_rate = fit_intercept
        self.rows_a_step = 1
        self.block = RowBlock(BLOCK_ROWS, n_features, True, False, True)
        rows = rows_of_features(coef, n_features)
        # One sample's worth of curvature holds what it starts from.
        self.curvature = np.where(rows != 0, 0.25, 0.0)
        self.sums = self.curvature * rows
        self.intercepts = np.stack([padded_intercept(intercept), np.zeros(rows.shape[1])])
        self._bind()

    cdef void _bind(self):
        cdef double[:, ::1] sums = self.sums, curvature = self.curvature
        self._state.coef, self._state.curvature = &sums[0, 0], &curvature[0, 0]

    def __reduce__(self):
        arrays = self.sums, self.curvature, self.intercepts
        numbers = self._state.t, self.loss_sum, self.penalty_sum, self.count
        return _restored_diagonal_steps, (self.n_classes, self.penalty, self.block, arrays, numbers)

    def feed(self, Rows rows, const double[::1] target, const double[::1] weight=None,
             const int32_t[::1] order=None):
        cdef double[:, ::1] products = np.empty((rows.longest_row(), self.sums.shape[1]))
        self._state.products = &products[0, 0]
        Steps.feed(self, rows, target, weight, order)

    def end_epoch(self):
        Steps.end_epoch(self)
        self._charge(self._rule.l1, self._rule.l2)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef softmax_batches all
        cdef double[:, ::1] intercepts = self.intercepts
        cdef double[::1] scratch = np.zeros(7 * intercepts.shape[1])
        cdef Py_ssize_t[::1] label = labels(block)
        cdef double[:, ::1] targets = None if self.targets is None else self.targets[label]
        cdef double before = self._state.t
        memset(&all, 0, sizeof(softmax_batches))
        all.n_classes, all.width, all.label = self.n_classes, intercepts.shape[1], &label[0]
        all.target = &targets[0, 0] if targets is not None else NULL
        all.intercept, all.intercept_curvature, all.scratch = &intercepts[0, 0], &intercepts[1, 0], &scratch[0]
        all.rows = block.rows()
        with nogil:
            self.loss_sum += kernels.sgd_softmax_diagonal(&all, &self._rule, &self._state)
        self.count += self._state.t - before

    def _solution(self):
        total = self._state.t
        coef = minimizer_of_models(self.sums, self.curvature, self._rule.l1 * total, self._rule.l2 * total)
        if self._rule.l1 == 0:
            coef = centred(coef, self.n_classes)
        return coef_of_rows(coef, self.n_classes), self.intercepts[0, :self.n_classes].copy()


def _restored_diagonal_steps(n_classes, penalty, block, arrays, numbers):
    start = np.zeros((n_classes, block.n_features))
    cdef SoftmaxDiagonalSteps steps = SoftmaxDiagonalSteps(start, start[:, 0], *penalty)
    steps.block = block
    steps.sums, steps.curvature, steps.intercepts = writable(arrays)
    steps._state.t, steps.loss_sum, steps.penalty_sum, steps.count = numbers
    steps._bind()
    return steps
