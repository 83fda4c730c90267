"""A dense copy of columns that are replaced by combinations of themselves."""

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from fastlogreg.data.dense import DenseDesign

# Rounding errors of a combination, in units of the last place of the largest of its terms.
ROUNDING = 4 * 2.0**-52


class CombinedColumns:
    """The columns of X, centered and scaled, with a column of ones behind them where there is an intercept; later any
    combinations of these.

    Unlike the columns that they are made of, combinations can be small where these nearly cancel, so that sums over
    them have correct digits. What is rounding alone is zero.

    Parameters
    ----------
    passes : fastlogreg.data.local_passes.LocalPasses
    columns : ndarray of shape (m,)
        Those to take.
    center, inverse_scale : ndarray of shape (m,)
    ones : float
        The value of the last column; zero for no such column.
    """

    def __init__(self, passes, columns, center, inverse_scale, ones):
        X = passes.design.X[:, columns]
        self._values = np.empty((X.shape[0], len(columns) + (ones != 0)))
        scaled = self._values[:, : len(columns)]
        scaled[:] = X.toarray() if sp.issparse(X) else X
        scaled -= center
        scaled *= inverse_scale
        self._values[:, len(columns) :] = ones
        if passes.samples.weight is not None:
            self._values[passes.samples.weight == 0] = 0.0  # they would hide what is rounding in the others
        self._passes = passes.over(DenseDesign(self._values, passes.design.n_threads))
        self._noise = np.zeros(self._values.shape[1])

    def gram(self, handle):
        """The Gram matrix of the columns, weighted by the losses' curvatures at a handle. One pass over the copy."""
        p = self._values.shape[1]
        gram = self._passes.hessian(handle).pair_grams(np.zeros(p))[0, :p, :p]
        return np.triu(gram) + np.triu(gram, 1).T

    def combine(self, factor):
        """Replace the columns by their product with the inverse of an upper triangular factor (p, p)."""
        inverse = np.abs(scipy.linalg.solve_triangular(factor, np.eye(len(factor))))
        scipy.linalg.blas.dtrsm(1.0, factor, self._values.T, trans_a=1, overwrite_b=1)
        largest = self._largest()
        self._noise = (ROUNDING * (largest @ np.abs(factor)) + self._noise) @ inverse
        self._values[:, largest <= self._noise] = 0.0

    def take_from(self, handle, rows):
        """Passes over a copy of these rows (m,), whose logits begin with those at a handle."""
        return self._passes.take_from(handle, rows)

    def noise_share(self):
        """What part of each column (p,) may be rounding."""
        largest = self._largest()
        return np.divide(self._noise, largest, out=np.ones_like(largest), where=largest > 0)

    def vanished(self):
        """Which columns are zero (p,)."""
        return self._largest() == 0

    def _largest(self):
        return np.maximum(self._values.max(axis=0), -self._values.min(axis=0))
