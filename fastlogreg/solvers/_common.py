"""What solvers share: their result, the line search on stored logits, and the proof of a gap.

A solver is a function ``solve(objective, start, *, tol, max_iter, on_iteration) -> Solution``. It sees the objective
only: `evaluate` (one pass), `on_line` (none), `hessian`.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from fastlogreg._objective import Point
from fastlogreg.solvers._factored_hessian import FactoredHessian, dual_sums

# Above so many parameters (or samples, where they are fewer) a Hessian costs more to form and factor than the products
# it would save, and up to so few parameters theirs is cheaper also where the samples are fewer.
MAX_MATRIX_PARAMETERS = 1500
FEW_PARAMETERS = 300
# Conjugate gradients that stop early spare passes far from the optimum; stopping ever later makes the steps Newton's,
# also where the columns are so dependent that the first few products gain nearly all of the model but the last tenth.
FIRST_ACCURACY = 0.1
ACCURACY_DECAY = 0.75
# A direction that takes so many products makes the next ones worth the Hessian of so many columns.
MANY_PRODUCTS = 40
BLOCK_COLUMNS = 300
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
    proven : bool
        Whether the gap is a bound, or an estimate.
    """

    point: Point
    gap: float
    n_iter: int
    stop: Stop
    proven: bool = True


def gap_target(point, tol):
    """The gap, in nats, at which `tol` is met: ``tol^2 / 10`` of the value, or the value's rounding if that is more.

    The default tolerance of 1e-4 asks for a relative gap of 1e-9.
    """
    return max(0.1 * tol * tol, VALUE_NOISE) * point.value


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
    """A t > 0 with a slope well below the start's and no higher value, or the longest step known to descend.

    Newton's steps, kept between the ends of a bracket; without one to go by, t grows by four or shrinks by ten. A
    direction from a flat Hessian can be too long by many orders, so the first t moves no logit by more than a thousand.
    """
    low, high = 0.0, np.inf
    t = min(1.0, 1000.0 / max(objective.largest_logit_change(start, end), 1.0))
    for _ in range(60):
        value, at_slope, curvature = objective.on_line(start, end, t)
        if abs(at_slope) <= objective.SLOPE_LEFT * abs(slope) and value <= start.value + VALUE_NOISE * abs(start.value):
            return t
        if at_slope < 0:
            low = t
        else:  # also when it is NaN: too far
            high = t
        newton = t - at_slope / curvature if curvature > 0 else np.inf
        if low < newton < high and newton <= 10 * t:
            t = newton
        elif high == np.inf:
            t = 4.0 * t
        else:
            t = 0.5 * (low + high) if low > 0 else 0.1 * high
    return low


@dataclass(slots=True)
class Direction:
    """A solution v of the Newton equations at a point, from the Hessian there or at an earlier point.

    Attributes
    ----------
    vector : ndarray of shape (n_parameters,)
    residual : ndarray of shape (n_parameters,)
        ``gradient + H v``: zero up to rounding where H is factored.
    moved : float
        The largest change of a logit since the point of H.
    """

    vector: np.ndarray
    residual: np.ndarray
    moved: float

    @classmethod
    def of(cls, objective, point, hessian):
        """With a `FactoredHessian`."""
        vector, residual = hessian.solve(point.gradient)
        moved = 0.0 if hessian.point is point else objective.largest_logit_change(hessian.point, point)
        return cls(vector, residual, moved)


@dataclass(slots=True)
class NewtonStep:
    """A Newton step, and the bound on the gap of the point it starts from; `proven` if it is not an estimate."""

    end: Point
    gap: float
    proven: bool


