"""Samples on which a stochastic fit is judged after each epoch."""

import numpy as np
from scipy.special import logsumexp

from fastlogreg.bce import bce_with_logits
from fastlogreg.data.layouts import as_design
from fastlogreg.data.softmax_passes import class_scores
from fastlogreg.runtime.threads import effective_n_threads


class Validation:
    """Samples on which coefficients are judged."""

    def __init__(self, X, target, weight):
        self._design, self._target = as_design(X, effective_n_threads()), target
        self._weight = np.ones(len(target)) if weight is None else weight

    def logits(self, coef, intercept):
        """The logits of the samples: (n,) for two classes, else (n, K)."""
        if np.ndim(intercept):
            return class_scores(self._design, coef, intercept, False)
        return self._design.logits(coef[np.newaxis], np.array([intercept]))[0]


class Accuracy(Validation):
    def __call__(self, coef, intercept):
        """Two numbers: the score, which is better the lower it is, and the one to show."""
        u = self.logits(coef, intercept)
        right = (u > 0 if u.ndim == 1 else u.argmax(axis=1)) == self._target
        accuracy = float(np.average(right, weights=self._weight))
        return -accuracy, accuracy


class CrossEntropy(Validation):
    def __call__(self, coef, intercept):
        u = self.logits(coef, intercept)
        if u.ndim == 1:
            loss = float(bce_with_logits(self._target, u, sample_weight=self._weight))
        else:
            losses = logsumexp(u, axis=1) - np.take_along_axis(u, self._target[:, np.newaxis], axis=1)[:, 0]
            loss = float(np.average(losses, weights=self._weight))
        return loss, loss
