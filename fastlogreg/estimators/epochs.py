"""The epochs of a fit of SGDLogisticRegression, and when they end.

Steps that know the curvature of all samples come near the optimum in one epoch. From there on, an epoch is an iteration
of `fastlogreg.solvers.last_iterations` on the objective of all samples, which knows how near its minimum it is.
"""

import numpy as np

from fastlogreg.data.layouts import as_design
from fastlogreg.data.passes import local_passes
from fastlogreg.data.samples import Samples
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers import Stop, judged, last_iterations, problem
from fastlogreg.steps import know_curvature


class Epochs:
    """The epochs of one fit.

    Attributes
    ----------
    solution : Solution or None
        Where the iterations on all samples ended, where there were any and nothing else ended the fit.
    """

    def __init__(self, model, steps, feed, validation, X, classes, callbacks, n_threads):
        self.model, self.steps, self.feed, self.validation = model, steps, feed, validation
        self.X, self.classes, self.callbacks, self._n_threads = X, classes, callbacks, n_threads
        self.n_iter = 0
        self.converged = False
        self.solution = None
        self.loss_curve, self.validation_curve = [], []
        self.coef, self.intercept = steps.solution()
        self._best = np.inf
        self._best_solution = None
        self._no_change = 0
        self._tol = -np.inf if model.tol is None else model.tol

    def until_done(self):
        knows_curvature = know_curvature(self.steps)
        self.converged = self._tell()
        while self.n_iter < self.model.max_iter and not (self.converged or self.solution):
            if knows_curvature and (self.n_iter or self.steps.warm):
                self._iterate()
            else:
                self._epoch()
        if self._best_solution is not None:
            self.coef, self.intercept = self._best_solution

    def _epoch(self):
        steps, self.n_iter = self.steps, self.n_iter + 1
        with unseen_overflow():
            steps.begin_epoch()
            self.feed.epoch(steps, self._n_threads)
            steps.end_epoch()
            self.coef, self.intercept = steps.solution()
        value = (steps.loss_sum + steps.penalty_sum) / max(steps.count, np.finfo(float).tiny)
        self.model._check_solution(self.coef, self.intercept, value, self.X, self.n_iter)
        self._after_epoch(value, may_end=not know_curvature(steps))

    def _iterate(self):
        """Iterate on the objective of all samples until that ends, or the fit does."""
        objective, before = self._objective(), self.n_iter
        self.model._check_objective(objective, self.X)
        start = objective.parameters_of(np.atleast_2d(self.coef), np.atleast_1d(self.intercept))

        def on_iteration(number, point):
            if number == 0:
                return
            self.n_iter = before + number
            self._go_to(objective, point)
            self._after_epoch(point.value, may_end=False)
            if self.converged:
                raise _FitHasEndedError

        tol = 0.0 if self.model.tol is None or self.validation is not None else self.model.tol
        limits = {"tol": tol, "max_iter": self.model.max_iter - before, "on_iteration": on_iteration}
        try:
            solution = judged(objective, last_iterations(objective, start, **limits), **limits)
        except _FitHasEndedError:
            pass
        else:
            self.solution = solution
            self._go_to(objective, solution.point)
            self.converged = solution.stop is Stop.CONVERGED
        self.steps.go_on_from(self.coef, self.intercept, objective.total_weight)

    def _objective(self):
        """The objective of the samples to learn from."""
        feed, (alpha, _) = self.feed, self.model._penalty()
        passes = local_passes(
            as_design(self.X, self._n_threads), Samples(feed.target, feed.kept_weight(), n_classes=len(self.classes))
        )
        return problem(passes, Quadratic(alpha), fit_intercept=self.model.fit_intercept, with_pilot=False)

    def _go_to(self, objective, point):
        coef, intercept = objective.coefficients(point.parameters)
        self.coef, self.intercept = (coef, intercept) if len(coef) > 1 else (coef[0], float(intercept[0]))

    def _after_epoch(self, value, may_end):
        """Keep the curves, tell of the epoch, and with `may_end`, or a validation set, see whether it ends the fit."""
        self.loss_curve.append(value)
        score = value
        if self.validation is not None:
            score, shown = self.validation(self.coef, self.intercept)
            self.validation_curve.append(shown)
            if self._best_solution is None or score < self._best:
                self._best_solution = self.coef, self.intercept
        self._print()
        if self._tell():
            self.converged = True
        elif may_end or self.validation is not None:
            self._judge(score)

    def _judge(self, score):
        self._no_change = self._no_change + 1 if self._tol >= 0 and score > self._best - self._tol else 0
        self._best = min(self._best, score)
        if self._no_change >= self.model.n_iter_no_change:
            if self.model.learning_rate == "adaptive" and self.steps.eta0 > 1e-6:
                self.steps.eta0 /= 5
                self._no_change = 0
            else:
                self.converged = True

    def shortfall(self):
        """What is to be said of a fit that did not converge."""
        if self.solution is not None and self.solution.stop is not Stop.MAX_ITER:
            gap, value = self.solution.gap, self.solution.point.value
            near = f", and the objective {value:.6g} is within {gap:.2g} of its infimum" if gap < value else ""
            reason = self.solution.stop.value
            return f"did not converge: after {self.n_iter} epochs {reason}{near}. Increase alpha or tol."
        change = ""
        if len(self.loss_curve) > 1:
            change = f", {self.loss_curve[-2] - self.loss_curve[-1]:.2g} below the one before"
        return (
            f"did not converge in max_iter={self.model.max_iter} epochs: the objective of the last was "
            f"{self.loss_curve[-1]:.6g}{change}. Increase max_iter or tol."
        )

    def _print(self):
        if self.model.verbose:
            shown = f"  validation {self.validation_curve[-1]:.6g}" if self.validation_curve else ""
            print(f"epoch {self.n_iter:4d}  objective {self.loss_curve[-1]:.12g}{shown}", flush=True)

    def _tell(self):
        point = _Coefficients((np.atleast_2d(self.coef), np.atleast_1d(self.intercept)))
        return self.callbacks.iteration(self.model, self.n_iter, point, point, self.classes)


def unseen_overflow():
    """Silence NumPy's warnings of overflow, which `SGDLogisticRegression._check_solution` reports later."""
    return np.errstate(over="ignore", invalid="ignore")


class _FitHasEndedError(Exception):
    """A callback or the validation set has ended the fit."""


class _Coefficients:
    """Coefficients and intercepts in the place of an objective and its parameters."""

    def __init__(self, parameters):
        self.parameters = parameters

    @staticmethod
    def coefficients(parameters):
        return parameters
