"""Newton's method: each iteration minimises the quadratic model of the objective at the point.

The step is solved by Cholesky where the Hessian's matrix is cheap, by preconditioned conjugate gradients on
Hessian-vector products elsewhere. A line search mends steps that are too long or far too short. A factored Hessian is
used again as long as further steps with it are cheaper than a new one (the chord method): such a step costs one pass.
Every step comes with a bound on the gap of the point it starts from, so the stopping test costs nothing; without a
penalty the bound may be an estimate.

Sources: Boyd and Vandenberghe, Convex Optimization, 9.5; Kelley, Iterative Methods, 5.4 for the chord method; the bound
is derived at `fastlogreg.solvers.newton_step.step_along`.
"""

import math

from fastlogreg.curvature.conditioned import ConditionedColumns
from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.solvers import plan
from fastlogreg.solvers.conjugate_gradients import ConjugateGradients
from fastlogreg.solvers.gap import accuracy_asked, early_end, heads_for_infimum, stop_of
from fastlogreg.solvers.newton_step import Direction, step_along
from fastlogreg.solvers.progress import Progress, Solution, Stop
from fastlogreg.solvers.refined_model import StepSearch
from fastlogreg.solvers.separation import is_suspected, separable_end

# A step that leaves more than this part of its slope was too short, as on nearly separable classes: a better length
# costs a pass, and spares a Hessian or the products of a direction. Where the search itself takes passes, only steps
# that are far too short are worth one.
SLOPE_LEFT = 0.3
SLOPE_LEFT_BY_PASSES = 0.9
# A step that leaves more than half of the decrement shows that its Hessian was made too far away.
WORST_CONTRACTION = 0.5
# A step that promises this many times the accuracy cannot be the last one, and need not be evaluated to prove a gap.
FAR_FROM_ACCURACY = 100.0


def newton_steps(objective, progress, limits):
    """Newton steps to the end of the fit: the `Progress` has the `Solution`."""
    n_iter = progress.n_iter
    if progress.point is None:
        progress.point = objective.evaluate(progress.parameters)
        limits.on_iteration(0, progress.point)
    point, gap, proven = progress.take_point(), math.inf, True
    gives_up = limits.is_pilot and objective.penalty.is_strict
    directions = progress.directions or _directions(objective, may_combine=not limits.is_pilot)
    search = StepSearch(objective, SLOPE_LEFT if objective.lines_are_free else SLOPE_LEFT_BY_PASSES)
    while n_iter < limits.max_iter:
        accuracy = accuracy_asked(point, limits.tol)
        direction = directions.direction(point, accuracy)
        if gives_up and directions.hessian is not None and directions.hessian.is_singular:
            return Progress.ended(Solution(point, math.inf, n_iter, Stop.GIVEN_UP, proven=False))
        if direction.gain(point) > FAR_FROM_ACCURACY * accuracy and (
            (ahead := search.ahead(point, directions.hessian)) is not None
        ):
            n_iter += 1
            point.handle.forget()
            point, gap, directions.moved = ahead, math.inf, math.inf
            limits.on_iteration(n_iter, point)
            continue
        step = step_along(objective, point, direction, accuracy)
        proven = step.proven
        suspected = not (limits.is_pilot or objective.is_led_on) and (
            heads_for_infimum(step, accuracy) or is_suspected(objective, n_iter, step)
        )
        if suspected and objective.recession_direction is not None:
            return Progress.ended(Solution(point, math.inf, n_iter, Stop.PARTLY_SEPARABLE, proven=False))
        better = search.better(point, step.end, directions.hessian)
        if better is None and directions.hessian is not None:
            if directions.hessian.point is not point:
                directions.renew()
                continue
            stop = stop_of(step, accuracy, Stop.STALLED)
            return Progress.ended(Solution(point, step.gap, n_iter, stop, step.proven, step.logit_change))
        if better is None:
            del step, directions, search  # there may be no memory for another Hessian
            progress.directions = None
            return Progress.ended(early_end(objective, point, limits.tol, n_iter, Stop.STALLED))
        gap = step.gap_of(objective, better, point)
        if directions.hessian is not None:
            directions.moved += step.logit_change if better is step.end else math.inf
            point.handle.forget()  # the factored Hessian may keep the point alive
        point, n_iter = better, n_iter + 1
        limits.on_iteration(n_iter, point)
        if gap <= accuracy_asked(point, limits.tol):
            return Progress.ended(Solution(point, gap, n_iter, Stop.CONVERGED, proven, step.logit_change))
        if (end := separable_end(objective, point, n_iter)) is not None:
            return Progress.ended(end)
    return Progress.ended(Solution(point, gap, limits.max_iter, Stop.MAX_ITER, proven))


def _directions(objective, may_combine):
    return ChordHessians(objective, may_combine) if plan.has_cheap_matrix(objective) else ConjugateGradients(objective)


class ChordHessians:
    """Directions with the factored Hessian at hand, or with a new one where that is the shorter way to the end.

    Attributes
    ----------
    hessian : FactoredHessian or None
        That which gave the last direction.
    moved : float
        A bound on the change of any logit since the point of `hessian`: the changes of all steps since, added up.
    """

    def __init__(self, objective, may_combine=True):
        self._objective = objective
        self._may_combine = may_combine and plan.may_combine_columns(objective)
        self.hessian = None
        self.moved = 0.0
        self._decrement = math.inf
        self._conditioned = None
        self._passes_of_a_new_one = plan.passes_of_a_hessian(objective)

    def renew(self):
        """Have the next direction come from a new Hessian."""
        self.hessian = None

    def direction(self, point, accuracy):
        """The `Direction` to step from `point` in."""
        if self.hessian is None or not self._serves(point, accuracy):
            self.hessian = None  # there may be no memory for two
            self.hessian = self._factored(point)
            self._decrement, self.moved = self.hessian.decrement(point.gradient), 0.0
        return Direction.of(self._objective, point, self.hessian, accuracy, self.moved)

    def _factored(self, point):
        """The Hessian at a point, in combinations of the columns once these have shown to depend on one another."""
        if self._conditioned is None:
            hessian = FactoredHessian.of(self._objective, point)
            if not (hessian.is_singular and self._may_combine and math.isfinite(point.value)):
                return hessian
            self._conditioned = ConditionedColumns(self._objective, hessian)
        return self._conditioned.hessian(point)

    def _serves(self, point, accuracy):
        """Whether steps with the same Hessian are the shorter way, at the pace of the one that led to `point`."""
        before, self._decrement = self._decrement, self.hessian.decrement(point.gradient)
        if not self._decrement < WORST_CONTRACTION * before:
            return False
        # The bound grows with the exponential of how far the logits have moved since: see `step_along`.
        return self._arrives(before, accuracy * math.exp(-self.moved))

    def _arrives(self, before, accuracy):
        """Whether half the squared decrement falls to `accuracy` within as many steps as a new Hessian takes passes."""
        wanted = math.sqrt(2.0 * accuracy)
        if self._decrement <= wanted:
            return True
        pace = math.log(self._decrement / before)
        return wanted > 0 and math.log(wanted / self._decrement) / pace <= self._passes_of_a_new_one
