"""From zero coefficients to the minimum, or near it, by dual coordinate descent: where sparse data have many columns.

A sweep is serial and takes twice the time of a pass over what it reads on one thread, and somewhat more where the
coefficients do not fit into the caches; on text it gains what several gradients do. See `fastlogreg.data.dual`.
"""

import math

import numpy as np

from fastlogreg.solvers.common import Solution, Stop, gap_target, relative_gap_target
from fastlogreg.solvers.newton_step import DESCENT_NOISE

# More passes than that are better gradients. Where so many are needed a sweep takes about half of one, as it passes
# nearly half of the samples over.
MAX_PASSES = 60
SWEEPS_A_PASS = 2
# The first sweeps tell no pace, and later ones may be twice as fast.
FIRST_SWEEPS = 16
SWEEPS_OF_A_PACE = 6
FASTER = 2.0
# A proof takes two passes. It starts when so much of the gap asked for is expected: on text and on random data of
# several sizes and penalties there was up to 2.3 times what was expected. One that failed calls for that much less.
PROVABLE = 0.4
AGAIN = 0.4


def dual_steps(objective, start, *, tol, max_iter, on_iteration):
    """The `Solution` that the dual variables prove, after about `max_iter` passes at most.

    Elsewhere parameters to start from, and a lower bound on the minimum: those given and minus infinity where the
    objective has no dual problem that is worth it, or where the start knows more than the intercept.
    """
    dual = objective.dual() if max_iter > 0 and not _has_coefficients(objective, start) else None
    if dual is None:
        return start, -math.inf
    gaps, passes, provable = [], 0.0, PROVABLE
    while passes < min(max_iter, MAX_PASSES):
        part = dual.sweep()
        objective.count(part)
        passes += part
        if not dual.value > 0:  # less than without coefficients: repeated entries make rows longer than they seem
            return start, -math.inf
        gaps.append(dual.gap)
        target = relative_gap_target(tol) * dual.value
        gap_left = _gap_left(gaps)
        if gap_left <= provable * target:
            solution = _proven(objective, dual, tol)
            if solution is not None:
                on_iteration(0, solution.point)
                return solution
            provable *= AGAIN
            passes += 2
        elif _too_slow(gaps, gap_left / target, MAX_PASSES - passes):
            break
    return _end(objective, dual)


def _has_coefficients(objective, start):
    return bool(objective.to_coef(start)[0].any())


def _end(objective, dual):
    """The parameters that the dual variables make, and their bound on the minimum. One pass."""
    coef, intercept, bound = dual.end()
    return objective.from_coef(coef[None], np.array([intercept])), objective.l2 * bound


def _proven(objective, dual, tol):
    """The `Solution` if the dual variables prove it, or None. Two passes."""
    parameters, bound = _end(objective, dual)
    point = objective.evaluate(parameters)
    gap = max(point.value - bound, DESCENT_NOISE * point.value)
    return Solution(point, gap, 0, Stop.CONVERGED) if gap <= gap_target(point, tol) else None


def _gap_left(gaps):
    """The duality gap after sweeps that found these: samples met it in the midst of the latest one."""
    if len(gaps) < 4:
        return math.inf
    before, last = gaps[-3], gaps[-1]
    return last * (last / before) ** 0.25 if last < before else last


def _too_slow(gaps, excess, passes_left):
    """Whether the gap, which is so many times the target, takes more passes than there are, by the latest pace."""
    if len(gaps) < FIRST_SWEEPS:
        return False
    before, last = gaps[-1 - SWEEPS_OF_A_PACE], gaps[-1]
    if not 0 < last < before:
        return True
    pace = math.log(before / last) / SWEEPS_OF_A_PACE
    return math.log(excess) > FASTER * pace * SWEEPS_A_PASS * passes_left
