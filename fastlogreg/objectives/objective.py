"""The mean objective of logistic regression: cross-entropy, weights, penalty and intercept.

For coefficients w and an intercept b, samples x_i with weights s_i, offsets o_i and targets p_i::

    f = sum_i s_i L(x_i . w + b + o_i, p_i) / sum_i s_i + penalty(w)

in nats per sample. With the penalty ``|w|^2 / (2 C sum_i s_i)`` its minimiser is scikit-learn's. L is the cross-entropy
of two classes (`fastlogreg.objectives.binary`) or of several (`fastlogreg.objectives.softmax`).

Solvers see one flat vector of parameters z, and of the data what `Objective` answers. By default z are standardised
coordinates, in which the units and the origins of the columns do not matter (an exact change of variables, no
approximation)::

    w_j = z_j / D_j,  b = z_b / D_b - sum_j m_j w_j,  D_j^2 = h var_j + c_j,  D_b^2 = h

with m_j, var_j the weighted mean and variance of column j (m = 0 and the mean square without an intercept), c_j the
penalty's curvature in w_j, and h the curvature of the loss at w = 0, so that the Hessian at the start has a diagonal of
ones. A column that does not vary gets the coefficient 0 that the penalty (or the minimum norm) would give it.

An objective knows neither how X lies nor where: it asks a `fastlogreg.data.passes.Passes`.
"""

import functools

import numpy as np

from fastlogreg.objectives import origin
from fastlogreg.objectives.coordinates import Coordinates
from fastlogreg.objectives.point import Point
from fastlogreg.objectives.recession import recession_direction

# Up to 500 columns, the largest eigenvalue of a matrix takes less time than the iterations that its trace, a looser
# bound on the curvature, would add.
MAX_EIGENVALUE_COLUMNS = 500


