"""Whether a direction separates the classes, wholly or in part, so that nothing but a penalty bounds the coefficients.

By linear programming, in an orthonormal basis of columns and rows scaled to sizes alike; both answers are checked in
extended precision, and what does not stand the check is "undecided".
"""

from dataclasses import dataclass

import numpy as np
from extended import EPS, REAL, pivoted_qr
from judge import FINEST, Minimum, minimum
from scipy.optimize import linprog

# A margin of less than this part of the direction, rows having entries up to one, is none as far as rounding tells.
ROUNDING = 1e-13
# What a linear programme's solution must give as a margin, to be no error of its own.
LEAST_MARGIN = 1e-6


@dataclass
class Separation:
    """What `separation` found.

    Attributes
    ----------
    verdict : str
        "separable", "partly", "no", or "undecided".
    apart : ndarray of shape (K, n) or None
        The classes that some direction sets a sample apart from, while it leaves none on its wrong side.
    """

    verdict: str
    apart: np.ndarray | None = None


def separation(problem, resolution=100 * EPS):
    """The `Separation` of a `judge.Problem`.

    Columns that differ from others' combinations by less than the part `resolution` of their lengths are left alone.
    """
    rows, pairs, equal = _margins(problem, _equilibrated_basis(problem, resolution))
    length = np.max(np.abs(rows), axis=1, initial=0)
    rows = rows / np.where(length > 100 * EPS, length, np.inf)[:, None]  # what is left of rows of zeros is rounding
    positive = _made_positive(rows, equal)
    if positive is None:
        return Separation("no" if _balanced(rows, equal) else "undecided")
    apart = np.zeros(problem.target.shape, dtype=bool)
    for (k, i), is_positive in zip(pairs, positive, strict=True):
        apart[k, i] |= is_positive
    return Separation("separable" if np.all(positive) else "partly", apart)


def infimum(problem, found, resolution=FINEST):
    """The `judge.Minimum` of what a separation leaves: samples among the classes that they are not set apart from.

    That is the objective's infimum: the losses of what is set apart vanish along the direction that does it, and the
    others' do not change.
    """
    held = ~found.apart
    if np.all(held.sum(axis=0) == 1):
        return Minimum(REAL(0), REAL(0), np.zeros((problem.n_outputs, problem.Z.shape[1] + 1), dtype=REAL), 0)
    return minimum(problem.with_held(held), resolution=resolution)


def _equilibrated_basis(problem, resolution):
    """An orthonormal basis (n, r) of the columns and the intercept, after rows and columns were scaled."""
    A = np.column_stack([problem.Z, np.ones(len(problem.Z), dtype=REAL)])[
        :, : problem.Z.shape[1] + problem.fit_intercept
    ]
    for axis in (0, 1, 0, 1, 0, 1):
        present = A != 0
        logs = np.log(np.abs(A), out=np.zeros_like(A), where=present)
        A = A / np.exp(logs.sum(axis=axis, keepdims=True) / np.maximum(present.sum(axis=axis, keepdims=True), 1))
    return pivoted_qr(A / np.maximum(np.sqrt(np.sum(A**2, axis=0)), np.finfo(REAL).tiny), resolution).basis()


def _margins(problem, basis):
    """The rows whose products with a direction (m r) must not be negative, the class and the sample that each is about,
    and which products must be zero: those of two classes that both have a part of a target.
    """
    rows, pairs, equal = [], [], []
    for k in range(len(problem.target)):
        for other in range(len(problem.target)):
            if other == k:
                continue
            both = problem.target[other] > 0
            # two classes with parts of a target need only one row
            chosen = np.flatnonzero((problem.target[k] > 0) & ~(both & (k < other)))
            contrast = problem.contrasts[:, k] - problem.contrasts[:, other]
            rows.append(
                np.einsum("k,ij->ikj", contrast, basis[chosen]).reshape(len(chosen), len(contrast) * basis.shape[1])
            )
            pairs += [(other, i) for i in chosen]
            equal.append(both[chosen])
    return np.concatenate(rows), pairs, np.concatenate(equal)


def _made_positive(rows, equal):
    """Which products some direction makes positive while it makes none negative; None where there are none."""
    n, width = rows.shape
    values = rows.astype(np.float64)
    # as much as possible of margins that are counted up to one: then all that can be positive are
    found = _solved(
        c=np.concatenate([np.zeros(width), np.where(equal, 0.0, -1.0)]),
        A_ub=np.hstack([-values, np.eye(n)]),
        b_ub=np.zeros(n),
        A_eq=np.hstack([values[equal], np.zeros((int(equal.sum()), n))]) if np.any(equal) else None,
        b_eq=np.zeros(int(equal.sum())) if np.any(equal) else None,
        bounds=[(None, None)] * width + [(0.0, 0.0 if is_equal else 1.0) for is_equal in equal],
    )
    if found is None:
        return None
    direction = found[:width].astype(REAL)
    positive = ~equal & (rows @ direction > LEAST_MARGIN)
    while np.any(positive):
        exact = _without(rows[~positive], direction)
        margin, size = rows @ exact, np.max(np.abs(exact))
        stands = positive & (margin > LEAST_MARGIN * size)
        if np.all(stands == positive):
            return positive if np.all(np.abs(margin[~positive]) <= ROUNDING * size) else None
        positive = stands
    return None


def _without(rows, direction):
    """The direction less what it has of the rows."""
    if len(rows) > 0:
        basis = pivoted_qr(rows.T, 1e-15).basis()
        for _ in range(2):
            direction = direction - basis @ (basis.T @ direction)
    return direction


def _balanced(rows, equal):
    """Whether positive multiples of the rows, of either sign where products must be zero, add up to nothing: then no
    direction separates (Stiemke's lemma).
    """
    multiples = _solved(
        c=np.where(equal, 0.0, 1.0),
        A_eq=rows.T.astype(np.float64),
        b_eq=np.zeros(rows.shape[1]),
        bounds=[(None, None) if is_equal else (1.0, None) for is_equal in equal],
    )
    if multiples is None:
        return False
    basis, multiples = pivoted_qr(rows, 100 * EPS).basis(), multiples.astype(REAL)
    for _ in range(2):
        multiples = multiples - basis @ (basis.T @ multiples)
    return bool(np.all(multiples[~equal] > 0.5))


def _solved(**programme):
    """The solution of a linear programme, as accurate as HiGHS can; None where it finds none."""
    for tolerance in (1e-10, 1e-9, 1e-7):
        accuracy = {"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance}
        result = linprog(**programme, method="highs", options=accuracy)
        if result.status == 0:
            return result.x
    return None
