"""L-BFGS on top of the Hessian's diagonal blocks of the classes, as a sample of the rows has them: each iteration one
pass, where conjugate gradients take one and a half for each product.

The steps lead to where Newton's method ends and proves it, see `fastlogreg.solvers.newton`: near the minimum, or as soon
as its Hessians are the shorter way.
"""

import numpy as np

from fastlogreg.solvers._common import gap_target, minimize_on_line
from fastlogreg.solvers._quasi_newton import InverseHessian
from fastlogreg.solvers.pilot import Handover

# Blocks are taken anew once the value has fallen by this part, and ever later: they cost some passes.
FALLEN = 0.3
FIRST_LIFE = 3
LIFE = 8
# The pace is that of so many iterations.
PACE = 5


def class_block_steps(objective, start, *, tol, max_iter, patience, on_iteration):
    """A `Handover` near the minimum, once more than `patience` further steps are in sight, or where rounding allows no
    descent.
    """
    point, spare = objective.evaluate(start), None
    on_iteration(0, point)
    model = InverseHessian(objective.preconditioner(point))
    base_value, base_iter, n_bases = point.value, 0, 1
    estimates = []
    for n_iter in range(1, max_iter + 1):
        direction = -model.dot(point.gradient)
        estimates.append(-0.5 * float(direction @ point.gradient))
        if _steps_left(estimates, gap_target(point, tol)) > patience or estimates[-1] <= gap_target(point, tol):
            return Handover(point, n_iter - 1)
        end = objective.evaluate(point.parameters + direction, recycle=spare)
        better = minimize_on_line(objective, point, end)
        if better is None:
            return Handover(point, n_iter - 1)
        model.update(point, better)
        point, spare = better, point
        on_iteration(n_iter, point)
        age, fallen = n_iter - base_iter, point.value < (1.0 - FALLEN) * base_value
        if (age >= FIRST_LIFE and fallen) or age >= LIFE * n_bases:
            model.rebase(objective.preconditioner(point))
            base_value, base_iter, n_bases = point.value, n_iter, n_bases + 1
    return Handover(point, max_iter)


def _steps_left(estimates, target):
    """Steps until the estimate of the gap is the target, at the pace of the last few."""
    if len(estimates) <= PACE:
        return 0.0
    contraction = (estimates[-1] / estimates[-1 - PACE]) ** (1.0 / PACE)
    return np.log(estimates[-1] / target) / -np.log(contraction) if contraction < 1.0 else np.inf
