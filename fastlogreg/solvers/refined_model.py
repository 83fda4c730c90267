"""Where a Newton step should end in a fit that turns out to be hard: at the minimum of a refined model.

Where classes are nearly separable, samples far from the separating plane have no curvature until a step brings them
there, so that Newton's steps end at one such sample after another. There are few of them at a time, and the stored
logits tell which ones. A copy of their rows is small enough to be read many times: their losses as they are, and the
quadratic model of all other samples, make a model whose minimiser heeds them all. (Keeping the few pieces that bend
most is what bundle methods do for functions that are not smooth; Lemarechal 1989.)
"""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.data.misjudged import MisjudgedSamples
from fastlogreg.objectives.binary import BinaryObjective
from fastlogreg.objectives.point import Point
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers.line_search import ends_well, evaluate_on_line, line_minimizer, minimize_on_line

# Line searches of a fit before its steps are refined: few fits need more, and a refined step costs twice the passes of
# another.
LINES_BEFORE_MODELS = 5
# Where columns depend on one another (`fastlogreg.curvature.conditioned`), single samples decide about columns, and
# steps are refined sooner and more often: twenty fits of tables with sentinels and rare flags took 35 to 62 passes so,
# and 36 to 110 as others do.
LINES_OF_COMBINED_COLUMNS = 2
SLOPE_LEFT_OF_COMBINED_COLUMNS = 0.1
# The rows of X that are copied: a hundredth of all, or four for each parameter where these are more, but no more than
# an eighth of all. Nine fits of nearly separable classes, with 245 057 rows, took 251 iterations with a hundredth, 266
# with a fiftieth and 258 with a twentyfifth; two of 5000 rows took 38 with four rows for each parameter, as with eight,
# and 44 with one.
SHARE_OF_X = 1 / 100
ROWS_A_PARAMETER = 4
MAX_SHARE_OF_X = 1 / 8
# The samples to copy are those that the quadratic model misjudges at three times the best length of a step, or at its
# end if that is nearer, as they would bound the next step. At the best length itself, the nine fits took a third more
# iterations, at ten times it no fewer.
REACH = 3.0
# Where combined columns' models led so far, the next one is tried before the Newton step itself is evaluated.
GOOD_LENGTH = 0.3
# Newton steps on the copied rows: five led to two thirds more iterations of the fit. They end when one gains no more
# than this part of what all have gained: a thousandth left combined columns' fits short of their end.
MAX_ITER = 40
ACCURACY = 1e-6
# What is left of a Hessian without the curvatures of the copied rows may be rounding: this part of its diagonal bounds
# the model.
DAMPING = 1e-12


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
        self._at_hand = objective.n_classes == 2 and objective.passes.local is not None
        self._n_lines, self._samples, self._length = 0, None, 0.0

    def better(self, start, end, hessian):
        """`end` if it is good, or a better `Point`; None where none is lower than `start` by more than rounding.

        `hessian` is the `FactoredHessian` that led there from `start`, or None. The memory of `end` is used again.
        """
        combined = hessian is not None and hessian.columns is not None
        slope_left = SLOPE_LEFT_OF_COMBINED_COLUMNS if combined else self._slope_left
        if ends_well(start, end, slope_left):
            return end
        self._n_lines += 1
        may_refine = self._at_hand and hessian is not None and hessian.point is start
        if not (may_refine and self._n_lines > (LINES_OF_COMBINED_COLUMNS if combined else LINES_BEFORE_MODELS)):
            return minimize_on_line(self._objective, start, end, slope_left=slope_left)
        if self._samples is None:
            self._samples = MisjudgedSamples(self._objective.passes.local, _capacity(self._objective))
        return self._refined(start, end, hessian)

    def ahead(self, start, hessian):
        """A lower `Point` by the refined model alone, without the step: where that has led far before, None elsewhere.
        One pass, or two.
        """
        if self._length < GOOD_LENGTH or hessian is None or hessian.columns is None or hessian.point is not start:
            return None
        refined = self._objective.evaluate(
            RefinedModel(self._objective, self._samples.rows, start, hessian).minimizer()
        )
        t = self._length = line_minimizer(self._objective, start, refined)
        self._samples.learn(start.handle, refined.handle, min(1.0, REACH * t))
        if t == 0.0 or ends_well(start, refined, self._slope_left):
            return refined if t else None
        return evaluate_on_line(self._objective, start, refined, t, recycle=refined)

    def _refined(self, start, end, hessian):
        """The minimum along the line to the refined model's minimiser, or, where that is lower, along the step."""
        objective, samples = self._objective, self._samples
        t = line_minimizer(objective, start, end)
        if t == 0.0:
            return None
        samples.learn(start.handle, end.handle, min(1.0, REACH * t))
        if len(samples.rows) == 0:
            return evaluate_on_line(objective, start, end, t, recycle=end)
        value, *_ = objective.on_line(start, end, t)
        refined = objective.evaluate(RefinedModel(objective, samples.rows, start, hessian).minimizer(), recycle=end)
        refined_t = self._length = line_minimizer(objective, start, refined)
        samples.learn(start.handle, refined.handle, min(1.0, REACH * refined_t))
        if refined_t > 0.0 and objective.on_line(start, refined, refined_t)[0] <= value:
            if ends_well(start, refined, self._slope_left):
                return refined
            better = evaluate_on_line(objective, start, refined, refined_t, recycle=refined)
            if better is not None:
                return better
        return evaluate_on_line(objective, start, end, t, recycle=refined)


