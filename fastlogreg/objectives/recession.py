"""Whether classes are separable: a direction in which no sample's loss rises, and some samples' losses fall.

Without a penalty there is no optimum then, as the loss falls along that direction without end (Albert and Anderson
1984). Columns that do it alone, as flags of one class do, show in one reading. Else it is found by a linear programme:
of all directions in a box, that which adds most to the margins of the samples, where none may lose. A programme over
all samples would be large, so it begins with few and takes in those that its direction would lose, until there are
none.
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
# A sample loses if its margin falls by more than this, where its columns are of size one.
ROUNDING = 1e-11
# Values of X that are looked at in one go.
BLOCK_VALUES = 100_000
# The margins must gain this much together, where each sample's columns are of size one.
LEAST_GAIN = 1e-9
# Tolerances of a programme, each tried where HiGHS fails with the one before, and its iterations. Of a few samples in
# place of all, the loosest comes first: it takes a tenth of the time, and what it hides the others show.
TOLERANCES = (1e-10, 1e-9, 1e-7)
MAX_ITER = 5000
# Smaller parts of a direction are the programme's rounding.
TINY = 1e-9
# Smaller parts of a column's largest distance are nothing beside it: no coefficient serves both.
NOTHING = 2.0**-52
# Rows that differ from others' combinations by less than this part are the same to float64.
RANK = 1e-14


def recession_direction(objective):
    """Parameters (p,) of a direction in which no sample's loss rises and some fall, None where there is none.

    None, too, where that is not known: without rows at hand, or where columns alone do not do it, with more than
    MAX_UNKNOWNS parameters, or where rounding hides it.
    """
    passes = objective.passes.local
    if passes is None:
        return None
    held = classes_held(passes.samples)
    others = ~held if objective.apart is None else ~(held | objective.apart)
    weight = passes.samples.weight
    counted = np.arange(objective.n_samples) if weight is None else np.flatnonzero(weight)
    direction = _by_columns_alone(objective, held, others, counted)
    if direction is None and objective.n_parameters <= MAX_UNKNOWNS:
        direction = _by_programmes(objective, held, others, counted)
    return direction


def _by_columns_alone(objective, held, others, counted):
    """The direction in which each column that sets a class apart alone does so: where no value that the class has is
    below one of the others', or above, and shared samples all have the value in between. None without such columns.
    """
    lowest, highest = _extremes(objective, held, others, counted)
    n_classes, d = lowest.shape[1:]
    span = highest.max(axis=(0, 1)) - lowest.min(axis=(0, 1))
    coef, intercept = np.zeros((n_classes, d)), np.zeros(n_classes)
    for k, sign in itertools.product(range(n_classes), (1.0, -1.0)):
        least, most = (lowest[:, k], highest[:, k]) if sign > 0 else (-highest[:, k], -lowest[:, k])
        bound = np.maximum(most[1], most[2]) if objective.fit_intercept else np.zeros(d)
        fits = (most[1] <= bound) & (bound <= least[0]) & (most[2] <= bound) & (bound <= least[2])
        unit = np.divide(1.0, span, out=np.zeros(d), where=fits & np.isfinite(bound) & (span > 0))
        coef[k] += sign * unit
        intercept[k] -= np.sum(unit[unit > 0] * bound[unit > 0])
    if not coef.any():
        return None
    if n_classes == 2:
        coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return objective.from_coef(coef, intercept)


def _extremes(objective, held, others, counted):
    """The least and the greatest values (3, K, d) of the columns, for each class: of samples that hold it alone, that
    may not go to it, and that share it.
    """
    n_classes, d = len(held), objective.n_features
    lowest, highest = np.full((3, n_classes, d), np.inf), np.full((3, n_classes, d), -np.inf)
    alone = held.sum(axis=0) == 1
    for rows, X in _blocks(objective, counted):
        for k in range(n_classes):
            holds = held[k, rows]
            for part, chosen in enumerate((holds & alone[rows], others[k, rows], holds & ~alone[rows])):
                if chosen.any():
                    lowest[part, k] = np.minimum(lowest[part, k], X[chosen].min(axis=0))
                    highest[part, k] = np.maximum(highest[part, k], X[chosen].max(axis=0))
    return lowest, highest


def _blocks(objective, counted):
    """The rows of X that count, some at a time, with their numbers."""
    length = max(1, BLOCK_VALUES // objective.n_features)
    for first in range(0, len(counted), length):
        rows = counted[first : first + length]
        yield rows, _rows_of(objective, rows)


def _rows_of(objective, rows):
    """Rows of X, dense and in float64."""
    X = objective.passes.local.design.X[rows]
    return (X.toarray() if sp.issparse(X) else np.asarray(X)).astype(np.float64)


def _by_programmes(objective, held, others, counted):
    n_values = len(counted) * objective.n_parameters * objective.n_outputs
    n_first = SAMPLES_AN_UNKNOWN * objective.n_parameters
    chosen = counted if n_values <= ALL_AT_ONCE else counted[:: -(-len(counted) // n_first)]
    sums = _sums_of_margins(objective, held, others, counted)
    for _ in range(MAX_PROGRAMMES):
        columns, are_all = _Columns(objective, chosen), len(chosen) == len(counted)
        gradient = 0.0 * columns.gradient(*sums) if are_all else columns.gradient(*sums)
        tolerances = TOLERANCES if are_all else TOLERANCES[::-1]
        direction = _widest(gradient, *columns.margins(held[:, chosen], others[:, chosen]), tolerances)
        if direction is None:
            return None
        if not are_all:
            losses = _losses(objective, columns, direction, held, others, counted)
            losing = counted[np.argsort(-losses)[:n_first]][: np.count_nonzero(losses > ROUNDING)]
            if np.isin(losing, chosen).all() and len(losing):
                return None
            chosen = np.union1d(chosen, losing)
        if are_all or not len(losing):
            return objective.from_coef(*columns.to_coef(direction))
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
        X = _rows_of(objective, rows)
        self._n_classes, self._fit_intercept = objective.n_classes, objective.fit_intercept
        self._center = np.median(X, axis=0) if objective.fit_intercept else np.zeros(X.shape[1])
        X -= self._center
        distances = np.where(X != 0, np.abs(X), np.nan)
        varies = self._varies = (objective.inverse_scale > 0) & (X != 0).any(axis=0)
        self._inverse_scale = np.array(objective.inverse_scale)
        typical, largest = np.nanmedian(distances[:, varies], axis=0), np.nanmax(distances[:, varies], axis=0)
        self._inverse_scale[varies] = 1.0 / np.maximum(typical, NOTHING * largest)
        self._unit_rows = self._in_units(X)

    def _in_units(self, X):
        """Rows less the medians, scaled to a largest entry of one, with that of the intercept where there is one."""
        columns = X * self._inverse_scale
        if self._fit_intercept:
            columns = np.column_stack([columns, np.ones(len(X))])
        largest = np.abs(columns).max(axis=1, initial=0.0, keepdims=True)
        return columns / np.where(largest > 0, largest, 1.0)

    def changes(self, X, direction):
        """The changes (1 or K, m) of the logits of rows of X along a direction."""
        rows = self._in_units(X - self._center)
        return direction.reshape(-1, rows.shape[1]) @ rows.T

    def margins(self, held, others):
        """The rows (m, unknowns) whose products with a direction are changes of margins, scaled to a largest entry of
        one, and whether they must not change (m,), between classes that both have a part of a sample's target. The
        unknowns are coefficients and intercept of the second of two classes, or of each of K.
        """
        rows = self._unit_rows
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


def _sums_of_margins(objective, held, others, counted):
    """The sums of all samples' margins to `others`, classes without a part of their targets, as a function of
    coefficients (K, d) and intercepts (K,), which it is linear in: its gradient. One pass.
    """
    if objective.n_classes == 2:
        share = np.subtract(held[1:] & others[:1], held[:1] & others[1:], dtype=np.float64)
    else:
        share = np.subtract(held * others.sum(axis=0), others * held.sum(axis=0), dtype=np.float64)
    if len(counted) < objective.n_samples:
        share[:, objective.passes.local.samples.weight == 0] = 0.0
    zeros = np.zeros((len(share), objective.n_features))
    return objective.passes.local.design.hessian_dot(share, zeros, np.ones(len(share)))


def _widest(gradient, margins, equal, tolerances):
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
    for tolerance in tolerances:
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


def _losses(objective, columns, direction, held, others, counted):
    """How much the margin of each sample that counts falls along a direction, (m,), where its columns are of size one:
    that of classes with a part of its target to the others. Where those part, it loses as well.
    """
    losses = []
    for rows, X in _blocks(objective, counted):
        changes = columns.changes(X, direction)
        if objective.n_classes == 2:
            changes = np.vstack([np.zeros(len(X)), changes])
        holds, may = held[:, rows], others[:, rows]
        lowest = np.where(holds, changes, np.inf).min(axis=0)
        parted = np.where(holds, changes, -np.inf).max(axis=0) - lowest
        losses.append(np.maximum(np.where(may, changes, -np.inf).max(axis=0) - lowest, parted))
    return np.concatenate(losses)


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
