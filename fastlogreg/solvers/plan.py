"""The plan: which way serves which data, with all its costs in passes over X and where they were measured.

`next_way` is asked before each stage of a fit and names the stage with its reason; `fastlogreg.solvers.auto` carries it
out. Stages ask here, too, what a Hessian costs them. A cost of one pass is the time of one evaluation of loss and
gradient.
"""

import math
from typing import NamedTuple

from fastlogreg.curvature.pilot import RUN

# Above 1500 parameters, or with more columns than samples, a Hessian costs more to form and factor than the products
# that it spares. Up to 300 columns it is cheaper even with fewer samples than columns.
MAX_MATRIX_PARAMETERS = 1500
FEW_COLUMNS = 300

# A copy of X in combinations of its columns may hold 32 MB, or where that is more, eight values for each entry of X.
MAX_COMBINED_VALUES = 4_000_000
MAX_COMBINED_SHARE = 8

# What a Hessian's matrix and factor cost for each parameter, in passes, measured on dense data: 1.5 passes with 50
# parameters, 4.4 with 200, 17 with 784. Keeping a Hessian too long wastes passes, giving it up too early wastes a
# Hessian; beyond 200 parameters the former is the dearer mistake, so no more are counted. The cost is the same for
# dense and sparse data, so that their steps agree.
HESSIAN_PASSES = 0.025
MAX_COUNTED_PARAMETERS = 200
# Where most of X is zero: 1.7 passes with 209 columns.
HESSIAN_PASSES_OF_FEW_ENTRIES = 2.0
# Passes for each parameter with more than two classes, whose Hessian takes a Gram matrix for each pair of them: 10
# passes with 7 classes and 54 columns, 25 with 10 classes and 64 columns.
HESSIAN_PASSES_OF_CLASSES = 0.06
# A sparse Hessian: multiplying two entries of a row takes a third of the time that a pass takes for one entry, measured
# with 14 and 20 entries in a row and 123 and 946 columns. A term of the factor takes a fortieth of that time.
PASSES_OF_A_PRODUCT = 1 / 3
PASSES_OF_A_FACTOR_TERM = 1 / 40

# Passes that conjugate gradients take for a proof. A factored Hessian gives one without them.
PASSES_OF_A_PROOF = 10
# After a direction of more than 40 products, the exact Hessian of the 300 fullest columns pays as a preconditioner.
MANY_PRODUCTS = 40
FULLEST_COLUMNS = 300
# Factoring the Hessian's block of the fullest columns, the rare ones eliminated from it, takes the time of twenty
# products, measured with 7256 columns. A factor of other curvatures serves less well: where a direction takes more than
# twenty products, the next one gets a new factor.
PRODUCTS_OF_A_REST = 20

# With fewer than two rows for each column, classes are nearly always separable, and with weak penalties products with
# the Hessian without number.
ROWS_A_COLUMN_FOR_PRODUCTS = 2

# With fewer rows than columns, a fit on so few entries that has taken so many passes, or read so many entries in them,
# is on its way along curvatures that rounding hides: 443 samples of 702 columns of all units took 20 000 passes, and
# were not there.
FEW_ENTRIES = 2_000_000
READ_AT_MOST = 400_000_000
LEAST_PASSES, MOST_PASSES = 500, 2500

# Newton steps with a fresh Hessian each, from a near-optimal point to a proven gap: about four.
NEWTON_STEPS = 4
# Iterations that L-BFGS on several classes leaves to the Newton steps at the end.
LAST_STEPS = 5
# Up to 100 parameters of several classes, Newton steps are the shorter way from the start.
FEW_PARAMETERS_OF_CLASSES = 100

# A pilot, a solve on some rows, pays from half a million entries of X on: below, the passes to be saved cost less than
# its arithmetic on small arrays. It takes 400 rows for each parameter, which leaves three or four passes over X to be
# made, or fewer rows, but at least 4 for each parameter: its copy is at most a sixteenth of X. The Hessian of more than
# 4000 parameters takes longer to factor than the passes that it spares.
PILOT_ENTRIES = 500_000
PILOT_ROWS_A_PARAMETER = 400
MIN_PILOT_ROWS_A_PARAMETER = 4
PILOT_SHARE = 1 / 16
MAX_PILOT_PARAMETERS = 4000
# A pilot that is not done after 30 iterations has nearly separable classes, and its minimiser is of no use.
MAX_PILOT_ITER = 30

