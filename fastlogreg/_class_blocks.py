"""A preconditioner for softmax: the Hessian's diagonal blocks, one for each class, as a sample of the rows has them.

With the blocks ``B_k = mean_i s_i p_ik (1 - p_ik) z_i z_i' + ridge`` of all classes, the inverse of the Hessian in the
contrasts Q is approximately ``Q' diag(B_1^-1, ..., B_K^-1) Q``. Where the probabilities are the same for all samples
that is exact up to the factors 1 - p_k. The blocks spare the K (K - 1) / 2 others, and a sample of some rows a
parameter spares most of the products: it is an inverse to start from, which secant pairs or conjugate gradients mend.
"""

import functools

import numpy as np
import scipy.linalg

from fastlogreg._contrasts import contrasts, of_contrasts
from fastlogreg._pilot import RUN, stratified_rows
from fastlogreg._softmax_passes import class_scores

# A block is summed from so many rows for each of its columns, drawn in proportion to their curvature, and from more
# where those take no longer than a few passes.
ROWS_A_COLUMN = 4
CHEAP_ROWS = 8
# They are drawn from all rows where these have few probabilities, by themselves or beside X; else from a copy of some.
FEW_PROBABILITIES = 2_000_000
MAX_SHARE = 1 / 16
MAX_COPY = 1 / 4
# Blocks of so many columns are worth factoring, and of so many entries in all worth their memory. Of more columns,
# where X is sparse, the fullest ones depend on one another the most.
MAX_COLUMNS = 1500
MAX_ENTRIES = 16_000_000
FULLEST_COLUMNS = 300
# Columns with less than this part of the mean square that they have in all rows are not known from the sample.
SEEN = 0.05
# So many rows with curvature tell how much of it a class has.
FEW_ROWS = 10
# Keeps columns that depend on one another apart.
ROUNDING = 1e-9


