"""L-BFGS on top of an approximate inverse of the Hessian: each iteration one pass. Conjugate gradients take one for
each product, with several classes one and a half, and start anew for each direction.

For several classes the Hessian's diagonal blocks of the classes, as a sample of the rows has them, for two its
diagonal. The steps lead to where Newton's method ends and proves it, see `fastlogreg.solvers.newton`: near the minimum,
or as soon as its Hessians are the shorter way.
"""

import numpy as np

from fastlogreg.curvature.quasi_newton import MEMORY, InverseHessian
from fastlogreg.solvers.common import (
    PROVABLE,
    Solution,
    Stop,
    gap_from_gradient,
    gap_target,
    minimize_on_line,
    preconditioner,
)
from fastlogreg.solvers.newton_step import DESCENT_NOISE

# Preconditioners are taken anew once the value has fallen by this part, and ever later: blocks cost some passes.
FALLEN = 0.3
FIRST_LIFE = 3
LIFE = 8
# The pace is that of so many iterations.
PACE = 5
# Fewer pairs lose passes, most of all without an intercept, where columns share a direction.
MIN_MEMORY = 10
# With a bound on the minimum, steps go on until what they could gain no longer keeps the bound from proving the gap.
NOTHING_LEFT = 0.1


def preconditioned_steps(objective, start, *, tol, max_iter, patience, on_iteration, bound=-np.inf):
    """The `Solution` where the gradient alone or the lower `bound` on the minimum proves it, or where the classes are
    separable.

    Elsewhere the point and the iterations it took to get near the minimum, or to where more than `patience` further
    steps are in sight, with several classes the later half of the iterations will not do or rounding allows no descent,
    and the function that applies the inverse Hessian learnt so far.
    """
    point, spare = objective.evaluate(start), None
    on_iteration(0, point)
    model = InverseHessian(rescale=True, memory=_memory(objective))
    known = _Preconditioner(objective, point, model)
    estimates, n_iter = [], 0
    while n_iter < max_iter:
        direction = model.dot(point.gradient)
        np.negative(direction, out=direction)
        estimates.append(-0.5 * float(direction @ point.gradient))
        target = gap_target(point, tol)
        if estimates[-1] <= PROVABLE * target:
            gap = min(gap_from_gradient(objective, point), max(point.value - bound, DESCENT_NOISE * point.value))
            if gap <= target:
                return Solution(point, gap, n_iter, Stop.CONVERGED)
        steps_left = _steps_left(estimates, target)
        too_slow = objective.n_outputs > 1 and n_iter >= max_iter // 2 and steps_left > max_iter - n_iter
        if estimates[-1] <= (NOTHING_LEFT if bound > -np.inf else 1.0) * target or steps_left > patience or too_slow:
            break
        end = objective.evaluate(point.parameters + direction, recycle=spare)
        better = minimize_on_line(objective, point, end)
        if better is None:
            break
        model.update(point, better)
        point, spare = better, point
        n_iter += 1
        on_iteration(n_iter, point)
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
        known.renew(point)
    return point, n_iter, model.dot


class _Preconditioner:
    """The preconditioner of the objective at one of the last points, which a model of the inverse Hessian rests on."""

    def __init__(self, objective, point, model):
        self._objective, self._model = objective, model
        self._n_renewals = 0
        self._take(point)

    def _take(self, point):
        self._model.rebase(None)  # there need not be memory for two
        self._model.rebase(preconditioner(self._objective.hessian(point), point))
        self._value, self._age = point.value, 0

    def renew(self, point):
        """Take it anew if the next `point` made that worth it."""
        self._age += 1
        fallen = point.value < (1.0 - FALLEN) * self._value
        if (self._age >= FIRST_LIFE and fallen) or self._age >= LIFE * (self._n_renewals + 1):
            self._n_renewals += 1
            self._take(point)


def _memory(objective):
    """As many secant pairs as fit into a quarter of X, where they take no longer than a pass. Several classes of sparse
    X have blocks of some columns alone, which pairs make up for.
    """
    if objective.n_outputs > 1 and objective.design.is_sparse:
        return MEMORY
    return min(MEMORY, max(MIN_MEMORY, objective.design.n_entries // (8 * objective.n_parameters)))


def _steps_left(estimates, target):
    """Steps until the estimate of the gap is the target, at the pace of the last few."""
    if len(estimates) <= PACE:
        return 0.0
    contraction = (estimates[-1] / estimates[-1 - PACE]) ** (1.0 / PACE)
    return np.log(estimates[-1] / target) / -np.log(contraction) if contraction < 1.0 else np.inf
