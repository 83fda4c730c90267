"""Whether classes are separable: a direction in which no sample's loss rises, and some samples' losses fall.

Without a penalty there is no optimum then, as the loss falls along that direction without end (Albert and Anderson
1984). It is found by a linear programme: of all directions in a box, that which adds most to the margins of the
samples, where none may lose. A programme over all samples would be large, so it begins with few and takes in those that
its direction would lose, until there are none.
"""

import numpy as np
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
LEAST_GAIN = 1e-7
# Smaller parts of a direction are the programme's rounding.
TINY = 1e-9


def recession_direction(objective):
    """Parameters (p,) of a direction in which no sample's loss rises and some fall, None where there is none.

    None, too, where that is not known: without rows at hand or labels, with more than MAX_UNKNOWNS parameters, or where
    rounding hides it.
    """
    passes = objective.passes.local
    if passes is None or not passes.has_labels or objective.n_parameters > MAX_UNKNOWNS:
        return None
    weight = passes.samples.weight
    counted = np.arange(objective.n_samples) if weight is None else np.flatnonzero(weight)
    target = passes.samples.target.astype(np.intp)
    n_values = len(counted) * objective.n_parameters * objective.n_outputs
    n_first = SAMPLES_AN_UNKNOWN * objective.n_parameters
    chosen = counted if n_values <= ALL_AT_ONCE else counted[:: -(-len(counted) // n_first)]
    sums = _sums_of_margins(objective, target, weight)
    for _ in range(MAX_PROGRAMMES):
        columns = _Columns(objective, chosen)
        direction = _widest(columns.gradient(*sums), columns.margins(target[chosen]))
        if direction is None:
            return None
        coef, intercept = columns.to_coef(direction)
        least, most = (gains[counted] for gains in _gains(objective, coef, intercept, target))
        gained = most[most > ROUNDING * most.max()]
        if len(gained) and least.min() >= -ROUNDING * np.median(gained):
            return objective.from_coef(coef, intercept)
        losing = counted[np.argsort(least)[:n_first]]
        if np.isin(losing, chosen).all():
            return None
        chosen = np.union1d(chosen, losing)
    return None


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
        self._inverse_scale[varies] = 1.0 / np.nanmedian(distances[:, varies], axis=0)
        self._columns = X * self._inverse_scale
        if objective.fit_intercept:
            self._columns = np.column_stack([self._columns, np.ones(len(X))])

    def margins(self, target):
        """The rows (m, unknowns) whose products with a direction are changes of margins, scaled to a largest entry of
        one. The unknowns are coefficients and intercept of the second of two classes, or of each of K.
        """
        largest = np.abs(self._columns).max(axis=1, initial=0.0, keepdims=True)
        rows = self._columns / np.where(largest > 0, largest, 1.0)
        if self._n_classes == 2:
            return rows * np.where(target == 1, 1.0, -1.0)[:, np.newaxis]
        n_classes, (n_rows, width) = self._n_classes, rows.shape
        margins = np.zeros((n_rows, n_classes, n_classes, width))
        margins -= rows[:, np.newaxis, np.newaxis] * np.eye(n_classes)[:, :, np.newaxis]
        margins[np.arange(n_rows), :, target] += rows[:, np.newaxis]
        others = np.arange(n_classes) != target[:, np.newaxis]
        return margins[others].reshape(-1, n_classes * width)

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


def _sums_of_margins(objective, target, weight):
    """The sums of all samples' margins to the other classes, as a function of coefficients (K, d) and intercepts (K,),
    which it is linear in: its gradient. One pass.
    """
    n_classes, counted = objective.n_classes, 1.0 if weight is None else 1.0 * (weight > 0)
    if n_classes == 2:
        share = np.where(target == 1, 1.0, -1.0)[np.newaxis] * counted
    else:
        share = (n_classes * (target == np.arange(n_classes)[:, np.newaxis]) - 1.0) * counted
    zeros = np.zeros((len(share), objective.n_features))
    return objective.passes.local.design.hessian_dot(share, zeros, np.ones(len(share)))


def _widest(gradient, margins):
    """The direction in a box that adds most to the `margins` of some samples, and along `gradient` to those of all, and
    takes from no margin; None where that is nothing.
    """
    result = scipy.optimize.linprog(
        -gradient - margins.sum(axis=0),
        A_ub=-margins,
        b_ub=np.zeros(len(margins)),
        bounds=(-1.0, 1.0),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if result.status != 0 or -result.fun <= LEAST_GAIN:
        return None
    return np.where(np.abs(result.x) > TINY, result.x, 0.0)


def _gains(objective, coef, intercept, target):
    """The least and the most that each sample's margins to the other classes gain along a direction, (n,) each."""
    logits = objective.passes.local.design.logits(coef, intercept)
    if objective.n_classes == 2:
        gains = np.where(target == 1, logits[0], -logits[0])
        return gains, gains
    n = np.arange(len(target))
    own = logits[target, n].copy()
    lowest = logits.min(axis=0)
    logits[target, n] = -np.inf
    return own - logits.max(axis=0), own - lowest
