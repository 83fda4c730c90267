"""The pilot: the objective of a sample of the rows, whose optimum and Hessian are nearly those of all rows.

With m rows for p parameters, the sample's optimum has a gap of about p / 2m nats in the objective of all rows, and
quasi-Newton steps from there, with the sample's Hessian, shrink the gap by p / m each: 400 rows for each parameter
leave three or four passes over X to be made. (The spectrum of the Hessian seen through the sample's lies within
``(1 +- sqrt(p / m))^2``, Marchenko and Pastur 1967; conjugate directions then contract the error by sqrt(p / m).)

Rows are taken in short runs, one at a random place in each of equal stretches of X, so that sorted data do no harm.
A column that few rows of the sample carry is not known from it. Where there are such columns, the coordinates come from
a pass over all rows, and the curvatures of these columns with them.
"""

import numpy as np

from fastlogreg.objectives.binary import BinaryObjective

# Rows of the sample lie together in runs of eight: memory is read in whole lines.
RUN = 8
# A column whose variance comes from fewer than 25 rows is not known. At least 4096 rows, or all, are looked at to tell.
MIN_CARRIERS = 25
RARITY_ROWS = 4096
# Making a generator takes longer than drawing a thousand numbers.
_FIRST_PLACES = np.random.default_rng(0).random(1024)


def objective_with_pilot(passes, penalty, *, fit_intercept, rows_of_pilot):
    """The `BinaryObjective` of those arguments, with a `Pilot` where one pays.

    ``rows_of_pilot(passes, fit_intercept)`` is the number of rows to take, 0 where a pilot does not pay.
    """
    options = {"fit_intercept": fit_intercept}
    sample = _sample(passes, rows_of_pilot(passes, fit_intercept))
    if sample is None:
        return BinaryObjective(passes, penalty, **options)
    pilot = BinaryObjective(sample, penalty, **options)
    coordinates = pilot.coordinates if penalty.is_strict and not _has_rare_columns(sample, pilot.coordinates) else None
    objective = BinaryObjective(passes, penalty, coordinates=coordinates, **options)
    if coordinates is None:
        pilot = BinaryObjective(sample, penalty, coordinates=objective.coordinates, **options)
    objective.pilot = Pilot(pilot, knows_columns=coordinates is not None)
    inner = _sample(sample, rows_of_pilot(sample, fit_intercept))
    if inner is not None:
        pilot.pilot = Pilot(BinaryObjective(inner, penalty, coordinates=pilot.coordinates, **options))
    return objective


class Pilot:
    """The objective of a sample of the rows, in the coordinates of the objective of all rows.

    Attributes
    ----------
    objective : BinaryObjective
    rows_a_parameter : float
    knows_columns : bool
        Whether the coordinates are the sample's own. If not, its columns are stretched to their mean squares in all
        rows, which the coordinates tell.
    """

    def __init__(self, objective, *, knows_columns=False):
        self.objective = objective
        self.knows_columns = knows_columns
        self.rows_a_parameter = objective.n_samples / objective.n_parameters

    def hessian(self, point):
        """The Hessian of the objective of all rows, as the sample knows it (n_parameters, n_parameters).

        It is the sample's at a `point` of its objective, with each column stretched to its mean square in all rows,
        unless the sample knows the columns. A column that the sample does not see gets that on the diagonal alone.
        """
        objective = self.objective
        matrix = objective.hessian(point).matrix()
        if self.knows_columns:
            return matrix
        diagonal = np.diag_indices_from(matrix)
        ridge = objective.penalty.curvature
        matrix[diagonal] -= ridge
        stretch, missing = self._mending()
        matrix *= np.outer(stretch, stretch)
        matrix[diagonal] += ridge + missing
        return matrix

    def _mending(self):
        """What each parameter is to be stretched by, and the diagonal of what the sample does not see."""
        objective = self.objective
        stretch, missing = np.ones(objective.n_parameters), np.zeros(objective.n_parameters)
        columns = slice(objective.n_features)
        scale = (objective.inverse_scale / objective.inverse_intercept_scale) ** 2
        mean, variance = objective.passes.moments()
        squares = (variance + (mean - objective.center) ** 2) * scale
        # With an intercept, a constant tells nothing of a column, however far it lies from the center.
        informative = variance * scale if objective.fit_intercept else squares
        in_all = np.where(objective.inverse_scale > 0, objective.mean_squares[columns], 0.0)
        seen = informative > 1e-3 / objective.n_samples * in_all
        stretch[columns] = np.sqrt(np.divide(in_all, squares, out=np.zeros_like(in_all), where=seen))
        missing[columns][~seen] = in_all[~seen]
        return stretch, missing


def _sample(passes, n_rows):
    """Passes over a sample of `n_rows` rows. None for no rows, and where fewer than half of them have a weight, or all
    of these the same target.
    """
    if n_rows == 0:
        return None
    sample = passes.take(stratified_rows(passes.n_samples, n_rows))
    n_counted = n_rows if sample.samples.weight is None else np.count_nonzero(sample.samples.weight)
    return sample if n_counted >= n_rows // 2 and sample.samples.tells_classes_apart else None


def _has_rare_columns(sample, coordinates):
    """Whether a few rows carry a column: its largest square is a large part of the sum of its squares."""
    step = max(1, sample.n_samples // RARITY_ROWS)
    with np.errstate(all="ignore"):
        scale = coordinates.inverse_scale / coordinates.inverse_intercept_scale
        squares = (sample.design.farthest(coordinates.center, step) * scale) ** 2
    known = (squares * MIN_CARRIERS <= -(-sample.n_samples // step)) & (coordinates.inverse_scale > 0)
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
