"""The Hessian of sparse data as a sample of the rows knows it: a block of the fullest columns, and a diagonal.

On one-hot data few columns hold nearly all entries, and the Hessian among them is what makes the problem hard; the rare
ones have little to do with one another. A sample of the rows knows that block well enough to step with: see
`fastlogreg.curvature.pilot` for the rates. The diagonal of all columns is known from the standardised coordinates.
"""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian, diagonal_inverse
from fastlogreg.curvature.pilot import MIN_CARRIERS, MIN_ENTRIES, stratified_rows

# The sample is this part of the rows: its Hessians cost as little beside a pass over all of them as what they miss does
# beside what changes along a step.
SHARE = 1 / 12
# More columns take longer to factor than the passes they spare.
MAX_COLUMNS = 256
# With fewer rows the rare columns are many and all that matters.
MIN_ROWS_A_COLUMN = 8
# A column with a smaller part of its mean square in the sample is better left to the diagonal.
KNOWN = 0.1


class SampledBlock:
    """Inverses of an objective's Hessian, made from a sample of the rows of sparse X. Made by `of`."""

    @classmethod
    def of(cls, objective):
        """The block, or None where it does not pay: dense or small data, fewer than 8 rows a column, several outputs.

        None also where the sample's rows weigh nothing, or where all columns are rare in it.
        """
        design = objective.design
        enough = design.n_entries >= MIN_ENTRIES and design.n_samples >= MIN_ROWS_A_COLUMN * design.n_features
        if not (design.is_sparse and enough and objective.n_outputs == 1):
            return None
        rows = stratified_rows(design.n_samples, int(SHARE * design.n_samples))
        if objective.sample_weight is not None and not objective.sample_weight[rows].any():
            return None
        columns, sample = design.take(rows).fullest_columns(MAX_COLUMNS, MIN_CARRIERS)
        return cls(objective, rows, columns, sample) if len(columns) else None

    def __init__(self, objective, rows, columns, design):
        self._objective, self._rows, self._design = objective, rows, design
        self.columns = columns
        weight = None if objective.sample_weight is None else objective.sample_weight[rows]
        self._total_weight = float(len(rows) if weight is None else weight.sum())
        d, fit_intercept = objective.design.n_features, objective.fit_intercept
        self._places = np.concatenate([columns, np.arange(d, d + fit_intercept)])
        self._coordinates = objective.coordinates.of_columns(columns)
        self._mean_squares = np.where(objective.ridge < 1.0, 1.0 - objective.ridge, 0.0)
        self._stretch, self._known = self._mending(weight)

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

        Columns too rare for the sample add up, in directions where the others cancel, to no more than the part of the
        rows that it takes to be known; the diagonal gets that much.
        """
        places, ridge = self._places, self._objective.ridge
        squares = hessian.mean_curvature() * self._mean_squares
        gram = self._design.gram(hessian.curvature[0][self._rows], self._coordinates.center)
        matrix = self._coordinates.gram(gram, 1.0 / self._total_weight) * np.outer(self._stretch, self._stretch)
        unseen = np.where(self._known, MIN_CARRIERS / len(self._rows), 1.0)
        matrix[np.diag_indices_from(matrix)] += ridge[places] + unseen * squares[places]
        return diagonal_inverse(squares + ridge, FactoredHessian(matrix), places)
