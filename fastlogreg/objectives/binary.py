"""The mean objective of logistic regression: cross-entropy, weights, penalty and intercept.

For K outputs with coefficients w_k (d,) and intercepts b_k, samples x_i with weights s_i and targets p_ki in [0, 1]::

    f = sum_k [ sum_i s_i L(x_i . w_k + b_k, p_ki) / sum_i s_i + l2 / 2 |w_k|^2 ],   L(u, p) = log(1 + e^u) - p u

in nats per sample. With ``l2 = 1 / (C sum_i s_i)`` its minimiser is scikit-learn's. K = 1 is the binary case.

Solvers see one flat vector of parameters z and nothing of X. By default z are standardised coordinates, in which the
units and the origins of the columns do not matter (an exact change of variables, no approximation)::

    w_j = z_j / D_j,  b = z_b / D_b - sum_j m_j w_j,  D_j^2 = h var_j + l2,  D_b^2 = h

with m_j, var_j the weighted mean and variance of column j (m = 0 and the mean square without an intercept) and h the
curvature of the loss at w = 0, so that the Hessian at the start has a diagonal of ones. A column that does not vary
gets the coefficient 0 that the penalty (or the minimum norm) would give it. In z the penalty is ``ridge / 2 . z^2``.

An objective of many samples may have a `pilot`, the objective of a few of them, and then its coordinates.
"""

import numpy as np

from fastlogreg.data import pointwise
from fastlogreg.data.dual import Dual
from fastlogreg.objectives.coordinates import Coordinates, half_square_on_line
from fastlogreg.objectives.evaluation import Evaluation

# The part of the rows' mean square in the square of their mean. Coordinates of the dual work against one another along
# that: half of it tripled the sweeps, a twentieth showed nothing.
IN_COMMON = 0.1
# Where the penalty leaves so few parameters free for each sample, a handful of gradients lead to the end.
FREE_PARAMETERS = 0.1


