"""Steps of single samples of several classes with a curvature for each coefficient."""

import numpy as np

from libc.string cimport memset

from fastlogreg.kernels.dispatch cimport active_kernels, block_kernels, softmax_batches
from fastlogreg.steps.base cimport Steps
from fastlogreg.steps.diagonal cimport DiagonalSteps
from fastlogreg.data.rows cimport RowBlock

from fastlogreg.steps.classes import centred, coef_of_rows, labels, padded_intercept, rows_of_features
from fastlogreg.data.rows import writable


cdef class SoftmaxDiagonalSteps(DiagonalSteps):
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
    cdef public object targets
    cdef public object intercepts

    def __init__(self, coef, intercept, double alpha, double l1_ratio, bint fit_intercept):
        self.n_classes, n_features = coef.shape
        rows = rows_of_features(coef, n_features)
        self.intercepts = np.stack([padded_intercept(intercept), np.zeros(rows.shape[1])])
        self._begin(rows, alpha, l1_ratio, fit_intercept)

    cdef Steps _fork(self):
        restore, (n_classes, penalty, block, arrays, numbers) = self._snapshot()
        return restore(n_classes, penalty, block, [array.copy() for array in arrays], numbers)

    def _snapshot(self):
        arrays = self.models, self.intercepts
        numbers = self._state.t, self.loss_sum, self.penalty_sum, self.count
        return _restored_diagonal_steps, (self.n_classes, self.penalty, self.block, arrays, numbers)

    def _hold_solution(self, coef, intercept):
        self._hold(rows_of_features(coef, coef.shape[1]))
        self.intercepts[0] = padded_intercept(intercept)

    def _hold_solution(self, coef, intercept):
        self._hold(rows_of_features(coef, coef.shape[1]))
        self.intercepts[0] = padded_intercept(intercept)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef softmax_batches all
        cdef double[:, ::1] intercepts = self.intercepts
        cdef double[::1] scratch = np.zeros(7 * intercepts.shape[1])
        cdef Py_ssize_t[::1] label = labels(block)
        cdef double[:, ::1] targets = None if self.targets is None else self.targets[label]
        cdef double before = self._state.t
        self._known_solution = None
        memset(&all, 0, sizeof(softmax_batches))
        all.n_classes, all.width, all.label = self.n_classes, intercepts.shape[1], &label[0]
        all.target = &targets[0, 0] if targets is not None else NULL
        all.intercept, all.intercept_curvature, all.scratch = &intercepts[0, 0], &intercepts[1, 0], &scratch[0]
        all.rows = block.rows()
        with nogil:
            self.loss_sum += kernels.sgd_softmax_diagonal(&all, &self._rule, &self._state)
        self.count += self._state.t - before

    cdef _minimizer(self):
        coef = self._coef_of_models()
        if self._rule.l1 == 0:
            coef = centred(coef, self.n_classes)
        return coef_of_rows(coef, self.n_classes), self.intercepts[0, :self.n_classes].copy()


def _restored_diagonal_steps(n_classes, penalty, block, arrays, numbers):
    start = np.zeros((n_classes, block.n_features))
    cdef SoftmaxDiagonalSteps steps = SoftmaxDiagonalSteps(start, start[:, 0], *penalty)
    steps.block = block
    steps.models, steps.intercepts = writable(arrays)
    steps._state.t, steps.loss_sum, steps.penalty_sum, steps.count = numbers
    steps._bind()
    return steps
