"""A preconditioner for softmax: the Hessian's diagonal blocks, one for each class, as a sample of the rows has them.

With the blocks ``B_k = mean_i s_i p_ik (1 - p_ik) z_i z_i' + ridge`` of all classes, the inverse of the Hessian in the
contrasts Q is approximately ``Q' diag(B_1^-1, ..., B_K^-1) Q``. Where the probabilities are the same for all samples
that is exact up to the factors 1 - p_k. The blocks spare the K (K - 1) / 2 others, and a sample of a few rows for each
parameter spares most of the products. It is an inverse to start from, which secant pairs or conjugate gradients mend.
"""

import functools

import numpy as np
from scipy.linalg import lapack

from fastlogreg.curvature.drawn_rows import drawn_rows
from fastlogreg.curvature.pilot import RUN, stratified_rows
from fastlogreg.data.softmax_passes import class_log_sums, class_scores
from fastlogreg.objectives.contrasts import contrasts, of_contrasts

# The Hessian's block of a class is summed from rows drawn in proportion to their curvature: four for each column of the
# block, or more, up to a quarter of the rows, where their products take no longer than a few passes.
ROWS_A_COLUMN = 4
CHEAP_ROWS = 8
# The probabilities held at once are at most 600 000, or a sixteenth of the entries of X where that is more: those of
# all classes, or of some classes after others. Where blocks are of some columns alone and all classes would be too
# many, rows are drawn from a copy of some rows, which takes a quarter of X with its probabilities.
FEW_PROBABILITIES = 600_000
MAX_SHARE = 1 / 16
MAX_COPY = 1 / 4
# Up to 1500 columns a block is worth factoring, and up to 16 million entries in all, blocks are worth their memory.
# Beyond, where X is sparse, blocks are of the 300 columns with the most entries, which depend on one another the most.
MAX_COLUMNS = 1500
MAX_ENTRIES = 16_000_000
FULLEST_COLUMNS = 300
# A column whose mean square in the sample is less than this part of that in all rows is not known from the sample.
SEEN = 0.05
# What the share of a class lets expect of its mean curvature counts as much as ten rows that have curvature.
FEW_ROWS = 10
# Added to the diagonal of a block, relatively: keeps columns that depend on one another from making it singular.
ROUNDING = 1e-9


