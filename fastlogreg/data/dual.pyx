"""The dual problem of penalised logistic regression on sparse X, by coordinate descent.

Its variables are the residuals ``r_i = p_i - q_i`` of probabilities q_i. Of costs c_i and with centered columns,

    maximise  sum_i c_i H(q_i) - |w|^2 / 2,   w = sum_i c_i r_i (x_i - m),   H(q) = -q log q - (1 - q) log(1 - q),

subject to ``sum_i c_i r_i = 0`` where there is an intercept. Any q that meets it is a lower bound on the minimum of
``sum_i c_i L_i + |w|^2 / 2``, and the best one makes its coefficients w. A sweep visits samples once, in random order,
and takes twice the time of reading them, on one thread; on text a sweep is worth several gradients. X stays sparse: the
centers m are subtracted in scalars. They matter because samples of word counts have one direction in common, on which
coordinates work against one another; where the sum of the variables is zero, centering changes nothing.

The sum is zero only at the end. Until then the intercept gives way to it, ``b = intercept + give * sum`` (the method of
multipliers), and keeps the change after each sweep.

Source: Yu, Huang and Lin, Dual coordinate descent methods for logistic regression and maximum entropy models (2011).
"""

import numpy as np
from scipy.special import entr

from libc.math cimport INFINITY, isfinite, log

from fastlogreg.data.design cimport Design
from fastlogreg.kernels.dispatch cimport dual_problem, dual_sweep_sums

from fastlogreg.data.pointwise import cross_entropy_on_line

