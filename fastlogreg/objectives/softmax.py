"""The mean objective of softmax regression for K classes, in parameters that determine it.

For class coefficients w_k (d,) and intercepts b_k, samples x_i with weights s_i and target probabilities p_ik::

    f = sum_i s_i [log sum_k exp(u_ik) - sum_k p_ik u_ik] / sum_i s_i + l2 / 2 sum_k |w_k|^2,   u_ik = x_i . w_k + b_k

Adding one vector to all w_k changes no probability, so the minimiser's sum to zero (the penalty asks for it, and
without one it is the choice of scikit-learn), and so do the intercepts. The solvers' parameters are the K - 1 contrasts
v of such rows, ``w = Q v`` with orthonormal columns Q that sum to zero: then ``|w| = |v|``, and no direction is flat
for want of identification: see `fastlogreg.objectives.contrasts`.
"""

import numpy as np

from fastlogreg.curvature.class_blocks import ClassBlocks
from fastlogreg.data.softmax_passes import SoftmaxPasses
from fastlogreg.objectives.binary import Objective
from fastlogreg.objectives.contrasts import contrasts, of_contrasts, of_pair_grams
from fastlogreg.objectives.coordinates import half_square, half_square_on_line
from fastlogreg.objectives.evaluation import Point

# Sparse X is filled in for its Gram matrices, where that has so many entries at most.
MOST_FILLED = 1_000_000


class SoftmaxObjective(Objective):
    """The mean objective of K classes.

    Parameters
    ----------
    design : Design
    target : ndarray of shape (n,), intp, or (n, K), float64
        Classes in [0, K), or probabilities whose rows sum to one.
    n_classes : int
    sample_weight, l2, fit_intercept, standardize, coordinates
        As for `Objective`.
    """

    # diag(p) - p p' <= 1/2 (Boehning 1992)
    MAX_CURVATURE = 0.5
    LINES_ARE_FREE = False
    OUTPUTS_ARE_APART = False

    def __init__(self, design, target, n_classes, **options):
        self.n_classes = n_classes
        super().__init__(design, target, **options)
        self._class_blocks = None

    def _set_target(self, target):
        self.target, self.n_outputs = target, self.n_classes - 1
        if target.ndim == 1:
            sums = np.bincount(target, weights=self.sample_weight, minlength=self.n_classes)
        else:
            sums = target.sum(axis=0) if self.sample_weight is None else self.sample_weight @ target
        self.mean_target = sums / self.total_weight

    def _prepare_evaluation(self):
        self._passes = SoftmaxPasses(self.design, self.n_classes, self.target, self.sample_weight)

    def _start_curvature(self):
        p = self._start_prob if self.fit_intercept else np.full(self.n_classes, 1.0 / self.n_classes)
        return float(np.mean(p * (1 - p)))

    def start(self):
        """Zero coefficients, and the intercepts that make the mean prediction the mean target."""
        intercept = np.log(self._start_prob) if self.fit_intercept else np.zeros(self.n_classes)
        return self.from_coef(np.zeros((self.n_classes, self.design.n_features)), intercept)

    def value_without_coefficients(self):
        """The value at `start`, which takes no pass."""
        if not self.fit_intercept:
            return float(np.log(self.n_classes))
        p = self._start_prob
        return float(np.log(p.sum()) - self.mean_target @ np.log(p))

    def from_coef(self, coef, intercept):
        """Parameters of the coefficients (K, d) and intercepts (K,), less what all classes share."""
        return self.coordinates.from_coef(contrasts(coef), contrasts(intercept))

    def to_coef(self, parameters):
        """Coefficients (K, d) and intercepts (K,) of the parameters, each summing to zero over the classes."""
        rows = parameters.reshape(self.n_outputs, -1)
        return self.coordinates.to_coef(of_contrasts(rows).ravel())

    def _gradient(self, coef_gradient, intercept_gradient, parameters):
        return super()._gradient(contrasts(coef_gradient), contrasts(intercept_gradient), parameters)

    def evaluate(self, parameters, recycle=None, keep_logits=False):
        """The `Point` at the parameters, which keeps no logits. One pass."""
        loss, *gradient = self._passes.loss_gradient(*self.to_coef(parameters))
        value = loss / self.total_weight + half_square(self.ridge, parameters)
        return Point(parameters, value, self._gradient(*gradient, parameters), None)

    def on_line(self, start, end, t):
        """Value, slope and curvature in t at ``start + t (end - start)``. One pass."""
        direction = end.parameters - start.parameters
        at = start.parameters + t * direction
        sums = self._passes.line(*self.to_coef(at), *self.to_coef(direction))
        penalty = half_square_on_line(self.ridge, start.parameters, end.parameters, t)
        return sums / self.total_weight + penalty

    def largest_logit_change(self, start, end):
        """The largest change between two points of the difference of any two logits of a sample. One pass."""
        return self._passes.largest_range(*self.to_coef(end.parameters - start.parameters))

    @property
    def has_matrix(self):
        """Whether the Hessian's matrix costs little more than readings of X."""
        return not self.design.is_sparse or self.design.n_samples * self.design.n_features <= MOST_FILLED

    def over(self, design):
        """The same objective over another matrix X of the same samples."""
        return SoftmaxObjective(
            design,
            self.target,
            self.n_classes,
            sample_weight=self.sample_weight,
            l2=self.l2,
            fit_intercept=self.fit_intercept,
        )

    def fullest_columns(self, count):
        """None: `preconditioner` takes their part."""

    def preconditioner(self, point):
        """The function that applies an approximate inverse of the Hessian at a point: see `ClassBlocks`."""
        if self._class_blocks is None:
            self._class_blocks = ClassBlocks(self)
        return self._class_blocks.at(point)

    def hessian(self, point):
        """The `SoftmaxHessian` at a point; no pass over X yet."""
        return SoftmaxHessian(self, self._passes, point)

    def _has_labels(self):
        return self.target.ndim == 1


class SoftmaxHessian:
    """The Hessian of a `SoftmaxObjective` at a point, penalty included, in the objective's parameters."""

    def __init__(self, objective, passes, point):
        self.objective = objective
        self._passes = passes
        self._coef, self._intercept = objective.to_coef(point.parameters)

    def dot(self, direction):
        """``H direction``. One pass."""
        product = self._passes.hessian_dot(self._coef, self._intercept, *self.objective.to_coef(direction))
        return self.objective._gradient(*product, direction)

    def intercept_block(self):
        """The rows and columns of the intercepts (K - 1, K - 1). One pass."""
        block = contrasts(contrasts(self._passes.intercept_hessian(self._coef, self._intercept)).T)
        block *= self.objective.inverse_intercept_scale**2 / self.objective.total_weight
        return block

    def matrix(self):
        """The matrix (n_parameters, n_parameters), of dense X. One pass."""
        objective = self.objective
        grams = self._passes.pair_grams(self._coef, self._intercept, objective.center)
        scale = objective.coordinates.scale / np.sqrt(objective.total_weight)
        matrix = of_pair_grams(grams, scale, objective.n_classes)
        matrix.flat[:: len(matrix) + 1] += objective.ridge
        return matrix
