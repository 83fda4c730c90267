"""Solvers: they see an objective and nothing of X, samples or labels.

All have one signature::

    solve(objective, start, *, tol, max_iter, on_iteration) -> Solution

`start` and the solution are in the objective's parameters. A solver ends when the gap is known to be at most
``tol^2 / 10`` of the value, after `max_iter` iterations, or when rounding allows no descent. ``on_iteration(i, point)``
is called after each iteration, and before the first with i = 0.
"""

from fastlogreg.solvers.common import Solution, Stop, early_end, gap_target
from fastlogreg.solvers.gd import gd
from fastlogreg.solvers.lbfgs import lbfgs
from fastlogreg.solvers.newton import newton
from fastlogreg.solvers.sgd import sgd

SOLVERS = {"gd": gd, "lbfgs": lbfgs, "newton": newton, "sgd": sgd}

__all__ = ["SOLVERS", "Solution", "Stop", "early_end", "gap_target", "gd", "lbfgs", "newton", "sgd"]
