"""Solvers: they see an objective and nothing of X, samples or labels.

All have one signature::

    solve(objective, start, *, tol, max_iter, on_iteration) -> Solution

`start` and the solution are in the objective's parameters. A solver ends when the gap is known to be at most
``tol^2 / 10`` of the value, after `max_iter` iterations, or when rounding allows no descent. ``on_iteration(i, point)``
is called after each iteration, and before the first with i = 0.

What a solver asks of an objective: ``evaluate``, ``on_line``, ``largest_logit_change``, ``hessian(point)`` with
``dot``, ``matrix``, ``mean_diagonal``, ``intercept_block``, ``take(rows)``, and the ``penalty``: see
`fastlogreg.objectives.objective`. "auto" goes from stage to stage; each takes and returns a
`fastlogreg.solvers.progress.Progress`, and `fastlogreg.solvers.plan` chooses the next. A stage that needs rows or
columns one by one asks the objective for its data at hand (``passes.local``), and the plan does not choose it where
there are none.
"""

from fastlogreg.solvers.auto import auto, judged, problem
from fastlogreg.solvers.gap import accuracy_asked, as_stored, early_end
from fastlogreg.solvers.gd import gd
from fastlogreg.solvers.last_iterations import last_iterations
from fastlogreg.solvers.progress import Solution, Stop
from fastlogreg.solvers.sgd import sgd

SOLVERS = {"gd": gd, "newton": auto, "sgd": sgd}

__all__ = [
    "SOLVERS",
    "Solution",
    "Stop",
    "accuracy_asked",
    "as_stored",
    "auto",
    "early_end",
    "gd",
    "judged",
    "last_iterations",
    "problem",
    "sgd",
]
