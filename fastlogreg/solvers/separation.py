"""Fits without a penalty whose classes are separable: they are told apart, and led on towards the infimum."""

import math
from dataclasses import replace

import numpy as np

from fastlogreg.solvers.progress import Solution, Stop

# The mean loss, in nats, at which separable fits end.
LOSS = 1e-9
# A step that changes a logit by more than this, at the end of a fit, may lead towards an infimum: next to a minimum
# steps are small.
DRIFT = 0.05
# So may a fit with logits of this size.
LARGE = 20.0
# From this iteration on, steps that change a logit by more than LONG are looked into.
MANY_ITERATIONS = 8
LONG = 0.5
# Along a direction without end, its length grows by FACTOR until that gains no more than this part of the value.
LEFT = 1e-12
FACTOR = 4.0
MAX_LENGTHS = 30


class Separation:
    """Whether the classes of an unpenalised objective are separable, and whether the fit knows.

    Attributes
    ----------
    led_on : bool
        Whether the fit has been led on towards its infimum.
    """

    def __init__(self, objective):
        self._objective = objective
        self._tried, self.led_on = False, False

    @property
    def direction(self):
        """The parameters of a direction in which the loss falls without end, or None."""
        return self._objective.recession_direction

    def is_suspected(self, n_iter, step):
        """Whether a long step after many makes it worth finding out."""
        return self._objective.penalty.is_zero and n_iter >= MANY_ITERATIONS and step.logit_change > LONG

    def lead_on(self, point):
        """The `Point` far out in the `direction`, once in a fit; None where there is none, or no lower one."""
        if self._tried or self.direction is None:
            return None
        self._tried = True
        far = far_along(self._objective, point, self.direction)
        self.led_on = far is not None
        return far


def far_along(objective, point, direction):
    """The `Point` so far along a direction that going on gains next to nothing; None if that is no lower."""
    size = max(np.abs(direction).max(), 1e-300)
    best, length = point, 1.0
    for _ in range(MAX_LENGTHS):
        farther = objective.evaluate(point.parameters + (length / size) * direction)
        gain = best.value - farther.value
        if gain < 0.0 or not np.isfinite(farther.value):
            break
        if gain > 0.0:
            best = farther
            if gain <= LEFT * best.value:
                break
        length *= FACTOR
    return best if best is not point else None


def separable_end(objective, point, n_iter):
    """The `Solution` if all samples are far enough on their sides: coefficients so long that the mean loss is LOSS at
    most. None elsewhere.

    A sample's loss is at most the sum of all, so its margin m is at least ``-log(exp(sum / weight) - 1)``; multiplied
    by t, the coefficients leave it a loss of at most ``exp(-t m)``.
    """
    if not objective.proves_separable(point):
        return None
    largest_loss = point.value * objective.total_weight / objective.passes.least_weight
    margin = -math.log(math.expm1(max(largest_loss, 1e-300)))
    stretch = -math.log(LOSS) / margin
    if point.value > LOSS and stretch > 1.0:
        longer = objective.evaluate(stretch * point.parameters)
        point = longer if longer.value < point.value else point
    return Solution(point, point.value, n_iter, Stop.SEPARABLE)


def judged(objective, solution):
    """The `Solution`, with the `Stop` that says so if an unpenalised fit ended on its way to an infimum."""
    ended = solution.stop in (Stop.CONVERGED, Stop.MAX_ITER, Stop.STALLED)
    if not (ended and objective.penalty.is_zero):
        return solution
    if not _is_doubtful(objective, solution) or objective.recession_direction is None:
        return solution
    return replace(solution, stop=Stop.PARTLY_SEPARABLE, proven=False)


def _is_doubtful(objective, solution):
    """Whether something grew without end, perhaps: a fit that did not converge, a last step or a logit that is long, or
    a class that no sample belongs to. One pass at most.
    """
    long = solution.stop is not Stop.CONVERGED or solution.last_change > DRIFT
    if long or not np.all(objective.mean_target > 0) or objective.passes.local is None:
        return True
    logits = objective.passes.local.design.logits(*objective.to_coef(solution.point.parameters))
    return bool(max(logits.max(), -logits.min()) > LARGE)
