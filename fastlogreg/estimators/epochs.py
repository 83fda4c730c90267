"""The epochs of a fit of SGDLogisticRegression, and when they end."""

import numpy as np

from fastlogreg.runtime.threads import effective_n_threads
from fastlogreg.steps import take_epoch


class Epochs:
    """The epochs of one fit."""

    def __init__(self, model, steps, feed, validation, X, classes, callbacks):
        self.model, self.steps, self.feed, self.validation = model, steps, feed, validation
        self.X, self.classes, self.callbacks = X, classes, callbacks
        self.n_iter = 0
        self.converged = False
        self.loss_curve, self.validation_curve = [], []
        self.coef, self.intercept = steps.solution()
        self._best = np.inf
        self._no_change = 0
        self._n_threads = effective_n_threads(model.n_jobs)
        self._tol = -np.inf if model.tol is None else model.tol

    def until_done(self):
        model = self.model
        stop = self._tell()
        best = None
        while self.n_iter < model.max_iter and not (stop or self.converged):
            self.n_iter += 1
            with unseen_overflow():
                gap = self._epoch()
                self.coef, self.intercept = self.steps.solution()
            score = self.loss_curve[-1]
            model._check_solution(self.coef, self.intercept, score, self.X, self.n_iter)
            if self.validation is not None:
                score, shown = self.validation(self.coef, self.intercept)
                self.validation_curve.append(shown)
                if best is None or score < best[0]:
                    best = score, self.coef, self.intercept
            self._print()
            stop = self._tell()
            self._judge(score, gap)
        if stop:
            self.converged = True
        if best is not None:
            _, self.coef, self.intercept = best

    def _epoch(self):
        """Take one epoch; returns the relative gap of the objective where the steps know it, else infinity."""
        steps = self.steps
        value = take_epoch(steps, self.n_iter, lambda: self.feed.epoch(steps, self._n_threads))
        if value is not None:
            self.loss_curve.append(value)
            return steps.gap / value if value > 0 else 0.0
        self.loss_curve.append((steps.loss_sum + steps.penalty_sum) / max(steps.count, np.finfo(float).tiny))
        return np.inf

    def _judge(self, score, gap):
        if hasattr(self.steps, "begin_exact") and self.validation is None:
            self.converged = self._tol >= 0 and gap <= max(0.1 * self._tol**2, 1e-15)
            return
        self._no_change = self._no_change + 1 if self._tol >= 0 and score > self._best - self._tol else 0
        self._best = min(self._best, score)
        if self._no_change >= self.model.n_iter_no_change:
            if self.model.learning_rate == "adaptive" and self.steps.eta0 > 1e-6:
                self.steps.eta0 /= 5
                self._no_change = 0
            else:
                self.converged = True

    def change(self):
        """How the last epoch changed the objective, in words."""
        if len(self.loss_curve) < 2:
            return ""
        return f", {self.loss_curve[-2] - self.loss_curve[-1]:.2g} below the one before"

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


class _Coefficients:
    """Coefficients and intercepts in the place of an objective and its parameters."""

    def __init__(self, parameters):
        self.parameters = parameters

    @staticmethod
    def to_coef(parameters):
        return parameters
