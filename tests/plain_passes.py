"""A holder of rows in plain NumPy: the slow twin of the passes, and the proof that anything which answers them fits."""

from itertools import combinations

import numpy as np
from scipy.special import log_softmax, softmax

from fastlogreg.data.passes import Passes
from fastlogreg.data.softmax_passes import SoftmaxHandle as Handle


class PlainPasses(Passes):
    """X (n, d), dense or sparse, and its samples; of two classes the first one's logits are zeros."""

    def __init__(self, X, samples):
        self.describe(samples, X.shape[1])
        self.X, self.samples, self.weight = X, samples, samples.weight_or_ones
        of_second, of_all = samples.target, np.eye(self.n_classes)
        self.target = of_second if of_second.ndim == 2 else of_all[of_second.astype(int)] if self.has_labels else None
        if self.target is None:
            self.target = np.column_stack([1.0 - of_second, of_second])

    def logits(self, coef, intercept, offset=None):
        self.n_passes += 1
        u = self.X @ coef.T + intercept + (0.0 if offset is None else offset.reshape(self.n_samples, -1))
        return u if self.n_classes > 2 else np.column_stack([np.zeros(len(u)), u])

    def summed(self, residual, n_rows):
        """Sums of the residuals (n, K), of the last classes, times the rows and alone."""
        residual = self.weight[:, None] * residual[:, -n_rows:]
        return np.ascontiguousarray((self.X.T @ residual).T), residual.sum(axis=0)

    def evaluate(self, coef, intercept, keep=True, recycle=None):
        u = self.logits(coef, intercept, self.samples.offset)
        loss = -float(self.weight @ (self.target * log_softmax(u, axis=1)).sum(axis=1))
        return loss, *self.summed(softmax(u, axis=1) - self.target, len(coef)), Handle(coef, intercept)

    def largest_logit_change(self, start, end):
        return np.ptp(self.logits(*end.less(start)), axis=1).max()

    def hessian(self, handle):
        return PlainHessian(self, softmax(self.logits(handle.coef, handle.intercept, self.samples.offset), axis=1))

    def gram(self, center, weight=None):
        Z = np.column_stack([self.X @ np.eye(self.n_features) - center, np.ones(self.n_samples)])
        return (Z.T * (self.weight if weight is None else weight)) @ Z

    def moments(self):
        mean = self.gram(np.zeros(self.n_features))[-1, :-1] / self.total_weight
        return mean, np.diagonal(self.gram(mean))[:-1] / self.total_weight

    def take(self, rows):
        return PlainPasses(self.X[rows], self.samples.take(rows))


class PlainHessian:
    def __init__(self, passes, prob):
        self.passes, self.prob, self.n_classes = passes, prob, passes.n_classes

    def dot(self, coef, intercept):
        v = self.passes.logits(coef, intercept)
        return self.passes.summed(self.prob * (v - (self.prob * v).sum(axis=1, keepdims=True)), len(coef))

    def pair_grams(self, center):
        pairs = combinations((self.passes.weight[:, None] ** 0.5 * self.prob).T, 2)
        return np.stack([self.passes.gram(center, first * second) for first, second in pairs])

    def intercept_block(self):
        block = np.diag(self.passes.weight @ self.prob) - (self.prob.T * self.passes.weight) @ self.prob
        return block if self.n_classes > 2 else block[1:, 1:]

    def mean_curvature(self):
        return float(self.passes.weight @ self.prob.prod(axis=1)) / self.passes.total_weight
