"""L-BFGS on top of the Hessian's diagonal blocks of the classes, as a sample of the rows has them: each iteration one
pass, where conjugate gradients take one and a half for each product.

The steps lead to where Newton's method ends and proves it, see `fastlogreg.solvers.newton`: near the minimum, or as
soon as its Hessians are the shorter way.
"""

import numpy as np

from fastlogreg.solvers._common import gap_target, minimize_on_line
from fastlogreg.solvers._quasi_newton import InverseHessian

# Blocks are taken anew once the value has fallen by this part, and ever later: they cost some passes.
FALLEN = 0.3
FIRST_LIFE = 3
LIFE = 8
# The pace is that of so many iterations.
PACE = 5


def class_block_steps(objective, start, *, tol, max_iter, patience, on_iteration):
    """The point and the iterations it took to get near the minimum, or to where more than `patience` further steps are
    in sight or rounding allows no descent, and the function that applies the inverse Hessian learnt on the way.
    """
    point, spare = objective.evaluate(start), None
    on_iteration(0, point)
    blocks = _Blocks(objective, point)
    model = InverseHessian(blocks.inverse, rescale=True)
    estimates, n_iter = [], 0
    while n_iter < max_iter:
        direction = -model.dot(point.gradient)
        estimates.append(-0.5 * float(direction @ point.gradient))
        target = gap_target(point, tol)
        if estimates[-1] <= target or _steps_left(estimates, target) > patience:
            break
        end = objective.evaluate(point.parameters + direction, recycle=spare)
        better = minimize_on_line(objective, point, end)
        if better is None:
            break
        model.update(point, better)
        point, spare = better, point
        n_iter += 1
        on_iteration(n_iter, point)
        if blocks.renewed(point):
            model.rebase(blocks.inverse)
    return point, n_iter, model.dot


class _Blocks:
    """The preconditioner of the objective at one of the last points."""

    def __init__(self, objective, point):
        self._objective = objective
        self._n_renewals = 0
        self._take(point)

    def _take(self, point):
        self.inverse = self._objective.preconditioner(point)
        self._value, self._age = point.value, 0

    def renewed(self, point):
        """Whether the next `point` made it worth taking anew."""
        self._age += 1
        fallen = point.value < (1.0 - FALLEN) * self._value
        if not (self._age >= FIRST_LIFE and fallen) and self._age < LIFE * (self._n_renewals + 1):
            return False
        self._n_renewals += 1
        self._take(point)
        return True


def _steps_left(estimates, target):
    """Steps until the estimate of the gap is the target, at the pace of the last few."""
    if len(estimates) <= PACE:
        return 0.0
    contraction = (estimates[-1] / estimates[-1 - PACE]) ** (1.0 / PACE)
    return np.log(estimates[-1] / target) / -np.log(contraction) if contraction < 1.0 else np.inf
