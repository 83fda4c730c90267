"""Whether classes are separable: a direction in which no sample's loss rises, and some samples' losses fall.

Without a penalty there is no optimum then, as the loss falls along that direction without end (Albert and Anderson
1984). It is found by a linear programme: of all directions in a box, that which adds most to the margins of the
samples, where none may lose. A programme over all samples would be large, so it begins with few and takes in those that
its direction would lose, until there are none.
"""

import itertools

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse as sp

# Unknowns of a programme, at most: HiGHS takes seconds for more.
MAX_UNKNOWNS = 500
# Margins of all samples go into the first programme where they take no more values than this.
ALL_AT_ONCE = 200_000
# Samples for each unknown that a programme begins with, and takes in at a time; programmes at most.
SAMPLES_AN_UNKNOWN = 2
MAX_PROGRAMMES = 20
# A sample loses if its margin falls by more than this part of the median gain: the rounding of the programme.
ROUNDING = 1e-9
# The margins must gain this much together, where each sample's columns are of size one.
LEAST_GAIN = 1e-9
# Tolerances of a programme, each tried where HiGHS fails with the one before, and its iterations.
TOLERANCES = (1e-10, 1e-9, 1e-7)
MAX_ITER = 20_000
# Smaller parts of a direction are the programme's rounding.
TINY = 1e-9
# Smaller parts of a column's largest distance are nothing beside it: no coefficient serves both.
NOTHING = 2.0**-52
# Rows that differ from others' combinations by less than this part are the same to float64.
RANK = 1e-14


