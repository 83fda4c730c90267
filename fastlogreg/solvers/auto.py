"""The solver that serves every problem at its best: stage after stage, as `fastlogreg.solvers.plan` decides."""

import functools
import math

from fastlogreg.curvature.pilot import objective_with_pilot
from fastlogreg.objectives.binary import BinaryObjective
from fastlogreg.objectives.origin import within_reach
from fastlogreg.objectives.softmax import SoftmaxObjective
from fastlogreg.solvers import infimum, plan
from fastlogreg.solvers.dual import dual_steps
from fastlogreg.solvers.newton import newton_steps
from fastlogreg.solvers.pilot import pilot_steps
from fastlogreg.solvers.preconditioned import preconditioned_steps
from fastlogreg.solvers.progress import Limits, Progress, Solution, Stop
from fastlogreg.solvers.row_span import row_span_steps
from fastlogreg.solvers.sampled import sampled_steps


def problem(passes, penalty, *, fit_intercept, with_pilot=True):
    """The objective of these samples, with a pilot where the plan says that one pays."""

    def build(passes):
        if passes.n_classes > 2:
            return SoftmaxObjective(passes, penalty, fit_intercept=fit_intercept)
        if not with_pilot:
            return BinaryObjective(passes, penalty, fit_intercept=fit_intercept)
        return objective_with_pilot(passes, penalty, fit_intercept=fit_intercept, rows_of_pilot=plan.pilot_rows)

    return within_reach(build(passes), build)


def auto(objective, start, *, tol, max_iter, on_iteration, on_way=lambda way: None, is_pilot=False):
    """Minimise by the ways that the plan chooses: see the package for the signature that solvers share.

    ``on_way(way)`` is called with each `Way` before it begins; for `is_pilot` see `Limits`.
    """
    most = objective.n_passes + plan.most_passes(objective)

    def counted(n_iter, point):
        on_iteration(n_iter, point)
        if objective.n_passes > most:
            raise _ExhaustedError(Solution(point, math.inf, n_iter, Stop.EXHAUSTED, proven=False))

    limits, progress, tried, led = Limits(tol, max_iter, counted, is_pilot), Progress(start), [], []
    try:
        while progress.solution is None:
            way = plan.next_way(objective, progress, limits, tried)
            on_way(way)
            tried.append(way.name)
            before, progress = progress, _STAGES[way.name](objective, progress, limits)
            if progress is not before:
                led.append(way.name)
    except _ExhaustedError as end:
        progress = Progress.ended(end.solution)
        led.append(way.name)
    progress.solution.ways = tuple(led)
    return progress.solution


class _ExhaustedError(Exception):
    def __init__(self, solution):
        super().__init__()
        self.solution = solution


def judged(objective, solution, *, tol, max_iter, on_iteration):
    """See `fastlogreg.solvers.infimum.judged`; `tol` and `max_iter` are those of the fit."""

    def minimize(passes, apart):
        rest = problem(passes, objective.penalty_of_coef, fit_intercept=objective.fit_intercept, with_pilot=False)
        rest.apart = apart
        solution = auto(rest, rest.start(), tol=tol, max_iter=max_iter, on_iteration=_unseen)
        return rest, judged(rest, solution, tol=tol, max_iter=max_iter, on_iteration=_unseen)

    def go_on(point):
        objective.is_led_on = True
        return auto(objective, point.parameters, tol=tol, max_iter=max_iter, on_iteration=_unseen)

    return infimum.judged(objective, solution, minimize, go_on, on_iteration)


def _minimizer(objective, start, tol, max_iter, is_pilot=False):
    """The point that minimises an objective of moderate size; None for a pilot that is given up."""
    solution = auto(objective, start, tol=tol, max_iter=max_iter, on_iteration=_unseen, is_pilot=is_pilot)
    if solution.stop is Stop.GIVEN_UP:
        return None
    if not is_pilot:
        solution = judged(objective, solution, tol=tol, max_iter=max_iter, on_iteration=_unseen)
    return solution.point


def _unseen(n_iter, point):
    pass


_STAGES = {
    "pilot": functools.partial(
        pilot_steps, minimizer=functools.partial(_minimizer, max_iter=plan.MAX_PILOT_ITER, is_pilot=True)
    ),
    "row-span": functools.partial(row_span_steps, minimizer=_minimizer),
    "sampled": sampled_steps,
    "dual": dual_steps,
    "preconditioned": preconditioned_steps,
    "newton": newton_steps,
    "newton-cg": newton_steps,
}
