"""Limited-memory BFGS: one pass over X for each iteration, as long as unit steps are good.

The objective's standardised coordinates are the diagonal preconditioner. Where a unit step is not good, the step length
is found from stored logits and costs one more pass, whatever the number of trials.

Source: Nocedal and Wright, Numerical Optimization, algorithm 7.5.
"""

from fastlogreg.curvature.quasi_newton import InverseHessian
from fastlogreg.solvers.gap import accuracy_asked, early_end, newton_end
from fastlogreg.solvers.line_search import minimize_on_line
from fastlogreg.solvers.progress import Solution, Stop
from fastlogreg.solvers.separation import separable_end


def lbfgs(objective, start, *, tol, max_iter, on_iteration):
    """Minimise by L-BFGS: see the package for the signature that solvers share."""
    point, spare = objective.evaluate(start), None
    on_iteration(0, point)
    model = InverseHessian(rescale=True)
    for n_iter in range(1, max_iter + 1):
        direction = -model.dot(point.gradient)
        decrement = -float(direction @ point.gradient)
        if 0.5 * decrement <= accuracy_asked(point, tol):
            # This gap is the model's estimate, and often too low: a Newton step proves it, or leads to a better point.
            better = newton_end(objective, point, tol, n_iter)
            if isinstance(better, Solution):
                on_iteration(n_iter, better.point)
                return better
        else:
            end = objective.evaluate(point.parameters + direction, recycle=spare)
            better = minimize_on_line(objective, point, end)
        if better is None:
            return early_end(objective, point, tol, n_iter, Stop.STALLED)
        model.update(point, better)
        point, spare = better, point
        on_iteration(n_iter, point)
        if (end := separable_end(objective, point, n_iter)) is not None:
            return end
    return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)
