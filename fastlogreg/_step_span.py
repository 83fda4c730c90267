"""The same objective over the span of a point, a step from there, and the last steps before it: no pass over X.

Where classes are nearly separable, samples far from the separating plane have no curvature until a step brings them
there, so that Newton's steps end at one such sample after another. Their combinations do not: the logits along each are
known, and the objective of the combination is one of n samples with a column for each (the common directions of Wang,
Lee and Lin 2019). The steps before are kept in 16 bits: a minimiser in the span needs no more, for its value is
taken from a pass.
"""

import numpy as np
import scipy.linalg

from fastlogreg._step_logits import StepLogits

# What is remembered takes that part of X, beside the vectors of logits and targets that such a fit holds anyway: five
# steps with 55 columns. Beyond ten, more steps spare few iterations.
SHARE_OF_X = 1 / 40
BYTES_A_LOGIT = 2
MOST_STEPS = 10
# What the span leaves of the gain that the quadratic model promises: ten times more costs a tenth to a third more
# iterations on hard fits.
ACCURACY = 0.001
MAX_ITER = 30
# A trial value lower by less than that of what the slope promises asks for a shorter step (Armijo).
SUFFICIENT = 1e-4
# Directions that the others give to so many digits tell nothing.
INDEPENDENT = 1e-10


class StepSpan:
    """Remembers the last steps of a fit that turns out to be hard, and minimises over their span.

    Parameters
    ----------
    objective : Objective
        Of one output, with logits in its points.
    """

    def __init__(self, objective):
        self._objective = objective
        design = objective.design
        bytes_a_row = design.n_entries / design.n_samples * design.X.dtype.itemsize
        self._capacity = max(1, min(MOST_STEPS, int(SHARE_OF_X * bytes_a_row / BYTES_A_LOGIT)))
        self._n_steps = 0
        self._logits = self._parameters = None

    @classmethod
    def of(cls, objective):
        """The span of an objective's steps, or None where its points hold no logits to remember."""
        return cls(objective) if objective.n_outputs == 1 and objective.LINES_ARE_FREE else None

    @property
    def has_steps(self):
        return self._n_steps > 0

    def remember(self, start, end):
        """Take note of a step between two points."""
        if self._logits is None:
            design = self._objective.design
            self._logits = StepLogits(design.n_samples, self._capacity, design.n_threads)
            self._parameters = np.empty((self._capacity, end.parameters.size))
        place = self._n_steps % self._capacity
        self._logits.put(place, start.logits[0], end.logits[0])
        self._parameters[place] = end.parameters - start.parameters
        self._n_steps += 1

    def minimizer(self, start, end, gain):
        """The parameters of the minimiser and its value, with `gain` to be expected of the step to `end`.

        By Newton's steps, each shortened until it descends; the next one is tried at the same part of its length, or at
        more where that was not too long.
        """
        restricted = _Restricted(self._objective, self._logits, self._directions(start, end), start, end)
        at, length = restricted.start(), 1.0
        value, gradient, hessian = restricted.evaluate(at)
        for _ in range(MAX_ITER):
            step = _newton_direction(gradient, hessian)
            slope = float(gradient @ step)
            if -0.5 * slope <= ACCURACY * gain:
                break
            longer = min(1.0, 4.0 * length)
            for _ in range(MAX_ITER):
                trial, trial_gradient, trial_hessian = restricted.evaluate(at + length * step)
                if trial <= value + SUFFICIENT * length * slope:
                    break
                length *= _secant(slope, float(trial_gradient @ step))
                longer = length
            else:
                break
            at, value, gradient, hessian = at + length * step, trial, trial_gradient, trial_hessian
            length = longer
        return restricted.parameters(at), value

    def _directions(self, start, end):
        """Parameters of the point, the step and those before it."""
        steps = self._parameters[: min(self._n_steps, self._capacity)]
        return np.vstack([start.parameters, end.parameters - start.parameters, steps])


class _Restricted:
    """An objective as a function of coefficients of directions, and of the intercept if it has one."""

    def __init__(self, objective, logits, directions, start, end):
        self._objective, self._logits, self._start, self._end = objective, logits, start, end
        self._n_steps = len(directions) - 2
        self._directions, self._intercept_scale = directions, 1.0
        if objective.fit_intercept:
            self._directions = np.vstack([directions, np.eye(start.parameters.size)[-1:]])
            self._intercept_scale = objective.inverse_intercept_scale

    def start(self):
        """The coefficients of the point that the step starts from."""
        return np.eye(len(self._directions))[0]

    def parameters(self, at):
        return at @ self._directions

    def evaluate(self, at):
        """Value, gradient and Hessian."""
        whole, width = self._objective, self._n_steps + 2
        intercept = float(at[width:].sum()) * self._intercept_scale
        loss, gradient, hessian = self._logits.sums(
            self._start.logits[0],
            self._end.logits[0],
            self._n_steps,
            at[:width],
            intercept,
            whole.target[0],
            whole.sample_weight,
        )
        scale = np.append(np.ones(width), self._intercept_scale)[: len(at)]
        parameters, ridged = self.parameters(at), self._directions * whole.ridge
        return (
            loss / whole.total_weight + 0.5 * float(whole.ridge @ parameters**2),
            gradient[: len(at)] * scale / whole.total_weight + ridged @ parameters,
            hessian[: len(at), : len(at)] * np.outer(scale, scale) / whole.total_weight + ridged @ self._directions.T,
        )


def _newton_direction(gradient, hessian):
    """``-H^-1 gradient`` in the span of the directions that are independent of one another."""
    size = np.sqrt(np.diag(hessian))
    size[size == 0] = 1.0
    eigenvalues, vectors = scipy.linalg.eigh(hessian / np.outer(size, size))
    kept = eigenvalues > INDEPENDENT * eigenvalues[-1]
    vectors = vectors[:, kept] / size[:, None]
    return -vectors @ ((vectors.T @ gradient) / eigenvalues[kept])


def _secant(slope, end_slope):
    """The part of a step after which the slope is zero, by its two ends; between a tenth and a half."""
    return min(max(slope / (slope - end_slope), 0.1), 0.5) if end_slope > slope else 0.5
