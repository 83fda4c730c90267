"""From the optimum of a sample of the rows to that of all rows: a few quasi-Newton steps with the sample's Hessian.

Each step takes one pass. Where they contract too slowly, Newton's method goes on: see `fastlogreg.solvers.newton`.
"""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.curvature.quasi_newton import InverseHessian
from fastlogreg.solvers import plan
from fastlogreg.solvers.gap import accuracy_asked
from fastlogreg.solvers.line_search import minimize_on_line
from fastlogreg.solvers.newton_step import VALUE_NOISE
from fastlogreg.solvers.progress import Progress, Solution, Stop

# The gap is an estimate here, so the steps end when it is a third of what `tol` asks for.
ESTIMATE_MARGIN = 0.3


def pilot_steps(objective, progress, limits, minimizer):
    """The `Progress` with the `Solution`, or with the point from which a Hessian of all rows and a step with it are the
    shorter way. If the sample misleads, the `Progress` as it was, in coordinates of all rows.

    ``minimizer(objective, start, tol)`` gives the point that minimises the pilot's objective, or None where that is not
    worth its work. The objective loses its pilot, whose memory is no longer needed. Points keep no logits: hardly a
    step needs a line search, and with few columns, logits would be a good part of what a pass reads and writes.
    """
    pilot, objective.pilot = objective.pilot, None
    point, solve = _first_point(objective, pilot, progress.parameters, minimizer)
    if point is None or not point.value <= objective.value_without_coefficients():
        if pilot.knows_columns:
            progress.parameters = objective.restandardize(progress.parameters)
        return progress
    del pilot
    limits.on_iteration(0, point)
    model = InverseHessian(solve)
    estimate, calibration = np.inf, 1.0
    for n_iter in range(limits.max_iter + 1):
        accuracy = ESTIMATE_MARGIN * accuracy_asked(point, limits.tol)
        direction = -model.dot(point.gradient)
        before, estimate = estimate, -0.5 * float(direction @ point.gradient)
        if calibration * estimate <= accuracy:
            return _ended(point, calibration * estimate, n_iter, Stop.CONVERGED)
        if n_iter == limits.max_iter:
            return _ended(point, calibration * estimate, n_iter, Stop.MAX_ITER)
        # a step with the Hessian is a pass, too
        if _steps_left(before, estimate, accuracy) > 1.0 + plan.passes_of_a_hessian(objective):
            break
        end = objective.evaluate(point.parameters + direction, keep=False)
        better = minimize_on_line(objective, point, end)
        if better is None:
            break
        descent = point.value - better.value
        if descent > 100 * VALUE_NOISE * point.value:
            calibration = max(1.0, descent / estimate)
        model.update(point, better)
        point = better
        limits.on_iteration(n_iter + 1, point)
    return Progress.at(point, n_iter)


def _ended(point, gap, n_iter, stop):
    return Progress.ended(Solution(point, gap, n_iter, stop, proven=False))


def _first_point(objective, pilot, start, minimizer):
    """The pilot's optimum, evaluated, or a warm `start` that is as good, and the pilot's inverse Hessian there. Two
    times None where there is no optimum.
    """
    tol = 0.3 / np.sqrt(pilot.rows_a_parameter)
    warm = None
    if not np.array_equal(start, objective.start()):
        warm = objective.evaluate(start, keep=False)
        solve = _solve_with_pilot(pilot, pilot.objective.evaluate(start))
        if 0.5 * float(warm.gradient @ solve(warm.gradient)) <= accuracy_asked(warm, tol):
            return warm, solve
    optimum = minimizer(pilot.objective, start, tol)
    if optimum is None:
        return None, None
    solve_there = _solve_with_pilot(pilot, optimum)
    point = objective.evaluate(optimum.parameters, keep=False)
    if warm is not None and not point.value <= warm.value:
        return warm, solve
    return point, solve_there


def _solve_with_pilot(pilot, point):
    """The function that applies the inverse of the Hessian that the pilot knows at a point of its objective."""
    factored = FactoredHessian(pilot.hessian(point))
    return lambda gradient: -factored.solve(gradient)[0]


def _steps_left(before, estimate, accuracy):
    """Steps until the estimate falls to `accuracy`, at the pace of the last one; zero where there was none before."""
    if not np.isfinite(before):
        return 0.0
    if not estimate < before:
        return np.inf
    return np.log(estimate / accuracy) / np.log(before / estimate)
