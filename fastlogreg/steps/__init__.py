"""Steps over a stream of samples: stochastic gradients with scikit-learn's schedules, and Newton steps block by block.

All kinds of steps are fed rows of X in some order, in as many calls as one likes: `feed` gathers rows in a small block,
as doubles, and does the steps from there. So what they compute depends on the samples and their order alone, and not on
the layout of X or on where one call ends and the next one begins; and X may be larger than memory.
"""

from fastlogreg.steps.diagonal import DiagonalSteps
from fastlogreg.steps.feed import Feed, memory_map
from fastlogreg.steps.gradient import GradientSteps
from fastlogreg.steps.newton import NewtonSteps
from fastlogreg.steps.softmax_diagonal import SoftmaxDiagonalSteps
from fastlogreg.steps.softmax_gradient import SoftmaxGradientSteps
from fastlogreg.steps.softmax_newton import SoftmaxNewtonSteps

__all__ = [
    "DiagonalSteps",
    "Feed",
    "GradientSteps",
    "NewtonSteps",
    "SoftmaxDiagonalSteps",
    "SoftmaxGradientSteps",
    "SoftmaxNewtonSteps",
    "adaptive_steps",
    "first_steps",
    "know_curvature",
    "memory_map",
    "next_steps",
]

# Above 2000 columns, factoring the curvature takes longer than the steps that it spares.
MAX_NEWTON_FEATURES = 2000
# Up to 16 million entries in all, the curvatures of several classes are worth their memory.
MAX_CURVATURE_ENTRIES = 16_000_000


def adaptive_steps(coef, intercept, sparse, alpha, l1_ratio, fit_intercept):
    """The steps that need no rate, from coefficients (1, d) for two classes or (K, d): Newton's, or, with L1 or many
    coefficients, steps with a curvature for each coefficient.
    """
    n_classes, n_features = coef.shape
    newton = l1_ratio == 0 and n_features <= MAX_NEWTON_FEATURES
    if n_classes == 1:
        coef, intercept = coef[0], float(intercept[0])
        if newton:
            return NewtonSteps(coef, intercept, sparse, alpha, fit_intercept)
        return DiagonalSteps(coef, intercept, alpha, l1_ratio, fit_intercept)
    if newton and n_classes * (n_features + 1) ** 2 <= MAX_CURVATURE_ENTRIES:
        return SoftmaxNewtonSteps(coef, intercept, sparse, alpha, fit_intercept)
    return SoftmaxDiagonalSteps(coef, intercept, alpha, l1_ratio, fit_intercept)


def first_steps(coef, intercept, sparse, settings):
    """The steps from coefficients (1, d) for two classes or (K, d).

    `settings` has the `schedule` ("auto" for steps without a rate), alpha, l1_ratio and fit_intercept, and for the
    schedules what `GradientSteps` says.
    """
    if settings["schedule"] == "auto":
        return adaptive_steps(
            coef, intercept, sparse, settings["alpha"], settings["l1_ratio"], settings["fit_intercept"]
        )
    if len(coef) > 1:
        return SoftmaxGradientSteps(coef, intercept, sparse, settings)
    return GradientSteps(coef[0], float(intercept[0]), sparse, settings)


def next_steps(steps, coef, intercept, sparse, settings, n_seen, *, moved):
    """Steps after `n_seen` samples: with settings that may be others, from coef (1 or K, d) and intercept.

    `steps` took the samples, or are None where nobody knows how the coefficients came about. With `moved`, the
    coefficients are not those that `steps` led to. What `steps` have learnt, they keep where they can serve on.
    """
    start = (coef, intercept) if len(coef) > 1 else (coef[0], float(intercept[0]))
    fresh = first_steps(coef, intercept, sparse, settings)
    if type(steps) is not type(fresh):
        return fresh.go_on(settings, n_seen, *start)
    if know_curvature(steps) and steps.fit_intercept != fresh.fit_intercept:  # theirs has another size
        fresh.weight = steps.weight
        return fresh.go_on(settings, n_seen, *start)
    return steps.go_on(settings, n_seen, *(start if moved else ()))


def know_curvature(steps):
    """Whether the steps know the curvature of all samples, so that one epoch comes near the optimum."""
    return isinstance(steps, (NewtonSteps, SoftmaxNewtonSteps))
