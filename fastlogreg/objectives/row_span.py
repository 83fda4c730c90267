"""Few samples of many features: the same objective over the span of the rows, n samples of at most n features.

The minimiser is a combination of the rows, ``w = Z' alpha``. With the Cholesky factor of their Gram matrix,
``Z Z' = L L'``, there are orthonormal rows Q with ``Z = L Q``; at ``w = Q' theta`` the logits are ``L theta`` and
``|w| = |theta|``, so the objective of w over Z is that of theta over L (the representer theorem; Kimeldorf and Wahba
1971). Rounding loses what directions with less than 1e-8 of the largest singular value do, so the result is to be
proven or mended in the whole objective: with a penalty the gradient there mostly proves it.
"""

import numpy as np
import scipy.linalg

from fastlogreg.data.layouts import as_design


class RowSpan:
    """An objective over the span of its rows, which are at hand, with a penalty that is uniform or none.

    Without a penalty the span is that of the standardised rows, which holds the minimiser of least norm among them.

    Attributes
    ----------
    objective : Objective
        Of L (n, rank) and theta.
    """

    def __init__(self, objective):
        self._whole = objective
        varies = objective.inverse_scale > 0
        self._scale = objective.inverse_scale if objective.penalty.is_zero else np.where(varies, 1.0, 0.0)
        self._design = objective.passes.local.design
        gram = self._design.sample_gram(objective.center, self._scale)
        # centered rows depend on one another
        self._order, self._corner, rows = _factored(gram, len(gram) - objective.fit_intercept)
        self.objective = objective.over(as_design(rows, self._design.n_threads))

    def project(self, parameters):
        """Parameters over the span that give the rows the same logits as those given. One pass, none for zeros."""
        coef, intercept = self._whole.to_coef(parameters)
        if not coef.any():
            return self.objective.from_coef(np.zeros((len(coef), len(self._corner))), intercept)
        of_center = coef @ self._whole.center
        logits = self._design.logits(coef, -of_center)
        theta = scipy.linalg.solve_triangular(self._corner, logits[:, self._order].T, lower=True).T
        return self.objective.from_coef(theta, intercept + of_center)

    def lift(self, parameters):
        """The whole objective's parameters for those over the span. One pass."""
        theta, intercept = self.objective.to_coef(parameters)
        design, n_features = self._design, self._whole.n_features
        alpha = np.zeros((len(theta), self._whole.n_samples))
        alpha[:, self._order] = scipy.linalg.solve_triangular(self._corner, theta.T, lower=True, trans=1).T
        sums, total = design.hessian_dot(alpha, np.zeros((len(theta), n_features)), np.ones(len(theta)))
        coef = self._scale**2 * (sums - np.outer(total, self._whole.center))
        return self._whole.from_coef(coef, intercept - coef @ self._whole.center)


def _factored(gram, max_rank):
    """The numbers (rank,) of the rows that span the others, their triangle of L (rank, rank), and L (n, rank)."""
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(gram, lower=1)
    rank = min(rank, max_rank)
    if rank == 0:  # rows without variation span nothing: a column of zeros, whose coefficient is zero, stands for it
        return order[:1] - 1, np.eye(1), np.zeros((len(gram), 1))
    rows = np.empty((len(gram), rank))
    rows[order - 1] = np.tril(factor)[:, :rank]
    return order[:rank] - 1, np.tril(factor[:rank, :rank]), rows