class ClassBlocks:
    """The blocks of a `SoftmaxObjective`: whole, or of the fullest columns beside the diagonal of the others, or where
    there are too many classes the diagonal alone.

    Parameters
    ----------
    objective : SoftmaxObjective
    """

    def __init__(self, objective):
        design, weight = objective.design, objective.sample_weight
        n_samples, n_classes = design.n_samples, objective.n_classes
        self._objective = objective
        self._rows, self._weight = design, np.ones(n_samples) if weight is None else weight
        if n_samples * n_classes > max(FEW_PROBABILITIES, MAX_SHARE * design.n_entries):
            n_rows = int(MAX_COPY * n_samples * design.n_entries / (design.n_entries + n_samples * n_classes))
            rows = stratified_rows(n_samples, max(n_rows, RUN))
            if self._weight[rows].any():
                self._rows, self._weight = design.take(rows), self._weight[rows]
        self._choose_columns(design.n_features + objective.fit_intercept)
        n_columns = len(self._places)
        self._n_drawn = max(ROWS_A_COLUMN * n_columns, min(CHEAP_ROWS * n_samples // (n_columns + 1), n_samples // 4))

    def _choose_columns(self, n_columns):
        """Which of the parameters of a class belong to its block, and the matrix of their columns."""
        objective = self._objective
        self._part, self._coordinates, self._places = self._rows, objective.coordinates, np.arange(n_columns)
        if n_columns <= MAX_COLUMNS and objective.n_classes * n_columns**2 <= MAX_ENTRIES:
            return
        fullest = None
        if objective.n_classes * FULLEST_COLUMNS**2 <= MAX_ENTRIES:
            fullest = self._rows.fullest_columns(FULLEST_COLUMNS)
        if fullest is None:
            self._places = self._places[:0]
            return
        columns, self._part = fullest
        self._coordinates = objective.coordinates.of_columns(columns)
        self._places = np.append(columns, self._places[objective.design.n_features :])

    @functools.cached_property
    def _pooled(self):
        """A class's block where all samples have the curvature of the start."""
        gram = self._part.gram(self._weight, self._coordinates.center)
        return self._coordinates.gram(gram, self._coordinates.inverse_intercept_scale**-2 / self._weight.sum())

    def at(self, point):
        """The function that applies the approximate inverse at a point."""
        objective = self._objective
        prob = class_scores(self._rows, *objective.to_coef(point.parameters), True)
        curvature = np.multiply(prob.T, 1.0 - prob.T, order="C") * self._weight
        ridge = objective.ridge.reshape(objective.n_outputs, -1)[0]
        # In standardised coordinates, mean squares are one at the start, without the penalty.
        mean_curvature = self._mean_curvature(curvature) * objective.inverse_intercept_scale**2
        expected = np.maximum(np.outer(mean_curvature, 1.0 - ridge), np.finfo(np.float32).tiny)
        factors = self._factors(curvature, ridge, expected)

        def precondition(gradient):
            of_classes = of_contrasts(gradient.reshape(objective.n_outputs, -1))
            result = of_classes / (expected + ridge)
            for factor, solved, row in zip(factors, result, of_classes, strict=True):
                if factor is not None:
                    right_side = row[self._places].astype(np.float32)
                    solved[self._places] = scipy.linalg.lapack.spotrs(factor, right_side, lower=True)[0]
            return contrasts(result).ravel()

        return precondition

    def _mean_curvature(self, curvature):
        """That of each class (K,); where few rows of a sample have any, what the share of the class in all rows lets
        expect.
        """
        share = self._objective.mean_target
        sampled = curvature.sum(axis=1) / self._weight.sum()
        if self._rows is self._objective.design:
            return sampled
        likely = share * (1.0 - share) * (sampled.sum() / (share * (1.0 - share)).sum())
        n_effective = _effective_rows(curvature)
        return (n_effective * sampled + FEW_ROWS * likely) / (n_effective + FEW_ROWS)

    def _factors(self, curvature, ridge, expected):
        """The Cholesky factor of each class's block, in single precision for it only preconditions, or None."""
        if len(self._places) == 0:
            return [None] * len(curvature)
        return [
            self._factor(of_class, ridge[self._places], diagonal[self._places])
            for of_class, diagonal in zip(curvature, expected, strict=True)
        ]

    def _factor(self, curvature, ridge, expected):
        rows, weight = self._drawn(curvature)
        block = self._coordinates.gram(rows.gram(weight, self._coordinates.center), 1.0 / self._weight.sum())
        trust = min(1.0, float(_effective_rows(weight)) / len(block))
        if trust < 1.0 and self._rows is not self._objective.design:
            # the largest diagonal is that of a parameter which the penalty leaves alone
            block *= trust
            block += (1.0 - trust) * expected.max() * self._pooled
        seen = np.diagonal(block) > SEEN * expected
        block.flat[:: len(block) + 1] += ridge + np.where(seen, ROUNDING * expected, expected)
        factor, failed = scipy.linalg.lapack.dpotrf(block.T, lower=True, overwrite_a=True)
        return None if failed else np.asfortranarray(factor, dtype=np.float32)

    def _drawn(self, curvature):
        """Rows drawn in proportion to their curvature, at equal distances of its running sum, and their weights."""
        if self._n_drawn >= len(curvature):
            return self._part, curvature
        running = np.cumsum(curvature)
        places = (np.arange(self._n_drawn) + 0.5) * (running[-1] / self._n_drawn)
        drawn = np.minimum(np.searchsorted(running, places), len(curvature) - 1)
        return self._part.take(drawn), np.full(self._n_drawn, running[-1] / self._n_drawn)


def _effective_rows(weights):
    """How many equal weights tell as much as these, along the last axis."""
    squares = np.einsum("...i,...i->...", weights, weights)
    return weights.sum(axis=-1) ** 2 / np.maximum(squares, np.finfo(float).tiny)
