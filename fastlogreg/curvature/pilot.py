"""The pilot: the objective of a sample of the rows, whose optimum and Hessian are nearly the whole's.

With m samples for p parameters, the sample's optimum has a gap of about p / 2m nats in the whole objective, and
quasi-Newton steps from there, with the sample's Hessian, shrink the gap by p / m each: 400 samples a parameter leave
three or four passes over X to be made. (The spectrum of the Hessian seen through the sample's lies within
``(1 +- sqrt(p / m))^2``, Marchenko and Pastur 1967; conjugate directions then contract the error by sqrt(p / m).)

Rows are taken in short runs, one at a random place in each of equal stretches of X, so that sorted data do no harm.
What the sample cannot know are columns that few of its rows carry. Where there are such, the coordinates come from a
pass over all rows, and the curvatures of those columns with them.
"""

import numpy as np

from fastlogreg.data.design import DenseDesign
from fastlogreg.objectives.binary import Objective

# Below so many entries the passes to be saved cost less than the arithmetic on small arrays that a pilot takes.
MIN_ENTRIES = 500_000
ROWS_A_PARAMETER = 400
MIN_ROWS_A_PARAMETER = 4
# The pilot's copy of rows is at most this part of X.
MAX_SHARE = 1 / 16
# The Hessian of more parameters takes longer to factor than the passes it spares.
MAX_PARAMETERS = 4000
RUN = 8
# A column whose variance comes from fewer rows than that is not known; so many rows are looked at.
MIN_CARRIERS = 25
RARITY_ROWS = 4096
# Making a generator takes longer than drawing so few numbers.
_FIRST_PLACES = np.random.default_rng(0).random(1024)


def objective_with_pilot(design, target, *, sample_weight, l2, fit_intercept):
    """The `Objective` of those arguments, with a `Pilot` where one pays."""
    options = {"l2": l2, "fit_intercept": fit_intercept}
    sample = _Sample.of(design, target, sample_weight, fit_intercept)
    if sample is None:
        return Objective(design, target, sample_weight=sample_weight, **options)
    pilot = sample.objective(**options)
    coordinates = None if l2 == 0 or sample.has_rare_columns(pilot.coordinates) else pilot.coordinates
    objective = Objective(design, target, sample_weight=sample_weight, coordinates=coordinates, **options)
    if coordinates is None:
        pilot = sample.objective(coordinates=objective.coordinates, **options)
    objective.pilot = Pilot(pilot, knows_columns=coordinates is not None)
    inner = _Sample.of(pilot.design, sample.target, sample.weight, fit_intercept)
    if inner is not None:
        pilot.pilot = Pilot(inner.objective(coordinates=pilot.coordinates, **options))
    return objective


class Pilot:
    """The objective of a sample, in the coordinates of the whole's.

    Attributes
    ----------
    objective : Objective
    rows_a_parameter : float
    knows_columns : bool
        Whether the coordinates are the sample's own, so that its columns have the mean squares that they tell.
    """

    def __init__(self, objective, *, knows_columns=False):
        self.objective = objective
        self.knows_columns = knows_columns
        self.rows_a_parameter = objective.design.n_samples / objective.n_parameters

    def hessian(self, point):
        """The whole objective's Hessian as the sample knows it at a point of it (n_parameters, n_parameters).

        The sample's, with each column stretched to its mean square in all rows, which standardised coordinates tell;
        a column of zeros in the sample gets that on the diagonal alone.
        """
        objective = self.objective
        matrix = objective.hessian(point).matrix()
        if self.knows_columns:
            return matrix
        diagonal = np.diag_indices_from(matrix)
        matrix[diagonal] -= objective.ridge
        stretch, missing = self._mending()
        matrix *= np.outer(stretch, stretch)
        matrix[diagonal] += objective.ridge + missing
        return matrix

    def _mending(self):
        """What each parameter is to be stretched by, and the diagonal of what the sample does not see."""
        objective = self.objective
        stretch, missing = np.ones(objective.n_parameters), np.zeros(objective.n_parameters)
        columns = slice(objective.design.n_features)
        scale = (objective.inverse_scale / objective.inverse_intercept_scale) ** 2
        mean, variance = objective.design.moments(objective.sample_weight)
        squares = (variance + (mean - objective.center) ** 2) * scale
        # With an intercept, a constant tells nothing of a column, however far it lies from the center.
        informative = variance * scale if objective.fit_intercept else squares
        in_all = np.where(objective.inverse_scale > 0, 1.0 - objective.ridge[columns], 0.0)
        seen = informative > 1e-3 / objective.design.n_samples * in_all
        stretch[columns] = np.sqrt(np.divide(in_all, squares, out=np.zeros_like(in_all), where=seen))
        missing[columns][~seen] = in_all[~seen]
        return stretch, missing


class _Sample:
    """Some rows of a design, with their targets and weights."""

    def __init__(self, design, target, weight):
        self.design, self.target, self.weight = design, target, weight

    @classmethod
    def of(cls, design, target, weight, fit_intercept):
        """The sample, or None where a pilot does not pay or not all classes would be in it."""
        p = design.n_features + fit_intercept
        n_rows = min(ROWS_A_PARAMETER * p, int(MAX_SHARE * design.n_samples)) // RUN * RUN
        tall = design.n_samples * design.n_features >= MIN_ENTRIES and n_rows >= MIN_ROWS_A_PARAMETER * p
        if not (isinstance(design, DenseDesign) and target.ndim == 1 and tall and p <= MAX_PARAMETERS):
            return None
        rows = stratified_rows(design.n_samples, n_rows)
        target = target[rows]
        weight = None if weight is None else weight[rows]
        counted = target if weight is None else target[weight > 0]
        if counted.size < n_rows // 2 or counted.min() == counted.max():
            return None
        return cls(design.take(rows), target, weight)

    def objective(self, **options):
        return Objective(self.design, self.target, sample_weight=self.weight, **options)

    def has_rare_columns(self, coordinates):
        """Whether a few rows carry a column: its largest square is a large part of the sum of its squares."""
        n_samples = self.design.n_samples
        step = max(1, n_samples // RARITY_ROWS)
        with np.errstate(all="ignore"):
            scale = coordinates.inverse_scale / coordinates.inverse_intercept_scale
            squares = (self.design.farthest(coordinates.center, step) * scale) ** 2
        known = (squares * MIN_CARRIERS <= -(-n_samples // step)) & (coordinates.inverse_scale > 0)
        return not known.all()


def stratified_rows(n_samples, n_rows):
    """`n_rows` row numbers in runs of RUN, one run in each of n_rows / RUN equal stretches; always the same ones."""
    n_runs = n_rows // RUN
    edges = np.linspace(0, n_samples - RUN, n_runs + 1)
    starts = (edges[:-1] + _places(n_runs) * np.maximum(np.diff(edges) - RUN, 0)).astype(np.intp)
    return (starts[:, None] + np.arange(RUN)).ravel()


def _places(n_runs):
    """Where in its stretch each run begins (n_runs,), in [0, 1)."""
    return _FIRST_PLACES[:n_runs] if n_runs <= len(_FIRST_PLACES) else np.random.default_rng(0).random(n_runs)