# Sparse data with fewer than 8 rows for each column have many rare columns, which a sample of the rows does not know.
SAMPLED_ROWS_A_COLUMN = 8
# Where more than 60 steps of the "sampled" stage are in sight, Newton's method is the shorter way.
SAMPLED_PATIENCE = 60

# The dual pays where the penalty leaves at least a tenth of a parameter free for each sample: below, a handful of
# gradients lead to the end.
FREE_PARAMETERS = 0.1
# Where sweeps would read X more often than 60 times, gradients are the better use of the passes.
MAX_DUAL_PASSES = 60
# Without an intercept, the coordinates of the dual work against one another along the mean of the rows. The square of
# the mean may be a tenth of the rows' mean square: one half tripled the sweeps, a twentieth showed no effect.
IN_COMMON = 0.1


class Way(NamedTuple):
    """A stage of a fit: its name, and why it was chosen, in a sentence."""

    name: str
    reason: str


def next_way(objective, progress, limits, tried):
    """The `Way` to go on from here; `tried` are the names of the stages before, of which some may have led nowhere."""
    if progress.point is None and not tried:
        first = _first_way(objective, limits)
        if first is not None:
            return first
    if progress.point is None and progress.directions is None:
        if limits.max_iter > 0 and "sampled" not in tried and sampled_block_pays(objective):
            return Way("sampled", _size(objective) + ": few of its columns hold most entries, and some rows know them")
        if not _has_cheap_steps(objective):
            if "dual" not in tried and _may_use_dual(objective, progress, limits) and has_cheap_dual(objective):
                return Way("dual", _size(objective) + ": a sweep over the samples gains more than a gradient")
            if "preconditioned" not in tried:
                return Way("preconditioned", f"{objective.n_parameters} parameters: secants are cheaper than Hessians")
    if progress.directions is None and has_cheap_matrix(objective):
        return Way("newton", f"the matrix of {objective.n_parameters} parameters costs {_passes(objective)} passes")
    return Way("newton-cg", f"{objective.n_parameters} parameters: products with the Hessian, without its matrix")


def most_passes(objective):
    """After how many passes a fit is given up."""
    n_entries = objective.passes.n_entries
    if objective.n_samples >= objective.n_features or n_entries > FEW_ENTRIES:
        return math.inf
    return min(max(READ_AT_MOST / max(n_entries, 1), LEAST_PASSES), MOST_PASSES)


def _first_way(objective, limits):
    if objective.pilot is not None:
        n_rows = objective.pilot.objective.n_samples
        return Way("pilot", f"{_size(objective)}: {n_rows} of the samples tell where the optimum is, to a few passes")
    if limits.max_iter > 0 and has_cheap_row_span(objective):
        return Way("row-span", f"{_size(objective)}: the coefficients lie in the span of the rows")
    return None


def _size(objective):
    return f"{objective.n_samples} samples of {objective.n_features} columns"


def _passes(objective):
    return f"{passes_of_a_hessian(objective):.2g}"


def pilot_rows(passes, fit_intercept):
    """The number of rows that a pilot should take; 0 where none pays, or where the rows are not at hand."""
    n_samples, d = passes.n_samples, passes.n_features
    p = d + fit_intercept
    n_rows = min(PILOT_ROWS_A_PARAMETER * p, int(PILOT_SHARE * n_samples)) // RUN * RUN
    tall = n_samples * d >= PILOT_ENTRIES and n_rows >= MIN_PILOT_ROWS_A_PARAMETER * p
    known = passes.local is not None and not passes.is_sparse and passes.n_classes == 2
    return n_rows if known and tall and p <= MAX_PILOT_PARAMETERS else 0


def has_cheap_matrix(objective):
    """Whether the Hessian is better factored than multiplied with."""
    few_columns = _n_columns(objective) <= max(FEW_COLUMNS, objective.n_samples)
    return objective.has_matrix and few_columns and objective.n_parameters <= MAX_MATRIX_PARAMETERS


