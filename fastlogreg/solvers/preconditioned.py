"""L-BFGS on top of an approximate inverse of the Hessian: each iteration takes one pass. Conjugate gradients take one
for each product, with several classes one and a half, and start anew for each direction.

For several classes the inverse is that of the Hessian's diagonal blocks, one for each class, from a sample of the rows;
for two it is that of the Hessian's diagonal. The steps lead to near the minimum, or until Newton's Hessians are the
shorter way. Newton's method then ends the fit and proves its gap: see `fastlogreg.solvers.newton`.
"""

import numpy as np

from fastlogreg.curvature.preconditioner import Preconditioner
from fastlogreg.curvature.quasi_newton import MEMORY, InverseHessian
from fastlogreg.solvers import plan
from fastlogreg.solvers.conjugate_gradients import PROVABLE, ConjugateGradients
from fastlogreg.solvers.gap import accuracy_asked, gap_from_gradient
from fastlogreg.solvers.line_search import minimize_on_line
from fastlogreg.solvers.newton_step import DESCENT_NOISE
from fastlogreg.solvers.progress import Progress, Solution, Stop
from fastlogreg.solvers.separation import separable_end

# A preconditioner is made anew once it has served 3 steps and the value has fallen by the part FALLEN, else after 8
# steps, then 16, 24 and so on: the blocks of the classes cost some passes.
FALLEN = 0.3
FIRST_LIFE = 3
LIFE = 8
# Iterations from which the pace of the estimate is told.
PACE = 5
# Secant pairs kept at least: fewer lose passes, most of all without an intercept, where columns share a direction.
MIN_MEMORY = 10
# With a lower bound on the minimum, steps go on until they can gain only this part of the accuracy, which no longer
# keeps the bound from proving the gap.
NOTHING_LEFT = 0.1


def preconditioned_steps(objective, progress, limits):
    """The `Progress` with the `Solution` where the gradient alone or the lower bound on the minimum proves it, or where
    the classes are separable.

    Otherwise it has the point at which these steps end: near the minimum, where Newton steps are the shorter way, where
    the iterations for several classes will not suffice, or where rounding allows no descent. It also has what gives the
    directions of Newton steps, where these have no cheap matrix.
    """
    max_iter, bound = plan.iterations_before_newton(objective, limits.max_iter), progress.bound
    patience = plan.patience_of_secants(objective)
    point, spare = objective.evaluate(progress.parameters), None
    limits.on_iteration(0, point)
    model = InverseHessian(rescale=True, memory=_memory(objective))
    known = _RenewedPreconditioner(objective, point, model)
    estimates, n_iter = [], 0
    while n_iter < max_iter:
        direction = model.dot(point.gradient)
        np.negative(direction, out=direction)
        estimates.append(-0.5 * float(direction @ point.gradient))
        accuracy = accuracy_asked(point, limits.tol)
        if estimates[-1] <= PROVABLE * accuracy:
            gap = min(gap_from_gradient(objective, point), max(point.value - bound, DESCENT_NOISE * point.value))
            if gap <= accuracy:
                return Progress.ended(Solution(point, gap, n_iter, Stop.CONVERGED))
        steps_left = _steps_left(estimates, accuracy)
        too_slow = objective.n_classes > 2 and n_iter >= max_iter // 2 and steps_left > max_iter - n_iter
        if estimates[-1] <= (NOTHING_LEFT if bound > -np.inf else 1.0) * accuracy or steps_left > patience or too_slow:
            break
        end = objective.evaluate(point.parameters + direction, recycle=spare)
        better = minimize_on_line(objective, point, end)
        if better is None:
            break
        model.update(point, better)
        point, spare = better, point
        n_iter += 1
        limits.on_iteration(n_iter, point)
        if (end := separable_end(objective, point, n_iter)) is not None:
            return Progress.ended(end)
        known.renew(point)
    return Progress.at(point, n_iter, _directions(objective, model, n_iter == max_iter))


def _directions(objective, model, exhausted):
    """What gives the directions of Newton steps; None where a factored Hessian does. For two classes, an inverse that
    used up the iterations without reaching the end is no good for conjugate gradients.
    """
    if plan.has_cheap_matrix(objective):
        return None
    inverse = None if objective.n_classes == 2 and exhausted else model.dot
    return ConjugateGradients(objective, inverse)


class _RenewedPreconditioner:
    """The preconditioner made at one of the latest points, on which a model of the inverse Hessian rests."""

    def __init__(self, objective, point, model):
        self._objective, self._model = objective, model
        self._plain = Preconditioner(objective)
        self._n_renewals = 0
        self._take(point)

    def _take(self, point):
        self._model.rebase(None)  # there may be no memory for two
        self._model.rebase(self._plain.at(self._objective.hessian(point), point))
        self._value, self._age = point.value, 0

    def renew(self, point):
        """Count a step, to `point`, and make the preconditioner anew there if that is worth it."""
        self._age += 1
        fallen = point.value < (1.0 - FALLEN) * self._value
        if (self._age >= FIRST_LIFE and fallen) or self._age >= LIFE * (self._n_renewals + 1):
            self._n_renewals += 1
            self._take(point)


def _memory(objective):
    """The number of secant pairs to keep: those that fit into a quarter of X, where they take no longer than a pass,
    from `MIN_MEMORY` to `MEMORY`. With several classes and sparse X it is `MEMORY`: the blocks may be of some columns
    alone, which pairs make up for.
    """
    if objective.n_classes > 2 and objective.passes.is_sparse:
        return MEMORY
    return min(MEMORY, max(MIN_MEMORY, objective.passes.n_entries // (8 * objective.n_parameters)))


def _steps_left(estimates, accuracy):
    """Steps until the estimate of the gap falls to `accuracy`, at the latest pace; zero while there is none."""
    if len(estimates) <= PACE:
        return 0.0
    contraction = (estimates[-1] / estimates[-1 - PACE]) ** (1.0 / PACE)
    return np.log(estimates[-1] / accuracy) / -np.log(contraction) if contraction < 1.0 else np.inf
