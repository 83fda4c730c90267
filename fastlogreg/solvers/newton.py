"""Newton's method: each iteration minimises the quadratic model of the objective at the point.

The step is solved by Cholesky where the Hessian's matrix is cheap, by preconditioned conjugate gradients on
Hessian-vector products elsewhere, and shortened by a line search on stored logits where it overshoots. A factored
Hessian serves for as many steps as that is cheaper than a new one (the chord method): such a step costs one pass. Every
step comes with a proven bound on the gap of the point it starts from, so the stopping test costs nothing.

Tall data start from a sample of the rows (`fastlogreg.solvers.pilot`, sparse ones `fastlogreg.solvers.sampled`), few
samples of many features in the span of the rows (`fastlogreg.objectives.row_span`). L-BFGS leads to the last steps where each
takes many products (`fastlogreg.solvers.preconditioned`), and to its start sweeps of the dual
(`fastlogreg.solvers.dual`).

Sources: Boyd and Vandenberghe, Convex Optimization, 9.5; Kelley, Iterative Methods, 5.4 for the chord method; the bound
is derived at `step_along`.
"""

import functools
import math

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.curvature.sampled_block import SampledBlock
from fastlogreg.objectives.row_span import RowSpan
from fastlogreg.solvers.common import (
    ConjugateGradients,
    Solution,
    Stop,
    arrived,
    early_end,
    end_at_infimum,
    gap_from_gradient,
    gap_target,
    has_cheap_matrix,
    has_cheap_row_span,
)
from fastlogreg.solvers.dual import dual_steps
from fastlogreg.solvers.newton_step import Direction, step_along
from fastlogreg.solvers.pilot import pilot_steps
from fastlogreg.solvers.preconditioned import preconditioned_steps
from fastlogreg.solvers.refined_model import StepSearch
from fastlogreg.solvers.sampled import sampled_steps

# The minimiser over the span of the rows is the whole's, up to rounding, and the end of the step that proves the gap
# before it far nearer than that. A pilot that takes long is nearly separable, and its minimiser of no use.
ROW_SPAN_ACCURACY = 1e-3
MAX_PILOT_ITER = 30
# More steps than that are better conjugate ones.
SAMPLED_PATIENCE = 60

# What a Hessian's matrix costs for each parameter, in passes, measured on dense data: 1.5 passes with 50 parameters,
# 4.4 with 200, 17 with 784. One that lasts too long loses passes, one given up too early a Hessian; beyond 200 the
# former is the dearer mistake. The same for dense and sparse data, whose steps then agree.
HESSIAN_PASSES = 0.025
# Where most of X is zero: 1.7 with 209 columns.
HESSIAN_PASSES_OF_FEW_ENTRIES = 2.0
# With more than two classes the Hessian takes a Gram matrix for each pair of them: 10 passes with 7 classes and 54
# columns, 25 with 10 and 64.
HESSIAN_PASSES_OF_CLASSES = 0.06
# So many Hessians lead from a good point to a proven end.
NEWTON_STEPS = 4
LAST_STEPS = 5
# With so few, they are the shorter way from the start.
FEW_PARAMETERS_OF_CLASSES = 100

# A step that leaves more of the slope was too short, as on nearly separable classes: a better length costs a pass, and
# spares a Hessian or the products of a direction.
SLOPE_LEFT = 0.3
# A Hessian whose steps leave more of the decrement is of another place.
WORST_CONTRACTION = 0.5


