"""Directions of Newton steps by conjugate gradients on products with the Hessian."""

import math

import numpy as np

from fastlogreg.curvature.factored import FactoredHessian, diagonal_inverse
from fastlogreg.curvature.preconditioner import Preconditioner
from fastlogreg.solvers import plan
from fastlogreg.solvers.newton_step import Direction, gradient_rounding

# A direction is good enough when a product gains less than this part of the mean gain: a tenth for the first direction,
# ever less for later ones. Stopping early spares passes far from the optimum. Stopping ever later makes the steps
# Newton's, also where columns depend on one another so closely that a few products gain all of the model but a tenth.
FIRST_ACCURACY = 0.1
ACCURACY_DECAY = 0.75
# Where a step gains at most thirty times the accuracy asked for, its direction is solved to prove the gap of its end.
PROVABLE = 30


class ConjugateGradients:
    """Directions by conjugate gradients on Hessian products, each direction more accurate than the one before.

    For several classes the preconditioner is `fastlogreg.curvature.class_blocks`. For two it is the Hessian's diagonal
    as standardised coordinates give it without a pass: ones at the start, before the penalty is added, and later the
    mean curvature times these. The true diagonal would take two passes for each direction, and spares none. Where
    directions take many products and X is sparse, the exact Hessian of the columns with the most entries replaces their
    part of the diagonal: numeric columns and frequent categories depend on one another, and on the intercept, more than
    rare ones do.

    Parameters
    ----------
    objective : Objective
    inverse : callable, default=None
        Gradient in, an approximate ``H^-1 gradient`` out, symmetric and positive: a preconditioner to use instead.
    most_products : int, default=infinity
        Products that a direction takes at most.
    """

    hessian = None  # none is factored

    def __init__(self, objective, inverse=None, most_products=math.inf):
        self._objective = objective
        self._inverse, self._most_products = inverse, most_products
        self._accuracy = FIRST_ACCURACY
        self.n_products = 0
        self._block, self._plain = None, None

    def direction(self, point, accuracy, hessian=None):
        """The `Direction` from `point`. Each product takes a pass, or none with a `SparseHessian` as `hessian`.

        Far from the optimum it is enough that the quadratic model is nearly minimal: an iteration gains less than a
        small part of the mean gain before it (Nash and Sofer 1990). Where the model falls by no more than `PROVABLE`
        times `accuracy`, iterations go on until the bound of `step_along` exceeds that by at most half of `accuracy`.
        Without a penalty, and where it falls by no more than `accuracy`, they go on until one gains less than a
        thousandth of the mean, or what is left of the gradient is its rounding: columns that depend on one another have
        no curvature to hold that.
        """
        objective, penalty = self._objective, self._objective.penalty
        gradient, rounding = point.gradient, gradient_rounding(point)
        if hessian is None:
            hessian = objective.hessian(point)
            precondition = self._preconditioner(hessian, point)
        else:
            precondition = hessian.inverse
        direction, residual = np.zeros_like(gradient), gradient.copy()
        free_intercepts = penalty.is_strict and objective.fit_intercept
        if free_intercepts and objective.n_classes == 2:
            precondition = _without_intercept(hessian, precondition, direction, residual)
        search = -precondition(residual)
        product = float(residual @ -search)
        gained = 0.0  # what the quadratic model has fallen by
        for iteration in range(1, min(2 * gradient.size + 50, self._most_products)):
            if product <= 0 or (not penalty.is_strict and np.max(np.abs(residual)) <= rounding):
                break
            curved = hessian.dot(search)
            curvature = float(search @ curved)
            if curvature <= 0:  # a flat model: all that is known is which way is down
                direction = search if iteration == 1 else direction
                break
            step = product / curvature
            direction += step * search
            residual += step * curved
            gain = 0.5 * step * product
            gained += gain
            if gained > PROVABLE * accuracy or (not penalty.is_strict and gained > accuracy):
                if iteration * gain <= self._accuracy * gained:
                    break
            elif penalty.is_strict:
                *_, loss_curvature, penalty_gap, _ = penalty.conjugate_gap(direction, residual, gradient, rounding)
                if 0.5 * loss_curvature + penalty_gap <= gained + 0.5 * accuracy:
                    break
            elif iteration * gain <= 1e-3 * gained:
                break
            scaled = precondition(residual)
            previous, product = product, float(residual @ scaled)
            search = product / previous * search - scaled
        if free_intercepts and objective.n_classes > 2:
            _clear_intercept_residuals(hessian, direction, residual)
        self._accuracy *= ACCURACY_DECAY
        self.n_products = iteration
        return Direction(direction, residual)

    def _preconditioner(self, hessian, point):
        """The function that applies the preconditioner at a point."""
        objective = self._objective
        if self._inverse is not None:
            return self._inverse
        if self.n_products > plan.MANY_PRODUCTS and self._block is None:
            self._block = objective.fullest_columns(plan.FULLEST_COLUMNS)
        if self._block is not None:
            block, places = self._block
            return diagonal_inverse(hessian.mean_diagonal(), FactoredHessian.of(block, point), places)
        if self._plain is None:
            self._plain = Preconditioner(objective)
        return self._plain.at(hessian, point)


def _clear_intercept_residuals(hessian, direction, residual):
    """Move the intercepts so that their residuals are zero, as a feasible dual point needs. Two passes."""
    block = hessian.intercept_block()
    width = direction.size // len(block)
    shift = np.zeros_like(direction)
    shift[width - 1 :: width] = np.linalg.lstsq(block, residual[width - 1 :: width], rcond=None)[0]
    direction -= shift
    residual -= hessian.dot(shift)


def _without_intercept(hessian, precondition, direction, residual):
    """Eliminate the intercept of two classes: set it in the direction so that its residual is zero, as a feasible dual
    point needs, and return a preconditioner whose directions keep it so. One pass.
    """
    unit = np.zeros_like(direction)
    unit[-1] = 1.0
    column = hessian.dot(unit)
    if not column[-1] > 0:
        return precondition
    direction[-1] = -residual[-1] / column[-1]
    residual += direction[-1] * column

    def apply(vector):
        result = precondition(vector)
        result[-1] -= float(column @ result) / column[-1]
        return result

    return apply
