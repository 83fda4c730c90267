"""Where a Newton step should end in a fit that turns out to be hard: at the minimum of a refined model.

Where classes are nearly separable, samples far from the separating plane have no curvature until a step brings them
there, so that Newton's steps end at one such sample after another. There are few of them at a time, and the stored
logits tell which ones. A copy of their rows is small enough to be passed over many times: their losses as they are,
and the quadratic model of all other samples, make a model whose minimiser heeds them all. (Keeping the few pieces that
bend most is what bundle methods do for functions that are not smooth; Lemarechal 1989.)
"""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.data import pointwise
from fastlogreg.objectives.binary import Objective
from fastlogreg.objectives.evaluation import Point
from fastlogreg.solvers.common import ends_well, evaluate_on_line, line_minimizer, minimize_on_line

# Fits that need so many line searches are few, and a refined step costs twice the passes of another.
LINES_BEFORE_MODELS = 5
# What is copied of X, or so many rows where these are no large part of it. Nine fits of nearly separable classes, with
# 245 057 rows, took 251 iterations with a hundredth, 266 with a fiftieth and 258 with a twentyfifth; two of 5000
# rows took 38 with four rows a parameter, as with eight, and 44 with one.
SHARE_OF_X = 1 / 100
ROWS_A_PARAMETER = 4
MAX_SHARE_OF_X = 1 / 8
# A sample that is misjudged up to so many times as far as a step should lead bounds the next one: with no more than as
# far, the nine fits took a third more iterations, with ten times no fewer. An error counts for so much less each
# time that others are learned: a tenth did the same, nine tenths took a third more.
REACH = 3.0
DECAY = 0.3
# Five steps on the copy led to two thirds more iterations, twenty to no fewer. They end when the last gains so little.
MAX_ITER = 10
ACCURACY = 1e-3
# Of samples looked at in one go, so that what is made of them stays in cache.
MIN_BLOCK_ROWS = 8 * 1024


class StepSearch:
    """Finds the point to go to, for each step of a fit in turn.

    Parameters
    ----------
    objective : Objective
    slope_left : float
        See `minimize_on_line`.
    """

    def __init__(self, objective, slope_left):
        self._objective, self._slope_left = objective, slope_left
        self._n_lines, self._samples = 0, None

    def better(self, start, end, hessian):
        """`end` if it is good, or a better `Point`; None where none is lower than `start` by more than rounding.

        `hessian` is the `FactoredHessian` that led there from `start`, or None. The memory of `end` is used again.
        """
        if ends_well(start, end, self._slope_left):
            return end
        self._n_lines += 1
        may_refine = hessian is not None and hessian.point is start and self._objective.n_outputs == 1
        if not (may_refine and self._n_lines > LINES_BEFORE_MODELS):
            return minimize_on_line(self._objective, start, end, slope_left=self._slope_left)
        if self._samples is None:
            self._samples = MisjudgedSamples(self._objective)
        return self._refined(start, end, hessian)

    def _refined(self, start, end, hessian):
        """The minimum along the way to the refined model's minimiser, or, where that is lower, along the step."""
        objective, samples = self._objective, self._samples
        t = line_minimizer(objective, start, end)
        if t == 0.0:
            return None
        samples.learn(start, end, min(1.0, REACH * t))
        if len(samples.rows) == 0:
            return evaluate_on_line(objective, start, end, t, recycle=end)
        value, *_ = objective.on_line(start, end, t)
        refined = objective.evaluate(RefinedModel(objective, samples.rows, start, hessian).minimizer(), recycle=end)
        refined_t = line_minimizer(objective, start, refined)
        samples.learn(start, refined, min(1.0, REACH * refined_t))
        if refined_t > 0.0 and objective.on_line(start, refined, refined_t)[0] <= value:
            if ends_well(start, refined, self._slope_left):
                return refined
            better = evaluate_on_line(objective, start, refined, refined_t, recycle=refined)
            if better is not None:
                return better
        return evaluate_on_line(objective, start, end, t, recycle=refined)


