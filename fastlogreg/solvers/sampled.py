"""Sparse data of many rows: quasi-Newton steps, with Hessians of a sample of the rows while far from the optimum.

Far away no Hessian serves for long, so one of a few rows is as good; near the optimum one of all rows serves to the
end, where its matrix is cheap. Secant pairs mend what either does not know. A step costs one pass. With many columns,
most of them rare, the end is Newton's, by conjugate gradients on the sparse matrix of the Hessian.
"""

from dataclasses import dataclass

import numpy as np

from fastlogreg.curvature.sparse import SparseHessian
from fastlogreg.data.sparse_gram import SparseGram
from fastlogreg.objectives.evaluation import Point
from fastlogreg.solvers.common import (
    ConjugateGradients,
    Solution,
    Stop,
    arrived,
    early_end,
    gap_target,
    minimize_on_line,
)
from fastlogreg.solvers.newton_step import step_along
from fastlogreg.solvers.sampled_model import SampledModel

# A Newton step proves the gap of its end, so it may start from an estimate so much above the target. Another proof than
# one that failed starts from a tenth of that.
FIRST_MARGIN = 3.0
NEXT_MARGIN = 0.1
# What the block is without the rare columns takes the time of so many products, measured with 7256 columns. Made for
# other curvatures it is of less use; then products are more.
PRODUCTS_OF_A_REST = 20


@dataclass(slots=True)
class Handover:
    """Where the steps left off, and what gives the directions of Newton steps from there, or None."""

    point: Point
    n_iter: int
    equations: object


def sampled_steps(objective, block, point, *, tol, max_iter, patience, on_iteration):
    """A `Solution`, or a `Handover` after `patience` steps, where more than that are in sight, or where none descends.

    `block` is a `fastlogreg.curvature.sampled_block.SampledBlock`.
    """
    model = SampledModel(objective, block, point)
    margin = FIRST_MARGIN
    for n_iter in range(1, max_iter + 1):
        target = gap_target(point, tol)
        direction = model.direction(point, margin * target)
        if model.prefers_equations(margin * target):
            equations = SparseEquations.of(objective, block.columns)
            if equations is not None:
                return Handover(point, n_iter - 1, equations)
            model.forgo_equations()
        if n_iter > patience or model.steps_left > patience:
            return Handover(point, n_iter - 1, model.equations())
        if model.estimate <= margin * target:
            step = step_along(objective, point, model.newton_direction(point, target))
            end = step.end
        else:
            step, end = None, objective.evaluate(point.parameters + direction)
        better = minimize_on_line(objective, point, end)
        if better is None:
            return Handover(point, n_iter - 1, None)
        gap = np.inf if step is None else step.gap_of(better, point)
        model.update(point, better)
        point = better
        on_iteration(n_iter, point)
        if gap <= target:
            return Solution(point, gap, n_iter, arrived(step), step.proven)
        if step is not None:
            margin *= NEXT_MARGIN
            model.distrust()
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
    return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)


class SparseEquations:
    """Newton directions by conjugate gradients on the matrix of a Hessian: see `fastlogreg.curvature.sparse`.

    No product takes a pass. What the block is without the rare columns serves for as long as products are few.
    """

    hessian = None  # none is factored

    @classmethod
    def of(cls, objective, columns):
        """With these columns in the block; None where the matrix would not be small."""
        gram = SparseGram.of(objective.design, columns)
        return None if gram is None else cls(objective, gram)

    def __init__(self, objective, gram):
        self._objective, self._gram = objective, gram
        self._solver = ConjugateGradients(objective)
        self._rest = None

    def direction(self, point, target):
        """The `Direction` from `point`."""
        hessian = SparseHessian(self._objective, self._gram, point, self._rest)
        direction = self._solver.direction(point, target, hessian)
        self._rest = hessian.rest if self._solver.n_products <= PRODUCTS_OF_A_REST else None
        return direction
