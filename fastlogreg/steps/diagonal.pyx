"""Steps of single samples with a curvature for each column."""

import numpy as np

from libc.math cimport copysign, fabs
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastlogreg.kernels.dispatch cimport active_kernels, block_kernels, sgd_rows, sgd_rule, sgd_state
from fastlogreg.data.rows cimport RowBlock, Rows
from fastlogreg.steps.base cimport Steps

from fastlogreg.data.rows import padded, writable

# Rows of a block: they stay in the first two levels of cache.
cdef Py_ssize_t BLOCK_ROWS = 128


cdef _minimizer_of_models(const double[:, :, ::1] models, double l1, double l2):
    """The coefficients (d, width) that minimise the columns' quadratic models plus the penalties; zero where nothing
    determines a coefficient. The models (d, 2, width) are sums and curvatures.
    """
    cdef Py_ssize_t j, k, width = models.shape[2]
    cdef double[:, ::1] coef = np.empty((models.shape[0], width))
    cdef double size, scale
    with nogil:
        for j in range(models.shape[0]):
            for k in range(width):
                size, scale = fabs(models[j, 0, k]) - l1, l2 + models[j, 1, k]
                # NaN stays
                size = 0.0 if size < 0.0 else size
                coef[j, k] = 0.0 if scale <= 0.0 else copysign(size / scale, models[j, 0, k])
    return np.asarray(coef)


cdef class DiagonalSteps(Steps):
    """Steps of single samples with a curvature for each column, for X with very many columns, and for L1.

    With h_j the curvature of column j, v_j the sum of ``g_i x_ij + h_ij w_j`` and T the weight of the samples to date,
    the coefficients are those that minimise the sum of the samples' quadratic models, taken column by column, and the
    penalty (as in McMahan's FTRL-proximal, 2013):

        w_j = soft(v_j, alpha l1_ratio T) / (alpha (1 - l1_ratio) T + h_j)

    g_i solves ``g = s_i (p_i - sigma(u_i + g r_i))``, where ``g r_i`` is what the step moves the sample's logit by: a
    step along the residual at its own end cannot overshoot. Units of the columns do not matter, and there is no rate to
    choose.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    alpha, l1_ratio : float
    fit_intercept : bool

    Attributes
    ----------
    models : ndarray of shape (n_features, 2), or of several classes (n_features, 2, width)
        v_j and h_j side by side: an entry of X in a column that is not in cache waits for one line.
    """

    def __init__(self, coef, double intercept, double alpha, double l1_ratio, bint fit_intercept):
        self._begin(coef, alpha, l1_ratio, fit_intercept)
        self._state.intercept = intercept

    cdef _begin(self, coef, double alpha, double l1_ratio, bint fit_intercept):
        """From coefficients (n_features,), or of several classes (n_features, width)."""
        memset(&self._rule, 0, sizeof(sgd_rule))
        memset(&self._state, 0, sizeof(sgd_state))
        self._set_rule(alpha, l1_ratio, fit_intercept)
        self.rows_a_step = 1
        self.block = RowBlock(BLOCK_ROWS, len(coef), True, False, True)
        self.models = np.zeros((len(coef), 2, *coef.shape[1:]))
        self._hold(coef)
        self._bind()

    cdef _set_rule(self, double alpha, double l1_ratio, bint fit_intercept):
        self.penalty = alpha, l1_ratio, fit_intercept
        self._rule.l1, self._rule.l2 = alpha * l1_ratio, alpha * (1.0 - l1_ratio)
        self._rule.intercept_rate = fit_intercept
        self._known_solution = None

    cdef _hold(self, coef):
        """Make the coefficients the models' minimum; where there is no curvature, that of one sample holds them."""
        if not coef.any() and not self.models.any():
            return
        total = self._state.t
        unheld = (self._rule.l2 * total + self.models[:, 1] <= 0) & (coef != 0)
        self.models[:, 1] += 0.25 * unheld
        scale = self._rule.l2 * total + self.models[:, 1]
        self.models[:, 0] = scale * coef + self._rule.l1 * total * np.sign(coef)
        self._known_solution = None

    def go_on(self, settings, n_seen, coef=None, intercept=None):
        """Go on with another penalty, of the samples so far too, or from given coefficients."""
        self._set_rule(settings["alpha"], settings["l1_ratio"], settings["fit_intercept"])
        if coef is not None:
            self._hold_solution(coef, intercept)
        return self

    def _hold_solution(self, coef, intercept):
        self._hold(coef)
        self._state.intercept = intercept

    cdef void _bind(self):
        cdef double[::1] models = self.models.reshape(-1)
        self._state.models = &models[0]

    cdef Steps _fork(self):
        restore, (penalty, block, models, *others) = self._snapshot()
        return restore(penalty, block, models.copy(), *others)

    def _snapshot(self):
        state = self._state.intercept, self._state.intercept_curvature, self._state.t
        return _restored_diagonal, (self.penalty, self.block, self.models, state,
                                    (self.loss_sum, self.penalty_sum, self.count))

    def feed(self, Rows rows, target, const double[::1] weight=None,
             const int32_t[::1] order=None, Py_ssize_t n_threads=1):
        cdef double[::1] products = np.empty(padded(rows.longest_row()) * self.models[0].size)
        self._state.products = &products[0]
        Steps.feed(self, rows, target, weight, order, n_threads)

    def end_epoch(self):
        Steps.end_epoch(self)
        self._charge(self._rule.l1, self._rule.l2)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef sgd_rows rows = block.rows()
        cdef double before = self._state.t
        self._known_solution = None
        with nogil:
            self.loss_sum += kernels.sgd_diagonal(&rows, &self._rule, &self._state)
        self.count += self._state.t - before

    def _solution(self):
        """The solution, computed once between two steps."""
        if self._known_solution is None:
            self._known_solution = self._minimizer()
        return self._known_solution

    cdef _minimizer(self):
        """The solution of the columns' models."""
        return self._coef_of_models(), self._state.intercept

    cdef _coef_of_models(self):
        """Coefficients in the shape that these steps began from."""
        models, total = self.models.reshape(len(self.models), 2, -1), self._state.t
        coef = _minimizer_of_models(models, self._rule.l1 * total, self._rule.l2 * total)
        return coef.reshape(self.models[:, 0].shape)


def _restored_diagonal(penalty, block, models, state, epoch):
    cdef DiagonalSteps steps = DiagonalSteps(np.zeros(block.n_features), 0.0, *penalty)
    steps.block = block
    (steps.models,) = writable([models])
    steps._state.intercept, steps._state.intercept_curvature, steps._state.t = state
    steps.loss_sum, steps.penalty_sum, steps.count = epoch
    steps._bind()
    return steps
