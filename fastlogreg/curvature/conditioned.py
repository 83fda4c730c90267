"""Newton directions where columns depend on one another: the Hessian in combinations of the columns that do not.

A matrix of float64 does not tell a curvature below 1e-16 of the largest, and tables of copies, near copies, sums and
sentinels have such curvatures, down to the penalty's own. Combinations of the columns, in which the Hessian is nearly
the identity, are found by its Cholesky factor, with a small shift of the diagonal that makes one exist: ``H + shift =
U' U``, and the columns ``X U^-1`` have singular values that lie closer together by the square root of the shift. That
is repeated where it is not enough (shifted CholeskyQR; Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa 2020), and
once more where the curvatures of the samples have changed so much that the combinations depend on one another again.
The sums over small columns have the correct digits that those over their large terms lack.
"""

import math

import numpy as np
import scipy.linalg

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.data.combined_columns import CombinedColumns
from fastlogreg.objectives.binary import BinaryObjective
from fastlogreg.penalties import Quadratic

# The shift, as a part of each diagonal entry: a Cholesky factor exists in spite of rounding.
SHIFT = 1e-11
# What others leave of a column is rounding, perhaps, if it is no more than this many times the root of the shift.
WEAK = 2.0
# Where no penalty bounds a combination, and its samples have no more than this curvature left, in units of that of the
# columns at the start, its gradient is all rounding, and it stays as it is.
LOST = 1e-30
# Combinations for one point: each divides the condition number by up to the square root of the shift.
MAX_COMBINATIONS = 4


class ConditionedColumns:
    """Combinations of the columns of an objective with rows at hand, and what its Hessian is in them.

    With U the product of all factors so far, parameters z and gradients g of the objective become ``U z`` and
    ``U'^-1 g``.

    Parameters
    ----------
    objective : BinaryObjective
    hessian : FactoredHessian
        Of the objective at some point, which shows that its columns depend on one another.
    """

    def __init__(self, objective, hessian):
        coordinates, d = objective.coordinates, objective.n_features
        varies = np.flatnonzero(objective.inverse_scale > 0)
        self._objective = objective
        self._places = np.concatenate([varies, np.arange(d, objective.n_parameters)])
        self._columns = CombinedColumns(
            objective.passes.local,
            varies,
            coordinates.center[varies],
            coordinates.inverse_scale[varies],
            coordinates.inverse_intercept_scale if objective.fit_intercept else 0.0,
        )
        # the penalty's rows, below those of X
        self._penalty = np.diag(np.sqrt(objective.penalty.curvature[self._places]))
        self._size, self._is_rough = np.ones(len(self._places)), False
        self._factors, self._flat = [], np.zeros((0, len(self._places)))
        self._combine(hessian.matrix()[np.ix_(self._places, self._places)])

    def hessian(self, point):
        """The `ConditionedHessian` at a point. One pass, or one more for each new combination."""
        for _ in range(MAX_COMBINATIONS):
            matrix = self._matrix(point)
            factored = FactoredHessian(matrix, point)
            if not (factored.is_singular or self._is_rough):
                break
            self._combine(matrix)
        return ConditionedHessian(self, factored, matrix)

    def losses_from(self, point, rows):
        """The mean loss of some samples, an objective of a direction in the combined parameters from a point."""
        passes = self._columns.take_from(point.handle, rows)
        return BinaryObjective(passes, Quadratic(0.0), fit_intercept=False, standardize=False)

    def combined_gradient(self, gradient):
        """``U'^-1 g``."""
        combined = np.asarray(gradient)[self._places]
        for factor in self._factors:
            combined = scipy.linalg.solve_triangular(factor, combined, trans=1)
        return combined

    def direction(self, combined):
        """The direction (p,) in the objective's parameters of one in the combined ones: of all that change the logits
        alike without a penalty, the shortest.
        """
        direction = np.zeros(self._objective.n_parameters)
        shortest = self._undone(combined)
        shortest -= self._flat.T @ (self._flat @ shortest)
        direction[self._places] = shortest
        return direction

    def of_combined_gradient(self, combined):
        """``U' g``: `combined_gradient` undone, zero for parameters that do not take part."""
        gradient = np.zeros(self._objective.n_parameters)
        for factor in reversed(self._factors):
            combined = factor.T @ combined
        gradient[self._places] = combined
        return gradient

    def _matrix(self, point):
        self._objective.count(1)
        matrix = self._columns.gram(point.handle) / self._objective.total_weight + self._penalty.T @ self._penalty
        if self._objective.penalty.is_zero:
            lost = np.diagonal(matrix) * self._size**2 < LOST
            matrix[lost], matrix[:, lost] = 0.0, 0.0
        return matrix

    def _combine(self, matrix):
        scale = np.sqrt(np.diagonal(matrix))
        empty = np.flatnonzero(scale == 0)
        scale[empty] = 1.0
        scaled = matrix / scale / scale[:, np.newaxis]
        scaled[empty, empty] = 1.0
        factor = _shifted_factor(scaled, self._columns.noise_share()) * scale
        self._columns.combine(factor)
        self._penalty = scipy.linalg.solve_triangular(factor, self._penalty.T, trans=1).T
        # The shift leaves a part of each column in those that depend on it, which the next factor finds. Where a
        # penalty bounds them, that does no harm.
        self._is_rough = not (self._is_rough or self._objective.penalty.is_strict)
        self._factors = [*self._factors, factor]
        self._size *= np.diagonal(factor)
        self._flat = self._find_flat()

    def _find_flat(self):
        """The directions (m, p) that change no logit and no penalty, with orthonormal rows."""
        flat = np.flatnonzero(self._columns.vanished() & ~self._penalty.any(axis=0))
        directions = self._undone(np.eye(len(self._places))[:, flat])
        return scipy.linalg.qr(directions, mode="economic")[0].T if len(flat) else directions.T

    def _undone(self, combined):
        for factor in reversed(self._factors):
            combined = scipy.linalg.solve_triangular(factor, combined)
        return combined


