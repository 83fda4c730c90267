"""Steps over the samples in random order, as SGDLogisticRegression's "auto" takes them, until the gap is proven small.

An epoch is two passes over X: one of steps (`fastlogreg.steps`), one to evaluate where they led.
"""

import numpy as np

from fastlogreg.solvers.common import Solution, Stop, early_end, gap_target, newton_end
from fastlogreg.steps import Rows, adaptive_steps, shuffle, take_epoch


def sgd(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by epochs of stochastic steps: see the package for the signature that solvers share."""
    weight = objective.sample_weight
    rows = Rows(objective.design.X)
    order = np.arange(rows.n_samples, dtype=np.int32)
    coef, intercept = objective.to_coef(start)
    steps = adaptive_steps(coef, intercept, rows.sparse, objective.l2, 0.0, objective.fit_intercept)
    target = _numbered_targets(objective, steps)
    point = objective.evaluate(start)
    on_iteration(0, point)
    ambition = 1.0
    for n_iter in range(1, max_iter + 1):
        # In standardised coordinates the Hessian is near the identity, so this estimates half the squared decrement.
        if 0.5 * float(point.gradient @ point.gradient) <= ambition * gap_target(point, tol):
            ended = newton_end(objective, point, tol, n_iter)
            if isinstance(ended, Solution):
                on_iteration(n_iter, ended.point)
                return ended
            ambition *= 0.1
        shuffle(order, n_iter)
        take_epoch(steps, n_iter, lambda: steps.feed(rows, target, weight, order, objective.design.n_threads))
        coef, intercept = steps.solution()
        point = objective.evaluate(objective.from_coef(np.atleast_2d(coef), np.atleast_1d(intercept)), recycle=point)
        on_iteration(n_iter, point)
        if not np.isfinite(point.value):
            raise FloatingPointError("stochastic steps overflowed: scale X")
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
    return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)


def _numbered_targets(objective, steps):
    """The target that `steps` are fed: of two classes the objective's, else the numbers of the classes, or of the rows
    of target probabilities, which the steps are given.
    """
    if objective.n_outputs == 1:
        return objective.target[0]
    if objective.target.ndim == 1:
        return objective.target.astype(np.float64)
    steps.targets = objective.target
    return np.arange(len(objective.target), dtype=np.float64)
