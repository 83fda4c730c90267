"""Fits without a penalty whose classes are separable: how a solver notices."""

from fastlogreg.solvers.progress import Solution, Stop

# From this iteration on, steps that change a logit by more than LONG are looked into.
MANY_ITERATIONS = 8
LONG = 0.5


def is_suspected(objective, n_iter, step):
    """Whether a long step after many makes it worth finding out."""
    return objective.penalty.is_zero and n_iter >= MANY_ITERATIONS and step.logit_change > LONG


def separable_end(objective, point, n_iter):
    """The `Solution` if a point shows that all samples are on their sides, and nothing bounds the coefficients; None
    elsewhere.
    """
    if not objective.proves_separable(point):
        return None
    return Solution(point, point.value, n_iter, Stop.SEPARABLE)