def newton(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by Newton steps: see the package for the signature that solvers share."""
    options = {"tol": tol, "max_iter": max_iter, "on_iteration": on_iteration}
    if objective.pilot is not None:
        patience = _passes_of_a_hessian(objective)
        minimizer = functools.partial(_minimizer, max_iter=MAX_PILOT_ITER)
        ended = pilot_steps(objective, start, minimizer, patience=patience, **options)
        if isinstance(ended, Solution):
            return ended
        if ended is not None:
            held, n_iter = [ended.point], ended.n_iter
            del ended
            return _newton_steps(objective, held, n_iter, **options)
        start = objective.restandardize(start)
    elif max_iter > 0 and has_cheap_row_span(objective):
        span = RowSpan(objective)
        optimum = _minimizer(span.objective, span.project(start), ROW_SPAN_ACCURACY * tol, max_iter)
        start = span.lift(optimum.parameters)
        point = objective.evaluate(start)
        on_iteration(0, point)
        gap = gap_from_gradient(objective, point)
        if gap <= gap_target(point, tol):
            return Solution(point, gap, 0, Stop.CONVERGED)
        return _newton_steps(objective, [point], 0, **options)
    block = SampledBlock.of(objective) if max_iter > 0 else None
    if block is None and not _has_cheap_steps(objective):
        return _from_preconditioned_steps(objective, start, **options)
    point = objective.evaluate(start)
    on_iteration(0, point)
    if block is None:
        held = [point]
        del point
        return _newton_steps(objective, held, 0, **options)
    ended = sampled_steps(objective, block, point, patience=SAMPLED_PATIENCE, **options)
    if isinstance(ended, Solution):
        return ended
    return _newton_steps(objective, [ended.point], ended.n_iter, equations=ended.equations, **options)


def _minimizer(objective, start, tol, max_iter):
    """The point that minimises an objective of moderate size."""
    return newton(objective, start, tol=tol, max_iter=max_iter, on_iteration=lambda *_: None).point


def _has_cheap_steps(objective):
    """Whether Newton steps all the way are shorter than L-BFGS and a few of them at the end."""
    if objective.n_outputs > 1:
        return objective.n_parameters <= FEW_PARAMETERS_OF_CLASSES
    return has_cheap_matrix(objective)


def _from_preconditioned_steps(objective, start, *, tol, max_iter, on_iteration):
    """By L-BFGS while that is the shorter way and iterations are left for the end."""
    options = {"tol": tol, "on_iteration": on_iteration}
    patience = NEWTON_STEPS * _passes_of_a_hessian(objective) if has_cheap_matrix(objective) else math.inf
    # Conjugate gradients for two classes may need as many steps as from the start.
    at_most = max(max_iter // 2, max_iter - LAST_STEPS) if objective.n_outputs > 1 else max_iter // 2
    ended = dual_steps(objective, start, max_iter=at_most, **options)
    if isinstance(ended, Solution):
        return ended
    start, bound = ended
    ended = preconditioned_steps(objective, start, bound=bound, max_iter=at_most, patience=patience, **options)
    if isinstance(ended, Solution):
        return ended
    point, n_iter, inverse = ended
    if objective.n_outputs == 1 and n_iter == at_most:
        inverse = None  # what has not led to the end is no good for conjugate gradients
    equations = None if has_cheap_matrix(objective) else ConjugateGradients(objective, inverse)
    return _newton_steps(objective, [point], n_iter, max_iter=max_iter, equations=equations, **options)


def _newton_steps(objective, held, n_done, *, tol, max_iter, on_iteration, equations=None):
    """From a point that took `n_done` iterations; `equations` give the directions.

    The point is taken out of the list `held`: its logits are as long as n, and a caller who names it keeps them.
    """
    point, gap, proven = held.pop(), float("inf"), True
    if equations is None:
        equations = _ChordHessians(objective) if has_cheap_matrix(objective) else ConjugateGradients(objective)
    search = StepSearch(objective, SLOPE_LEFT if objective.LINES_ARE_FREE else 0.9)
    for n_iter in range(n_done + 1, max_iter + 1):
        target = gap_target(point, tol)
        step = step_along(objective, point, equations.direction(point, target))
        proven = step.proven
        if (end := end_at_infimum(step, point, target, n_iter - 1)) is not None:
            return end
        better = search.better(point, step.end, equations.hessian)
        if better is None:
            del step, equations, search  # there need not be memory for another Hessian
            return early_end(objective, point, tol, n_iter, Stop.STALLED)
        gap = step.gap_of(better, point)
        if equations.hessian is not None:
            equations.moved += step.logit_change if better is step.end else math.inf
            point.forget_logits()  # the factor's point may live on
        point = better
        on_iteration(n_iter, point)
        if gap <= target:
            return Solution(point, gap, n_iter, arrived(step), proven)
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
    return Solution(point, gap, max_iter, Stop.MAX_ITER, proven)


def _passes_of_a_hessian(objective):
    """What a Hessian's matrix and factor cost, in passes."""
    if objective.n_outputs > 1:
        return 1.0 + HESSIAN_PASSES_OF_CLASSES * objective.n_parameters
    if objective.design.is_mostly_zero:
        return 1.0 + HESSIAN_PASSES_OF_FEW_ENTRIES
    return 1.0 + HESSIAN_PASSES * min(objective.n_parameters, 200)


class _ChordHessians:
    """Directions with the factored Hessian at hand, or with a new one where that is the shorter way to the target.

    Attributes
    ----------
    hessian : FactoredHessian or None
        Of the last direction.
    moved : float
        A bound on the change of any logit since its point: the sum of the steps.
    """

    def __init__(self, objective):
        self._objective = objective
        self.hessian = None
        self.moved = 0.0
        self._decrement = math.inf
        self._passes_of_a_new_one = _passes_of_a_hessian(objective)

    def direction(self, point, target):
        """The `Direction` to step from `point` in."""
        if self.hessian is None or not self._serves(point, target):
            self.hessian = None  # there need not be memory for two
            self.hessian = FactoredHessian.of(self._objective, point)
            self._decrement, self.moved = self.hessian.decrement(point.gradient), 0.0
        return Direction.of(self._objective, point, self.hessian, target, self.moved)

    def _serves(self, point, target):
        """Whether steps with the same Hessian are the shorter way, at the pace of the one that led to `point`."""
        before, self._decrement = self._decrement, self.hessian.decrement(point.gradient)
        if not self._decrement < WORST_CONTRACTION * before:
            return False
        # The bound grows with the exponential of how far the logits have moved since: see `step_along`.
        return self._arrives(before, target * math.exp(-self.moved))

    def _arrives(self, before, target):
        """Whether half the squared decrement is the target after no more steps than a new Hessian takes passes."""
        wanted = math.sqrt(2.0 * target)
        if self._decrement <= wanted:
            return True
        pace = math.log(self._decrement / before)
        return wanted > 0 and math.log(wanted / self._decrement) / pace <= self._passes_of_a_new_one