class Objective:
    """The mean objective in the coordinates that solvers use.

    Parameters
    ----------
    design : Design
        The matrix X (n, d).
    target : ndarray of shape (n,) or (K, n), float64 or uint8
        Probabilities in [0, 1], or labels 0 and 1 in a byte each.
    sample_weight : ndarray of shape (n,), float64, or None
        Not negative, not all zero.
    l2 : float, default=0.0
        Penalty of the mean objective.
    fit_intercept : bool, default=True
    standardize : bool, default=True
        Whether the parameters are the standardised coordinates, or the coefficients and the intercept themselves.
    coordinates : Coordinates, default=None
        Those of another objective, to share its parameters.

    Attributes
    ----------
    pilot : fastlogreg.curvature.pilot.Pilot or None
    """

    # sigma' <= 1/4
    MAX_CURVATURE = 0.25
    # Whether `on_line` takes no pass, by stored logits.
    LINES_ARE_FREE = True
    # Whether no entry of the Hessian belongs to two outputs.
    OUTPUTS_ARE_APART = True

    def __init__(
        self,
        design,
        target,
        *,
        sample_weight=None,
        l2=0.0,
        fit_intercept=True,
        standardize=True,
        coordinates=None,
    ):
        self.design = design
        self.sample_weight = sample_weight
        self.total_weight = float(design.n_samples if sample_weight is None else np.sum(sample_weight))
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self._set_target(target)
        self.n_parameters = self.n_outputs * (design.n_features + fit_intercept)
        # away from 0 and 1, where the intercept would be infinite and the curvature zero
        self._start_prob = np.minimum(np.maximum(self.mean_target, 1e-9), 1.0 - 1e-9)
        self.pilot = None
        self._parts = []
        self._counted = 0.0
        if coordinates is None:
            coordinates = self._standardized() if standardize else self._plain()
        self._set_coordinates(coordinates)

    def _set_target(self, target):
        self.target = np.atleast_2d(target)
        self.n_outputs = self.target.shape[0]
        if self.sample_weight is not None:
            sums = self.target @ self.sample_weight
        elif self.target.dtype == np.uint8:
            sums = np.array([np.count_nonzero(labels) for labels in self.target])
        else:
            sums = np.add.reduce(self.target, axis=1)
        self.mean_target = sums / self.total_weight

    def _plain(self):
        d = self.design.n_features
        return Coordinates(np.zeros(d), np.ones(d), 1.0, self.fit_intercept)

    def _standardized(self):
        mean, variance = self.design.moments(self.sample_weight)
        return Coordinates.standardized(mean, variance, self._start_curvature(), self.l2, self.fit_intercept)

    def _set_coordinates(self, coordinates):
        self.coordinates = coordinates
        self.center, self.inverse_scale = coordinates.center, coordinates.inverse_scale
        self.inverse_intercept_scale = coordinates.inverse_intercept_scale
        self.ridge = coordinates.ridge(self.l2, self.n_outputs)
        self._prepare_evaluation()

    def _prepare_evaluation(self):
        self._evaluation = Evaluation(
            self.design, self.coordinates, self.target, self.sample_weight, self.total_weight, self.ridge
        )

    def _start_curvature(self):
        p = self._start_prob
        return float(p @ (1.0 - p)) / self.n_outputs if self.fit_intercept else 0.25

    @property
    def finite(self):
        """Whether the coordinates are finite: if not, X holds NaN, infinity or squares beyond float64."""
        return self.coordinates.finite

    @property
    def n_passes(self):
        """Readings of X so far, of the fullest of its columns, or of as many numbers."""
        return self.design.n_passes + sum(part.n_passes for part in self._parts) + self._counted

    def count(self, passes):
        """Count the readings of other numbers, as a part of those of X."""
        self._counted += passes

    def start(self):
        """Zero coefficients, and the intercept that makes the mean prediction the mean target."""
        intercept = np.zeros(self.n_outputs)
        if self.fit_intercept:
            p = self._start_prob
            intercept = np.log(p / (1 - p))
        return self.from_coef(np.zeros((self.n_outputs, self.design.n_features)), intercept)

    def value_without_coefficients(self):
        """The value at `start`, which takes no pass."""
        p, share = self._start_prob, self.mean_target
        return float(-np.sum(share * np.log(p) + (1 - share) * np.log1p(-p))) if self.fit_intercept else np.log(2.0)

    def restandardize(self, parameters):
        """Take coordinates from all rows, and return the parameters in these. One pass."""
        coef, intercept = self.to_coef(parameters)
        self._set_coordinates(self._standardized())
        with np.errstate(invalid="ignore"):
            return self.from_coef(coef, intercept)

    def from_coef(self, coef, intercept):
        """Parameters of the coefficients (K, d) and intercepts (K,)."""
        return self.coordinates.from_coef(coef, intercept)

    def to_coef(self, parameters):
        """Coefficients (K, d) and intercepts (K,) of the parameters: ``from_coef`` undone, and linear."""
        return self.coordinates.to_coef(parameters)

    def cancelled(self, parameters):
        """The size of the terms in the logits that the intercept takes away again because columns are centered."""
        coef, _ = self.to_coef(parameters)
        return float(np.linalg.norm(coef * self.center))

    def _gradient(self, coef_gradient, intercept_gradient, parameters):
        """A gradient in (coef, intercept), summed over samples, as one of the mean in the parameters, plus the
        penalty's at `parameters`.
        """
        return self.coordinates.gradient(
            coef_gradient, intercept_gradient, 1.0 / self.total_weight, self.ridge, parameters
        )

    def evaluate(self, parameters, recycle=None, keep_logits=True):
        """The `Point` at the parameters. One pass.

        `recycle` is a Point no longer needed, whose memory for logits is used again. Without `keep_logits` there are
        none until they are asked for, which takes one more pass.
        """
        return self._evaluation.at(parameters, recycle, keep_logits)

    def on_line(self, start, end, t):
        """Value, slope and curvature in t at ``start + t (end - start)``, from the stored logits: no pass over X."""
        value, slope, curvature = half_square_on_line(self.ridge, start.parameters, end.parameters, t)
        for k in range(self.n_outputs):
            of_loss = pointwise.cross_entropy_on_line(
                start.logits[k], end.logits[k], t, self.target[k], self.sample_weight, self.design.n_threads
            )
            value += of_loss[0] / self.total_weight
            slope += of_loss[1] / self.total_weight
            curvature += of_loss[2] / self.total_weight
        return value, slope, curvature

    def largest_logit_change(self, start, end):
        """The largest change of any logit between two points; no pass over X."""
        return pointwise.largest_difference(start.logits, end.logits)

    @property
    def has_matrix(self):
        """Whether the Hessian's matrix costs little more than readings of X."""
        return self.n_outputs == 1

    def over(self, design):
        """The same objective over another matrix X of the same samples."""
        return type(self)(
            design,
            self.target,
            sample_weight=self.sample_weight,
            l2=self.l2,
            fit_intercept=self.fit_intercept,
        )

    def preconditioner(self, point):
        """The function that applies an approximate inverse of the Hessian at a point, or None where coordinates are all
        that is known.
        """

    def hessian(self, point):
        """The `Hessian` at a point; from the stored logits, no pass over X yet."""
        return Hessian(self, point)

    def dual(self):
        """The `Dual` problem in units of ``1 / l2``, or None: of dense X, of several outputs, without a penalty or with
        a strong one, or where no intercept takes out what the rows have in common, and that is much. One pass without
        an intercept.
        """
        if not (self.design.is_sparse and self.n_outputs == 1 and self.l2 > 0):
            return None
        if np.sum(1.0 - self.ridge[self.ridge > 0]) < FREE_PARAMETERS * self.design.n_samples:
            return None
        cost = 1.0 / (self.l2 * self.total_weight)
        if not self.fit_intercept:
            mean, variance = self.design.moments(self.sample_weight)
            if mean @ mean > IN_COMMON * (variance.sum() + mean @ mean):
                return None
            return Dual(self.design, self.target[0], self.sample_weight, cost)
        varies = self.inverse_scale > 0
        variances = (self.inverse_scale[varies] ** -2 - self.l2) * self.inverse_intercept_scale**2
        start = float(np.log(self._start_prob / (1.0 - self._start_prob))[0])
        return Dual(self.design, self.target[0], self.sample_weight, cost, self.center, variances.sum(), start)

    def fullest_columns(self, count):
        """The objective of the columns with the most entries alone, in these coordinates, and the places of its
        parameters among all; None where X is dense.
        """
        fullest = self.design.fullest_columns(count) if self.n_outputs == 1 else None
        if fullest is None:
            return None
        columns, design = fullest
        objective = Objective(
            design,
            self.target,
            sample_weight=self.sample_weight,
            l2=self.l2,
            fit_intercept=self.fit_intercept,
            coordinates=self.coordinates.of_columns(columns),
        )
        self._parts.append(objective)
        d = self.design.n_features
        return objective, np.concatenate([columns, np.arange(d, d + self.fit_intercept)])

    def curvature_bound(self):
        """A number that no eigenvalue of any Hessian exceeds, from the largest curvature of a sample's loss.

        The largest eigenvalue of the Hessian with that curvature where its matrix is cheap (one pass), else its trace.
        """
        d = self.design.n_features
        weight = np.ones(self.design.n_samples) if self.sample_weight is None else self.sample_weight
        weight = self.MAX_CURVATURE * weight
        if d <= 500:
            bound = np.linalg.eigvalsh(self.gram(weight))[-1]
        else:
            mean, variance = self.design.moments(weight)
            squares = variance + (mean - self.center) ** 2
            of_intercept = self.fit_intercept * self.inverse_intercept_scale**2
            bound = self.MAX_CURVATURE * (squares @ self.inverse_scale**2 + of_intercept)
        return float(bound) + float(self.ridge.max(initial=0.0))

    def gram(self, weight, ridge=None):
        """Mean of ``weight_i z_i z_i'`` over samples in the coordinates of one output, and `ridge`. One pass."""
        return self.coordinates.gram(self.design.gram(weight, self.center), 1.0 / self.total_weight, ridge)

    def proves_separable(self, point):
        """Whether a value this low shows that a hyperplane separates the classes, and no penalty bounds it.

        A mean loss below the least weight's share of log 2 leaves no sample a loss of log 2, so none is misclassified
        and longer coefficients are better without end.
        """
        if self.l2 > 0 or not self._has_labels():
            return False
        weight = self.sample_weight
        least = 1.0 if weight is None else weight[weight > 0].min()
        return point.value * self.total_weight < least * np.log(2)

    def _has_labels(self):
        return self.target.dtype == np.uint8 or not np.any((self.target > 0) & (self.target < 1))


