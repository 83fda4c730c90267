"""What solvers share: their result, the line search on stored logits, and the proof of a gap.

A solver is a function ``solve(objective, start, *, tol, max_iter, on_iteration) -> Solution``. It sees the objective
only: `evaluate` (one pass), `on_line` (none), `hessian`.
"""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian, diagonal_inverse, dual_sums
from fastlogreg.objectives.evaluation import Point
from fastlogreg.solvers.newton_step import VALUE_NOISE, Direction, gradient_rounding, slopes, step_along

# Above so many parameters, or more columns than samples, a Hessian costs more to form and factor than the products it
# would save; with so few columns it is cheaper also where the samples are fewer.
MAX_MATRIX_PARAMETERS = 1500
FEW_COLUMNS = 300
# Conjugate gradients that stop early spare passes far from the optimum; stopping ever later makes the steps Newton's,
# also where the columns are so dependent that the first few products gain nearly all of the model but the last tenth.
FIRST_ACCURACY = 0.1
ACCURACY_DECAY = 0.75
# A direction that takes so many products makes the next ones worth the Hessian of so many columns.
MANY_PRODUCTS = 40
BLOCK_COLUMNS = 300
# Logits of large terms that cancel are known to few digits, and values with them: a tenth of the gap that the default
# tolerance asks for.
LOGIT_NOISE = 1e-10
# A step that gains no more than so many times the gap asked for is made so accurate that it proves its end.
PROVABLE = 30


class Stop(Enum):
    """Why a solver ended."""

    CONVERGED = "the gap is proven small enough"
    MAX_ITER = "max_iter iterations were done"
    STALLED = "rounding allows no further descent"
    SEPARABLE = "the classes are separable and nothing bounds the coefficients"
    PARTLY_SEPARABLE = "the classes are separable in part and nothing bounds the coefficients"
    REQUESTED = "a callback asked for it"


@dataclass(slots=True)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    point : Point
    gap : float
        Bound on ``value - minimum`` in nats, infinity where nothing is known: see `step_along`.
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
    return relative_gap_target(tol) * point.value


def relative_gap_target(tol):
    """`gap_target` in units of the value."""
    return max(0.1 * tol * tol, VALUE_NOISE)


def minimize_on_line(objective, start, end, *, slope_left=0.9):
    """The best point on the ray from `start` through `end`, both evaluated, without or with one pass over X.

    `end` itself if it `ends_well`. Otherwise the minimum along the ray is found from the stored logits and evaluated.
    None when no point of the ray is lower than the start by more than rounding.
    """
    if ends_well(start, end, slope_left):
        return end
    t = line_minimizer(objective, start, end)
    if t == 0.0:
        return None
    return evaluate_on_line(objective, start, end, t, recycle=end)


def ends_well(start, end, slope_left):
    """Whether a step ends about the minimum along it.

    It ends no higher than it starts, with a slope well below the start's, and where it still descends, with at most the
    share `slope_left` of it; or higher by no more than rounding of logits explains, where the slopes tell that it is
    the minimum (approximate conditions as in Hager and Zhang 2005).
    """
    slope, end_slope = slopes(start, end)
    if not (slope < 0 and math.isfinite(end.value)):
        return False
    if end.value <= start.value + VALUE_NOISE * abs(start.value) and slope_left * slope <= end_slope <= -0.9 * slope:
        return True
    return end.value <= start.value + LOGIT_NOISE * abs(start.value) and abs(end_slope) <= 0.1 * abs(slope)


def evaluate_on_line(objective, start, end, t, recycle):
    """The `Point` at ``start + t (end - start)``; None if that is higher than the start by more than rounding."""
    point = objective.evaluate(start.parameters + t * (end.parameters - start.parameters), recycle=recycle)
    return point if point.value <= start.value + VALUE_NOISE * abs(start.value) else None


def line_minimizer(objective, start, end):
    """A t > 0 with a slope well below the start's and no higher value, or the longest step known to descend, or 0.

    By safeguarded Newton steps on the stored logits (the objective is convex), kept between the ends of a bracket;
    without one to go by, t grows by four or shrinks by ten. A direction from a flat Hessian can be too long by many
    orders, so the first t moves no logit by more than a thousand.
    """
    slope, _ = slopes(start, end)
    if slope >= 0:
        return 0.0
    accuracy = 0.1 if objective.LINES_ARE_FREE else 0.5
    low, high = 0.0, np.inf
    t = min(1.0, 1000.0 / max(objective.largest_logit_change(start, end), 1.0))
    for _ in range(60):
        value, at_slope, curvature = objective.on_line(start, end, t)
        if abs(at_slope) <= accuracy * abs(slope) and value <= start.value + VALUE_NOISE * abs(start.value):
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