def _capacity(objective):
    """How many samples are remembered."""
    of_parameters = min(ROWS_A_PARAMETER * objective.n_parameters, int(MAX_SHARE_OF_X * objective.n_samples))
    return max(1, int(SHARE_OF_X * objective.n_samples), of_parameters)


class RefinedModel:
    """A model of an objective of two classes about a point: quadratic, except for the losses of some samples.

    Parameters
    ----------
    objective : Objective
    rows : ndarray of shape (m,)
        Numbers of the samples whose losses the model keeps.
    start : Point
    hessian : FactoredHessian
        Of the objective at `start`.
    """

    lines_are_free = True

    def __init__(self, objective, rows, start, hessian):
        self._whole, self._from = objective, start.parameters
        self._columns = hessian.columns or OwnColumns(objective)
        self._losses = self._columns.losses_from(start, rows)
        self._share = self._losses.total_weight / objective.total_weight
        slope, self._curvature = self._columns.combined_gradient(start.gradient), hessian.matrix()
        at_start = self._losses.evaluate(np.zeros_like(slope))
        self._slope = slope - self._share * at_start.gradient
        damping = DAMPING * np.diagonal(self._curvature)
        self._curvature = self._curvature - self._share * self._losses.hessian(at_start).matrix()
        self._curvature[np.diag_indices_from(self._curvature)] += damping
        self._start = self._completed(at_start)

    @np.errstate(over="ignore", invalid="ignore")  # a step may be far too long, and is then shortened
    def minimizer(self):
        """The objective's parameters at the minimum, or of a point near to it, by Newton's steps."""
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
        self._whole.count(self._losses.n_passes * self._losses.n_samples / self._whole.n_samples)
        return self._from + self._columns.direction(point.parameters)

    def evaluate(self, parameters, recycle=None):
        """The `Point` at the parameters."""
        return self._completed(self._losses.evaluate(parameters, recycle=recycle))

    def on_line(self, start, end, t):
        """Value, slope and curvature in t at ``start + t (end - start)``."""
        value, slope, curvature = (self._share * of_losses for of_losses in self._losses.on_line(start, end, t))
        step = end.parameters - start.parameters
        change = start.parameters + t * step
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
        change = point.parameters
        curved = self._curvature @ change
        return Point(
            change,
            self._share * point.value + float(change @ (self._slope + 0.5 * curved)),
            self._share * point.gradient + self._slope + curved,
            point.handle,
        )


class OwnColumns:
    """What a model asks of the columns of an objective that are not combined: see `ConditionedColumns`."""

    def __init__(self, objective):
        self._objective = objective

    def losses_from(self, point, rows):
        """The mean loss of some of the samples, as an objective of a direction from a point."""
        objective = self._objective
        passes = objective.passes.take_from(point.handle, rows)
        options = {"fit_intercept": objective.fit_intercept, "coordinates": objective.coordinates}
        return BinaryObjective(passes, Quadratic(0.0), **options)

    def combined_gradient(self, gradient):
        return gradient

    def direction(self, combined):
        return combined
