"""The inverse Hessian of `fastlogreg.solvers.sampled`: which Hessian it is made from, and how many steps it needs."""

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.curvature.quasi_newton import InverseHessian
from fastlogreg.curvature.sampled_block import MAX_COLUMNS
from fastlogreg.solvers import plan
from fastlogreg.solvers.conjugate_gradients import ConjugateGradients
from fastlogreg.solvers.newton_step import Direction

# Root mean square changes of the logits: once they have moved by FAR, curvatures have changed and a new Hessian is due;
# when they have no more than NEAR left to move, curvatures stay as they are.
FAR = 0.3
NEAR = 0.1
# Steps whose estimates tell a pace; two steps tell little.
STEPS_OF_A_PACE = 5
# The root mean square change left to the logits from where Newton steps lead to a proven gap.
NEAR_ENOUGH = 0.2


class SampledModel:
    """The inverse Hessian that steps are made with.

    Attributes
    ----------
    inverse : InverseHessian
    estimate : float
        Half the squared decrement at the latest point, in nats.
    steps_left : float
        Steps until the estimate is small enough; one as long as the pace is not known.
    """

    def __init__(self, objective, block, point):
        self._objective, self._block = objective, block
        self._has_cheap_matrix = plan.has_cheap_matrix(objective)
        # Without a penalty conjugate gradients prove nothing.
        provable = objective.penalty.is_strict or not self._has_cheap_matrix
        self._may_prefer_equations = provable and objective.n_features > MAX_COLUMNS
        self._trusted = True
        self.estimate, self.steps_left = np.inf, 1.0
        self._renew(point, exact=False)

    def direction(self, point, accuracy):
        """The direction (n_parameters,) to step from `point` in; `accuracy` is the estimate to arrive at."""
        direction = self._direction(point)
        near = self._rms_change(self.estimate) <= NEAR
        exact = self._has_cheap_matrix and not self._may_prefer_equations and (near or not self._trusted)
        if exact:
            spared = self._steps_to(accuracy) + (plan.PASSES_OF_A_PROOF if self._factored is None else 0)
            stale = not self._trusted or spared > self._passes_of_a_matrix()
        else:
            stale = self._travelled > FAR and not near
        if stale:
            self._renew(point, exact)
            direction = self._direction(point)
        self.steps_left = self._steps_to(accuracy) if len(self._estimates) > STEPS_OF_A_PACE else 1.0
        return direction

    def prefers_equations(self, accuracy):
        """Whether `SparseEquations` are the shorter way from here on."""
        if not self._may_prefer_equations or self._rms_change(self.estimate) > NEAR_ENOUGH:
            return False
        spared = self._steps_to(accuracy) + plan.PASSES_OF_A_PROOF
        return spared > plan.NEWTON_STEPS * plan.passes_of_a_sparse_matrix(self._objective)

    def forgo_equations(self):
        """Go on without `SparseEquations`."""
        self._may_prefer_equations = False

    def equations(self):
        """What gives the directions of Newton steps where this model leads no further; None for a factored Hessian."""
        return None if self._has_cheap_matrix else ConjugateGradients(self._objective, self.inverse.dot)

    def newton_direction(self, point, accuracy):
        """The `Direction` from `point` that proves a gap: with the factored Hessian, or by conjugate gradients."""
        if self._factored is not None:
            at = self._factored.point
            moved = 0.0 if at is point else self._objective.largest_logit_change(at, point)
            return Direction.of(self._objective, point, self._factored, accuracy, moved)
        return ConjugateGradients(self._objective, self.inverse.dot).direction(point, accuracy)

    def update(self, start, end):
        """Learn from the step between two points."""
        self.inverse.update(start, end)
        self._travelled += self._rms_change(self.estimate)

    def distrust(self):
        """Have a factored Hessian made anew next time: the one at hand proved nothing."""
        self._trusted = self._factored is None

    def _renew(self, point, exact):
        hessian = self._objective.hessian(point)
        if exact:
            self._factored = FactoredHessian(hessian.matrix(), point)
            self.inverse = InverseHessian(lambda gradient: -self._factored.solve(gradient)[0])
        else:
            self._factored = None
            self.inverse = InverseHessian(self._block.inverse(hessian))
        mean_curvature = hessian.of_loss.mean_curvature()
        self._mean_curvature = max(mean_curvature, np.finfo(float).tiny)
        self._travelled, self._estimates, self._trusted = 0.0, [], True

    def _direction(self, point):
        direction = -self.inverse.dot(point.gradient)
        self.estimate = max(-0.5 * float(direction @ point.gradient), 0.0)
        self._estimates = [*self._estimates[-STEPS_OF_A_PACE:], self.estimate]
        return direction

    def _steps_to(self, accuracy):
        """Steps until the estimate falls to `accuracy`, at the pace of the latest ones; one where there is no pace."""
        first, n_steps = self._estimates[0], len(self._estimates) - 1
        if n_steps == 0 or self.estimate <= accuracy:
            return 1.0
        if not self.estimate < first:
            return np.inf
        return n_steps * np.log(self.estimate / accuracy) / np.log(first / self.estimate)

    def _rms_change(self, estimate):
        """The root mean square change of the logits in a step, from the quadratic model."""
        return np.sqrt(2.0 * estimate / self._mean_curvature)

    def _passes_of_a_matrix(self):
        return plan.passes_of_a_sparse_matrix(self._objective) + plan.passes_of_a_sparse_factor(self._objective)