def newton_step(objective, point, target, direction=None):
    """The Newton step from `point`, and a bound on ``point.value - minimum`` in nats; `target` is the bound wanted.

    Without a `direction` the Newton equations are solved here: with the matrix where it is cheap, elsewhere by
    conjugate gradients.

    The bound is the duality gap between the point and the dual variables that the step predicts. With direction v from
    a Hessian H, ``rho = gradient + H v`` (zero up to rounding where H is factored), S the largest change of a logit in
    the step and m the largest since H's point, with ``c = S e^m`` at most 1 (v is shortened to that),

        gap <= (1 + c) / 2 . e^m . v' H_loss v + sum_j (rho_j - ridge_j v_j)^2 / (2 ridge_j)

    Derivation: the dual variable of sample i is a probability q_i; take ``q_i = sigma(u_i) + h_i x_i . v``, h_i being
    the curvature in H. Fenchel and Young's gap of the loss is then the Kullback-Leibler divergence of q_i from
    sigma(u_i). For ``q_i - sigma_i = sigma'_i t``, |t| <= 1, it is at most ``(1 + |t|) / 2 . sigma'_i t^2``; here
    ``t = h_i / sigma'_i . x_i . v``, and h_i / sigma'_i <= e^m because log sigma' has a slope within [-1, 1]. The
    penalty's gap is the second sum. Without a penalty (ridge 0) and with rho = 0 the dual point is feasible and the
    bound holds likewise; a residual of an unpenalised parameter makes it an estimate by the squared decrement, or
    infinite where the residual is not small.
    """
    if direction is None:
        if has_cheap_matrix(objective):
            direction = Direction.of(objective, point, FactoredHessian.of(objective, point))
        else:
            direction = ConjugateGradients(objective).direction(point, target)
    end = objective.evaluate(point.parameters + direction.vector)
    growth = np.exp(min(direction.moved, 700.0))
    change = growth * objective.largest_logit_change(point, end)
    vector, residual = direction.vector, direction.residual
    if change > 1.0:  # a shorter direction has feasible dual variables
        vector, residual = vector / change, point.gradient + (residual - point.gradient) / change
        change = 1.0
    explained, strictly, loss_curvature, penalty_gap = dual_sums(
        vector, residual, point.gradient, objective.ridge, _gradient_rounding(point)
    )
    if not explained:
        return NewtonStep(end, np.inf, True)
    gap = 0.5 * (1.0 + change) * growth * max(loss_curvature, 0.0) + penalty_gap
    return NewtonStep(end, float(gap), strictly)


def proven_end(objective, point, tol, n_iter, on_iteration):
    """The end of a Newton step from `point` as the solution, if the step proves the gap `tol` asks for, or None."""
    step = newton_step(objective, point, gap_target(point, tol))
    if step.gap > gap_target(point, tol):
        return None
    end = step.end if step.end.value <= point.value else point
    on_iteration(n_iter, end)
    return Solution(end, step.gap, n_iter, Stop.CONVERGED, step.proven)


def early_end(objective, point, tol, n_iter, stop):
    """`point` as the solution, with the gap that a Newton step proves; it may turn out to be small enough."""
    target = gap_target(point, tol)
    step = newton_step(objective, point, target)
    return Solution(point, step.gap, n_iter, Stop.CONVERGED if step.gap <= target else stop, step.proven)


def has_cheap_matrix(objective):
    """Whether the Hessian is better factored than multiplied with."""
    largest = min(MAX_MATRIX_PARAMETERS, max(FEW_PARAMETERS, objective.design.n_samples))
    return objective.has_matrix and objective.n_parameters <= largest


def has_cheap_row_span(objective):
    """Whether the problem is better solved in the span of its rows: see `fastlogreg._row_span`."""
    n_samples, n_columns = objective.design.n_samples, objective.n_parameters // objective.n_outputs
    return max(FEW_PARAMETERS, n_samples) < n_columns and n_samples <= MAX_MATRIX_PARAMETERS


def _gradient_rounding(point):
    """What a parameter's gradient is known to: the mean of |residual| times |x| in units of the last place.

    A sample's residual is at most its loss, and standardised columns are of size one.
    """
    return 16 * np.finfo(float).eps * point.value


