"""The dual problem of penalised logistic regression on sparse X, by coordinate descent.

Its variables are the residuals ``r_i = p_i - q_i`` of probabilities q_i. Of costs c_i and with centered columns,

    maximise  sum_i c_i H(q_i) - |w|^2 / 2,   w = sum_i c_i r_i (x_i - m),   H(q) = -q log q - (1 - q) log(1 - q),

subject to ``sum_i c_i r_i = 0`` where there is an intercept. Any q that meets it is a lower bound on the minimum of
``sum_i c_i L_i + |w|^2 / 2``, and the best one makes its coefficients w. A sweep visits each sample once, in random
order, and takes the time of one and a half to two passes on one thread; for text that is worth several gradients. X
stays sparse: the centers m are subtracted in scalars. They matter because samples of word counts have one direction in
common, on which coordinates work against one another; where the sum of the variables is zero, centering changes
nothing.

The sum is zero only at the end. The intercept gives way to it, ``b = intercept + give * sum`` (the method of
multipliers), and takes on the change after each sweep.

Source: Yu, Huang and Lin, Dual coordinate descent methods for logistic regression and maximum entropy models (2011).
"""

import numpy as np
from scipy.special import entr

from libc.math cimport INFINITY, isfinite, log, sqrt

from fastlogreg._design cimport Design
from fastlogreg._kernels.dispatch cimport dual_problem

# The intercept gives way as a column of this part of all columns' variances would, which they outweigh, and so far that
# a sum of variables falls to a tenth in a sweep.
cdef double GIVE = 0.03
cdef double LEAST_GIVE = 40.0
# Rows that lie together are visited together, so that memory is read in runs of a few pages; in so few that their order
# is as good as random.
cdef Py_ssize_t BLOCK_BYTES = 16 * 1024
cdef Py_ssize_t MAX_BLOCK_ROWS = 32
# An extrapolation stays that much of the way to the nearest q of 0 or 1.
cdef double INSIDE = 0.9
# A slope that changed its sign is no larger than that part of what it was.
cdef double SLOPE_LEFT = 0.9
# The squared cosine of two directions that are one.
cdef double DEPENDENT = 1.0 - 1e-12


