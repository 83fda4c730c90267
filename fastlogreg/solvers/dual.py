"""From zero coefficients to near the minimum by dual coordinate descent: where sparse data have many columns.

A sweep is serial and takes the time of one and a half to two passes on one thread, and somewhat more where the
coefficients do not fit into the caches; on text it gains what several gradients do. See `fastlogreg._dual`.
"""

import math

import numpy as np

from fastlogreg.solvers._common import relative_gap_target

# More sweeps than that are better gradients.
MAX_SWEEPS = 60
# The first sweeps tell no pace, and later ones may be twice as fast.
FIRST_SWEEPS = 10
SWEEPS_OF_A_PACE = 4
FASTER = 2.0
# The part of the gap asked for that may be left to gain in the dual: the gap to its coefficients is five to six times
# that, measured on text and on random data of several sizes.
LEFT = 1.0 / 6.0


def dual_start(objective, start, *, tol, max_iter):
    """Parameters to start from, and a lower bound on the minimum: those given and minus infinity where the objective
    has no dual problem that is worth it, or where the start knows more than the intercept. At most `max_iter` sweeps.
    """
    dual = objective.dual() if max_iter > 0 and not _has_coefficients(objective, start) else None
    if dual is None:
        return start, -math.inf
    rises = []
    for _ in range(min(max_iter, MAX_SWEEPS)):
        rises.append(objective.l2 * dual.sweep())
        if not dual.value > 0:  # less than without coefficients: repeated entries make rows longer than they seem
            return start, -math.inf
        target = LEFT * relative_gap_target(tol) * objective.l2 * dual.value
        if _arrived(rises, target) or _too_slow(rises, target):
            break
    coef, intercept, bound = dual.end()
    return objective.from_coef(coef[None], np.array([intercept])), objective.l2 * bound


def _has_coefficients(objective, start):
    return bool(objective.to_coef(start)[0].any())


def _arrived(rises, target):
    """Whether so little is left, as the sum of a geometric series of rises."""
    if len(rises) < 3:
        return False
    before, last = rises[-2:]
    return last <= 0 or (last < before and last * last / (before - last) <= target)


def _too_slow(rises, target):
    """Whether it takes more sweeps than there are, by the pace of the latest ones."""
    if len(rises) < FIRST_SWEEPS:
        return False
    before, last = rises[-1 - SWEEPS_OF_A_PACE], rises[-1]
    if not 0 < last < before:
        return True
    pace = math.log(before / last) / SWEEPS_OF_A_PACE
    return math.log(last / target) > FASTER * pace * (MAX_SWEEPS - len(rises))