class ConditionedHessian:
    """A Hessian that is factored in combinations of the columns: see `FactoredHessian` for what it answers.

    It serves until `columns` are combined anew, for the Hessian at another point.

    Attributes
    ----------
    columns : ConditionedColumns
    point : Point
    is_singular : bool
    """

    def __init__(self, columns, factored, matrix):
        self.columns, self.point, self.is_singular = columns, factored.point, factored.is_singular
        self._factored, self._matrix, self._curved = factored, matrix, np.diagonal(matrix) > 0

    def matrix(self):
        """The Hessian of the combined parameters."""
        return self._matrix

    def decrement(self, gradient):
        """``sqrt(gradient' H^-1 gradient)``."""
        return self._factored.decrement(self.columns.combined_gradient(gradient))

    def solve(self, gradient):
        """The direction ``-H^-1 gradient`` and the residual ``gradient + H direction``, each (p,)."""
        direction, residual = 0.0, gradient
        for _ in range(2):  # the second time to refine the solution
            step, _ = self._factored.solve(self.columns.combined_gradient(residual))
            direction = direction + np.where(self._curved, step, 0.0)
            residual = gradient + self.columns.of_combined_gradient(self._matrix @ direction)
        return self.columns.direction(direction), residual

    def hidden_gain(self, residual):
        """Zero: what rounding may hide is part of the residual."""
        return 0.0


def _shifted_factor(matrix, noise):
    """The upper Cholesky factor of a matrix with ones on its diagonal, which is shifted as far as that needs; where a
    column has little more than the shift or its `noise` (p,) left, it is taken from no other column.
    """
    diagonal, shift = np.diag_indices_from(matrix), SHIFT
    while True:
        shifted = matrix.copy()
        shifted[diagonal] += shift
        factor, info = scipy.linalg.lapack.dpotrf(shifted, lower=0)
        if info == 0:
            weak = np.diagonal(factor) <= np.maximum(WEAK * math.sqrt(shift), noise)
            factor[weak] = np.diag(np.diagonal(factor))[weak]
            return factor
        shift *= 100.0
