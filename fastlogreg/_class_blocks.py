"""A preconditioner for softmax: the Hessian's diagonal blocks, one for each class, as a sample of the rows has them.

With the blocks ``B_k = mean_i s_i p_ik (1 - p_ik) z_i z_i' + ridge`` of all classes, the inverse of the Hessian in the
contrasts Q is approximately ``Q' diag(B_1^-1, ..., B_K^-1) Q``. Where the probabilities are the same for all samples
that is exact up to the factors 1 - p_k. The blocks spare the K (K - 1) / 2 others, and a sample of some rows a
parameter spares most of the products: it is an inverse to start from, which secant pairs or conjugate gradients mend.
"""

import numpy as np
import scipy.linalg

from fastlogreg._contrasts import contrasts, of_contrasts
from fastlogreg._pilot import stratified_rows
from fastlogreg._softmax_passes import class_scores

# A block is summed from so many rows for each of its columns, drawn in proportion to their curvature.
ROWS_A_COLUMN = 4
MIN_ROWS = 500
# They are drawn from all rows where the probabilities of these are at most this part of X, else from a copy of so many.
MAX_SHARE = 1 / 16
# Blocks of so many columns are worth factoring, and of so many entries in all worth their memory.
MAX_COLUMNS = 1500
MAX_ENTRIES = 16_000_000
# Columns with less than this part of the mean square that they have in all rows are not known from the sample.
SEEN = 0.05
# Keeps columns that depend on one another apart.
ROUNDING = 1e-9


class ClassBlocks:
    """The blocks of a `SoftmaxObjective`, or where they are too large their diagonals alone.

    Parameters
    ----------
    objective : SoftmaxObjective
    """

    def __init__(self, objective):
        design, weight = objective.design, objective.sample_weight
        n_samples, n_columns = design.n_samples, design.n_features + objective.fit_intercept
        self._objective = objective
        self._full = n_columns <= MAX_COLUMNS and objective.n_classes * n_columns**2 <= MAX_ENTRIES
        self._n_drawn = max(MIN_ROWS, ROWS_A_COLUMN * n_columns)
        self._rows, self._weight = design, np.ones(n_samples) if weight is None else weight
        n_rows = max(2 * self._n_drawn, int(MAX_SHARE * n_samples))
        if objective.n_classes > MAX_SHARE * design.n_features and n_rows < n_samples:
            rows = stratified_rows(n_samples, n_rows)
            self._rows, self._weight = design.take(rows), self._weight[rows]

    def at(self, point):
        """The function that applies the approximate inverse at a point."""
        objective = self._objective
        prob = np.ascontiguousarray(class_scores(self._rows, *objective.to_coef(point.parameters), True).T)
        curvature = np.multiply(prob, 1.0 - prob, out=prob)
        curvature *= self._weight
        ridge = objective.ridge.reshape(objective.n_outputs, -1)[0]
        # In standardised coordinates, mean squares are one at the start, without the penalty.
        mean_curvature = curvature.mean(axis=1) / np.mean(self._weight) * objective.inverse_intercept_scale**2
        expected = np.maximum(np.outer(mean_curvature, 1.0 - ridge), np.finfo(np.float32).tiny)
        solve = self._blocks(curvature, ridge, expected) if self._full else _diagonals(expected + ridge)

        def precondition(gradient):
            of_classes = of_contrasts(gradient.reshape(objective.n_outputs, -1))
            return contrasts(solve(of_classes)).ravel()

        return precondition

    def _blocks(self, curvature, ridge, expected):
        """The function that solves with the block of each class, in single precision: it only preconditions."""
        factors = []
        for curvature_of_class, diagonal in zip(curvature, expected, strict=True):
            rows, weight = self._drawn(curvature_of_class)
            gram = rows.gram(weight, self._objective.center)
            block = self._objective.coordinates.gram(gram, 1.0 / self._weight.sum())
            seen = np.diagonal(block) > SEEN * diagonal
            block.flat[:: len(block) + 1] += ridge + np.where(seen, ROUNDING * diagonal, diagonal)
            factor, failed = scipy.linalg.lapack.dpotrf(block.T, lower=True, overwrite_a=True)
            factors.append(np.asfortranarray(factor, dtype=np.float32) if not failed else diagonal)

        def solve(of_classes):
            return np.array([_solve(factor, row) for factor, row in zip(factors, of_classes, strict=True)])

        return solve


    def _drawn(self, curvature):
        """Rows drawn in proportion to their curvature, at equal distances of its running sum, and their weights."""
        if self._n_drawn >= len(curvature):
            return self._rows, curvature
        running = np.cumsum(curvature)
        places = (np.arange(self._n_drawn) + 0.5) * (running[-1] / self._n_drawn)
        drawn = np.minimum(np.searchsorted(running, places), len(curvature) - 1)
        return self._rows.take(drawn), np.full(self._n_drawn, running[-1] / self._n_drawn)


def _solve(factor, row):
    if factor.ndim == 1:
        return row / factor
    return scipy.linalg.lapack.spotrs(factor, row.astype(np.float32), lower=True)[0]


def _diagonals(diagonals):
    return lambda of_classes: of_classes / diagonals