class MisjudgedSamples:
    """The samples whose losses were, of late, farthest from what quadratic models made of them.

    Attributes
    ----------
    rows : ndarray of shape (m,)
        Ascending.
    """

    def __init__(self, objective):
        self._objective = objective
        n = objective.design.n_samples
        of_parameters = min(ROWS_A_PARAMETER * objective.n_parameters, int(MAX_SHARE_OF_X * n))
        self._capacity = max(1, int(SHARE_OF_X * n), of_parameters)
        self.rows, self._errors = np.zeros(0, dtype=np.intp), np.zeros(0)

    def learn(self, start, end, t):
        """Take note of the samples far off at ``start + t (end - start)``, by the stored logits: no pass over X."""
        n, least = self._objective.design.n_samples, 0.0
        block_rows = max(MIN_BLOCK_ROWS, self._capacity)
        rows, errors = np.zeros(0, dtype=np.intp), np.zeros(0)
        for first in range(0, n, block_rows):
            block = slice(first, min(first + block_rows, n))
            of_block = self._errors_at(start, end, t, block)
            known = slice(*np.searchsorted(self.rows, (block.start, block.stop)))
            places = self.rows[known] - first
            of_block[places] = np.fmax(of_block[places], DECAY * self._errors[known])
            places = np.flatnonzero(of_block > least)
            rows, errors = np.concatenate([rows, places + first]), np.concatenate([errors, of_block[places]])
            if len(rows) > self._capacity:
                kept = np.sort(np.argpartition(-errors, self._capacity)[: self._capacity])
                rows, errors = rows[kept], errors[kept]
                least = errors.min()
        self.rows, self._errors = rows, errors

    def _errors_at(self, start, end, t, block):
        """What the losses of a block differ by from their quadratic models at `start`."""
        target, weight = self._objective.target[0, block], self._objective.sample_weight
        weight = None if weight is None else weight[block]
        logits = start.logits[0, block]
        loss, residual, curvature, loss_there = np.empty((4, len(logits)))
        pointwise.cross_entropy(logits, target, weight, loss_out=loss, residual_out=residual, curvature_out=curvature)
        with np.errstate(invalid="ignore", over="ignore"):  # of steps that are too long by far
            change = t * (end.logits[0, block] - logits)
            pointwise.cross_entropy(logits + change, target, weight, loss_out=loss_there)
            return np.abs(loss_there - loss - change * (residual + 0.5 * curvature * change))


class RefinedModel:
    """A model of an objective of one output about a point: quadratic, but for the losses of some samples.

    Parameters
    ----------
    objective : Objective
    rows : ndarray of shape (m,)
        The samples.
    start : Point
    hessian : FactoredHessian
        Of the objective at `start`.
    """

    LINES_ARE_FREE = True

    def __init__(self, objective, rows, start, hessian):
        weight = objective.sample_weight
        self._whole = objective
        self._losses = Objective(
            objective.design.take(rows),
            objective.target[0][rows],
            sample_weight=None if weight is None else weight[rows],
            fit_intercept=objective.fit_intercept,
            coordinates=objective.coordinates,
        )
        self._share = self._losses.total_weight / objective.total_weight
        at_start = self._losses.evaluate(start.parameters)
        self._origin = start.parameters
        self._slope = start.gradient - self._share * at_start.gradient
        self._curvature = hessian.matrix() - self._share * self._losses.hessian(at_start).matrix()
        self._start = self._completed(at_start)

    def minimizer(self):
        """The parameters of the minimum, or of a point near to it, by Newton's steps."""
        point = self._start
        for _ in range(MAX_ITER):
            hessian = FactoredHessian(self._curvature + self._share * self._losses.hessian(point).matrix())
            direction, _ = hessian.solve(point.gradient)
            better = minimize_on_line(self, point, self.evaluate(point.parameters + direction))
            if better is None:
                break
            gain, point = point.value - better.value, better
            if gain <= ACCURACY * (self._start.value - point.value):
                break
        self._whole.count(self._losses.n_passes * self._losses.design.n_samples / self._whole.design.n_samples)
        return point.parameters

    def evaluate(self, parameters, recycle=None):
        """The `Point` at the parameters."""
        return self._completed(self._losses.evaluate(parameters, recycle=recycle))

    def on_line(self, start, end, t):
        """Value, slope and curvature in t at ``start + t (end - start)``."""
        value, slope, curvature = (self._share * of_losses for of_losses in self._losses.on_line(start, end, t))
        step = end.parameters - start.parameters
        change = start.parameters + t * step - self._origin
        curved = self._curvature @ step
        return (
            value + float(change @ (self._slope + 0.5 * (self._curvature @ change))),
            slope + float(step @ self._slope + change @ curved),
            curvature + float(step @ curved),
        )

    def largest_logit_change(self, start, end):
        """The largest change of a logit between two points."""
        return self._losses.largest_logit_change(start, end)

    def _completed(self, point):
        """A point of the losses with the quadratic model in its value and gradient."""
        change = point.parameters - self._origin
        curved = self._curvature @ change
        return Point(
            point.parameters,
            self._share * point.value + float(change @ (self._slope + 0.5 * curved)),
            self._share * point.gradient + self._slope + curved,
            point.logits,
        )