# How far the intercept gives way to the sum of the variables: as a column with the part GIVE of the sum of all columns'
# variances would, which the columns outweigh; and at least LEAST_GIVE over the sum of the costs, so that the sum falls
# to a tenth in a sweep.
cdef double GIVE = 0.03
cdef double LEAST_GIVE = 40.0
# Rows of a block lie together and are visited together, so that memory is read in runs of a few pages. There are at
# most 32 of them, so that the order is as good as random.
cdef Py_ssize_t BLOCK_BYTES = 16 * 1024
cdef Py_ssize_t MAX_BLOCK_ROWS = 32
# Samples are coupled where their parts in the duality gap are more than four times what visits to them gain: where the
# penalty is weak and most samples have little curvature left. Skipping samples that gained little then spares a quarter
# of the passes. Where visits gain more it spares a tenth at most, which reading rows here and there costs again.
cdef double COUPLED = 4.0
# An extrapolation goes at most nine tenths of the way to where the first q is 0 or 1.
cdef double INSIDE = 0.9
# A slope that has changed its sign at the end of an extrapolation is at most this part of that at the start.
cdef double SLOPE_LEFT = 0.9
# The squared cosine from which on two directions count as one.
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
    gap : float
        About the duality gap that the latest sweep met: the sum of each sample's part in it before its visit, to second
        order.
    """

    cdef readonly double value
    cdef readonly double gap
    cdef Design _design
    cdef dual_problem _problem
    cdef object _keep_alive
    cdef object _residual, _logits, _coef, _center, _cost, _target
    # the latest step, and memory for the next one
    cdef object _step, _coef_step, _spare, _coef_spare, _spare_logits
    cdef double _sum_step, _center_dot_step
    cdef object _random
    cdef Py_ssize_t _block_rows, _n_sweeps

    def __init__(self, Design design, target, sample_weight, double cost, center=None, double spread=0.0,
                 double intercept=0.0):
        cdef Py_ssize_t n = design.n_samples, d = design.n_features
        cdef bint centered = center is not None
        self._design = design
        self._target = target.astype(np.float64, copy=False)
        self._center = center if centered else np.zeros(d)
        self._cost = np.full(n, cost) if sample_weight is None else cost * sample_weight
        self._residual, self._logits, self._coef = np.zeros(n), np.zeros(n), np.zeros(d)
        cdef const double[::1] targets = self._target
        cdef const double[::1] costs = self._cost
        cdef double[::1] residual = self._residual, logits = self._logits, coef = self._coef
        cdef const double[::1] centers = self._center
        cdef double[::1] dots = np.zeros(n), gains = np.zeros(n)
        self._problem.target, self._problem.cost = &targets[0], &costs[0]
        self._problem.center, self._problem.center_dots = &centers[0] if centered else NULL, &dots[0]
        self._problem.center_square = float(self._center @ self._center)
        self._problem.residual, self._problem.logits, self._problem.coef = &residual[0], &logits[0], &coef[0]
        self._problem.give = max(GIVE * spread, LEAST_GIVE / self._cost.sum()) if centered else 0.0
        self._problem.intercept, self._problem.gains = intercept, &gains[0]
        self._keep_alive = targets, costs, centers, dots, residual, logits, coef, gains
        self._step, self._coef_step = np.zeros(n), np.zeros(d)
        self._spare, self._coef_spare, self._spare_logits = np.empty(n), np.empty(d), np.empty(n)
        self._n_sweeps = 0
        self._random = np.random.default_rng(0)
        self._block_rows = max(1, min(MAX_BLOCK_ROWS, BLOCK_BYTES // max(1, design.bytes_a_row())))

    def sweep(self):
        """Visit the samples and extrapolate. Returns how much of X was read, in passes.

        The first two sweeps visit every sample. Then, where samples are coupled, those that gained less than the mean
        when last visited are skipped, but not twice in a row.
        """
        cdef Py_ssize_t n_blocks = (self._design.n_samples + self._block_rows - 1) // self._block_rows
        cdef const Py_ssize_t[::1] blocks = self._random.permutation(n_blocks).astype(np.intp)
        cdef double total = self._problem.sum, center_dot = self._problem.center_dot
        cdef dual_sweep_sums sums
        # what was the step before the latest one holds the change
        change, coef_change = self._spare, self._coef_spare
        np.negative(self._residual, out=change)
        np.negative(self._coef, out=coef_change)
        with nogil:
            sums = self._design.kernels.dual_sweep(
                &self._design.view, n_blocks, &blocks[0], self._block_rows, &self._problem)
        self._problem.center = NULL
        change += self._residual
        coef_change += self._coef
        cdef bint coupled = self._n_sweeps > 0 and sums.gap > COUPLED * sums.gain
        self._problem.least_gain = sums.gain / max(sums.n_visits, 1) if coupled else 0.0
        self._n_sweeps += 1
        self.gap = sums.gap
        self._extrapolate(self._problem.sum - total, self._problem.center_dot - center_dot)
        self._problem.intercept += self._problem.give * self._problem.sum
        return sums.n_entries / max(self._design.n_entries, 1)

    def _extrapolate(self, double sum_change, double center_dot_change):
        """Newton's step from the sweep's end, in the plane of what the sweep changed and of the latest step.

        It is taken where it stays inside and descends; the sweep itself always does. Here the sign of the objective is
        that of one to minimise. From then on the latest step is what the sweep changed, plus this step if it was taken.
        """
        cdef dual_problem *problem = &self._problem
        cdef double[6] of_entropy
        change, step = self._spare, self._step
        of_entropy[:] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        _add_entropy_slopes(problem, change, step, of_entropy)
        losses = cross_entropy_on_line(
            self._logits, self._logits, 0.0, self._target, self._cost, self._design.n_threads
        )
        sums = np.array([problem.sum, sum_change, self._sum_step])
        center_dots = np.array([problem.center_dot, center_dot_change, self._center_dot_step])
        products = np.empty((3, 3))
        _write_products(self._coef, self._coef_spare, self._coef_step, products)
        products += problem.center_square * np.outer(sums, sums)
        products -= np.outer(sums, center_dots) + np.outer(center_dots, sums)
        self.value = losses[0] + of_entropy[0] - 0.5 * products[0, 0]
        at_intercept = problem.intercept + problem.give * problem.sum
        entropy_slopes = np.array([of_entropy[1], of_entropy[2]])
        slopes = products[0, 1:] + at_intercept * sums[1:] + entropy_slopes
        curvatures = products[1:, 1:] + problem.give * np.outer(sums[1:], sums[1:])
        shares = _newton_shares(slopes, curvatures, of_entropy[3], of_entropy[4], of_entropy[5])
        self._spare, self._step = step, change
        self._coef_spare, self._coef_step = self._coef_step, self._coef_spare
        self._sum_step, self._center_dot_step = sum_change, center_dot_change
        if shares is None:
            return
        cdef double of_change = shares[0], of_step = shares[1]
        cdef double length = min(1.0, INSIDE * _room(problem, change, of_change, step, of_step))
        slope = float(shares @ slopes)
        end_slope = (
            slope - entropy_slopes @ shares + length * (shares @ curvatures @ shares)
            + _entropy_slope(problem, step, length, self._spare_logits)
        )
        if not (isfinite(end_slope) and end_slope <= -SLOPE_LEFT * slope):
            return
        _add_step(length, step, 0.0, change, self._residual)
        _add_step(length * of_step, self._coef_spare, length * of_change, self._coef_step, self._coef)
        self._logits[:] = self._spare_logits
        problem.sum += length * (shares @ sums[1:])
        problem.center_dot += length * (shares @ center_dots[1:])
        self._sum_step += length * (shares @ sums[1:])
        self._center_dot_step += length * (shares @ center_dots[1:])

    def end(self):
        """Coefficients (d,), the intercept, and a lower bound on the minimum of ``sum_i c_i L_i + |w|^2 / 2``.

        One pass, in which the coefficients are summed anew, after each variable was moved in proportion to q (1 - q) so
        that the sum is zero. Where that cannot be, no pass, and the bound is minus infinity.
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


