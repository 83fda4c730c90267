"""The inverse Hessian of `fastlogreg.solvers.sampled`: which Hessian it stands on, and how far it leads."""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.curvature.quasi_newton import InverseHessian
from fastlogreg.curvature.sampled_block import MAX_COLUMNS
from fastlogreg.solvers.common import ConjugateGradients, has_cheap_matrix
from fastlogreg.solvers.newton_step import Direction

# Where the logits have moved by that, root mean square, curvatures are others; where they have so little left to move,
# curvatures stay what they are.
FAR = 0.3
NEAR = 0.1
# What conjugate gradients take for a proof, which a factored Hessian gives without.
PASSES_OF_A_PROOF = 10
# Estimates of so many steps tell a pace; two of them tell little.
STEPS_OF_A_PACE = 5
# So many matrices of a Hessian lead from a point that is near to a proven end, where logits move by less than that.
NEWTON_STEPS = 4
NEAR_ENOUGH = 0.2


class SampledModel:
    """The inverse Hessian that steps are made with.

    Attributes
    ----------
    inverse : InverseHessian
    estimate : float
        Half the squared decrement at the latest point, in nats.
    steps_left : float
        Until the estimate is the target; one as long as there is no pace to tell from.
    """

    def __init__(self, objective, block, point):
        self._objective, self._block = objective, block
        self._has_cheap_matrix = has_cheap_matrix(objective)
        # Without a penalty conjugate gradients prove nothing.
        provable = objective.l2 > 0 or not self._has_cheap_matrix
        self._may_prefer_equations = provable and objective.design.n_features > MAX_COLUMNS
        self._trusted = True
        self.estimate, self.steps_left = np.inf, 1.0
        self._renew(point, exact=False)

    def direction(self, point, target):
        """The direction (n_parameters,) to step from `point` in; `target` is the estimate to arrive at."""
        direction = self._direction(point)
        near = self._rms_change(self.estimate) <= NEAR
        exact = self._has_cheap_matrix and not self._may_prefer_equations and (near or not self._trusted)
        if exact:
            spared = self._steps_to(target) + (PASSES_OF_A_PROOF if self._factored is None else 0)
            stale = not self._trusted or spared > _passes_of_a_matrix(self._objective)
        else:
            stale = self._travelled > FAR and not near
        if stale:
            self._renew(point, exact)
            direction = self._direction(point)
        self.steps_left = self._steps_to(target) if len(self._estimates) > STEPS_OF_A_PACE else 1.0
        return direction

    def prefers_equations(self, target):
        """Whether `SparseEquations` are the shorter way from here."""
        if not self._may_prefer_equations or self._rms_change(self.estimate) > NEAR_ENOUGH:
            return False
        spared = self._steps_to(target) + PASSES_OF_A_PROOF
        return spared > NEWTON_STEPS * _passes_of_a_sparse_matrix(self._objective.design)

    def forgo_equations(self):
        """Make do without."""
        self._may_prefer_equations = False

    def equations(self):
        """What gives the directions of Newton steps where these lead no further."""
        return None if self._has_cheap_matrix else ConjugateGradients(self._objective, self.inverse.dot)

    def newton_direction(self, point, target):
        """The `Direction` from `point` that proves a gap: with the factored Hessian, or by conjugate gradients."""
        if self._factored is not None:
            at = self._factored.point
            moved = 0.0 if at is point else self._objective.largest_logit_change(at, point)
            return Direction.of(self._objective, point, self._factored, target, moved)
        return ConjugateGradients(self._objective, self.inverse.dot).direction(point, target)

    def update(self, start, end):
        """Learn from the step between two points."""
        self.inverse.update(start, end)
        self._travelled += self._rms_change(self.estimate)

    def distrust(self):
        """Have a factored Hessian made anew: the one at hand proved nothing."""
        self._trusted = self._factored is None

    def _renew(self, point, exact):
        hessian = self._objective.hessian(point)
        if exact:
            self._factored = FactoredHessian(hessian.matrix(), point)
            self.inverse = InverseHessian(lambda gradient: -self._factored.solve(gradient)[0])
        else:
            self._factored = None
            self.inverse = InverseHessian(self._block.inverse(hessian))
        mean_curvature = float(hessian.curvature.sum()) / self._objective.total_weight
        self._mean_curvature = max(mean_curvature, np.finfo(float).tiny)
        self._travelled, self._estimates, self._trusted = 0.0, [], True

    def _direction(self, point):
        direction = -self.inverse.dot(point.gradient)
        self.estimate = max(-0.5 * float(direction @ point.gradient), 0.0)
        self._estimates = [*self._estimates[-STEPS_OF_A_PACE:], self.estimate]
        return direction

    def _steps_to(self, target):
        """Steps until the estimate is the target, at the pace of the latest ones."""
        first, n_steps = self._estimates[0], len(self._estimates) - 1
        if n_steps == 0 or self.estimate <= target:
            return 1.0
        if not self.estimate < first:
            return np.inf
        return n_steps * np.log(self.estimate / target) / np.log(first / self.estimate)

    def _rms_change(self, estimate):
        """The root mean square change of the logits in a step, from the quadratic model."""
        return np.sqrt(2.0 * estimate / self._mean_curvature)


def _passes_of_a_matrix(objective):
    """What the matrix of a sparse Hessian and its factor cost, in passes.

    The factor's terms take a fortieth of the time that a pass takes for an entry.
    """
    return _passes_of_a_sparse_matrix(objective.design) + objective.n_parameters**3 / (
        40.0 * objective.design.n_entries
    )


def _passes_of_a_sparse_matrix(design):
    """Two entries of a row are multiplied in a third of the time that a pass takes for one, measured with 14 and 20
    entries a row and 123 and 946 columns.
    """
    return 1.0 + design.n_entries / design.n_samples / 3.0
