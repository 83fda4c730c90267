"""How far a fit has come: why a solver ended, with which solution, and what one stage hands to the next."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fastlogreg.objectives.point import Point


class Stop(Enum):
    """Why a solver ended."""

    CONVERGED = "the gap is proven small enough"
    MAX_ITER = "max_iter iterations were done"
    STALLED = "rounding allows no further descent"
    EXHAUSTED = "more iterations would take too long"
    SEPARABLE = "the classes are separable and nothing bounds the coefficients"
    PARTLY_SEPARABLE = "the classes are separable in part and nothing bounds the coefficients"
    REQUESTED = "a callback asked for it"
    ROUNDED = "float64 does not hold the optimal coefficients"
    GIVEN_UP = "the sample's columns depend on one another"


@dataclass(slots=True)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    point : Point
    gap : float
        Bound on ``value - minimum`` in nats, infinity where nothing is known: see `fastlogreg.solvers.newton_step`.
    n_iter : int
    stop : Stop
    proven : bool
        Whether the gap is a bound; else it is an estimate.
    last_change : float
        The largest change of a logit in the Newton step that ended the fit; zero where none did.
    ways : tuple of str
        The stages of `fastlogreg.solvers.auto` that led there.
    """

    point: Point
    gap: float
    n_iter: int
    stop: Stop
    proven: bool = True
    last_change: float = 0.0
    ways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """When a solver must end, and what it calls after each iteration.

    Attributes
    ----------
    tol : float
        See `fastlogreg.solvers.gap.accuracy_asked`.
    max_iter : int
    on_iteration : callable
        Called with the number of each iteration and the `Point` after it, and with 0 and the first point.
    is_pilot : bool, default=False
        Whether the objective is that of a sample, whose optimum is not worth much work: it is given up where penalised
        columns depend on one another up to rounding.
    """

    tol: float
    max_iter: int
    on_iteration: Callable[[int, Point], object]
    is_pilot: bool = False


@dataclass(slots=True)
class Progress:
    """What a stage of a fit is given and returns.

    Attributes
    ----------
    parameters : ndarray of shape (p,)
        Those to go on from.
    point : Point or None
        The same, evaluated and reported as an iteration.
    n_iter : int
        Iterations done.
    directions : object or None
        What gives the directions of Newton steps from here, with ``direction(point, accuracy)``; None where a solver is
        to choose for itself.
    bound : float
        A lower bound on the minimum.
    solution : Solution or None
        Where the fit has ended.
    """

    parameters: Any
    point: Point | None = None
    n_iter: int = 0
    directions: Any = None
    bound: float = -math.inf
    solution: Solution | None = field(default=None)

    @classmethod
    def at(cls, point, n_iter, directions=None):
        """The progress of a stage that leads to an evaluated point, and not to the end."""
        return cls(point.parameters, point, n_iter, directions)

    @classmethod
    def ended(cls, solution):
        """The progress of a stage that ends the fit."""
        return cls(solution.point.parameters, solution.point, solution.n_iter, solution=solution)

    def take_point(self):
        """The point, which is no longer held here: with its logits it may be as large as a column of X."""
        point, self.point = self.point, None
        return point
