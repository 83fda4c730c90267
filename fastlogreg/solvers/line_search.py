"""The line search: on stored logits, or by passes where the holder of the rows stores none."""

import math

import numpy as np

from fastlogreg.solvers.newton_step import VALUE_NOISE, slopes

# The relative error of a value where large terms of the logits cancel, so that these have few correct digits: a tenth
# of the gap that the default tolerance asks for.
LOGIT_NOISE = 1e-10
# The search ends where this part of the slope at the line's start is left: less where a trial costs no pass.
ACCURACY_OF_FREE_LINES = 0.1
ACCURACY_OF_PASSES = 0.5


def minimize_on_line(objective, start, end, *, slope_left=0.9):
    """A point near the minimum on the ray from `start` through `end`, both evaluated.

    `end` itself if it `ends_well`. Otherwise the minimum along the ray is found from the stored logits, or by passes
    where none are stored, and evaluated, which takes a pass. None where no point of the ray is lower than the start.
    """
    if ends_well(start, end, slope_left):
        return end
    t = line_minimizer(objective, start, end)
    if t == 0.0:
        return None
    return evaluate_on_line(objective, start, end, t, recycle=end)


def ends_well(start, end, slope_left):
    """Whether a step ends near the minimum along its line.

    It does if its end is no higher than its start and has a slope well below the start's: at most the share
    `slope_left` of it where the line still descends. It also does if its end is higher by no more than the rounding of
    logits explains and the slopes show that the minimum is there (approximate conditions as in Hager and Zhang 2005).
    """
    slope, end_slope = slopes(start, end)
    if not (slope < 0 and math.isfinite(end.value)):
        return False
    if end.value <= start.value + VALUE_NOISE * abs(start.value) and slope_left * slope <= end_slope <= -0.9 * slope:
        return True
    return end.value <= start.value + LOGIT_NOISE * abs(start.value) and abs(end_slope) <= 0.1 * abs(slope)


def evaluate_on_line(objective, start, end, t, recycle):
    """The `Point` at ``start + t (end - start)``; None if that is higher than the start by more than rounding."""
    point = objective.evaluate(start.parameters + t * (end.parameters - start.parameters), recycle=recycle)
    return point if point.value <= start.value + VALUE_NOISE * abs(start.value) else None


def line_minimizer(objective, start, end):
    """A t > 0 with a slope well below the start's and no higher value, or the longest step known to descend, or 0.

    By Newton steps in t (the objective is convex), kept inside a bracket of the minimum. Where a Newton step leads out
    of the bracket, or beyond ten times t, the bracket is halved; as long as one end of it is not known, t is multiplied
    by four or divided by ten. A direction from a flat Hessian can be too long by many orders, so the first t moves no
    logit by more than a thousand.
    """
    slope, _ = slopes(start, end)
    if slope >= 0:
        return 0.0
    accuracy = ACCURACY_OF_FREE_LINES if objective.lines_are_free else ACCURACY_OF_PASSES
    low, high = 0.0, np.inf
    t = min(1.0, 1000.0 / max(objective.largest_logit_change(start, end), 1.0))
    if math.isfinite(end.value):  # about the mean change of a logit, where samples end on their wrong sides
        t = min(t, 1000.0 * max(start.value, 1.0) / max(end.value, 1.0))
    for _ in range(60):
        value, at_slope, curvature = objective.on_line(start, end, t)
        if abs(at_slope) <= accuracy * abs(slope) and value <= start.value + VALUE_NOISE * abs(start.value):
            return t
        if at_slope < 0:
            low = t
        else:  # also when it is NaN: too far
            high = t
        newton = t - at_slope / curvature if curvature > 0 else np.inf
        if low < newton < high and newton <= 10 * t:
            t = newton
        elif high == np.inf:
            t = 4.0 * t
        else:
            t = 0.5 * (low + high) if low > 0 else 0.1 * high
    return low
