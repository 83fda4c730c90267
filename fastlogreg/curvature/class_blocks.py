"""A preconditioner for softmax: the Hessian's diagonal blocks, one for each class, as a sample of the rows has them.

With the blocks ``B_k = mean_i s_i p_ik (1 - p_ik) z_i z_i' + ridge`` of all classes, the inverse of the Hessian in the
contrasts Q is approximately ``Q' diag(B_1^-1, ..., B_K^-1) Q``. Where the probabilities are the same for all samples
that is exact up to the factors 1 - p_k. The blocks spare the K (K - 1) / 2 others, and a sample of some rows a
parameter spares most of the products: it is an inverse to start from, which secant pairs or conjugate gradients mend.
"""

import functools

import numpy as np
from scipy.linalg import lapack

from fastlogreg.curvature.pilot import RUN, stratified_rows
from fastlogreg.data.softmax_passes import class_log_sums, class_scores
from fastlogreg.objectives.contrasts import contrasts, of_contrasts

# A block is summed from so many rows for each of its columns, drawn in proportion to their curvature, and from more
# where those take no longer than a few passes.
ROWS_A_COLUMN = 4
CHEAP_ROWS = 8
# So many probabilities are held at once, or so many beside X: those of all classes, or of some after others. Where
# blocks are of some columns, rows are drawn from a copy of some if those of all are too many.
FEW_PROBABILITIES = 600_000
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
        self._places = np.arange(design.n_features + objective.fit_intercept)
        self._part, self._coordinates = design, objective.coordinates
        few = int(max(FEW_PROBABILITIES, MAX_SHARE * design.n_entries))
        self._classes_at_once = max(few // n_samples, 1)
        if len(self._places) > MAX_COLUMNS or n_classes * len(self._places) ** 2 > MAX_ENTRIES:
            if self._classes_at_once < n_classes:
                self._copy_some_rows()
            self._choose_columns()
        n_columns = len(self._places)
        self._n_drawn = max(ROWS_A_COLUMN * n_columns, min(CHEAP_ROWS * n_samples // (n_columns + 1), n_samples // 4))

    def _copy_some_rows(self):
        objective, design = self._objective, self._objective.design
        n_samples, n_classes = design.n_samples, objective.n_classes
        n_rows = int(MAX_COPY * n_samples * design.n_entries / (design.n_entries + n_samples * n_classes))
        rows = stratified_rows(n_samples, max(n_rows, RUN))
        if self._weight[rows].any():
            self._rows, self._weight, self._classes_at_once = design.take(rows), self._weight[rows], n_classes

    def _choose_columns(self):
        """Which of the parameters of a class belong to its block, and the matrix of their columns."""
        objective, fullest = self._objective, None
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
        ridge = objective.ridge.reshape(objective.n_outputs, -1)[0]
        expected, factors = np.empty((objective.n_classes, len(ridge))), []
        for classes, curvature in self._curvatures(*objective.to_coef(point.parameters)):
            # In standardised coordinates, mean squares are one at the start, without the penalty.
            mean_curvature = self._mean_curvature(curvature) * objective.inverse_intercept_scale**2
            expected[classes] = np.maximum(np.outer(mean_curvature, 1.0 - ridge), np.finfo(np.float32).tiny)
            factors += self._factors(curvature, ridge, expected[classes])
            del curvature  # there need not be memory for two

        def precondition(gradient):
            of_classes = of_contrasts(gradient.reshape(objective.n_outputs, -1))
            result = of_classes / (expected + ridge)
            for factor, solved, row in zip(factors, result, of_classes, strict=True):
                if factor is not None:
                    right_side = row[self._places].astype(np.float32)
                    solved[self._places] = lapack.spptrs(len(right_side), factor, right_side, lower=True)[0]
            return contrasts(result).ravel()

        return precondition

    def _curvatures(self, coef, intercept):
        """Slices of the classes, and the curvatures of each in all rows, side by side (k, n)."""
        n_classes = len(coef)
        if self._classes_at_once >= n_classes:
            yield slice(None), self._curvature(class_scores(self._rows, coef, intercept, True))
            return
        log_sums = class_log_sums(self._rows, coef, intercept)
        for first in range(0, n_classes, self._classes_at_once):
            classes = slice(first, first + self._classes_at_once)
            yield classes, self._curvature(self._probabilities(coef[classes], intercept[classes], log_sums))

    def _probabilities(self, coef, intercept, log_sums):
        """Of some classes (n, k), given what the logits of all sum to."""
        logarithms = class_scores(self._rows, coef, intercept, False)
        logarithms -= log_sums[:, np.newaxis]
        return np.exp(logarithms, out=logarithms)

    def _curvature(self, prob):
        """That of each class, side by side, from the probabilities (n, k), whose memory it uses."""
        curvature = np.array(prob.T, order="C")
        curvature *= np.subtract(1.0, prob, out=prob).T
        curvature *= self._weight
        return curvature

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
        """The Cholesky factor of each class's block, packed, in single precision for it only preconditions, or None."""
        if len(self._places) == 0:
            return [None] * len(curvature)
        return [
            self._factor(of_class, ridge[self._places], diagonal[self._places])
            for of_class, diagonal in zip(curvature, expected, strict=True)
        ]

    def _factor(self, curvature, ridge, expected):
        rows, weight = self._drawn(curvature)
        block = self._coordinates.gram(rows.gram(weight, self._coordinates.center), 1.0 / self._weight.sum())
        # rows that are drawn are many more than columns
        trust = min(1.0, float(_effective_rows(weight)) / len(block)) if rows is self._part else 1.0
        if trust < 1.0 and self._rows is not self._objective.design:
            # the largest diagonal is that of a parameter which the penalty leaves alone
            block *= trust
            block += (1.0 - trust) * expected.max() * self._pooled
        seen = np.diagonal(block) > SEEN * expected
        block.flat[:: len(block) + 1] += ridge + np.where(seen, ROUNDING * expected, expected)
        factor, failed = lapack.dpotrf(block.T, lower=True, overwrite_a=True)
        return None if failed else lapack.strttp(np.asfortranarray(factor, dtype=np.float32), uplo="L")[0]

    def _drawn(self, curvature):
        """Rows drawn in proportion to their curvature, at equal distances of its running sum, and their weights."""
        if self._n_drawn >= len(curvature):
            return self._part, curvature
        running = np.cumsum(curvature)
        step = running[-1] / self._n_drawn
        if not step > 0:  # the class is certain everywhere
            return self._part.take([0]), np.zeros(1)
        times = np.diff(np.floor(running / step + 0.5), prepend=0.0)
        drawn = np.flatnonzero(times)
        return self._part.take(drawn), step * times[drawn]


def _effective_rows(weights):
    """How many equal weights tell as much as these, along the last axis."""
    squares = np.einsum("...i,...i->...", weights, weights)
    return weights.sum(axis=-1) ** 2 / np.maximum(squares, np.finfo(float).tiny)
