"""The same objective over the span of a point, a step from there, and the last steps before it: no pass over X.

Where classes are nearly separable, samples far from the separating plane have no curvature until a step brings them
there, so that Newton's steps end at one such sample after another. Their combinations do not: the logits along each are
known, and the objective of the combination is one of n samples with a column for each (the common directions of Wang,
Lee and Lin 2019). The columns are float32: a minimiser in the span needs no more, for its value is taken from a pass.
"""

import numpy as np
import scipy.linalg

from fastlogreg._design import as_design
from fastlogreg._objective import Objective

# A fifth of the columns in float32 is a tenth of X in memory. With fewer than three steps it is the line again.
MOST_STEPS = 10
STEPS_A_COLUMN = 0.2
FEWEST_STEPS = 3
# What the span leaves of the gain that the quadratic model promises.
ACCURACY = 0.01
# Directions that the others give to so many digits tell nothing.
INDEPENDENT = 1e-10


class StepSpan:
    """Remembers the last steps of a fit that turns out to be hard, and minimises over their span.

    Parameters
    ----------
    objective : Objective
        Of one output, with logits in its points.
    minimizer : callable
        ``minimizer(objective, start, tol)`` gives the parameters that minimise an objective.
    """

    def __init__(self, objective, minimizer):
        self._objective, self._minimizer = objective, minimizer
        self._capacity = min(MOST_STEPS, int(STEPS_A_COLUMN * objective.n_parameters))
        self._n_steps = 0
        self._logits = self._parameters = None

    @classmethod
    def of(cls, objective, minimizer):
        """The span of an objective's steps, or None where too few of them could be remembered."""
        if not (objective.n_outputs == 1 and objective.LINES_ARE_FREE):
            return None
        span = cls(objective, minimizer)
        return span if span._capacity >= FEWEST_STEPS else None

    @property
    def has_steps(self):
        return self._n_steps > 0

    def remember(self, start, end):
        """Take note of a step between two points."""
        if self._logits is None:
            self._logits = np.empty((end.logits.shape[1], 2 + self._capacity), dtype=np.float32, order="F")
            self._parameters = np.empty((2 + self._capacity, end.parameters.size))
        self._put(2 + self._n_steps % self._capacity, end, start)
        self._n_steps += 1

    def minimizer(self, start, end, gain):
        """The parameters of the minimiser and its value, with `gain` to be expected of the step to `end`."""
        self._logits[:, 0], self._parameters[0] = start.logits[0], start.parameters
        self._put(1, end, start)
        count = 2 + min(self._n_steps, self._capacity)
        columns, directions = self._logits[:, :count], self._parameters[:count]
        first = np.zeros(count)
        first[0] = 1.0
        if self._objective.l2 > 0:
            change, back = self._orthonormal(directions)
            columns = np.asfortranarray(columns @ change.astype(np.float32))
            directions, first = change.T @ directions, back[:, 0]
        whole = self._objective
        objective = Objective(
            as_design(columns, whole.design.n_threads),
            whole.target,
            sample_weight=whole.sample_weight,
            l2=whole.l2,
            fit_intercept=whole.fit_intercept,
        )
        shift = (start.parameters - first @ directions)[-1:] * whole.inverse_intercept_scale
        at = objective.from_coef(first[None], shift if whole.fit_intercept else np.zeros(1))
        found = objective.evaluate(self._minimizer(objective, at, np.sqrt(10.0 * ACCURACY * gain / start.value)))
        coef, intercept = objective.to_coef(found.parameters)
        parameters = coef[0] @ directions
        if whole.fit_intercept:
            parameters[-1] += intercept[0] / whole.inverse_intercept_scale
        return parameters, found.value

    def _orthonormal(self, directions):
        """The change to directions in which the penalty is that of their coefficients, and the way back.

        What has no penalty, a step of the intercept alone, is left out: the span has an intercept.
        """
        scaled = directions * np.sqrt(self._objective.ridge / self._objective.l2)
        size = np.linalg.norm(scaled, axis=1)
        size[size == 0] = 1.0
        scaled /= size[:, None]
        eigenvalues, vectors = scipy.linalg.eigh(scaled @ scaled.T)
        kept = eigenvalues > INDEPENDENT * eigenvalues[-1]
        root, vectors = np.sqrt(eigenvalues[kept]), vectors[:, kept]
        return vectors / size[:, None] / root, (vectors * size[:, None] * root).T

    def _put(self, place, end, start):
        self._logits[:, place] = end.logits[0] - start.logits[0]
        self._parameters[place] = end.parameters - start.parameters
