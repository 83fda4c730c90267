"""Stochastic gradient steps with scikit-learn's schedules, for single samples or batches."""

import numpy as np

from libc.math cimport sqrt
from libc.string cimport memset

from fastlogreg.kernels.dispatch cimport (
    SGD_CONSTANT,
    SGD_INVSCALING,
    SGD_OPTIMAL,
    active_kernels,
    block_kernels,
    sgd_rows,
    sgd_state,
)
from fastlogreg.data.rows cimport RowBlock
from fastlogreg.steps.base cimport Steps

from fastlogreg.data.rows import writable

# Rows of a block, unless a batch has more: copies stay in the first two levels of cache.
cdef Py_ssize_t BLOCK_ROWS = 256

_SCHEDULES = {
    "constant": SGD_CONSTANT, "adaptive": SGD_CONSTANT, "optimal": SGD_OPTIMAL, "invscaling": SGD_INVSCALING,
}


cdef class GradientSteps(Steps):
    """Stochastic gradient descent with scikit-learn's schedules, for single samples or batches.

    A batch takes one step along the mean of its samples' gradients.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    sparse : bool
        Whether rows are kept as CSR.
    settings : dict
        schedule, eta0, power_t, alpha, penalised (whether alpha is more than the schedule's), l1_ratio, fit_intercept,
        average (the first step averaged, or 0), batch_size.
    """

    def __init__(self, coef, double intercept, bint sparse, settings):
        self.settings = settings
        n_features = len(coef)
        self.rows_a_step = settings["batch_size"]
        # A block holds whole batches, so that its size does not matter.
        capacity = max(1, BLOCK_ROWS // self.rows_a_step) * self.rows_a_step
        self.block = RowBlock(capacity, n_features, sparse, False, True)
        self.coef = np.zeros(self.block.width)
        self.coef[:n_features] = coef
        self.average_coef = np.zeros(self.block.width) if settings["average"] else None
        self._set_rule()
        self.had_l1 = np.zeros(self.block.width if self._rule.l1 > 0 else 1)
        self.pending_row = np.zeros(self.block.width if self._one_by_one() else 1)
        memset(&self._state, 0, sizeof(sgd_state))
        self._state.intercept, self._state.t = intercept, 1.0
        self._state.scale = self._state.shrink = self._state.average_b = 1.0
        if self._one_by_one():
            self._state.square, self._state.absolute = coef @ coef, np.abs(coef).sum()
        self._bind()

    cdef bint _one_by_one(self):
        """Dense single rows, whose steps sum up the penalty."""
        return self.rows_a_step == 1 and not self.block.sparse

    def _set_rule(self):
        settings = self.settings
        alpha, l1_ratio = settings["alpha"], settings["l1_ratio"]
        self._rule.schedule = _SCHEDULES[settings["schedule"]]
        self._rule.eta0, self._rule.power_t, self._rule.alpha = settings["eta0"], settings["power_t"], alpha
        strength = alpha if settings["penalised"] else 0.0
        self._rule.l1, self._rule.l2 = strength * l1_ratio, strength * (1.0 - l1_ratio)
        # With sparse columns, only the intercept moves at every sample: scikit-learn slows it down.
        self._rule.intercept_rate = (0.01 if self.block.sparse else 1.0) * settings["fit_intercept"]
        self._rule.average = settings["average"]
        if self._rule.schedule == SGD_OPTIMAL:
            # Bottou's choice: the first step is that of a coefficient of the size expected, 1 / alpha^(1/4)
            typical = 1.0 / sqrt(sqrt(alpha))
            self._rule.optimal_start = max(1.0, 1.0 / (1.0 + np.exp(-typical))) / (typical * alpha)

    cdef void _bind(self):
        self._coef = self.coef
        cdef double[::1] average = self.average_coef, had = self.had_l1, row = self.pending_row
        self._state.coef, self._state.had_l1, self._state.pending_row = &self._coef[0], &had[0], &row[0]
        self._state.average_coef = &average[0] if average is not None else NULL

    cdef Steps _fork(self):
        restore, (settings, block, arrays, *numbers) = self._snapshot()
        return restore(dict(settings), block, [None if array is None else array.copy() for array in arrays], *numbers)

    def _snapshot(self):
        scalars = _scalars(self._state)
        arrays = self.coef, self.average_coef, self.had_l1, self.pending_row
        sums = self.loss_sum, self.penalty_sum, self.count
        return _restored_steps, (self.settings, self.block, arrays, scalars, sums)

    def settle(self):
        Steps.settle(self)
        cdef sgd_state *s = &self._state
        if self._one_by_one():
            self.coef[:] = s.shrink * self.coef + s.move * self.pending_row
            s.intercept += self._rule.intercept_rate * s.move
            if s.share > 0.0:
                self.average_coef += s.share * (self.coef - self.average_coef)
                s.average_intercept += s.share * (s.intercept - s.average_intercept)
            self.pending_row[:] = 0.0
            s.shrink, s.move, s.share = 1.0, 0.0, 0.0

    def go_on(self, settings, n_seen, coef=None, intercept=None):
        """Steps that go on from here with other settings, `n_seen` samples after the first, or from given coefficients.

        The average, and what L1 has not cut off yet, stay where both settings have them and no coefficients are given;
        else they begin anew.
        """
        self.settle()
        cdef double t = 1.0 + n_seen / settings["batch_size"]
        keeps_average = coef is None and settings["average"] > 0 and self.settings["average"] > 0
        if coef is None:
            coef, intercept = self._running() if keeps_average else self.solution()
            cuts = self
        else:
            cuts = None
        if settings["average"] and not keeps_average:
            settings = {**settings, "average": max(settings["average"], int(t))}
        steps = type(self)(coef, intercept, self.block.sparse, settings)
        steps._inherit(t, self if keeps_average else None, cuts)
        return steps

    def _inherit(self, double t, GradientSteps average, GradientSteps cuts):
        """Take over the average of the one and the truncations of the other."""
        cdef sgd_state *before
        self._state.t = t
        if average is not None:
            before = &average._state
            self.average_coef[:] = (average.average_coef + before.average_a * average.coef) / before.average_b
            self._state.average_intercept = before.average_intercept
        if cuts is not None and self._rule.l1 > 0 and cuts._rule.l1 > 0:
            self.had_l1[:] = cuts.had_l1
            self._state.accrued_l1 = cuts._state.accrued_l1

    def _running(self):
        """The coefficients that are stepped, not their average, of settled steps."""
        return self._state.scale * self.coef[:self.block.n_features], self._state.intercept

    @property
    def eta0(self):
        """The step length of the constant schedules."""
        return self._rule.eta0

    @eta0.setter
    def eta0(self, double value):
        self._rule.eta0 = self.settings["eta0"] = value

    @property
    def t(self):
        """One more than the steps done."""
        return self._state.t

    def end_epoch(self):
        Steps.end_epoch(self)
        if not self._one_by_one():
            self._charge(self._rule.l1, self._rule.l2)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef sgd_rows rows = block.rows()
        rows.batch_size = self.rows_a_step
        with nogil:
            if self.rows_a_step > 1:
                self.loss_sum += kernels.sgd_by_batches(&rows, &self._rule, &self._state)
            elif block.sparse:
                self.loss_sum += kernels.sgd_csr(&rows, &self._rule, &self._state)
            else:
                self.loss_sum += kernels.sgd_dense(&rows, &self._rule, &self._state)
        self.penalty_sum += self._state.penalty_sum
        self._state.penalty_sum = 0.0
        self.count += block.count

    def _solution(self):
        cdef sgd_state *state = &self._state
        # Dense single rows leave the last step pending; elsewhere the coefficients have it, and the average its share.
        cdef bint pending = self._one_by_one()
        coef, intercept = state.scale * self.coef, state.intercept
        if pending:
            coef = state.shrink * coef + state.move * self.pending_row
            intercept += self._rule.intercept_rate * state.move
        if 0 < self._rule.average < state.t:
            average = (self.average_coef + state.average_a * self.coef) / state.average_b
            share = state.share if pending and not self._rule.l1 else 0.0
            coef = average + share * (coef - average)
            intercept = state.average_intercept + share * (intercept - state.average_intercept)
        return coef[:self.block.n_features], intercept


_SCALARS = ("scale", "average_a", "average_b", "shrink", "move", "share", "intercept", "average_intercept", "square",
            "absolute", "accrued_l1", "penalty_sum", "t")


cdef dict _scalars(sgd_state s):
    return dict(zip(_SCALARS, (s.scale, s.average_a, s.average_b, s.shrink, s.move, s.share, s.intercept,
                               s.average_intercept, s.square, s.absolute, s.accrued_l1, s.penalty_sum, s.t)))


def _restored_steps(settings, block, arrays, scalars, sums):
    cdef GradientSteps steps = GradientSteps(np.zeros(block.n_features), 0.0, block.sparse, settings)
    cdef sgd_state *s = &steps._state
    steps.block = block
    steps.coef, steps.average_coef, steps.had_l1, steps.pending_row = writable(arrays)
    (s.scale, s.average_a, s.average_b, s.shrink, s.move, s.share, s.intercept, s.average_intercept, s.square,
     s.absolute, s.accrued_l1, s.penalty_sum, s.t) = (scalars[name] for name in _SCALARS)
    steps.loss_sum, steps.penalty_sum, steps.count = sums
    steps._bind()
    return steps
