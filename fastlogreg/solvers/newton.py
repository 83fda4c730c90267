"""Newton's method: each iteration minimises the quadratic model of the objective at the point.

The step is solved by Cholesky where the Hessian's matrix is cheap, by preconditioned conjugate gradients on
Hessian-vector products elsewhere, and shortened by a line search on stored logits where it overshoots. A factored
Hessian serves for as many steps as that is cheaper than a new one (the chord method): such a step costs one pass. Every
step comes with a proven bound on the gap of the point it starts from, so the stopping test costs nothing.

Sources: Boyd and Vandenberghe, Convex Optimization, 9.5; Kelley, Iterative Methods, 5.4 for the chord method; the bound
is derived at `newton_step`.
"""

import numpy as np

from fastlogreg.solvers._common import (
    FactoredHessian,
    Solution,
    Stop,
    early_end,
    gap_target,
    has_cheap_matrix,
    minimize_on_line,
    newton_step,
)

# Conjugate gradients that stop early spare passes far from the optimum; stopping ever later makes the steps Newton's,
# also where the columns are so dependent that the first few products gain nearly all of the model but the last tenth.
FIRST_ACCURACY = 0.1
ACCURACY_DECAY = 0.75

# What a Hessian costs beside a pass, measured on dense data: 5 passes with 50 parameters, 10 with 200, 38 with 784. One
# that lasts too long loses passes, one given up too early a Hessian; beyond 200 the former is the dearer mistake. The
# same for dense and sparse data, whose steps then agree.
HESSIAN_PASSES = 0.05


def newton(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by Newton steps: see the package for the signature that solvers share."""
    point = objective.evaluate(start)
    on_iteration(0, point)
    gap = float("inf")
    hessians = _ChordHessians(objective) if has_cheap_matrix(objective) else None
    for n_iter in range(1, max_iter + 1):
        target = gap_target(point, tol)
        factored = hessians.at(point, target) if hessians else None
        step = newton_step(objective, point, target, factored, FIRST_ACCURACY * ACCURACY_DECAY ** (n_iter - 1))
        gap = step.gap
        better = minimize_on_line(objective, point, step.end)
        if better is None:
            return early_end(objective, point, tol, n_iter, Stop.STALLED)
        point = better  # no higher, so it inherits the bound
        on_iteration(n_iter, point)
        if gap <= target:
            return Solution(point, gap, n_iter, Stop.CONVERGED)
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
    return Solution(point, gap, max_iter, Stop.MAX_ITER)


class _ChordHessians:
    """A factored Hessian for each point: the one at hand, or a new one where that is the shorter way to the target."""

    def __init__(self, objective):
        self._objective = objective
        self._factored = None
        self._decrement = np.inf
        self._passes_of_a_new_one = 2.0 + HESSIAN_PASSES * min(objective.n_parameters, 200)

    def at(self, point, target):
        """The Hessian to step from `point` with."""
        if self._factored is not None:
            before, self._decrement = self._decrement, self._decrement_of(point)
            # The bound grows with the exponential of how far the logits have moved since: see `newton_step`.
            moved = self._objective.largest_logit_change(self._factored.point, point)
            passes = self._passes_left(self._decrement / before, target * np.exp(-moved))
            if passes <= self._passes_of_a_new_one:
                return self._factored
        self._factored = FactoredHessian(self._objective, point)
        self._decrement = self._decrement_of(point)
        return self._factored

    def _decrement_of(self, point):
        direction, _ = self._factored.solve(point.gradient)
        return np.sqrt(max(-float(direction @ point.gradient), 0.0))

    def _passes_left(self, contraction, target):
        """Steps with the same Hessian until half the squared decrement is the target, at the last step's pace."""
        if not (contraction < 0.5 and target > 0):
            return np.inf
        if 0.5 * self._decrement**2 <= target:
            return 1.0
        return np.log(self._decrement / np.sqrt(2.0 * target)) / -np.log(contraction)
