"""The Hessian of sparse data as a sample of the rows knows it: its block of the fullest columns, and a diagonal.

On one-hot data few columns hold nearly all entries, and the Hessian's block of these columns is what makes the problem
hard; the rare ones have little to do with one another. A sample of the rows knows that block well enough to step with:
see `fastlogreg.curvature.pilot` for the rates. The diagonal of all columns is known from the standardised coordinates.
"""

import numpy as np
import scipy.linalg

from fastlogreg.curvature.factored import FactoredHessian, diagonal_inverse
from fastlogreg.curvature.pilot import MIN_CARRIERS, stratified_rows

# The sample is this part of the rows. Its Hessians then cost little beside a pass over all rows, and what they miss is
# little beside what changes along a step.
SHARE = 1 / 12
# More than 256 columns take longer to factor than the passes that they spare.
MAX_COLUMNS = 256
# A column whose mean square in the sample is less than a tenth of that in all rows is better left to the diagonal.
KNOWN = 0.1
# A column depends on those before it that leave less than this part of its diagonal entry.
DEPENDENT = 1e-8


class SampledBlock:
    """Inverses of an objective's Hessian, made from a sample of the rows of sparse X. Made by `of`."""

    @classmethod
    def of(cls, objective):
        """The inverses, or None where the sample's rows weigh nothing, or where all columns are rare in it.

        The objective is of two classes, over CSR X in this process's memory.
        """
        design, n_samples = objective.passes.local.design, objective.n_samples
        rows = stratified_rows(n_samples, int(SHARE * n_samples))
        samples = objective.passes.local.samples.take(rows)
        if samples.total_weight == 0:
            return None
        columns, sample = design.take(rows).fullest_columns(MAX_COLUMNS, MIN_CARRIERS)
        return cls(objective, rows, samples, columns, sample) if len(columns) else None

    def __init__(self, objective, rows, samples, columns, design):
        self._objective, self._rows, self._design = objective, rows, design
        self.columns = columns
        self._total_weight = samples.total_weight
        d, fit_intercept = objective.n_features, objective.fit_intercept
        self._places = np.concatenate([columns, np.arange(d, d + fit_intercept)])
        self._coordinates = objective.coordinates.of_columns(columns)
        self._mean_squares = objective.mean_squares
        self._stretch, self._known = self._mending(samples.weight)

    def _mending(self, weight):
        """What the block's parameters (p,) are to be stretched by, to have their mean squares in all rows, and which of
        them the sample knows.
        """
        mean, variance = self._design.moments(weight)
        if not self._objective.fit_intercept:
            variance += mean**2
        squares = np.ones(len(self._places))
        scale = self._coordinates.inverse_scale / self._coordinates.inverse_intercept_scale
        squares[: len(variance)] = variance * scale**2
        in_all = self._mean_squares[self._places]
        known = squares > KNOWN * in_all
        return np.sqrt(np.divide(in_all, squares, out=np.zeros_like(squares), where=known)), known

    def inverse(self, hessian):
        """The function that applies the inverse of the objective's `Hessian`: gradient in. No pass over all rows.

        In directions where the known columns cancel, those too rare for the sample remain. They add up to no more than
        the part of the rows that makes a column known, and that part of its diagonal is added to the block.
        """
        places, ridge = self._places, self._objective.penalty.curvature
        squares = hessian.mean_curvature() * self._mean_squares
        matrix = self._matrix(hessian)
        unseen = np.where(self._known, MIN_CARRIERS / len(self._rows), 1.0)
        matrix[np.diag_indices_from(matrix)] += unseen * squares[places]
        return diagonal_inverse(squares + ridge, FactoredHessian(matrix), places)

    def has_dependent_columns(self, hessian):
        """Whether some of the columns are combinations of others but for a part that neither rows nor penalty weigh."""
        matrix = self._matrix(hessian)
        seen = np.flatnonzero(np.diagonal(matrix))
        matrix = matrix[np.ix_(seen, seen)]
        factor, info = scipy.linalg.lapack.dpotrf(matrix)
        return info != 0 or bool(np.any(np.diagonal(factor) ** 2 < DEPENDENT * np.diagonal(matrix)))

    def _matrix(self, hessian):
        """The block as the sample knows it, with the penalty."""
        gram = self._design.gram(hessian.of_loss.curvature[self._rows], self._coordinates.center)
        matrix = self._coordinates.gram(gram, 1.0 / self._total_weight) * np.outer(self._stretch, self._stretch)
        matrix[np.diag_indices_from(matrix)] += self._objective.penalty.curvature[self._places]
        return matrix