class Hessian:
    """The Hessian of an objective at a point, penalty included, in the objective's parameters."""

    def __init__(self, objective, point):
        self.objective = objective
        self.curvature = np.empty_like(point.logits)
        for k in range(objective.n_outputs):
            pointwise.cross_entropy(
                point.logits[k],
                objective.target[k],
                objective.sample_weight,
                curvature_out=self.curvature[k],
                n_threads=objective.design.n_threads,
            )

    def dot(self, direction):
        """``H direction``. One pass."""
        coef, intercept = self.objective.to_coef(direction)
        product = self.objective.design.hessian_dot(self.curvature, coef, intercept)
        return self.objective._gradient(*product, direction)

    def mean_curvature(self):
        """The mean curvature of a sample in that at the start, where the diagonal is one without the penalty."""
        total = self.objective.total_weight * self.objective.n_outputs
        return float(self.curvature.sum()) * self.objective.inverse_intercept_scale**2 / total

    def mean_diagonal(self):
        """The diagonal, if every sample had the mean curvature."""
        ridge = self.objective.ridge
        return self.mean_curvature() * np.maximum(1.0 - ridge, 0.0) + ridge

    def matrix(self):
        """The matrix of a single output (n_parameters, n_parameters). One pass."""
        if self.objective.n_outputs != 1:
            raise ValueError("the Hessian's matrix is for one output")
        return self.objective.gram(self.curvature[0], self.objective.ridge)
