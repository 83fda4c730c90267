"""What solvers share: their result, the line search on stored logits, and the proof of a gap.

A solver is a function ``solve(objective, start, *, tol, max_iter, on_iteration) -> Solution``. It sees the objective
only: `evaluate` (one pass), `on_line` (none), `hessian`.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import scipy.linalg

from fastlogreg._objective import Point

# Above so many parameters a Hessian costs more to form and factor than the products it would save.
MAX_MATRIX_PARAMETERS = 1500
# A value is known to a few units in its last place.
VALUE_NOISE = 8 * np.finfo(float).eps


class Stop(Enum):
    """Why a solver ended."""

    CONVERGED = "the gap is proven small enough"
    MAX_ITER = "max_iter iterations were done"
    STALLED = "rounding allows no further descent"
    SEPARABLE = "the classes are separable and nothing bounds the coefficients"
    REQUESTED = "a callback asked for it"


@dataclass(slots=True)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    point : Point
    gap : float
        Bound on ``value - minimum`` in nats, infinity where nothing is known: see `newton_step`.
    n_iter : int
    stop : Stop
    """

    point: Point
    gap: float
    n_iter: int
    stop: Stop


def gap_target(point, tol):
    """The gap, in nats, at which `tol` is met: ``tol^2 / 2`` of the value, or the value's rounding if that is more.

    In terms of the Newton decrement, whose half square estimates the gap: decrement <= tol * sqrt(value).
    """
    return max(0.5 * tol * tol, VALUE_NOISE) * point.value


def minimize_on_line(objective, start, end):
    """The best point on the ray from `start` through `end`, both evaluated, without or with one pass over X.

    `end` itself if it is good: no higher than the start, and with a slope well below the start's. Otherwise the
    minimum along the ray is found from the stored logits by safeguarded Newton steps (the objective is convex) and
    evaluated. None when no point of the ray is lower than the start by more than rounding.
    """
    direction = end.parameters - start.parameters
    slope = float(start.gradient @ direction)
    noise = VALUE_NOISE * abs(start.value)
    if np.isfinite(end.value):
        end_slope = float(end.gradient @ direction)
        if slope >= 0:
            return None
        if end.value <= start.value + noise and abs(end_slope) <= 0.9 * abs(slope):
            return end
    t = _line_minimizer(objective, start, end, slope)
    if t == 0.0:
        return None
    point = objective.evaluate(start.parameters + t * direction, recycle=end)
    return point if point.value <= start.value + noise else None


def _line_minimizer(objective, start, end, slope):
    low, high, t = 0.0, np.inf, 1.0
    for _ in range(60):
        value, at_slope, curvature = objective.on_line(start, end, t)
        if abs(at_slope) <= 0.1 * abs(slope) and value <= start.value + VALUE_NOISE * abs(start.value):
            return t
        if at_slope < 0:
            low = t
        else:  # also when it is NaN: too far
            high = t
        newton = t - at_slope / curvature if curvature > 0 else np.inf
        if low < newton < high and newton <= 10 * max(low, t):
            t = newton
        else:
            t = 4.0 * t if high == np.inf else 0.5 * (low + high)
    return low


@dataclass(slots=True)
class NewtonStep:
    """A Newton step, and the bound it proves on the gap of the point it starts from."""

    end: Point
    gap: float


def newton_step(objective, point, target, factored=None):
    """The Newton step from `point`, and a bound on ``point.value - minimum`` in nats; `target` is the bound wanted.

    `factored` is a `FactoredHessian` of this or an earlier point; None solves with the Hessian of this one.

    The bound is the duality gap between the point and the dual variables that the step predicts. With direction v from
    a Hessian H, ``rho = gradient + H v`` (zero up to rounding where H is factored), S the largest change of a logit in
    the step and m the largest since H's point, where ``c = S e^m`` must not exceed 1,

        gap <= (1 + c) / 2 . e^m . v' H_loss v + sum_j (rho_j - ridge_j v_j)^2 / (2 ridge_j)

    Derivation: the dual variable of sample i is a probability q_i; take ``q_i = sigma(u_i) + h_i x_i . v``, h_i being
    the curvature in H. Fenchel and Young's gap of the loss is then the Kullback-Leibler divergence of q_i from
    sigma(u_i). For ``q_i - sigma_i = sigma'_i t``, |t| <= 1, it is at most ``(1 + |t|) / 2 . sigma'_i t^2``; here
    ``t = h_i / sigma'_i . x_i . v``, and h_i / sigma'_i <= e^m because log sigma' has a slope within [-1, 1]. The
    penalty's gap is the second sum. Without a penalty (ridge 0) and with rho = 0 the dual point is feasible and the
    bound holds likewise; a residual of an unpenalised parameter makes it an estimate by the squared decrement.
    """
    moved = 1.0
    if factored is not None:
        direction, residual = factored.solve(point.gradient)
        moved = np.exp(objective.largest_logit_change(factored.point, point))
    elif has_cheap_matrix(objective):
        direction, residual = FactoredHessian(objective, point).solve(point.gradient)
    else:
        direction, residual = _conjugate_gradients(objective.hessian(point), point.gradient, objective.ridge, target)
    end = objective.evaluate(point.parameters + direction)
    change = moved * objective.largest_logit_change(point, end)
    if not change <= 1.0:
        return NewtonStep(end, np.inf)
    loss_curvature = float(direction @ (residual - point.gradient - objective.ridge * direction))
    gap = 0.5 * (1.0 + change) * moved * max(loss_curvature, 0.0)
    return NewtonStep(end, float(gap) + _penalty_gap(residual, direction, objective.ridge))


