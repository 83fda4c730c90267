"""The solver that serves every problem at its best: stage after stage, as `fastlogreg.solvers.plan` decides."""

import functools

from fastlogreg.curvature.pilot import objective_with_pilot
from fastlogreg.objectives.binary import BinaryObjective
from fastlogreg.objectives.softmax import SoftmaxObjective
from fastlogreg.solvers import plan
from fastlogreg.solvers.dual import dual_steps
from fastlogreg.solvers.newton import newton_steps
from fastlogreg.solvers.pilot import pilot_steps
from fastlogreg.solvers.preconditioned import preconditioned_steps
from fastlogreg.solvers.progress import Limits, Progress, Stop
from fastlogreg.solvers.row_span import row_span_steps
from fastlogreg.solvers.sampled import sampled_steps


def problem(passes, penalty, *, fit_intercept, with_pilot=True):
    """The objective of these samples, with a pilot where the plan says that one pays."""
    if passes.n_classes > 2:
        return SoftmaxObjective(passes, penalty, fit_intercept=fit_intercept)
    if not with_pilot:
        return BinaryObjective(passes, penalty, fit_intercept=fit_intercept)
    return objective_with_pilot(passes, penalty, fit_intercept=fit_intercept, rows_of_pilot=plan.pilot_rows)


def auto(objective, start, *, tol, max_iter, on_iteration, on_way=lambda way: None, is_pilot=False):
    """Minimise by the ways that the plan chooses: see the package for the signature that solvers share.

    ``on_way(way)`` is called with each `Way` before it begins; for `is_pilot` see `Limits`.
    """
    limits, progress, tried, led = Limits(tol, max_iter, on_iteration, is_pilot), Progress(start), [], []
    while progress.solution is None:
        way = plan.next_way(objective, progress, limits, tried)
        on_way(way)
        tried.append(way.name)
        before, progress = progress, _STAGES[way.name](objective, progress, limits)
        if progress is not before:
            led.append(way.name)
    progress.solution.ways = tuple(led)
    return progress.solution


def _minimizer(objective, start, tol, max_iter, is_pilot=False):
    """The point that minimises an objective of moderate size; None for a pilot that is given up."""
    options = {"max_iter": max_iter, "on_iteration": lambda *_: None, "is_pilot": is_pilot}
    solution = auto(objective, start, tol=tol, **options)
    return None if solution.stop is Stop.GIVEN_UP else solution.point


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
