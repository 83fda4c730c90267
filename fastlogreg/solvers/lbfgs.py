"""Limited-memory BFGS on the fused pass: one reading of X an iteration, as long as unit steps are good.

The objective's standardised coordinates are the diagonal preconditioner. Where a unit step is not good, the step length
is found from stored logits and costs one more pass, whatever the number of trials.

Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5. The end is proven by a Newton step.
"""

from collections import deque

import numpy as np

from fastlogreg.solvers._common import Solution, Stop, early_end, gap_target, minimize_on_line, proven_end

# Pairs remembered. More spare passes over X on badly conditioned data and cost 4 * MEMORY * d operations an iteration.
MEMORY = 30


class _InverseHessian:
    """The quasi-Newton model: differences of parameters and of gradients, newest last."""

    def __init__(self):
        self.pairs = deque(maxlen=MEMORY)

    def update(self, start, end):
        step = end.parameters - start.parameters
        change = end.gradient - start.gradient
        product = float(step @ change)
        # Curvature lost to rounding would spoil the model.
        if product > 1e-14 * np.linalg.norm(step) * np.linalg.norm(change):
            self.pairs.append((step, change, product))

    def dot(self, gradient):
        """The two-loop recursion; the identity, scaled to the newest pair, where nothing is known."""
        result = gradient.copy()
        shares = []
        for step, change, product in reversed(self.pairs):
            share = float(step @ result) / product
            result -= share * change
            shares.append(share)
        if self.pairs:
            _, change, product = self.pairs[-1]
            result *= product / float(change @ change)
        for (step, change, product), share in zip(self.pairs, reversed(shares), strict=True):
            result += (share - float(change @ result) / product) * step
        return result


def lbfgs(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by L-BFGS: see the package for the signature that solvers share."""
    point, spare = objective.evaluate(start), None
    on_iteration(0, point)
    model = _InverseHessian()
    ambition = 1.0
    for n_iter in range(1, max_iter + 1):
        direction = -model.dot(point.gradient)
        decrement = -float(direction @ point.gradient)
        if 0.5 * decrement <= ambition * gap_target(point, tol):
            # The model's word for it is an estimate, often a low one: ask the Hessian.
            solution = proven_end(objective, point, tol, n_iter, on_iteration)
            if solution:
                return solution
            ambition *= 0.1
        end = objective.evaluate(point.parameters + direction, recycle=spare)
        better = minimize_on_line(objective, point, end)
        if better is None:
            return early_end(objective, point, tol, n_iter, Stop.STALLED)
        model.update(point, better)
        point, spare = better, point
        on_iteration(n_iter, point)
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
    return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)