class Objective:
    """The mean objective in the coordinates that solvers use: what two classes and several share.

    Parameters
    ----------
    passes : fastlogreg.data.passes.Passes
        The samples.
    penalty : fastlogreg.penalties.Quadratic
        Of the coefficients.
    fit_intercept : bool, default=True
    standardize : bool, default=True
        Whether the parameters are the standardised coordinates, or the coefficients and the intercept themselves.
    coordinates : Coordinates, default=None
        Those of another objective, to share its parameters.

    Attributes
    ----------
    penalty : fastlogreg.penalties.quadratic.QuadraticInParameters
        Of the parameters.
    n_parameters, n_outputs : int
        Parameters, and the rows of d coefficients (and an intercept) that they consist of.
    lines_are_free : bool
        Whether `on_line` and `largest_logit_change` take no pass.
    pilot : fastlogreg.curvature.pilot.Pilot or None
        The objective of some of the rows, where one pays.
    origin : ndarray of shape (d,) or None
        What the columns of X are less here, in their units: see `fastlogreg.objectives.origin`.
    unit : ndarray of shape (d,) or None
        What the columns of X are multiplied by.
    apart : ndarray of shape (K, n), bool, or None
        Classes that samples are already set apart from: see `fastlogreg.solvers.infimum`.
    is_led_on : bool
        Whether classes are known to be separable, and a solver is to go on all the same.
    """

    def __init__(self, passes, penalty, *, fit_intercept=True, standardize=True, coordinates=None):
        self.passes, self.penalty_of_coef, self.fit_intercept = passes, penalty, fit_intercept
        self.n_samples, self.n_features, self.n_classes = passes.n_samples, passes.n_features, passes.n_classes
        self.total_weight, self.mean_target = passes.total_weight, passes.mean_target
        self.lines_are_free = passes.lines_are_free
        self.n_outputs = self.n_classes - 1
        self.n_parameters = self.n_outputs * (self.n_features + fit_intercept)
        # away from 0 and 1, where the intercept would be infinite and the curvature zero
        self._start_prob = np.minimum(np.maximum(self.mean_target, 1e-9), 1.0 - 1e-9)
        self.pilot, self.origin, self.unit, self.apart = None, None, None, None
        self.is_led_on = False
        self._parts, self._counted = [], 0.0
        if coordinates is None:
            coordinates = self._standardized() if standardize else self._plain()
        self._set_coordinates(coordinates)

    def _plain(self):
        d = self.n_features
        return Coordinates(np.zeros(d), np.ones(d), 1.0, self.fit_intercept)

    def _standardized(self):
        mean, variance = self.passes.moments()
        penalty = self.penalty_of_coef
        return Coordinates.standardized(
            mean,
            variance,
            self._start_curvature(),
            penalty.curvatures(self.n_features),
            self.fit_intercept,
            penalty.center is not None,
        )

    def _set_coordinates(self, coordinates):
        self.coordinates = coordinates
        self.center, self.inverse_scale = coordinates.center, coordinates.inverse_scale
        self.inverse_intercept_scale = coordinates.inverse_intercept_scale
        of_coef, center = self.penalty_of_coef, None
        if of_coef.center is not None:
            center = self.from_coef(of_coef.center, np.zeros(len(of_coef.center)))
        self.penalty = of_coef.in_parameters(coordinates, self.n_outputs, center)

    @property
    def finite(self):
        """Whether the coordinates are finite: if not, X holds NaN, infinity or squares beyond float64."""
        return self.coordinates.finite

    @property
    def mean_squares(self):
        """The mean squares of the parameters' columns (p,) times the start's curvature of the loss: what the loss adds
        to the diagonal of ones there, beside the penalty.
        """
        return np.maximum(1.0 - self.penalty.curvature, 0.0)

    @property
    def n_passes(self):
        """Readings of X so far, readings of a copy of its fullest columns, and what was reported to `count`."""
        return self.passes.n_passes + sum(part.n_passes for part in self._parts) + self._counted

    def count(self, passes):
        """Count readings of other numbers; `passes` is how much of X they would be."""
        self._counted += passes

    def start(self):
        """Zero coefficients, and the intercept that makes the mean prediction the mean target."""
        intercept = self.start_intercept()
        return self.from_coef(np.zeros((len(intercept), self.n_features)), intercept)

    def value_without_coefficients(self):
        """The value at `start`. It takes a pass only with offsets or where the penalty has a centre."""
        if self.passes.has_offset or self.penalty.center is not None:
            return self.evaluate(self.start(), keep=False).value
        return self._start_loss()

    def restandardize(self, parameters):
        """Take coordinates from all rows, and return the parameters in these. One pass."""
        coef, intercept = self.to_coef(parameters)
        self._set_coordinates(self._standardized())
        with np.errstate(invalid="ignore"):
            return self.from_coef(coef, intercept)

    def from_coef(self, coef, intercept):
        """Parameters of the coefficients and intercepts."""
        return self.coordinates.from_coef(coef, intercept)

    def to_coef(self, parameters):
        """Coefficients and intercepts of the parameters: `from_coef` undone, and linear."""
        return self.coordinates.to_coef(parameters)

    def parameters_of(self, coef, intercept):
        """Parameters of the coefficients and intercepts of X itself, which may be float32."""
        if self.unit is not None:
            coef = coef / self.unit
        if self.origin is not None:
            intercept = origin.moved(intercept, coef, self.origin)
        return self.from_coef(coef.astype(np.float64), intercept.astype(np.float64))

    def coefficients(self, parameters, dtype=np.float64):
        """Coefficients and intercepts of X itself, of that type; the intercepts make up for what rounding the
        coefficients changes at the centers.
        """
        coef, intercept = self.to_coef(parameters)
        unit = 1.0 if self.unit is None else self.unit
        stored = (coef * unit).astype(dtype)
        rounded = stored / unit
        intercept += (coef - rounded) @ self.center
        if self.origin is not None:
            intercept = origin.moved(intercept, -rounded, self.origin)
        return stored, intercept.astype(dtype)

    def rise(self, point, coef, intercept):
        """How much higher the objective is, at most, at coefficients and intercepts of X next to a point: standardised
        columns have mean squares of at most the inverse of the start's curvature.
        """
        step = self.parameters_of(coef, intercept) - point.parameters
        ratio = self.MAX_CURVATURE * self.inverse_intercept_scale**2
        of_penalty = self.penalty.curvature @ step**2
        return abs(float(point.gradient @ step)) + 0.5 * float(ratio * np.sum(np.abs(step)) ** 2 + of_penalty)

    def cancelled(self, parameters):
        """The size of the terms in the logits that the intercept takes away again because columns are centered."""
        coef, _ = self.to_coef(parameters)
        return float(np.linalg.norm(coef * self.center))

    def gradient_in_parameters(self, of_coef, of_intercept):
        """The gradient of the mean in the parameters, from that of the sum in coefficients and intercepts."""
        return self.coordinates.gradient(of_coef, of_intercept, 1.0 / self.total_weight)

    def evaluate(self, parameters, recycle=None, keep=True):
        """The `Point` at the parameters. One pass.

        `recycle` is a Point no longer needed, whose memory is used again. Without `keep` the point holds no logits
        until they are asked for, which takes one more pass.
        """
        if len(parameters) != self.n_parameters:
            raise ValueError(f"{len(parameters)} parameters, expected {self.n_parameters}")
        coef, intercept = self.to_coef(parameters)
        memory = None if recycle is None else recycle.handle
        loss, of_coef, of_intercept, handle = self.passes.evaluate(coef, intercept, keep, memory)
        gradient = self.gradient_in_parameters(of_coef, of_intercept)
        self.penalty.add_gradient(parameters, gradient)
        return Point(parameters, loss / self.total_weight + self.penalty.value(parameters), gradient, handle)

    def on_line(self, start, end, t):
        """Value, slope and curvature in t at ``start + t (end - start)``; no pass where the passes' lines are free."""
        loss = self.passes.line(start.handle, end.handle, t)
        of_penalty = self.penalty.on_line(start.parameters, end.parameters, t)
        total = self.total_weight
        return loss[0] / total + of_penalty[0], loss[1] / total + of_penalty[1], loss[2] / total + of_penalty[2]

    def largest_logit_change(self, start, end):
        """The largest change of a logit between two points, or of the difference of two logits of a sample."""
        return self.passes.largest_logit_change(start.handle, end.handle)

    def take(self, rows, *, penalty=None, coordinates=None):
        """The objective of some of the rows (m,), in coordinates of its own or those given."""
        return type(self)(
            self.passes.take(rows),
            self.penalty_of_coef if penalty is None else penalty,
            fit_intercept=self.fit_intercept,
            coordinates=coordinates,
        )

    def over(self, design):
        """The same objective over another matrix X of the same samples, where these are at hand."""
        return type(self)(self.passes.over(design), self.penalty_of_coef, fit_intercept=self.fit_intercept)

    def curvature_bound(self):
        """A number that no eigenvalue of any Hessian exceeds, from the largest curvature of a sample's loss.

        The largest eigenvalue of the Hessian with that curvature where there are few columns, else its trace. One pass.
        """
        if self.n_features <= MAX_EIGENVALUE_COLUMNS:
            gram = self.coordinates.gram(self.passes.gram(self.center), self.MAX_CURVATURE / self.total_weight)
            bound = np.linalg.eigvalsh(gram)[-1]
        else:
            mean, variance = self.passes.moments()
            squares = variance + (mean - self.center) ** 2
            of_intercept = self.fit_intercept * self.inverse_intercept_scale**2
            bound = self.MAX_CURVATURE * (squares @ self.inverse_scale**2 + of_intercept)
        return float(bound) + float(self.penalty.curvature.max(initial=0.0))

    @functools.cached_property
    def recession_direction(self):
        """See `fastlogreg.objectives.recession.recession_direction`; None where anything is penalised."""
        return recession_direction(self) if self.penalty.is_zero else None

    def proves_separable(self, point):
        """Whether a value this low shows that a hyperplane separates the classes, and no penalty bounds it.

        A mean loss below the least weight's share of log 2 leaves no sample a loss of log 2, so none is misclassified
        and longer coefficients are better without end; below a sixteenth of that they are well on their sides. Offsets
        may be what puts the samples there.
        """
        if not self.penalty.is_zero or self.passes.has_offset or not self.passes.has_labels:
            return False
        return point.value * self.total_weight < self.passes.least_weight * np.log(2) / 16


class Hessian:
    """The Hessian of an objective at a point, penalty included, in the objective's parameters.

    Attributes
    ----------
    of_loss : fastlogreg.data.passes.LossHessian
    """

    def __init__(self, objective, point):
        self.objective = objective
        self.of_loss = objective.passes.hessian(point.handle)

    def mean_diagonal(self):
        """The diagonal at the start, which takes no pass; two classes know it better."""
        return self.objective.mean_squares + self.objective.penalty.curvature

    def dot(self, direction):
        """``H direction``. One pass."""
        objective = self.objective
        product = objective.gradient_in_parameters(*self.of_loss.dot(*objective.to_coef(direction)))
        objective.penalty.add_product(direction, product)
        return product