def may_combine_columns(objective):
    """Whether, of columns that depend on one another, a dense copy can be made and combined: see
    `fastlogreg.curvature.conditioned`.
    """
    passes = objective.passes
    if passes.local is None or objective.n_classes > 2 or not has_cheap_matrix(objective):
        return False
    n_values = objective.n_samples * objective.n_parameters
    return n_values <= max(MAX_COMBINED_VALUES, MAX_COMBINED_SHARE * passes.n_entries)


def has_cheap_row_span(objective):
    """Whether the problem is better solved in the span of its rows: see `fastlogreg.objectives.row_span`."""
    few_rows = max(FEW_COLUMNS, objective.n_samples) < _n_columns(objective)
    at_hand = objective.passes.local is not None and objective.penalty.is_uniform
    return at_hand and few_rows and objective.n_samples <= MAX_MATRIX_PARAMETERS


def sampled_block_pays(objective):
    """Whether a sample of the rows knows enough of a sparse Hessian: see `fastlogreg.curvature.sampled_block`."""
    passes = objective.passes
    enough = passes.n_entries >= PILOT_ENTRIES and objective.n_samples >= SAMPLED_ROWS_A_COLUMN * objective.n_features
    return passes.local is not None and passes.is_sparse and enough and objective.n_classes == 2


def has_cheap_dual(objective):
    """Whether sweeps of the dual are the shorter way from zero coefficients to near the optimum: for sparse data with
    many parameters that a uniform penalty leaves free, unless the rows have much in common that no intercept takes out.
    One pass without an intercept.
    """
    passes, penalty = objective.passes, objective.penalty
    at_hand = passes.local is not None and passes.is_sparse and objective.n_classes == 2 and not passes.has_offset
    if not (at_hand and penalty.is_strict and penalty.is_uniform):
        return False
    if objective.mean_squares[penalty.curvature > 0].sum() < FREE_PARAMETERS * objective.n_samples:
        return False
    if objective.fit_intercept:
        return True
    mean, variance = passes.moments()
    return not mean @ mean > IN_COMMON * (variance.sum() + mean @ mean)


def _may_use_dual(objective, progress, limits):
    """Whether there is time for sweeps, and nothing in the start that they would forget."""
    coef, _ = objective.to_coef(progress.parameters)
    return iterations_before_newton(objective, limits.max_iter) > 0 and not coef.any()


def _has_cheap_steps(objective):
    """Whether Newton steps all the way are shorter than L-BFGS and a few of them at the end."""
    if objective.n_classes > 2:
        return objective.n_parameters <= FEW_PARAMETERS_OF_CLASSES
    return has_cheap_matrix(objective)


def _n_columns(objective):
    """Parameters of an output."""
    return objective.n_parameters // objective.n_outputs


def passes_of_a_hessian(objective):
    """What a Hessian's matrix and factor cost, in passes."""
    if objective.n_classes > 2:
        return 1.0 + HESSIAN_PASSES_OF_CLASSES * objective.n_parameters
    if objective.passes.is_mostly_zero:
        return 1.0 + HESSIAN_PASSES_OF_FEW_ENTRIES
    return 1.0 + HESSIAN_PASSES * min(objective.n_parameters, MAX_COUNTED_PARAMETERS)


def passes_of_a_sparse_matrix(objective):
    """What the sums of a sparse Hessian cost, in passes."""
    return 1.0 + PASSES_OF_A_PRODUCT * objective.passes.n_entries / objective.n_samples


def passes_of_a_sparse_factor(objective):
    """What a factor of a sparse Hessian costs beside, in passes."""
    return PASSES_OF_A_FACTOR_TERM * objective.n_parameters**3 / objective.passes.n_entries


def patience_of_secants(objective):
    """Steps of L-BFGS that cost no more than Newton steps to the end would; infinite where these need products."""
    return NEWTON_STEPS * passes_of_a_hessian(objective) if has_cheap_matrix(objective) else math.inf


def iterations_before_newton(objective, max_iter):
    """Iterations that may be used up before Newton steps begin: all but `LAST_STEPS` for several classes, half of them
    for two, where conjugate gradients may need as many steps then as from the start.
    """
    return max(max_iter // 2, max_iter - LAST_STEPS) if objective.n_classes > 2 else max_iter // 2