def has_cheap_matrix(objective):
    """Whether the Hessian is better factored than multiplied with."""
    return objective.n_parameters <= min(MAX_MATRIX_PARAMETERS, objective.design.n_samples)


class FactoredHessian:
    """The Hessian at a point, solved with by Cholesky; along its flat directions solutions are zero."""

    def __init__(self, objective, point):
        self.point = point
        self.matrix = objective.hessian(point).matrix()
        flat = np.flatnonzero(np.diagonal(self.matrix) == 0)
        self.matrix[flat, flat] = 1.0
        self._factor = self._eigen = None
        try:
            factor = scipy.linalg.cho_factor(self.matrix, lower=True, check_finite=False)
            # The factor's diagonal against the matrix's: what the columns before leave over of a column.
            if np.min(np.diagonal(factor[0]) ** 2 / np.diagonal(self.matrix)) > 1e-11:
                self._factor = factor
        except scipy.linalg.LinAlgError:
            pass
        if self._factor is None:
            eigenvalues, vectors = scipy.linalg.eigh(self.matrix, check_finite=False)
            kept = eigenvalues > 1e-13 * eigenvalues[-1]
            self._eigen = eigenvalues[kept], vectors[:, kept]

    def solve(self, gradient):
        """``-H^-1 gradient`` and ``gradient + H direction``."""
        if self._factor is None:
            eigenvalues, vectors = self._eigen
            direction = -vectors @ ((vectors.T @ gradient) / eigenvalues)
        else:
            direction = -scipy.linalg.cho_solve(self._factor, gradient, check_finite=False)
            residual = gradient + self.matrix @ direction
            direction -= scipy.linalg.cho_solve(self._factor, residual, check_finite=False)
        return direction, gradient + self.matrix @ direction


def _penalty_gap(residual, direction, ridge):
    """The second sum of `newton_step`'s bound."""
    penalised = ridge > 0
    # Where the Hessian's diagonal is one, a gradient is known to some units of 1e-16: less is no residual.
    residual = np.where(np.abs(residual) <= 16 * np.finfo(float).eps, 0.0, residual)[penalised]
    mismatch = residual - (ridge * direction)[penalised]
    return 0.5 * float(np.sum(mismatch**2 / ridge[penalised]))


def _conjugate_gradients(hessian, gradient, ridge, target, accuracy=0.1):
    """``-H^-1 gradient`` approximately and its residual, by conjugate gradients preconditioned with the diagonal.

    Far from the optimum it is enough that the quadratic model is nearly minimal: an iteration gains less than
    `accuracy` of the mean gain so far (Nash and Sofer 1990). Where the model says that less than `target` is left to
    gain, the iterations go on until the bound of `newton_step` proves it, or, without a penalty, until the model is
    minimal to a thousandth.
    """
    diagonal = hessian.diagonal()
    inverse_diagonal = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    direction = np.zeros_like(gradient)
    residual = gradient.copy()
    search = -inverse_diagonal * residual
    product = float(residual @ -search)
    gained = 0.0  # what the quadratic model has fallen by
    penalised = bool(np.any(ridge > 0))
    for iteration in range(1, 2 * gradient.size + 50):
        if product <= 0:
            break
        curved = hessian.dot(search)
        curvature = float(search @ curved)
        if curvature <= 0:
            break
        step = product / curvature
        direction += step * search
        residual += step * curved
        gain = 0.5 * step * product
        gained += gain
        if gained > target:
            if iteration * gain <= accuracy * gained:
                break
        elif penalised:
            loss_curvature = float(direction @ (residual - gradient - ridge * direction))
            proven = 0.5 * loss_curvature + _penalty_gap(residual, direction, ridge)
            if proven <= max(0.9 * target, 1.1 * gained):
                break
        elif iteration * gain <= 1e-3 * gained:
            break
        scaled = inverse_diagonal * residual
        previous, product = product, float(residual @ scaled)
        search = product / previous * search - scaled
    if penalised and hessian.objective.fit_intercept:
        _clear_intercept_residual(hessian, direction, residual)
    return direction, residual


def _clear_intercept_residual(hessian, direction, residual):
    """Move the intercepts so that their residuals are zero, as a feasible dual point needs. One pass."""
    intercepts = np.zeros_like(direction)
    width = direction.size // hessian.objective.n_outputs
    intercepts[width - 1 :: width] = 1.0
    column = hessian.dot(intercepts)  # outputs do not touch one another, so one product serves them all
    for k in range(hessian.objective.n_outputs):
        own = slice(k * width, (k + 1) * width)
        last = (k + 1) * width - 1
        if column[last] > 0:
            shift = residual[last] / column[last]
            direction[last] -= shift
            residual[own] -= shift * column[own]