class ClassBlocks:
    """Approximate inverse Hessians of a `SoftmaxObjective`, from one block of the Hessian for each class.

    The blocks are of all columns, or of the fullest ones beside the diagonal of the others, or, where there are too
    many classes for that, of none beside the diagonal.

    Parameters
    ----------
    objective : SoftmaxObjective
    """

    def __init__(self, objective):
        local = objective.passes.local
        design, n_samples, n_classes = local.design, objective.n_samples, objective.n_classes
        self._objective = objective
        self._design, self._rows, self._samples = design, design, local.samples
        self._weight = local.samples.weight_or_ones
        self._places = np.arange(objective.n_features + objective.fit_intercept)
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
        design, n_samples, n_classes = self._design, self._objective.n_samples, self._objective.n_classes
        n_rows = int(MAX_COPY * n_samples * design.n_entries / (design.n_entries + n_samples * n_classes))
        rows = stratified_rows(n_samples, max(n_rows, RUN))
        some = self._samples.take(rows)
        if some.total_weight > 0:
            self._rows, self._samples, self._weight = design.take(rows), some, some.weight_or_ones
            self._classes_at_once = n_classes

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
        self._places = np.append(columns, self._places[objective.n_features :])

    @functools.cached_property
    def _pooled(self):
        """A class's block where all samples have the curvature of the start."""
        gram = self._part.gram(self._weight, self._coordinates.center)
        return self._coordinates.gram(gram, self._coordinates.inverse_intercept_scale**-2 / self._weight.sum())

    def at(self, point):
        """The function that applies the approximate inverse at a point."""
        objective = self._objective
        ridge = objective.penalty.curvature.reshape(objective.n_outputs, -1)[0]
        mean_squares = objective.mean_squares[: len(ridge)]
        expected, factors = np.empty((objective.n_classes, len(ridge))), []
        for classes, curvature in self._curvatures(*objective.to_coef(point.parameters)):
            # In standardised coordinates, mean squares are one at the start, without the penalty.
            mean_curvature = self._mean_curvature(curvature) * objective.inverse_intercept_scale**2
            expected[classes] = np.maximum(np.outer(mean_curvature, mean_squares), np.finfo(np.float32).tiny)
            factors += self._factors(curvature, ridge, expected[classes])
            del curvature  # there may be no memory for two

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
        """Yields slices of the classes, each with the rows' curvatures in these classes (k, n)."""
        n_classes = len(coef)
        if self._classes_at_once >= n_classes:
            yield slice(None), self._curvature(class_scores(self._rows, coef, intercept, True, self._samples.offset))
            return
        log_sums = class_log_sums(self._rows, coef, intercept, self._samples.offset)
        for first in range(0, n_classes, self._classes_at_once):
            classes = slice(first, first + self._classes_at_once)
            yield classes, self._curvature(self._probabilities(classes, coef, intercept, log_sums))

    def _probabilities(self, classes, coef, intercept, log_sums):
        """The probabilities of some classes (n, k), given the logarithms of the sums over all classes."""
        offset = self._samples.offset
        offset = None if offset is None else np.ascontiguousarray(offset[:, classes])
        logarithms = class_scores(self._rows, coef[classes], intercept[classes], False, offset)
        logarithms -= log_sums[:, np.newaxis]
        return np.exp(logarithms, out=logarithms)

    def _curvature(self, prob):
        """The rows' curvatures in each class (k, n), from the probabilities (n, k), which are overwritten."""
        curvature = np.array(prob.T, order="C")
        curvature *= np.subtract(1.0, prob, out=prob).T
        curvature *= self._weight
        return curvature

    def _mean_curvature(self, curvature):
        """The mean curvature of each class (K,). Where few rows of a copy have any, it tends to what the share of the
        class in all rows lets expect.
        """
        share = self._objective.mean_target
        sampled = curvature.sum(axis=1) / self._weight.sum()
        if self._rows is self._design:
            return sampled
        likely = share * (1.0 - share) * (sampled.sum() / (share * (1.0 - share)).sum())
        n_effective = _effective_rows(curvature)
        return (n_effective * sampled + FEW_ROWS * likely) / (n_effective + FEW_ROWS)

    def _factors(self, curvature, ridge, expected):
        """The Cholesky factor of each class's block, or None. It is packed, and single, as it only preconditions."""
        if len(self._places) == 0:
            return [None] * len(curvature)
        return [
            self._factor(of_class, ridge[self._places], diagonal[self._places])
            for of_class, diagonal in zip(curvature, expected, strict=True)
        ]

    def _factor(self, curvature, ridge, expected):
        rows, weight = self._drawn(curvature)
        block = self._coordinates.gram(rows.gram(weight, self._coordinates.center), 1.0 / self._weight.sum())
        # drawn rows are trusted: they are many more than the columns
        trust = min(1.0, float(_effective_rows(weight)) / len(block)) if rows is self._part else 1.0
        if trust < 1.0 and self._rows is not self._design:
            # the largest diagonal is that of a parameter which the penalty leaves alone
            block *= trust
            block += (1.0 - trust) * expected.max() * self._pooled
        seen = np.diagonal(block) > SEEN * expected
        block.flat[:: len(block) + 1] += ridge + np.where(seen, ROUNDING * expected, expected)
        factor, failed = lapack.dpotrf(block.T, lower=True, overwrite_a=True)
        return None if failed else lapack.strttp(np.asfortranarray(factor, dtype=np.float32), uplo="L")[0]

    def _drawn(self, curvature):
        """The design of rows drawn in proportion to their curvature, and their weights."""
        if self._n_drawn >= len(curvature):
            return self._part, curvature
        rows, weights = drawn_rows(curvature, self._n_drawn)
        return self._part.take(rows), weights


def _effective_rows(weights):
    """How many equal weights tell as much as these, along the last axis."""
    squares = np.einsum("...i,...i->...", weights, weights)
    return weights.sum(axis=-1) ** 2 / np.maximum(squares, np.finfo(float).tiny)
