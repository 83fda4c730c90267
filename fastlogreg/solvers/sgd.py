"""Steps over the samples in random order, as SGDLogisticRegression's "auto" takes them, then iterations on all of them,
which show how near the end is.

An epoch is two passes over X: one of steps (`fastlogreg.steps`), one to evaluate where they led. The rows must be at
hand.
"""

import numpy as np

from fastlogreg.data.rows import Rows, shuffle
from fastlogreg.solvers.gap import early_end
from fastlogreg.solvers.last_iterations import last_iterations
from fastlogreg.solvers.progress import Stop
from fastlogreg.solvers.separation import separable_end
from fastlogreg.steps import adaptive_steps

# Epochs end when one lowers the value by less than this part: what is left is done sooner by iterations that know the
# gradient of all samples.
LEAST_GAIN = 0.05


def sgd(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by epochs of stochastic steps, and then by `last_iterations`: see the package for the signature that
    solvers share.
    """
    point, n_iter, gains = objective.evaluate(start), 0, True
    on_iteration(0, point)
    epochs = _Epochs(objective, start)
    while n_iter < max_iter and gains:
        n_iter += 1
        with np.errstate(over="ignore", invalid="ignore"):  # such steps lead nowhere
            end = objective.evaluate(epochs.next(n_iter))
        gains = end.value < (1.0 - LEAST_GAIN) * point.value
        if end.value < point.value:
            point = end
        on_iteration(n_iter, point)
        if (end := separable_end(objective, point, n_iter)) is not None:
            return end
    if n_iter == max_iter:
        return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)
    solution = last_iterations(
        objective,
        point.parameters,
        tol=tol,
        max_iter=max_iter - n_iter,
        on_iteration=lambda number, reached: on_iteration(n_iter + number, reached) if number else None,
    )
    solution.n_iter += n_iter
    solution.ways = ()
    return solution


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
        self._steps.begin_epoch()
        self._steps.feed(self._rows, self._target, self._weight, self._order, self._design.n_threads)
        self._steps.end_epoch()
        coef, intercept = self._steps.solution()
        return self._objective.from_coef(np.atleast_2d(coef), np.atleast_1d(intercept))