def recession_direction(objective):
    """Parameters (p,) of a direction in which no sample's loss rises and some fall, None where there is none.

    None, too, where that is not known: without rows at hand, with more than MAX_UNKNOWNS parameters, or where rounding
    hides it.
    """
    passes = objective.passes.local
    if passes is None or objective.n_parameters > MAX_UNKNOWNS:
        return None
    held = classes_held(passes.samples)
    others = ~held if objective.apart is None else ~(held | objective.apart)
    weight = passes.samples.weight
    counted = np.arange(objective.n_samples) if weight is None else np.flatnonzero(weight)
    n_values = len(counted) * objective.n_parameters * objective.n_outputs
    n_first = SAMPLES_AN_UNKNOWN * objective.n_parameters
    chosen = counted if n_values <= ALL_AT_ONCE else counted[:: -(-len(counted) // n_first)]
    sums = _sums_of_margins(objective, held, others, weight)
    for _ in range(MAX_PROGRAMMES):
        columns, are_all = _Columns(objective, chosen), len(chosen) == len(counted)
        gradient = 0.0 * columns.gradient(*sums) if are_all else columns.gradient(*sums)
        direction = _widest(gradient, *columns.margins(held[:, chosen], others[:, chosen]))
        if direction is None:
            return None
        coef, intercept = columns.to_coef(direction)
        if are_all:
            return objective.from_coef(coef, intercept)
        least, most = (gains[counted] for gains in _gains(objective, coef, intercept, held, others))
        gained = most[most > ROUNDING * most.max()]
        if len(gained) and least.min() >= -ROUNDING * np.median(gained):
            return objective.from_coef(coef, intercept)
        losing = counted[np.argsort(least)[:n_first]]
        if np.isin(losing, chosen).all():
            return None
        chosen = np.union1d(chosen, losing)
    return None


def classes_held(samples):
    """Which classes have a part of each sample's target, (K, n)."""
    target = samples.target
    if samples.n_classes == 2:
        return np.array([target < 1, target > 0])
    if target.ndim == 1:
        return target == np.arange(samples.n_classes)[:, np.newaxis]
    return np.ascontiguousarray(target.T > 0)


class _Columns:
    """The columns of some samples, less their medians and in units of their typical distance from these: sentinels and
    far origins would hide what else a column tells from a programme.
    """

    def __init__(self, objective, rows):
        X = objective.passes.local.design.X[rows]
        X = X.toarray() if sp.issparse(X) else np.asarray(X)
        X = X.astype(np.float64)
        self._n_classes, self._fit_intercept = objective.n_classes, objective.fit_intercept
        self._center = np.median(X, axis=0) if objective.fit_intercept else np.zeros(X.shape[1])
        X -= self._center
        distances = np.where(X != 0, np.abs(X), np.nan)
        varies = self._varies = (objective.inverse_scale > 0) & (X != 0).any(axis=0)
        self._inverse_scale = np.array(objective.inverse_scale)
        typical, largest = np.nanmedian(distances[:, varies], axis=0), np.nanmax(distances[:, varies], axis=0)
        self._inverse_scale[varies] = 1.0 / np.maximum(typical, NOTHING * largest)
        self._columns = X * self._inverse_scale
        if objective.fit_intercept:
            self._columns = np.column_stack([self._columns, np.ones(len(X))])

    def margins(self, held, others):
        """The rows (m, unknowns) whose products with a direction are changes of margins, scaled to a largest entry of
        one, and whether they must not change (m,), between classes that both have a part of a sample's target. The
        unknowns are coefficients and intercept of the second of two classes, or of each of K.
        """
        largest = np.abs(self._columns).max(axis=1, initial=0.0, keepdims=True)
        rows = self._columns / np.where(largest > 0, largest, 1.0)
        if self._n_classes == 2:
            counted = held.all(axis=0) | others.any(axis=0)
            return (np.where(held[1], 1.0, -1.0)[:, np.newaxis] * rows)[counted], held.all(axis=0)[counted]
        margins, equal = [], []
        for k, other in itertools.permutations(range(self._n_classes), 2):
            chosen = held[k] & (others[other] | (held[other] & (k < other)))  # two that must not part need one row
            margin = np.zeros((np.count_nonzero(chosen), self._n_classes, rows.shape[1]))
            margin[:, k], margin[:, other] = rows[chosen], -rows[chosen]
            margins.append(margin.reshape(len(margin), self._n_classes * rows.shape[1]))
            equal.append(held[other, chosen])
        return np.concatenate(margins), np.concatenate(equal)

    def gradient(self, of_coef, of_intercept):
        """In the unknowns, the gradient of what is linear in coefficients (K, d) and intercepts (K,), scaled: for the
        columns that the samples do not tell.
        """
        gradient = self._inverse_scale * (of_coef - np.outer(of_intercept, self._center))
        gradient[:, self._varies] = 0.0
        gradient /= max(np.abs(gradient).max(initial=0.0), 1e-300)
        return np.pad(gradient, ((0, 0), (0, self._fit_intercept))).ravel()

    def to_coef(self, direction):
        """Coefficients (1 or K, d) and intercepts of a direction."""
        d = len(self._center)
        direction = direction.reshape(-1, d + self._fit_intercept)
        coef = direction[:, :d] * self._inverse_scale
        intercept = np.zeros(len(coef))
        if self._fit_intercept:
            intercept = direction[:, d] - coef @ self._center
        return coef, intercept


def _sums_of_margins(objective, held, others, weight):
    """The sums of all samples' margins to `others`, classes without a part of their targets, as a function of
    coefficients (K, d) and intercepts (K,), which it is linear in: its gradient. One pass.
    """
    if objective.n_classes == 2:
        share = np.subtract(held[1:] & others[:1], held[:1] & others[1:], dtype=np.float64)
    else:
        share = np.subtract(held * others.sum(axis=0), others * held.sum(axis=0), dtype=np.float64)
    if weight is not None:
        share *= weight > 0
    zeros = np.zeros((len(share), objective.n_features))
    return objective.passes.local.design.hessian_dot(share, zeros, np.ones(len(share)))


def _widest(gradient, margins, equal):
    """The direction in a box that adds most to the `margins` of some samples, and along `gradient` to those of all,
    takes from no margin, and leaves `equal` ones alone; None where that is nothing.
    """
    programme = {
        "c": -gradient - margins[~equal].sum(axis=0),
        "A_ub": -margins[~equal],
        "b_ub": np.zeros(np.count_nonzero(~equal)),
        "A_eq": margins[equal] if equal.any() else None,
        "b_eq": np.zeros(np.count_nonzero(equal)) if equal.any() else None,
        "bounds": (-1.0, 1.0),
    }
    for tolerance in TOLERANCES:
        accuracy = {"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance}
        result = scipy.optimize.linprog(**programme, method="highs", options=accuracy | {"maxiter": MAX_ITER})
        if result.status == 0:
            break
    if result.status != 0 or -result.fun <= LEAST_GAIN:
        return None
    direction = _without_slack(np.where(np.abs(result.x) > TINY, result.x, 0.0), margins, equal)
    gained = gradient @ direction + np.sum(margins[~equal] @ direction)
    return direction if gained > LEAST_GAIN else None


def _without_slack(direction, margins, equal):
    """The direction less what lets margins change that should not: the tolerance of a programme. Nothing may be left,
    as where a sample loses by less than the tolerance whatever the direction.
    """
    gains = ~equal & (margins @ direction > LEAST_GAIN)
    while not gains.all():
        basis, triangle, _ = scipy.linalg.qr(margins[~gains].T, mode="economic", pivoting=True)
        sizes = np.abs(np.diagonal(triangle))
        basis = basis[:, : len(sizes)][:, sizes > RANK * sizes.max(initial=0.0)]
        exact = direction
        for _ in range(2):
            exact = exact - basis @ (basis.T @ exact)
        stands = gains & (margins @ exact > LEAST_GAIN)
        if np.array_equal(stands, gains):
            return exact
        gains = stands
    return direction


def _gains(objective, coef, intercept, held, others):
    """The least and the most that each sample's margins gain along a direction, (n,) each: those of classes with a part
    of its target to the others. Where these classes part, it loses.
    """
    if objective.n_classes == 2:
        (gains,) = objective.passes.local.design.logits(coef, intercept)
        np.negative(gains, out=gains, where=held[0] & others[1])
        return np.where(held.all(axis=0), -np.abs(gains), gains), gains
    logits = _logits_of_classes(objective, coef, intercept)
    lowest, highest = (
        bound(np.where(held, logits, fill), axis=0) for bound, fill in ((np.min, np.inf), (np.max, -np.inf))
    )
    parted = highest - lowest
    highest_other = np.where(others, logits, -np.inf).max(axis=0)
    lowest_other = np.where(others, logits, np.inf).min(axis=0)
    has_other = others.any(axis=0)
    least = np.where(has_other, lowest - highest_other, 0.0)
    most = np.where(has_other, highest - lowest_other, 0.0)
    return np.where(parted > 0, np.minimum(least, -parted), least), most


def margins_along(objective, parameters, held):
    """The margins (K, n) of classes with a part of each sample's target to each other class, at or along parameters;
    zero for those classes themselves.
    """
    logits = _logits_of_classes(objective, *objective.to_coef(parameters))
    return np.where(held, 0.0, np.where(held, logits, np.inf).min(axis=0) - logits)


def _logits_of_classes(objective, coef, intercept):
    """Logits (K, n); of two classes, the first one's are zero."""
    logits = objective.passes.local.design.logits(coef, intercept)
    return np.vstack([np.zeros(len(logits[0])), logits]) if objective.n_classes == 2 else logits
