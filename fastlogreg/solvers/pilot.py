"""From the optimum of a sample of the rows to that of all: a few passes, each a quasi-Newton step with its Hessian.

Where the steps contract too slowly for that, Newton's method takes over: see `fastlogreg.solvers.newton`.
"""

from dataclasses import dataclass

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.curvature.quasi_newton import InverseHessian
from fastlogreg.objectives.evaluation import Point
from fastlogreg.solvers.common import (
    VALUE_NOISE,
    Solution,
    Stop,
    gap_target,
    minimize_on_line,
)

# The gap is an estimate here, so the steps end when it is a third of what `tol` asks for.
ESTIMATE_MARGIN = 0.3


@dataclass(slots=True)
class Handover:
    """Where the steps left off, for another method to go on from."""

    point: Point
    n_iter: int


def pilot_steps(objective, start, minimizer, *, tol, max_iter, patience, on_iteration):
    """A `Solution`, or a `Handover` once a Hessian of all rows, which takes `patience` passes, and a step with it are
    the shorter way; None if the sample misleads.

    ``minimizer(objective, start, tol)`` gives the point that minimises the pilot's objective. The objective is left
    without its pilot, whose memory is needed no more. Points keep no logits: nearly all steps end where they lead, and
    of few columns, logits would be a good part of what a pass reads and writes.
    """
    point, solve = _first_point(objective, start, minimizer)
    if not point.value <= objective.value_without_coefficients():
        return None
    on_iteration(0, point)
    model = InverseHessian(solve)
    estimate, calibration = np.inf, 1.0
    for n_iter in range(max_iter + 1):
        target = ESTIMATE_MARGIN * gap_target(point, tol)
        direction = -model.dot(point.gradient)
        before, estimate = estimate, -0.5 * float(direction @ point.gradient)
        if calibration * estimate <= target:
            return Solution(point, calibration * estimate, n_iter, Stop.CONVERGED, proven=False)
        if n_iter == max_iter:
            return Solution(point, calibration * estimate, n_iter, Stop.MAX_ITER, proven=False)
        if _steps_left(before, estimate, target) > 1.0 + patience:  # a step with the Hessian is a pass, too
            return Handover(point, n_iter)
        end = objective.evaluate(point.parameters + direction, keep_logits=False)
        better = minimize_on_line(objective, point, end)
        if better is None:
            return Handover(point, n_iter)
        descent = point.value - better.value
        if descent > 100 * VALUE_NOISE * point.value:
            calibration = max(1.0, descent / estimate)
        model.update(point, better)
        point = better
        on_iteration(n_iter + 1, point)
    raise AssertionError("the last iteration returns")


def _first_point(objective, start, minimizer):
    """The pilot's optimum, evaluated, or a warm `start` that is as good, and the pilot's inverse Hessian there."""
    pilot, objective.pilot = objective.pilot, None
    tol = 0.3 / np.sqrt(pilot.rows_a_parameter)
    warm = None
    if not np.array_equal(start, objective.start()):
        warm = objective.evaluate(start, keep_logits=False)
        solve = _solve_with_pilot(pilot, pilot.objective.evaluate(start))
        if 0.5 * float(warm.gradient @ solve(warm.gradient)) <= gap_target(warm, tol):
            return warm, solve
    optimum = minimizer(pilot.objective, start, tol)
    solve_there = _solve_with_pilot(pilot, optimum)
    del pilot
    point = objective.evaluate(optimum.parameters, keep_logits=False)
    if warm is not None and not point.value <= warm.value:
        return warm, solve
    return point, solve_there


def _solve_with_pilot(pilot, point):
    """The function that applies the inverse of the Hessian that the pilot knows at a point of its objective."""
    factored = FactoredHessian(pilot.hessian(point))
    return lambda gradient: -factored.solve(gradient)[0]


def _steps_left(before, estimate, target):
    """Steps until the estimate is the target, at the last one's pace."""
    if not np.isfinite(before):
        return 0.0
    if not estimate < before:
        return np.inf
    return np.log(estimate / target) / np.log(before / estimate)