def _newton_shares(slopes, curvatures, double first, double mixed, double second):
    """The shares (2,) of two directions in Newton's step, given their slopes (2,) and two parts of their curvatures, a
    matrix (2, 2) and three numbers; None where the two directions are one.
    """
    first, mixed, second = first + curvatures[0, 0], mixed + curvatures[0, 1], second + curvatures[1, 1]
    if not (first > 0 and second > 0):
        return None
    sizes = np.sqrt([first, second])
    mixed /= sizes[0] * sizes[1]
    if not mixed * mixed < DEPENDENT:
        return None
    shares = slopes / sizes
    return -(shares - mixed * shares[::-1]) / (1.0 - mixed * mixed) / sizes


cdef void _write_products(const double[::1] first, const double[::1] second, const double[::1] third,
                          double[:, ::1] products) noexcept:
    """All products of three vectors with one another."""
    cdef double a, b, c, aa = 0.0, ab = 0.0, ac = 0.0, bb = 0.0, bc = 0.0, cc = 0.0
    cdef Py_ssize_t j
    for j in range(first.shape[0]):
        a, b, c = first[j], second[j], third[j]
        aa += a * a
        ab += a * b
        ac += a * c
        bb += b * b
        bc += b * c
        cc += c * c
    products[0, 0], products[1, 1], products[2, 2] = aa, bb, cc
    products[0, 1], products[0, 2], products[1, 2] = ab, ac, bc
    products[1, 0], products[2, 0], products[2, 1] = ab, ac, bc


cdef void _add_step(double of_step, const double[::1] step, double of_change, double[::1] change,
                    double[::1] values) noexcept:
    """Add ``of_step step + of_change change`` to the values and to the change."""
    cdef double added
    cdef Py_ssize_t j
    for j in range(values.shape[0]):
        added = of_step * step[j] + of_change * change[j]
        values[j] += added
        change[j] += added


cdef void _add_entropy_slopes(const dual_problem *problem, const double[::1] first, const double[::1] second,
                              double *sums) noexcept:
    """Add to the six sums: what the entropy has more than the losses at the logits; the slopes of the negative entropy,
    which is minimised, along two directions; and its curvatures along the first, both, and the second."""
    cdef double q, rest, slope, curvature
    cdef Py_ssize_t i
    for i in range(first.shape[0]):
        q = problem.target[i] - problem.residual[i]
        rest = (1.0 - problem.target[i]) + problem.residual[i]
        if problem.cost[i] == 0.0 or q <= 0.0 or rest <= 0.0:
            continue
        slope, curvature = problem.cost[i] * problem.logits[i], problem.cost[i] / (q * rest)
        sums[0] += slope * problem.residual[i]
        sums[1] -= slope * first[i]
        sums[2] -= slope * second[i]
        sums[3] += curvature * first[i] * first[i]
        sums[4] += curvature * first[i] * second[i]
        sums[5] += curvature * second[i] * second[i]


cdef double _room(const dual_problem *problem, const double[::1] change, double of_change, double[::1] step,
                  double of_step) noexcept:
    """The length at which the first q is 0 or 1 along ``of_change change + of_step step``, which the step becomes."""
    cdef double room = INFINITY
    cdef Py_ssize_t i
    for i in range(step.shape[0]):
        step[i] = of_change * change[i] + of_step * step[i]
        if problem.cost[i] == 0.0:
            continue
        if step[i] > 0:
            room = min(room, (problem.target[i] - problem.residual[i]) / step[i])
        elif step[i] < 0:
            room = min(room, ((1.0 - problem.target[i]) + problem.residual[i]) / -step[i])
    return room


cdef double _entropy_slope(const dual_problem *problem, const double[::1] step, double length,
                           double[::1] logits_out) noexcept:
    """The slope of the negative entropy at the end of a step, and the logits there."""
    cdef double slope = 0.0, q, rest
    cdef Py_ssize_t i
    for i in range(step.shape[0]):
        logits_out[i] = problem.logits[i]
        if problem.cost[i] != 0.0 and step[i] != 0.0:
            q = problem.target[i] - (problem.residual[i] + length * step[i])
            rest = (1.0 - problem.target[i]) + (problem.residual[i] + length * step[i])
            logits_out[i] = log(q / rest)
            slope -= problem.cost[i] * step[i] * logits_out[i]
    return slope
