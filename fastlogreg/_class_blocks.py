"""A preconditioner for softmax: the Hessian's diagonal blocks, one for each class, as a sample of the rows has them.

With the blocks ``B_k = mean_i s_i p_ik (1 - p_ik) z_i z_i' + ridge`` of all classes, the inverse of the Hessian in the
contrasts Q is approximately ``Q' diag(B_1^-1, ..., B_K^-1) Q``. Where the probabilities are the same for all samples
that is exact up to the factors 1 - p_k. The blocks spare the K (K - 1) / 2 others, and a sample of some rows a
parameter spares most of the products: it is an inverse to start from, which secant pairs or conjugate gradients mend.
"""

import numpy as np
import scipy.linalg
import scipy.special

from fastlogreg._contrasts import contrasts, of_contrasts
from fastlogreg._pilot import stratified_rows

ROWS_A_COLUMN = 6
# Rows whose blocks cost no more than a few passes are welcome beyond that.
CHEAP_ROWS = 8
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
        design = objective.design
        n_samples, n_columns = design.n_samples, design.n_features + objective.fit_intercept
        self._objective = objective
        self._full = n_columns <= MAX_COLUMNS and objective.n_classes * n_columns**2 <= MAX_ENTRIES
        n_rows = max(ROWS_A_COLUMN * n_columns, min(CHEAP_ROWS * n_samples // n_columns, n_samples // 4))
        rows = stratified_rows(n_samples, n_rows) if n_rows < n_samples else None
        self._sample = design if rows is None else design.take(rows)
        weight = objective.sample_weight
        weight = np.ones(n_samples) if weight is None else weight
        self._weight = weight if rows is None else weight[rows]

    def at(self, point):
        """The function that applies the approximate inverse at a point."""
        objective = self._objective
        prob = scipy.special.softmax(self._sample.logits(*objective.to_coef(point.parameters)), axis=0)
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
            gram = self._sample.gram(curvature_of_class, self._objective.center)
            block = self._objective.coordinates.gram(gram, 1.0 / self._weight.sum())
            seen = np.diagonal(block) > SEEN * diagonal
            block.flat[:: len(block) + 1] += ridge + np.where(seen, ROUNDING * diagonal, diagonal)
            factor, failed = scipy.linalg.lapack.dpotrf(block.T, lower=True, overwrite_a=True)
            factors.append(np.asfortranarray(factor, dtype=np.float32) if not failed else diagonal)

        def solve(of_classes):
            return np.array([_solve(factor, row) for factor, row in zip(factors, of_classes, strict=True)])

        return solve


def _solve(factor, row):
    if factor.ndim == 1:
        return row / factor
    return scipy.linalg.lapack.spotrs(factor, row.astype(np.float32), lower=True)[0]


def _diagonals(diagonals):
    return lambda of_classes: of_classes / diagonals
