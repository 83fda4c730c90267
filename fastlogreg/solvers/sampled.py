"""Sparse data of many rows: quasi-Newton steps, with Hessians of a sample of the rows while far from the optimum.

Far from the optimum no Hessian serves for long, so that of a sample of the rows is as good as that of all. Near it, the
Hessian of all rows serves to the end, where its matrix is cheap. Secant pairs mend what either does not know. A step
costs one pass. With many columns, most of them rare, the last steps are Newton's, by conjugate gradients on the sparse
matrix of the Hessian.
"""

import numpy as np

from fastlogreg.curvature.sampled_block import SampledBlock
from fastlogreg.curvature.sparse import SparseHessian
from fastlogreg.data.sparse_gram import SparseGram
from fastlogreg.solvers import plan
from fastlogreg.solvers.conjugate_gradients import ConjugateGradients
from fastlogreg.solvers.gap import accuracy_asked, early_end
from fastlogreg.solvers.line_search import minimize_on_line
from fastlogreg.solvers.newton_step import step_along
from fastlogreg.solvers.progress import Progress, Solution, Stop
from fastlogreg.solvers.sampled_model import SampledModel
from fastlogreg.solvers.separation import separable_end

# A Newton step proves the gap of its end, so it may start once the estimate is three times the accuracy. After a proof
# that failed, the next one starts from a tenth of that.
FIRST_MARGIN = 3.0
NEXT_MARGIN = 0.1


def sampled_steps(objective, progress, limits):
    """The `Progress` with the `Solution`, or with the point from which Newton steps are to go on and what gives their
    directions: after `plan.SAMPLED_PATIENCE` steps, where more are in sight, where Newton steps are the shorter way, or
    where none of these descends. The `Progress` as it was where the sample of the rows tells nothing.
    """
    block = SampledBlock.of(objective)
    if block is None:
        return progress
    point, patience = objective.evaluate(progress.parameters), plan.SAMPLED_PATIENCE
    limits.on_iteration(0, point)
    if plan.may_combine_columns(objective) and block.has_dependent_columns(objective.hessian(point)):
        return Progress.at(point, 0)
    model = SampledModel(objective, block, point)
    margin = FIRST_MARGIN
    for n_iter in range(1, limits.max_iter + 1):
        accuracy = accuracy_asked(point, limits.tol)
        direction = model.direction(point, margin * accuracy)
        if model.prefers_equations(margin * accuracy):
            equations = SparseEquations.of(objective, block.columns)
            if equations is not None:
                return Progress.at(point, n_iter - 1, equations)
            model.forgo_equations()
        if n_iter > patience or model.steps_left > patience:
            return Progress.at(point, n_iter - 1, model.equations())
        if model.estimate <= margin * accuracy:
            step = step_along(objective, point, model.newton_direction(point, accuracy), accuracy)
            end = step.end
        else:
            step, end = None, objective.evaluate(point.parameters + direction)
        better = minimize_on_line(objective, point, end)
        if better is None:
            return Progress.at(point, n_iter - 1)
        gap = np.inf if step is None else step.gap_of(objective, better, point)
        model.update(point, better)
        point = better
        limits.on_iteration(n_iter, point)
        if gap <= accuracy_asked(point, limits.tol):
            return Progress.ended(Solution(point, gap, n_iter, Stop.CONVERGED, step.proven, step.logit_change))
        if step is not None:
            margin *= NEXT_MARGIN
            model.distrust()
        if (end := separable_end(objective, point, n_iter)) is not None:
            return Progress.ended(end)
    return Progress.ended(early_end(objective, point, limits.tol, limits.max_iter, Stop.MAX_ITER))


class SparseEquations:
    """Newton directions by conjugate gradients on the matrix of a Hessian: see `fastlogreg.curvature.sparse`.

    No product takes a pass. The factor of the Hessian's block of the fullest columns is kept for as long as directions
    take few products.
    """

    hessian = None  # none is factored

    @classmethod
    def of(cls, objective, columns):
        """The equations with these columns in the Hessian's block of the fullest ones; None where the matrix would not
        be small.
        """
        gram = SparseGram.of(objective.passes.local.design, columns)
        return None if gram is None else cls(objective, gram)

    def __init__(self, objective, gram):
        self._objective, self._gram = objective, gram
        self._solver = ConjugateGradients(objective)
        self._rest = None

    def direction(self, point, accuracy):
        """The `Direction` from `point`."""
        hessian = SparseHessian(self._objective, self._gram, point, self._rest)
        direction = self._solver.direction(point, accuracy, hessian)
        self._rest = hessian.rest if self._solver.n_products <= plan.PRODUCTS_OF_A_REST else None
        return direction
