"""The objective of two classes: see `fastlogreg.objectives.objective`.

The parameters are one row of coefficients, of the second class, and its intercept; ``L(u, p) = log(1 + e^u) - p u``.
"""

import numpy as np

from fastlogreg.objectives.objective import Hessian, Objective

# Samples of which a copy costs less than a pass.
FEW_SAMPLES = 0.1


class BinaryObjective(Objective):
    """The mean objective of two classes."""

    # sigma' <= 1/4
    MAX_CURVATURE = 0.25
    # The Hessian's matrix costs little more than readings of X.
    has_matrix = True

    def _start_curvature(self):
        p = self._start_prob
        return float(p @ (1.0 - p)) if self.fit_intercept else 0.25

    def start_intercept(self):
        """The intercept of `start`."""
        p = self._start_prob
        return np.log(p / (1 - p)) if self.fit_intercept else np.zeros(1)

    def _start_loss(self):
        p, share = self._start_prob, self.mean_target
        return float(-np.sum(share * np.log(p) + (1 - share) * np.log1p(-p))) if self.fit_intercept else np.log(2.0)

    def hessian(self, point):
        """The `BinaryHessian` at a point; no pass over X yet."""
        return BinaryHessian(self, point)

    def beyond(self, start, end):
        """What the changes of logits by more than one, between two points, add beyond that to the product of the loss's
        Hessian at the start with the step. None where these are many, or not at hand.
        """
        local, most = self.passes.local, int(FEW_SAMPLES * self.n_samples) + 1
        sums = None if local is None else local.beyond(start.handle, end.handle, most)
        return None if sums is None else self.gradient_in_parameters(*sums)

    def fullest_columns(self, count):
        """The objective of the columns with the most entries alone, in these coordinates, and the places of its
        parameters among all; None where X is dense, or not at hand.
        """
        local = self.passes.local
        fullest = None if local is None else local.design.fullest_columns(count)
        if fullest is None:
            return None
        columns, design = fullest
        objective = BinaryObjective(
            local.over(design),
            self.penalty_of_coef.of_columns(columns),
            fit_intercept=self.fit_intercept,
            coordinates=self.coordinates.of_columns(columns),
        )
        self._parts.append(objective)
        d = self.n_features
        return objective, np.concatenate([columns, np.arange(d, d + self.fit_intercept)])


class BinaryHessian(Hessian):
    """The Hessian of a `BinaryObjective` at a point."""

    def mean_curvature(self):
        """The mean curvature of a sample in that at the start, where the diagonal is one without the penalty."""
        return self.of_loss.mean_curvature() * self.objective.inverse_intercept_scale**2

    def mean_diagonal(self):
        """The diagonal, if every sample had the mean curvature."""
        return self.mean_curvature() * self.objective.mean_squares + self.objective.penalty.curvature

    def matrix(self):
        """The matrix (p, p). One pass."""
        objective = self.objective
        gram = self.of_loss.pair_grams(objective.center)[0]
        return objective.coordinates.gram(gram, 1.0 / objective.total_weight, objective.penalty.curvature)