cdef class Dual:
    """The dual problem and its variables, at first those of ``w = 0``.

    Parameters
    ----------
    design : CSRDesign
    target : ndarray of shape (n,)
    sample_weight : ndarray of shape (n,) or None
    cost : float
        Of a sample of weight one.
    center : ndarray of shape (d,), default=None
        Means of the columns; None where there is no intercept.
    spread : float, default=0.0
        Sum of the columns' variances, with an intercept.
    intercept : float, default=0.0
        Where to start.

    Attributes
    ----------
    value : float
        The dual objective after the latest sweep.
    """

    cdef readonly double value
    cdef Design _design
    cdef dual_problem _problem
    cdef object _keep_alive
    cdef object _residual, _logits, _coef, _center, _cost, _target
    cdef object _step, _coef_step
    cdef double _sum_step, _center_dot_step
    cdef object _random
    cdef Py_ssize_t _block_rows

    def __init__(self, Design design, target, sample_weight, double cost, center=None, double spread=0.0,
                 double intercept=0.0):
        cdef Py_ssize_t n = design.n_samples, d = design.n_features
        cdef bint centered = center is not None
        self._design = design
        self._target, self._center = target, center if centered else np.zeros(d)
        self._cost = np.full(n, cost) if sample_weight is None else cost * sample_weight
        self._residual, self._logits, self._coef = np.zeros(n), np.zeros(n), np.zeros(d)
        cdef const double[::1] targets = target
        cdef const double[::1] costs = self._cost
        cdef double[::1] residual = self._residual, logits = self._logits, coef = self._coef
        cdef const double[::1] centers = self._center
        cdef double[::1] dots = np.zeros(n)
        self._problem.target, self._problem.cost = &targets[0], &costs[0]
        self._problem.center, self._problem.center_dots = &centers[0] if centered else NULL, &dots[0]
        self._problem.center_square = float(self._center @ self._center)
        self._problem.residual, self._problem.logits, self._problem.coef = &residual[0], &logits[0], &coef[0]
        self._problem.give = max(GIVE * spread, LEAST_GIVE / self._cost.sum()) if centered else 0.0
        self._problem.intercept = intercept
        self._keep_alive = targets, costs, centers, dots, residual, logits, coef
        self._step = None
        self._random = np.random.default_rng(0)
        self._block_rows = max(1, min(MAX_BLOCK_ROWS, BLOCK_BYTES // max(1, design._bytes_a_row())))

    def sweep(self):
        """Visit every sample once and extrapolate. Returns what the dual objective rose by at least, by its second
        order; nothing of meaning for the first sweep. One pass.
        """
        cdef Py_ssize_t n_blocks = (self._design.n_samples + self._block_rows - 1) // self._block_rows
        cdef const Py_ssize_t[::1] blocks = self._random.permutation(n_blocks).astype(np.intp)
        cdef double rise, total = self._problem.sum, center_dot = self._problem.center_dot
        residual, coef = self._residual.copy(), self._coef.copy()
        self._design.n_passes += 1
        with nogil:
            rise = self._design._kernels.dual_sweep(
                &self._design._view, n_blocks, &blocks[0], self._block_rows, &self._problem)
        self._problem.center = NULL
        np.subtract(self._residual, residual, out=residual)
        np.subtract(self._coef, coef, out=coef)
        self._extrapolate(residual, coef, self._problem.sum - total, self._problem.center_dot - center_dot)
        self._problem.intercept += self._problem.give * self._problem.sum
        return rise

    def _extrapolate(self, change, coef_change, double sum_change, double center_dot_change):
        """Newton's step from the sweep's end, in the plane of what the sweep changed and of the latest step.

        It is taken where it stays inside and descends; the sweep itself always does. The objective is taken as one to
        minimise.
        """
        cdef dual_problem *problem = &self._problem
        sums = np.zeros(6)
        cdef double[::1] sums_ = sums
        step = self._step
        if step is None:
            step, coef_step = np.zeros_like(change), np.zeros_like(coef_change)
        else:
            coef_step = self._coef_step
        _add_entropy(problem, change, step, sums_)
        directions = [(coef_change, sum_change, center_dot_change), (coef_step, self._sum_step, self._center_dot_step)]
        here = (self._coef, problem.sum, problem.center_dot)
        self.value = sums[0] - 0.5 * self._dot(here, here)
        at_intercept = problem.intercept + problem.give * problem.sum
        slopes = np.array([self._dot(here, v) + at_intercept * v[1] for v in directions]) + sums[1:3]
        first, second = directions
        cdef double size = sqrt(self._dot(first, first) + problem.give * first[1] * first[1] + sums[3])
        cdef double step_size = sqrt(self._dot(second, second) + problem.give * second[1] * second[1] + sums[5])
        cdef double mixed = self._dot(first, second) + problem.give * first[1] * second[1] + sums[4]
        self._step, self._coef_step = change, coef_change
        self._sum_step, self._center_dot_step = sum_change, center_dot_change
        if not (size > 0 and step_size > 0):
            return
        mixed = mixed / size / step_size
        if not mixed * mixed < DEPENDENT:
            return
        sizes = np.array([size, step_size])
        shares = slopes / sizes
        shares = -(shares - mixed * shares[::-1]) / (1.0 - mixed * mixed) / sizes
        further = shares[0] * change + shares[1] * step
        further_coef = shares[0] * coef_change + shares[1] * coef_step
        cdef double of_sum = shares[0] * sum_change + shares[1] * second[1]
        cdef double of_center_dot = shares[0] * center_dot_change + shares[1] * second[2]
        cdef double length = min(1.0, INSIDE * _room(problem, further))
        along = (further_coef, of_sum, of_center_dot)
        slope = float(shares @ slopes)
        end_slope = (
            slope - sums[1:3] @ shares + length * (self._dot(along, along) + problem.give * of_sum * of_sum)
            + _entropy_slope(problem, further, length)
        )
        if not (isfinite(end_slope) and end_slope <= -SLOPE_LEFT * slope):
            return
        self._residual += length * further
        self._coef += length * further_coef
        problem.sum += length * of_sum
        problem.center_dot += length * of_center_dot
        self._step = change + length * further
        self._coef_step = coef_change + length * further_coef
        self._sum_step = sum_change + length * of_sum
        self._center_dot_step = center_dot_change + length * of_center_dot
        _write_logits(problem, self._design.n_samples)

    cdef double _dot(self, left, right):
        """Of two sets of centered coefficients."""
        cdef double product = float(left[0] @ right[0]) - left[1] * right[2] - right[1] * left[2]
        return product + left[1] * right[1] * self._problem.center_square

    def end(self):
        """Coefficients (d,), the intercept, and a lower bound on the minimum of ``sum_i c_i L_i + |w|^2 / 2``: minus
        infinity where the variables cannot make up for their sum. One pass but there.

        The variables are moved in proportion to what each gives way to the intercept, so that their sum is zero, and
        the coefficients summed anew.
        """
        q, rest = self._target - self._residual, (1.0 - self._target) + self._residual
        if self._problem.give > 0:
            curvature = self._cost * q * rest
            total = curvature.sum()
            if not abs(self._cost @ self._residual) < total:
                return self._coef, self._problem.intercept, -INFINITY
            share = (self._cost @ self._residual) / total
            q, rest = q + share * q * rest, rest - share * q * rest
        variables = self._cost * np.where(self._target > 0.5, rest - (1.0 - self._target), self._target - q)
        variables = variables.reshape(1, -1)
        coef = self._design.hessian_dot(variables, np.zeros((1, self._design.n_features)), np.ones(1))[0].ravel()
        bound = float(self._cost @ (entr(q) + entr(rest))) - 0.5 * float(coef @ coef)
        return coef, self._problem.intercept - float(self._center @ coef), bound


cdef void _add_entropy(const dual_problem *problem, const double[::1] first, const double[::1] second,
                       double[::1] sums) noexcept:
    """The entropy, and of what is minimised, its negative: the slopes along two directions, and the curvatures along
    the first, both, and the second."""
    cdef double q, rest, log_q, log_rest, curvature
    cdef Py_ssize_t i
    for i in range(first.shape[0]):
        q = problem.target[i] - problem.residual[i]
        rest = (1.0 - problem.target[i]) + problem.residual[i]
        if problem.cost[i] == 0.0 or q <= 0.0 or rest <= 0.0:
            continue
        log_q, log_rest = log(q), log(rest)
        sums[0] -= problem.cost[i] * (q * log_q + rest * log_rest)
        sums[1] -= problem.cost[i] * (log_q - log_rest) * first[i]
        sums[2] -= problem.cost[i] * (log_q - log_rest) * second[i]
        curvature = problem.cost[i] / (q * rest)
        sums[3] += curvature * first[i] * first[i]
        sums[4] += curvature * first[i] * second[i]
        sums[5] += curvature * second[i] * second[i]


cdef double _room(const dual_problem *problem, const double[::1] step) noexcept:
    """The length at which the first q is 0 or 1."""
    cdef double room = INFINITY
    cdef Py_ssize_t i
    for i in range(step.shape[0]):
        if problem.cost[i] == 0.0:
            continue
        if step[i] > 0:
            room = min(room, (problem.target[i] - problem.residual[i]) / step[i])
        elif step[i] < 0:
            room = min(room, ((1.0 - problem.target[i]) + problem.residual[i]) / -step[i])
    return room


cdef double _entropy_slope(const dual_problem *problem, const double[::1] step, double length) noexcept:
    cdef double slope = 0.0, residual, rest
    cdef Py_ssize_t i
    for i in range(step.shape[0]):
        if step[i] != 0.0 and problem.cost[i] != 0.0:
            residual = problem.residual[i] + length * step[i]
            rest = (1.0 - problem.target[i]) + residual
            slope -= problem.cost[i] * step[i] * log((problem.target[i] - residual) / rest)
    return slope


cdef void _write_logits(const dual_problem *problem, Py_ssize_t n) noexcept:
    cdef double q, rest
    cdef Py_ssize_t i
    for i in range(n):
        q = problem.target[i] - problem.residual[i]
        rest = (1.0 - problem.target[i]) + problem.residual[i]
        if problem.cost[i] != 0.0 and q > 0.0 and rest > 0.0:
            problem.logits[i] = log(q / rest)