def newton_step(objective, point, target):
    """The `NewtonStep` from `point`, by conjugate gradients where the matrix is not cheap; `target` is the bound wanted
    of it.
    """
    if has_cheap_matrix(objective):
        direction = Direction.of(objective, point, FactoredHessian.of(objective, point), target)
    else:
        direction = ConjugateGradients(objective).direction(point, target)
    return step_along(objective, point, direction)


def gap_from_gradient(objective, point):
    """The bound on ``point.value - minimum`` that the gradient alone gives, which is good next to a penalised optimum;
    no pass over X. The coordinates must be those of all rows.

    It is `step_along`'s for the direction that moves the intercept b alone, by ``-gradient_b / H_bb``. That leaves
    ``rho_j = gradient_j - gradient_b H_jb / H_bb`` in the coefficients, and as the loss's Hessian is positive and
    standardised columns have mean squares of at most ``1 / h`` (`fastlogreg.objectives.binary`), ``H_jb^2 <= H_bb / (4 h)``.
    """
    if not (objective.l2 > 0 and objective.n_outputs == 1):
        return np.inf
    largest, loss_gap, d = np.abs(point.gradient), 0.0, objective.design.n_features
    if objective.fit_intercept:
        curvature = objective.hessian(point).mean_curvature()
        step = largest[d] / curvature
        change = step * objective.inverse_intercept_scale
        if not change <= 1.0:
            return np.inf
        loss_gap = 0.5 * (1.0 + change) * curvature * step**2
        largest[:d] += 0.5 * np.sqrt(curvature) * change
    varies = objective.inverse_scale > 0
    return loss_gap + 0.5 * float(np.sum(largest[:d][varies] ** 2 / objective.ridge[:d][varies]))


def newton_end(objective, point, tol, n_iter):
    """The Newton step from `point`: the `Solution` if it proves the gap that `tol` asks for, or else the better `Point`
    it leads to, None where there is none.
    """
    target = gap_target(point, tol)
    step = newton_step(objective, point, target)
    better = minimize_on_line(objective, point, step.end)
    gap = step.gap_of(better or point, point)
    if gap <= target:
        return Solution(better or point, gap, n_iter, arrived(step), step.proven)
    return better


def early_end(objective, point, tol, n_iter, stop):
    """`point` as the solution, with the gap that a Newton step proves; it may turn out to be small enough."""
    target = gap_target(point, tol)
    step = newton_step(objective, point, target)
    end = end_at_infimum(step, point, target, n_iter)
    return end or Solution(point, step.gap, n_iter, arrived(step) if step.gap <= target else stop, step.proven)


def end_at_infimum(step, point, target, n_iter):
    """`point` as the solution if all that is left to gain is what a step without end would, else None."""
    if not step.gap_to_infimum <= target < step.gap:
        return None
    return Solution(point, step.gap_to_infimum, n_iter, Stop.PARTLY_SEPARABLE, proven=False)


def arrived(step):
    """Why a solver ends whose last `NewtonStep` says that the gap is small enough."""
    return Stop.CONVERGED if step.gap_to_infimum == math.inf else Stop.PARTLY_SEPARABLE


def has_cheap_matrix(objective):
    """Whether the Hessian is better factored than multiplied with."""
    few_columns = _n_columns(objective) <= max(FEW_COLUMNS, objective.design.n_samples)
    return objective.has_matrix and few_columns and objective.n_parameters <= MAX_MATRIX_PARAMETERS


def has_cheap_row_span(objective):
    """Whether the problem is better solved in the span of its rows: see `fastlogreg.objectives.row_span`."""
    n_samples = objective.design.n_samples
    return max(FEW_COLUMNS, n_samples) < _n_columns(objective) and n_samples <= MAX_MATRIX_PARAMETERS


def _n_columns(objective):
    """Parameters of an output."""
    return objective.n_parameters // objective.n_outputs


def preconditioner(hessian, point):
    """The function that applies an approximate inverse of the Hessian at a point: the objective's, or a diagonal's."""
    return hessian.objective.preconditioner(point) or diagonal_inverse(hessian.mean_diagonal())


