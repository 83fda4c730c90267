"""Newton's method: each iteration minimises the quadratic model of the objective at the point.

The step is solved by Cholesky where the Hessian's matrix is cheap, by preconditioned conjugate gradients on
Hessian-vector products elsewhere, and shortened by a line search on stored logits where it overshoots. Every step comes
with a proven bound on the gap of the point it starts from, so the stopping test costs nothing.

Source: Boyd and Vandenberghe, Convex Optimization, 9.5; the bound is derived at `newton_step`.
"""

from fastlogreg.solvers._common import Solution, Stop, gap_target, minimize_on_line, newton_step


def newton(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by Newton steps: see the package for the signature that solvers share."""
    point = objective.evaluate(start)
    on_iteration(0, point)
    gap = float("inf")
    for n_iter in range(1, max_iter + 1):
        step = newton_step(objective, point, gap_target(point, tol))
        converged = step.gap <= gap_target(point, tol)
        better = minimize_on_line(objective, point, step.end)
        # A point that is no higher inherits the bound.
        gap = step.gap
        if better is None:
            return Solution(point, gap, n_iter, Stop.CONVERGED if converged else Stop.STALLED)
        point = better
        on_iteration(n_iter, point)
        if converged:
            return Solution(point, gap, n_iter, Stop.CONVERGED)
        if objective.proves_separable(point):
            return Solution(point, point.value, n_iter, Stop.SEPARABLE)
    return Solution(point, gap, max_iter, Stop.MAX_ITER)
