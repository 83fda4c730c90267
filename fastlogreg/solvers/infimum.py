"""Fits without a penalty whose classes are separable: what is said of them, and their infimum.

Far enough along a direction that separates classes, the samples that it sets apart have lost their losses, and the
others' have not changed. So the infimum is the minimum of the others' loss, a problem that has an optimum, or is
separable itself and falls into parts once more. (Albert and Anderson 1984; Correia, Guimaraes and Zylkin 2019.)
"""

import math
from dataclasses import replace

import numpy as np

from fastlogreg.data.samples import Samples
from fastlogreg.objectives.recession import classes_held, margins_along
from fastlogreg.solvers.newton_step import DESCENT_NOISE
from fastlogreg.solvers.progress import Stop

# The mean loss, in nats, at which fits of separable classes end.
LOSS = 1e-9
# A step that changes a logit by more than this, at the end of a fit, may lead towards an infimum: next to a minimum
# steps are small.
DRIFT = 0.05
# So may a fit with logits of this size.
LARGE = 20.0
# A margin counts as set apart if it grows by more than this part of the one that grows most: the others, which are left
# to the next direction, would take so long a way along this one that rounding would blur those that must not change.
SHARE = 1e-6
# The margin, in nats, that is as good as an infinite one beside samples that keep their losses; and that of an offset,
# with room for coefficients.
DECIDED = 50.0
OFFSET = 200.0
# Where the samples that gain least would need so long a way that rounding lifts others' losses, the lowest value lies
# at a part of it.
PARTS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)


def judged(objective, solution, minimize, go_on, on_iteration):
    """The `Solution`, or the infimum of an unpenalised fit that was on its way there, with the `Stop` that says so.

    ``minimize(passes, apart)`` gives the objective of some of the samples and its judged `Solution`, ``go_on(point)``
    the solution that a solver comes to from a point, whatever separates. The step to the infimum is one more iteration.
    """
    far = _far_along(objective, solution, minimize)
    if far is not solution and not math.isfinite(far.gap):
        end = go_on(solution.point).point
        far = replace(far, point=end) if end.value < far.point.value else far
    if far is not solution:
        on_iteration(far.n_iter, far.point)
    return far


def _far_along(objective, solution, minimize):
    if solution.stop is Stop.SEPARABLE:
        return _stretched(objective, solution)
    ended = solution.stop in (Stop.CONVERGED, Stop.MAX_ITER, Stop.STALLED, Stop.PARTLY_SEPARABLE)
    if not (ended and objective.penalty.is_zero and _is_doubtful(objective, solution)):
        return solution
    if objective.recession_direction is None:
        return solution
    return _at_infimum(objective, solution, minimize)


def _stretched(objective, solution):
    """A solution that has all samples on their sides, with coefficients so long that the mean loss is LOSS at most.

    A sample's loss is at most the sum of all, so its margin m is at least ``-log(exp(sum / weight) - 1)``; multiplied
    by t, the coefficients leave it a loss of at most ``exp(-t m)``.
    """
    point = solution.point
    if point.value <= LOSS:
        return solution
    margin = -math.log(math.expm1(point.value * objective.total_weight / objective.passes.least_weight))
    longer = objective.evaluate(max(1.0, -math.log(LOSS) / margin) * point.parameters)
    if not longer.value < point.value:
        return solution
    return replace(solution, point=longer, gap=longer.value, n_iter=solution.n_iter + 1)


def _is_doubtful(objective, solution):
    """Whether something grew without end, perhaps: a fit that did not converge, a last step or a logit that is long, or
    a class that no sample belongs to. One pass at most.
    """
    long = solution.stop is not Stop.CONVERGED or solution.last_change > DRIFT
    if long or not np.all(objective.mean_target > 0) or objective.passes.local is None:
        return True
    logits = objective.passes.local.design.logits(*objective.to_coef(solution.point.parameters))
    return bool(max(logits.max(), -logits.min()) > LARGE)


def _at_infimum(objective, solution, minimize):
    direction, samples = objective.recession_direction, objective.passes.local.samples
    held = classes_held(samples)
    before = np.zeros_like(held) if objective.apart is None else objective.apart
    gains = np.where(before | (samples.weight_or_ones == 0), 0.0, margins_along(objective, direction, held))
    apart = gains > SHARE * gains.max()
    if not apart.any():
        return solution
    known = apart | before
    weight = samples.weight_or_ones * ~(known | held).all(axis=0)
    weight[held.sum(axis=0) > 1] = samples.weight_or_ones[held.sum(axis=0) > 1]
    if not weight.any():
        base, lowest, stop, decided = np.zeros(len(direction)), 0.0, Stop.SEPARABLE, -math.log(LOSS)
    else:
        base, lowest = _rest(objective, weight, apart, known, minimize)
        stop, decided = Stop.PARTLY_SEPARABLE, DECIDED
    margins = margins_along(objective, base, held)
    length = np.max((decided + np.maximum(-margins[apart], 0.0)) / gains[apart])
    point = solution.point
    for part in PARTS:
        farther = objective.evaluate(base + part * length * direction)
        if farther.value < point.value:
            point = farther
    noise = DESCENT_NOISE * point.value
    gap = max(point.value - lowest, noise) if point.value >= lowest - noise else math.inf
    ended = {"n_iter": solution.n_iter + 1, "stop": stop, "proven": False, "last_change": 0.0}
    return replace(solution, point=point, gap=gap, **ended)


def _rest(objective, weight, apart, known, minimize):
    """The parameters of the others' minimum, and a lower bound on what it adds to the value.

    Of several classes a sample may keep some; what sets it apart from the rest is in its offset then.
    """
    passes, offset = objective.passes.local, None
    if objective.n_classes > 2:
        offset = np.where(apart, -OFFSET, 0.0).T
        if passes.samples.offset is not None:
            offset += passes.samples.offset
    samples = Samples(passes.samples.target, weight, offset, objective.n_classes)
    rest, solution = minimize(type(passes)(passes.design, samples), known)
    objective.count(rest.n_passes)
    base = objective.from_coef(*rest.coefficients(solution.point.parameters))
    is_known = solution.proven or solution.last_change <= DRIFT
    lowest = solution.point.value - solution.gap if is_known else -math.inf
    return base, lowest * rest.total_weight / objective.total_weight
