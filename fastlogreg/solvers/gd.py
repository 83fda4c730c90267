"""Full-batch gradient descent, ``w <- w - step . df/dw``, in three strengths.

`fixed` is that update with one step length throughout; `armijo` tries longer steps each time and backtracks until the
value has fallen enough; `nesterov` adds momentum to the fixed step, and drops it when it points uphill. Where no step
length is given it is one over a bound on the curvature, with which no update can raise the value.

Sources: the update is the textbook one; Armijo 1966, and where rounding hides a decrease Hager and Zhang 2005; Nesterov
1983; restart by O'Donoghue and Candes 2015.
"""

import numpy as np

from fastlogreg.solvers.gap import accuracy_asked, early_end, newton_end
from fastlogreg.solvers.newton_step import VALUE_NOISE
from fastlogreg.solvers.progress import Solution, Stop
from fastlogreg.solvers.separation import separable_end


def gd(objective, start, *, tol, max_iter, on_iteration, method="nesterov", step=None):
    """Minimise by gradient descent.

    Parameters
    ----------
    objective, start, tol, max_iter, on_iteration
        As for every solver: see the package.
    method : {"fixed", "armijo", "nesterov"}, default="nesterov"
    step : float, default=None
        The step length, for `armijo` the first one tried. None: one over a bound on the curvature.
    """
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is none of {sorted(_METHODS)}")
    if step is None:
        bound = objective.curvature_bound()
        step = 1.0 / bound if bound > 0 else 1.0  # without curvature no parameter moves, whatever the step
    point = objective.evaluate(start)
    on_iteration(0, point)
    advance = _METHODS[method](objective, point, step)
    for n_iter in range(1, max_iter + 1):
        # In standardised coordinates the Hessian is near the identity, so this estimates half the squared decrement.
        if 0.5 * float(point.gradient @ point.gradient) <= accuracy_asked(point, tol):
            better = newton_end(objective, point, tol, n_iter)
            if isinstance(better, Solution):
                on_iteration(n_iter, better.point)
                return better
            if better is None:
                return early_end(objective, point, tol, n_iter, Stop.STALLED)
            point = better
            advance = _METHODS[method](objective, point, step)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # divergence is reported below
                point = advance(point)
        on_iteration(n_iter, point)
        if not np.isfinite(point.value):
            raise FloatingPointError(f"gradient descent with step {step:g} diverged: try a shorter one")
        if (end := separable_end(objective, point, n_iter)) is not None:
            return end
    return early_end(objective, point, tol, max_iter, Stop.MAX_ITER)


def _fixed(objective, _, step):
    def advance(point):
        return objective.evaluate(point.parameters - step * point.gradient)

    return advance


def _armijo(objective, _, step):
    def advance(point):
        nonlocal step
        square = float(point.gradient @ point.gradient)
        step *= 2.0
        end = objective.evaluate(point.parameters - step * point.gradient)
        enough, noise = 0.5 * step * square, VALUE_NOISE * abs(point.value)
        # The trials share one line, whose logits are known from its two ends. A slope not past the minimum tells
        # of a decrease that rounding hides.
        t, value, slope = 1.0, end.value, -step * float(end.gradient @ point.gradient)
        while not (value <= point.value - t * enough or (value <= point.value + noise and slope <= 0.0)) and t > 1e-12:
            t *= 0.5
            value, slope, _ = objective.on_line(point, end, t)
        step *= t
        return end if t == 1.0 else objective.evaluate(point.parameters - step * point.gradient, recycle=end)

    return advance


def _nesterov(objective, start, step):
    previous, momentum = start.parameters, 1.0

    def advance(point):
        # `point` is where the gradient was taken, ahead of the iterate by the momentum.
        nonlocal previous, momentum
        iterate = point.parameters - step * point.gradient
        if float(point.gradient @ (iterate - previous)) > 0:
            momentum = 1.0
        grown = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
        ahead = iterate + (momentum - 1.0) / grown * (iterate - previous)
        previous, momentum = iterate, grown
        return objective.evaluate(ahead)

    return advance


_METHODS = {"fixed": _fixed, "armijo": _armijo, "nesterov": _nesterov}
