"""The objective of K >= 3 classes, in parameters that determine it: see `fastlogreg.objectives.objective`.

For class coefficients w_k (d,) and intercepts b_k, with logits ``u_ik = x_i . w_k + b_k + o_ik`` and target
probabilities p_ik, the loss of a sample is ``log sum_k exp(u_ik) - sum_k p_ik u_ik``, and the penalty is summed over
the classes.

Adding one vector to all w_k changes no probability, so the minimiser's sum to zero (the penalty asks for it, and
without one it is the choice of scikit-learn), and so do the intercepts. The solvers' parameters are the K - 1 contrasts
v of such rows, ``w = Q v`` with orthonormal columns Q that sum to zero: then ``|w| = |v|``, and no direction is flat
just because it changes no probability: see `fastlogreg.objectives.contrasts`.
"""

import numpy as np

from fastlogreg.objectives.contrasts import contrasts, of_contrasts, of_pair_grams
from fastlogreg.objectives.objective import Hessian, Objective

# Gram matrices of sparse X are made from X with its zeros, where that has at most a million entries.
MOST_FILLED = 1_000_000


class SoftmaxObjective(Objective):
    """The mean objective of K classes, whose points keep nothing of the size of n."""

    # diag(p) - p p' <= 1/2 (Boehning 1992)
    MAX_CURVATURE = 0.5

    def _start_curvature(self):
        p = self._start_prob if self.fit_intercept else np.full(self.n_classes, 1.0 / self.n_classes)
        return float(np.mean(p * (1 - p)))

    def start_intercept(self):
        """The intercepts of `start`."""
        return np.log(self._start_prob) if self.fit_intercept else np.zeros(self.n_classes)

    def _start_loss(self):
        if not self.fit_intercept:
            return float(np.log(self.n_classes))
        p = self._start_prob
        return float(np.log(p.sum()) - self.mean_target @ np.log(p))

    def from_coef(self, coef, intercept):
        """Parameters of the coefficients (K, d) and intercepts (K,), less what all classes share."""
        return super().from_coef(contrasts(coef), contrasts(intercept))

    def to_coef(self, parameters):
        """Coefficients (K, d) and intercepts (K,) of the parameters, each summing to zero over the classes."""
        rows = parameters.reshape(self.n_outputs, -1)
        return super().to_coef(of_contrasts(rows).ravel())

    def gradient_in_parameters(self, of_coef, of_intercept):
        return super().gradient_in_parameters(contrasts(of_coef), contrasts(of_intercept))

    @property
    def has_matrix(self):
        """Whether the Hessian's matrix costs little more than readings of X."""
        return not self.passes.is_sparse or self.n_samples * self.n_features <= MOST_FILLED

    def fullest_columns(self, count):
        """None: the Hessian's blocks of the classes (`fastlogreg.curvature.class_blocks`) are used instead."""

    def hessian(self, point):
        """The `SoftmaxHessian` at a point; no pass over X yet."""
        return SoftmaxHessian(self, point)


class SoftmaxHessian(Hessian):
    """The Hessian of a `SoftmaxObjective` at a point."""

    def intercept_block(self):
        """The Hessian's block of the intercepts (K - 1, K - 1). One pass."""
        block = contrasts(contrasts(self.of_loss.intercept_block()).T)
        block *= self.objective.inverse_intercept_scale**2 / self.objective.total_weight
        return block

    def matrix(self):
        """The matrix (p, p). One pass."""
        objective = self.objective
        grams = self.of_loss.pair_grams(objective.center)
        scale = objective.coordinates.scale / np.sqrt(objective.total_weight)
        matrix = of_pair_grams(grams, scale, objective.n_classes)
        matrix.flat[:: len(matrix) + 1] += objective.penalty.curvature
        return matrix
