"""Few samples of many features: the problem is solved over the span of the rows, and the gradient there mostly proves
it: see `fastlogreg.objectives.row_span`.
"""

from fastlogreg.objectives.row_span import RowSpan
from fastlogreg.solvers.gap import accuracy_asked, gap_from_gradient
from fastlogreg.solvers.progress import Progress, Solution, Stop

# The tolerance over the span, as a part of `tol`. The minimiser there is the whole objective's, up to rounding, and the
# end of the step that proves the gap of its start is far nearer to it than the tolerance.
ACCURACY = 1e-3


def row_span_steps(objective, progress, limits, minimizer):
    """The `Progress` with the `Solution` where the gradient proves it, or with the span's minimiser to go on from.

    ``minimizer(objective, start, tol, max_iter)`` gives the point that minimises the objective over the span.
    """
    span = RowSpan(objective)
    optimum = minimizer(span.objective, span.project(progress.parameters), ACCURACY * limits.tol, limits.max_iter)
    point = objective.evaluate(span.lift(optimum.parameters))
    limits.on_iteration(0, point)
    gap = gap_from_gradient(objective, point)
    if gap <= accuracy_asked(point, limits.tol):
        return Progress.ended(Solution(point, gap, 0, Stop.CONVERGED))
    return Progress.at(point, 0)
