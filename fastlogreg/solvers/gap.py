"""How near the minimum a point is: the accuracy that is asked for, and what proves it."""

from dataclasses import replace

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.solvers import plan
from fastlogreg.solvers.conjugate_gradients import ConjugateGradients
from fastlogreg.solvers.line_search import minimize_on_line
from fastlogreg.solvers.newton_step import VALUE_NOISE, Direction, step_along
from fastlogreg.solvers.progress import Solution, Stop

# Rounding the coefficients may lift the objective by this part of the accuracy that is asked for, or of the value by
# that of the default tolerance; where coefficients that grow without end leave no gap to go by, by more.
ROUNDING_SHARE = 0.1
LEAST_ROUNDING = 1e-10
LOOSE_ROUNDING = 1e-3


def accuracy_asked(point, tol):
    """The gap, in nats, at which `tol` is met: ``tol^2 / 10`` of the value, or the value's rounding if that is more.

    The default tolerance of 1e-4 asks for a relative gap of 1e-9.
    """
    return relative_accuracy(tol) * point.value


def relative_accuracy(tol):
    """`accuracy_asked` in units of the value."""
    return max(0.1 * tol * tol, VALUE_NOISE)


def newton_step(objective, point, accuracy):
    """The `NewtonStep` from `point`, by conjugate gradients where the matrix is not cheap; `accuracy` is the gap that
    its bound should prove.
    """
    if plan.has_cheap_matrix(objective):
        direction = Direction.of(objective, point, FactoredHessian.of(objective, point), accuracy)
    else:
        direction = ConjugateGradients(objective).direction(point, accuracy)
    return step_along(objective, point, direction, accuracy)


def gap_from_gradient(objective, point):
    """The bound on ``point.value - minimum`` that the gradient alone gives, which is good next to a penalised optimum;
    no pass over X. The coordinates must be those of all rows.

    It is the bound of `step_along` for the direction that moves the intercept b alone, by ``-gradient_b / H_bb``. That
    leaves ``rho_j = gradient_j - gradient_b H_jb / H_bb`` in the coefficients. As the loss's Hessian is positive and
    standardised columns have mean squares of at most ``1 / h`` (`fastlogreg.objectives.objective`),
    ``H_jb^2 <= H_bb / (4 h)``.
    """
    if not (objective.penalty.is_strict and objective.n_classes == 2):
        return np.inf
    largest, loss_gap, d = np.abs(point.gradient), 0.0, objective.n_features
    if objective.fit_intercept:
        curvature = objective.hessian(point).mean_curvature()
        step = largest[d] / curvature
        change = step * objective.inverse_intercept_scale
        if not change <= 1.0:
            return np.inf
        loss_gap = 0.5 * (1.0 + change) * curvature * step**2
        largest[:d] += 0.5 * np.sqrt(curvature) * change
    varies = objective.inverse_scale > 0
    return loss_gap + 0.5 * float(np.sum(largest[:d][varies] ** 2 / objective.penalty.curvature[:d][varies]))


def newton_end(objective, point, tol, n_iter):
    """A Newton step from `point`: the `Solution` if it shows the gap that `tol` asks for, else the lower `Point` that
    it leads to, or None where there is none.
    """
    accuracy = accuracy_asked(point, tol)
    step = newton_step(objective, point, accuracy)
    better = minimize_on_line(objective, point, step.end)
    gap = step.gap_of(objective, better or point, point)
    if gap <= accuracy_asked(better or point, tol):
        return Solution(better or point, gap, n_iter, Stop.CONVERGED, step.proven, step.logit_change)
    return better


def early_end(objective, point, tol, n_iter, stop):
    """`point` as the solution, with the gap that a Newton step shows; `stop` says why, unless that is small enough."""
    accuracy = accuracy_asked(point, tol)
    step = newton_step(objective, point, accuracy)
    return Solution(point, step.gap, n_iter, stop_of(step, accuracy, stop), step.proven, step.logit_change)


def as_stored(objective, solution, tol, dtype):
    """Coefficients and intercepts of X of that type, and the `Solution` with the gap that they have.

    They are float64 where rounding to float32 would lift the objective by more than a part of the gap that `tol` asks
    for; if float64 does, too, the solution's `Stop` says so.
    """
    point, accuracy = solution.point, accuracy_asked(solution.point, tol)
    allowed = max(ROUNDING_SHARE * accuracy, LEAST_ROUNDING * point.value)
    if not solution.gap < point.value:
        allowed = LOOSE_ROUNDING * point.value
    for kind in dict.fromkeys((dtype, np.float64)):
        with np.errstate(over="ignore", invalid="ignore"):
            coef, intercept = objective.coefficients(point.parameters, kind)
            rise = _rise(objective, point, coef, intercept, allowed)
        if rise <= allowed:
            break
    gap = solution.gap + rise
    is_worse = solution.stop is Stop.CONVERGED and rise > allowed and gap > accuracy
    return coef, intercept, replace(solution, gap=gap, stop=Stop.ROUNDED if is_worse else solution.stop)


def _rise(objective, point, coef, intercept, allowed):
    """How much the objective rises as the coefficients are rounded: a bound that is at most `allowed`, or the rise
    itself, which takes a pass.
    """
    if coef.dtype == np.float64 and objective.origin is None:
        return 0.0  # the point was evaluated at them
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        return np.inf
    rise = objective.rise(point, coef, intercept)
    if rise <= allowed:
        return rise
    rounded = objective.evaluate(objective.parameters_of(coef, intercept), keep=False)
    return max(rounded.value - point.value, 0.0)


def heads_for_infimum(step, accuracy):
    """Whether only coefficients that grow without end have anything left to gain."""
    return step.gap_to_infimum <= accuracy < step.gap


def stop_of(step, accuracy, otherwise):
    """The `Stop` at the start of a `NewtonStep`: `otherwise` unless its gap is at most `accuracy`."""
    return Stop.CONVERGED if step.gap <= accuracy else otherwise
