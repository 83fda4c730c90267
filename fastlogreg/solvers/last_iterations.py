"""From where stochastic steps led to the end: iterations on all samples, in a time that data of any shape bound."""

import math

from fastlogreg.objectives.row_span import RowSpan
from fastlogreg.solvers import plan
from fastlogreg.solvers.auto import auto
from fastlogreg.solvers.conjugate_gradients import ConjugateGradients
from fastlogreg.solvers.gap import accuracy_asked
from fastlogreg.solvers.line_search import minimize_on_line
from fastlogreg.solvers.newton import newton_steps
from fastlogreg.solvers.newton_step import step_along
from fastlogreg.solvers.preconditioned import preconditioned_steps
from fastlogreg.solvers.progress import Limits, Progress, Solution, Stop

# A few samples of several classes with weights over many decades took 600 products an iteration, for curvature that
# rounding hides, and arrived at no proof. Passes over 600 samples take a millisecond each.
MAX_PASSES = 1500
# Products that the gap of such a fit may take to show.
MAX_PRODUCTS = 200


def last_iterations(objective, parameters, *, tol, max_iter, on_iteration):
    """Minimise from `parameters`: see the package for the signature that solvers share.

    As "auto" does, except for few samples of many features. These are nearly always separable, so that with a weak
    penalty products with the Hessian are many, and to prove the end over the features takes more of them than the fit:
    the end over the span of the rows, which holds the minimiser, is taken for that of the whole. Its gap is called an
    estimate, as rounding may hide directions from the span.
    """
    limits = Limits(tol, max_iter, on_iteration)
    if not plan.has_cheap_row_span(objective):
        return _minimized(objective, parameters, limits)
    span = RowSpan(objective)

    def lifted(number, point):
        on_iteration(number, objective.evaluate(span.lift(point.parameters)))

    of_span = _minimized(span.objective, span.project(parameters), Limits(tol, max_iter, lifted))
    point = objective.evaluate(span.lift(of_span.point.parameters))
    gap, stop = of_span.gap + max(point.value - of_span.point.value, 0.0), of_span.stop
    if stop is Stop.CONVERGED and not gap <= accuracy_asked(point, tol):
        stop = Stop.STALLED
    return Solution(point, gap, of_span.n_iter, stop, False, of_span.last_change)


def _minimized(objective, parameters, limits):
    few_rows = objective.n_samples < plan.ROWS_A_COLUMN_FOR_PRODUCTS * objective.n_features
    if few_rows:
        return _minimized_in_time(objective, parameters, limits)
    return auto(objective, parameters, tol=limits.tol, max_iter=limits.max_iter, on_iteration=limits.on_iteration)


def _minimized_in_time(objective, parameters, limits):
    """The `Solution` that no more than about `MAX_PASSES` lead to."""
    most = objective.n_passes + MAX_PASSES

    def counted(number, point):
        limits.on_iteration(number, point)
        if objective.n_passes > most:
            raise _ExhaustedError(number, point)

    limits_in_time = Limits(limits.tol, limits.max_iter, counted)
    progress = Progress(parameters)
    try:
        if plan.has_cheap_matrix(objective):
            return newton_steps(objective, progress, limits_in_time).solution
        progress = preconditioned_steps(objective, progress, limits_in_time)
    except _ExhaustedError as end:
        return Solution(end.point, math.inf, end.n_iter, Stop.EXHAUSTED, proven=False)
    if progress.solution is not None:
        return progress.solution
    point, accuracy = progress.point, accuracy_asked(progress.point, limits.tol)
    directions = ConjugateGradients(objective, most_products=MAX_PRODUCTS)
    step = step_along(objective, point, directions.direction(point, accuracy), accuracy)
    better = minimize_on_line(objective, point, step.end)
    gap = step.gap_of(objective, better or point, point)
    stop = Stop.CONVERGED if gap <= accuracy_asked(better or point, limits.tol) else Stop.EXHAUSTED
    return Solution(better or point, gap, progress.n_iter, stop, step.proven, step.logit_change)


class _ExhaustedError(Exception):
    def __init__(self, n_iter, point):
        super().__init__()
        self.n_iter, self.point = n_iter, point
