"""Steps over the samples in random order, as SGDLogisticRegression's "auto" takes them, until the gap is proven small.

An epoch is two passes over X: one of steps (`fastlogreg.steps`), one to evaluate where they led. The rows must be at
hand.
"""

import numpy as np

from fastlogreg.data.rows import Rows, shuffle
from fastlogreg.solvers.gap import accuracy_asked, early_end, newton_end
from fastlogreg.solvers.progress import Solution, Stop
from fastlogreg.solvers.separation import separable_end
from fastlogreg.steps import adaptive_steps, take_epoch


def sgd(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by epochs of stochastic steps: see the package for the signature that solvers share."""
    epochs = _Epochs(objective, start)
    point = objective.evaluate(start)
    on_iteration(0, point)
    ambition = 1.0
    for n_iter in range(1, max_iter + 1):
        # In standardised coordinates the Hessian is near the identity, so this estimates half the squared decrement.
        if 0.5 * float(point.gradient @ point.gradient) <= ambition * accuracy_asked(point, tol):
            ended = newton_end(objective, point, tol, n_iter)
            if isinstance(ended, Solution):
                on_iteration(n_iter, ended.point)
                return ended
            ambition *= 0.1
        point = objective.evaluate(epochs.next(n_iter), recycle=point)
        on_iteration(n_iter, point)
        if not np.isfinite(point.value):
            raise FloatingPointError("stochastic steps overflowed: scale X")
        if (end := separable_end(objective, point, n_iter)) is not None:
            return end
    return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)


class _Epochs:
    """The steps over an objective's samples, an epoch at a time."""

    def __init__(self, objective, start):
        local, penalty = objective.passes.local, objective.penalty_of_coef
        if local is None or local.has_offset or not penalty.is_uniform:
            raise ValueError("solver='sgd' needs the rows at hand, without offsets, and a uniform penalty")
        self._objective, self._design, self._weight = objective, local.design, local.samples.weight
        self._rows = Rows(local.design)
        self._order = np.arange(local.n_samples, dtype=np.int32)
        alpha = float(penalty.curvatures(local.n_features)[0])
        coef, intercept = objective.to_coef(start)
        self._steps = adaptive_steps(coef, intercept, local.is_sparse, alpha, 0.0, objective.fit_intercept)
        self._target = self._numbered_targets(local.samples.target)

    def _numbered_targets(self, target):
        """The targets that the steps are fed: of two classes as they are, else the numbers of the classes; with target
        probabilities, the numbers of their rows, which the steps hold.
        """
        if self._objective.n_classes == 2:
            return target
        if target.ndim == 1:
            return target.astype(np.float64)
        self._steps.targets = target
        return np.arange(len(target), dtype=np.float64)

    def next(self, number):
        """The parameters that epoch `number`, counted from one, leads to."""
        shuffle(self._order, number)
        take_epoch(self._steps, number, self._feed)
        coef, intercept = self._steps.solution()
        return self._objective.from_coef(np.atleast_2d(coef), np.atleast_1d(intercept))

    def _feed(self):
        self._steps.feed(self._rows, self._target, self._weight, self._order, self._design.n_threads)