class ConjugateGradients:
    """Directions by conjugate gradients on Hessian products, each direction more accurate than the one before.

    The preconditioner is the diagonal as standardised coordinates know it: one at the start, without the penalty, and
    later on that times the mean curvature. The true one would take two passes a direction and spares none. Where
    directions take many products and X is sparse, the exact Hessian of the fullest columns takes their part: numeric
    columns and frequent categories depend on one another, and on the intercept, more than rare ones do.

    Parameters
    ----------
    objective : Objective
    inverse : callable, default=None
        Gradient in, an approximate ``H^-1 gradient`` out, symmetric and positive: a preconditioner to use instead.
    """

    hessian = None  # none is factored

    def __init__(self, objective, inverse=None):
        self._objective = objective
        self._inverse = inverse
        self._accuracy = FIRST_ACCURACY
        self.n_products = 0
        self._block = None

    def direction(self, point, target, hessian=None):
        """The `Direction` from `point`. Each product is a pass, or one with the `SparseHessian` given.

        Far from the optimum it is enough that the quadratic model is nearly minimal: an iteration gains less than a
        small part of the mean gain so far (Nash and Sofer 1990). Where the model says that less than `target` is left
        to gain, the iterations go on until the bound of `step_along` proves it, or, without a penalty, until the model
        is minimal to a thousandth.
        """
        objective, ridge = self._objective, self._objective.ridge
        gradient = point.gradient
        if hessian is None:
            hessian = objective.hessian(point)
            precondition = self._preconditioner(hessian, point)
        else:
            precondition = hessian.inverse
        direction, residual = np.zeros_like(gradient), gradient.copy()
        free_intercepts = objective.l2 > 0 and objective.fit_intercept
        if free_intercepts and objective.OUTPUTS_ARE_APART:
            precondition = _without_intercepts(hessian, precondition, direction, residual)
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
            if gained > PROVABLE * target or (objective.l2 == 0 and gained > target):
                if iteration * gain <= self._accuracy * gained:
                    break
            elif objective.l2 > 0:
                *_, loss_curvature, penalty_gap = dual_sums(
                    direction, residual, gradient, ridge, gradient_rounding(point)
                )
                if 0.5 * loss_curvature + penalty_gap <= gained + 0.5 * target:
                    break
            elif iteration * gain <= 1e-3 * gained:
                break
            scaled = precondition(residual)
            previous, product = product, float(residual @ scaled)
            search = product / previous * search - scaled
        if free_intercepts and not objective.OUTPUTS_ARE_APART:
            _clear_intercept_residuals(hessian, direction, residual)
        self._accuracy *= ACCURACY_DECAY
        self.n_products = iteration
        return Direction(direction, residual)

    def _preconditioner(self, hessian, point):
        """The function that applies it."""
        objective = self._objective
        if self._inverse is not None:
            return self._inverse
        if self.n_products > MANY_PRODUCTS and self._block is None:
            self._block = objective.fullest_columns(BLOCK_COLUMNS)
        if self._block is None:
            return preconditioner(hessian, point)
        block, places = self._block
        return diagonal_inverse(hessian.mean_diagonal(), FactoredHessian.of(block, point), places)


def _clear_intercept_residuals(hessian, direction, residual):
    """Move the intercepts so that their residuals are zero, as a feasible dual point needs. Two passes."""
    block = hessian.intercept_block()
    width = direction.size // len(block)
    shift = np.zeros_like(direction)
    shift[width - 1 :: width] = np.linalg.lstsq(block, residual[width - 1 :: width], rcond=None)[0]
    direction -= shift
    residual -= hessian.dot(shift)


def _without_intercepts(hessian, precondition, direction, residual):
    """Eliminate the intercepts: set theirs in the direction so that their residuals are zero, as a feasible dual point
    needs, and return a preconditioner whose directions keep them so. One pass.
    """
    width = direction.size // hessian.objective.n_outputs
    intercepts = np.zeros_like(direction)
    intercepts[width - 1 :: width] = 1.0
    columns = hessian.dot(intercepts).reshape(-1, width)  # outputs do not touch one another: one product for all
    if not (columns[:, -1] > 0).all():
        return precondition
    direction[width - 1 :: width] = -residual[width - 1 :: width] / columns[:, -1]
    residual += (direction[width - 1 :: width, None] * columns).ravel()

    def apply(vector):
        result = precondition(vector)
        products = np.einsum("kj,kj->k", columns, result.reshape(-1, width))
        result[width - 1 :: width] -= products / columns[:, -1]
        return result

    return apply
