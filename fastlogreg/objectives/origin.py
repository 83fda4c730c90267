"""Columns in units and from origins that float64 can compute with, and the coefficients of X itself.

In the logits of a column millions of spreads from zero large terms cancel: coefficient times value, and what the
intercept takes away again. They leave more rounding than the optimum is sought to. So the fit is one on columns less an
*origin*, from a copy of X; the intercepts of X itself are those less ``coef @ origin``, a sum without rounding.

Columns so small that their squares vanish would be taken for constant ones. With a penalty they are as good as that;
without one, the fit is one on columns times a *unit*, a power of two.
"""

from fractions import Fraction

import numpy as np
import scipy.sparse as sp

# The terms that a unit of a parameter moves by more cancel to too few digits: a logit has sixteen.
FAR = 1e6
# The squares of columns no larger than this vanish, or nearly.
TINY = 1e-150


def within_reach(objective, build):
    """The objective, or ``build(passes)`` with columns in other units and counted from near their means where that is
    needed.
    """
    if objective.passes.local is None or not objective.finite:
        return objective
    if objective.penalty.is_zero:
        objective = _in_units(objective, build)
    return _from_origin(objective, build)


def _in_units(objective, build):
    small = np.flatnonzero((objective.inverse_scale == 0) | (objective.inverse_scale > 1 / TINY))
    if not len(small):
        return objective
    columns = abs(objective.passes.local.design.X[:, small]).max(axis=0)
    largest = columns.toarray().ravel() if sp.issparse(columns) else np.asarray(columns, dtype=np.float64)
    is_tiny = (largest > 0) & (largest < TINY)
    if not is_tiny.any():
        return objective
    unit = np.ones(objective.n_features)
    unit[small[is_tiny]] = np.ldexp(1.0, -np.frexp(largest[is_tiny])[1])
    return _over(objective, build, objective.passes.local.design.in_units(unit), unit, None)


def _from_origin(objective, build):
    center = objective.center
    is_far = np.abs(center * objective.inverse_scale) > FAR
    if not is_far.any():
        return objective
    design, origin = objective.passes.local.design.counted_from(np.where(is_far, center, 0.0))
    return _over(objective, build, design, objective.unit, origin) if origin.any() else objective


def _over(objective, build, design, unit, origin):
    other = build(objective.passes.local.over(design))
    other.unit, other.origin = unit, origin
    other.count(objective.n_passes)
    return other


def moved(intercept, coef, origin):
    """``intercept + coef @ origin`` (K,), rounded once; coef is (K, d)."""
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        return intercept + coef @ origin
    columns = np.flatnonzero(origin)
    terms = [[Fraction(value) for value in row] for row in (origin[columns], *coef[:, columns].astype(np.float64))]
    starts = [Fraction(float(value)) for value in intercept]
    return np.array(
        [float(sum(map(Fraction.__mul__, terms[0], row), start)) for row, start in zip(terms[1:], starts, strict=True)]
    )