class ConjugateGradients:
    """Directions by conjugate gradients on Hessian products, each direction more accurate than the one before.

    The preconditioner is the diagonal as standardised coordinates know it: one at the start, without the penalty, and
    later on that times the mean curvature. The true one would take two passes a direction and spares none. Where
    directions take many products and X is sparse, the exact Hessian of the fullest columns takes their part: numeric
    columns and frequent categories depend on one another, and on the intercept, more than rare ones do.
    """

    def __init__(self, objective, precondition=None):
        self._objective = objective
        self._known = precondition
        self._accuracy = FIRST_ACCURACY
        self._many_products = False
        self._block = None

    def direction(self, point, target):
        """The `Direction` from `point`. Each product is a pass.

        Far from the optimum it is enough that the quadratic model is nearly minimal: an iteration gains less than a
        small part of the mean gain so far (Nash and Sofer 1990). Where the model says that less than `target` is left
        to gain, the iterations go on until the bound of `newton_step` proves it, or, without a penalty, until the model
        is minimal to a thousandth.
        """
        objective, ridge = self._objective, self._objective.ridge
        hessian, gradient = objective.hessian(point), point.gradient
        precondition = self._preconditioner(hessian, point)
        direction, residual = np.zeros_like(gradient), gradient.copy()
        search = -precondition(residual)
        product = float(residual @ -search)
        gained = 0.0  # what the quadratic model has fallen by
        for iteration in range(1, 2 * gradient.size + 50):
            if product <= 0:
                break
            curved = hessian.dot(search)
            curvature = float(search @ curved)
            if curvature <= 0:  # a flat model: all that is known is which way is down
                direction = search if iteration == 1 else direction
                break
            step = product / curvature
            direction += step * search
            residual += step * curved
            gain = 0.5 * step * product
            gained += gain
            if gained > target:
                if iteration * gain <= self._accuracy * gained:
                    break
            elif objective.l2 > 0:
                *_, loss_curvature, penalty_gap = dual_sums(
                    direction, residual, gradient, ridge, _gradient_rounding(point)
                )
                if 0.5 * loss_curvature + penalty_gap <= max(0.9 * target, 1.1 * gained):
                    break
            elif iteration * gain <= 1e-3 * gained:
                break
            scaled = precondition(residual)
            previous, product = product, float(residual @ scaled)
            search = product / previous * search - scaled
        if objective.l2 > 0 and objective.fit_intercept:
            _clear_intercept_residual(hessian, direction, residual)
        self._accuracy *= ACCURACY_DECAY
        self._many_products = iteration > MANY_PRODUCTS
        return Direction(direction, residual, 0.0)

    def _preconditioner(self, hessian, point):
        """The function that applies it."""
        known = self._known or self._objective.preconditioner(point)
        if known is not None:
            return known
        ridge = self._objective.ridge
        diagonal = hessian.mean_curvature() * np.maximum(1.0 - ridge, 0.0) + ridge
        inverse = np.divide(1.0, diagonal, out=np.ones_like(diagonal), where=diagonal > 0)
        if self._many_products and self._block is None:
            self._block = self._objective.fullest_columns(BLOCK_COLUMNS)
        if self._block is None:
            return lambda residual: inverse * residual
        objective, places = self._block
        factored = FactoredHessian.of(objective, point)

        def precondition(residual):
            result = inverse * residual
            result[places] = -factored.solve(residual[places])[0]
            return result

        return precondition


def _clear_intercept_residual(hessian, direction, residual):
    """Move the intercepts so that their residuals are zero, as a feasible dual point needs. One pass."""
    block = hessian.intercept_block()
    width = direction.size // len(block)
    shift = np.zeros_like(direction)
    shift[width - 1 :: width] = np.linalg.lstsq(block, residual[width - 1 :: width])[0]
    direction -= shift
    residual -= hessian.dot(shift)
