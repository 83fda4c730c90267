"""From zero coefficients to the minimum, or near it, by dual coordinate descent: where sparse data have many columns.

A sweep runs on one thread. It takes twice the time of a pass over the same rows on one thread, and somewhat more where
the coefficients do not fit into the caches; on text it gains what several gradients do. See `fastlogreg.data.dual`.
"""

import math

import numpy as np

from fastlogreg.solvers import plan
from fastlogreg.solvers.gap import accuracy_asked, relative_accuracy
from fastlogreg.solvers.newton_step import DESCENT_NOISE
from fastlogreg.solvers.progress import Progress, Solution, Stop

# Sweeps for each reading of X, where many are needed: each skips nearly half of the samples.
SWEEPS_A_PASS = 2
# The pace of the gap is told from the latest 6 sweeps, but not before the 16th, as the first sweeps tell nothing. Later
# sweeps may be twice as fast.
FIRST_SWEEPS = 16
SWEEPS_OF_A_PACE = 6
FASTER = 2.0
# A proof takes two passes. It is tried once the expected gap is this part of the accuracy: on text and on random data
# of several sizes and penalties, the gap was up to 2.3 times the expected one. A proof that fails shrinks the part by
# the factor AGAIN.
PROVABLE = 0.4
AGAIN = 0.4


def dual_steps(objective, progress, limits):
    """The `Progress` with the `Solution` that the dual variables prove, within `plan.MAX_DUAL_PASSES` and as many
    passes as the plan leaves for iterations before Newton's.

    Where they prove none, the `Progress` has parameters to start from and a lower bound on the minimum. It is returned
    as it was where the dual turns out not to be worth it. The coefficients that it comes with are taken for zeros.
    """
    max_passes = min(plan.iterations_before_newton(objective, limits.max_iter), plan.MAX_DUAL_PASSES)
    dual, unit = _dual_problem(objective)
    gaps, passes, provable = [], 0.0, PROVABLE
    while passes < max_passes:
        part = dual.sweep()
        objective.count(part)
        passes += part
        if not dual.value > 0:  # less than without coefficients: repeated entries make rows longer than they seem
            return progress
        gaps.append(dual.gap)
        accuracy = relative_accuracy(limits.tol) * dual.value
        gap_left = _gap_left(gaps)
        if gap_left <= provable * accuracy:
            solution = _proven(objective, dual, unit, limits.tol)
            if solution is not None:
                limits.on_iteration(0, solution.point)
                return Progress.ended(solution)
            provable *= AGAIN
            passes += 2
        elif _too_slow(gaps, gap_left / accuracy, plan.MAX_DUAL_PASSES - passes):
            break
    parameters, bound = _end(objective, dual, unit)
    return Progress(parameters, bound=bound)


def _dual_problem(objective):
    """The `Dual` of the objective in units of the penalty's curvature, and that unit."""
    local, unit = objective.passes.local, float(objective.penalty_of_coef.curvatures(objective.n_features)[0])
    cost = 1.0 / (unit * objective.total_weight)
    if not objective.fit_intercept:
        return local.dual(cost), unit
    varies = objective.inverse_scale > 0
    variances = (objective.inverse_scale[varies] ** -2 - unit) * objective.inverse_intercept_scale**2
    return local.dual(cost, objective.center, variances.sum(), float(objective.start_intercept()[0])), unit


def _end(objective, dual, unit):
    """The parameters that the dual variables make, and their bound on the minimum. One pass."""
    coef, intercept, bound = dual.end()
    return objective.from_coef(coef[None], np.array([intercept])), unit * bound


def _proven(objective, dual, unit, tol):
    """The `Solution` if the dual variables prove it, or None. Two passes."""
    parameters, bound = _end(objective, dual, unit)
    point = objective.evaluate(parameters)
    gap = max(point.value - bound, DESCENT_NOISE * point.value)
    return Solution(point, gap, 0, Stop.CONVERGED) if gap <= accuracy_asked(point, tol) else None


def _gap_left(gaps):
    """The duality gap after sweeps that measured `gaps`; infinite after fewer than four.

    A sweep measures the gap sample by sample, so on average in its middle: the other half is added at the latest pace.
    """
    if len(gaps) < 4:
        return math.inf
    before, last = gaps[-3], gaps[-1]
    return last * (last / before) ** 0.25 if last < before else last


def _too_slow(gaps, excess, passes_left):
    """Whether a gap of `excess` times the accuracy takes more than `passes_left` passes, at the latest pace."""
    if len(gaps) < FIRST_SWEEPS:
        return False
    before, last = gaps[-1 - SWEEPS_OF_A_PACE], gaps[-1]
    if not 0 < last < before:
        return True
    pace = math.log(before / last) / SWEEPS_OF_A_PACE
    return math.log(excess) > FASTER * pace * SWEEPS_A_PASS * passes_left
