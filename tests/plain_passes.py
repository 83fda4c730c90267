"""A holder of rows in plain NumPy: the slow twin of the passes, and the proof that anything which answers them fits."""

from itertools import combinations

import numpy as np
from scipy.special import log_softmax, softmax

from fastlogreg.data.passes import Passes


class PlainHandle:
    def __init__(self, coef, intercept):
        self.coef, self.intercept = coef, intercept

    def forget(self):
        """Nothing of the size of n is kept."""


class PlainPasses(Passes):
    """X (n, d), dense or sparse, and its samples; of two classes the first one's logits are zeros."""

    def __init__(self, X, samples):
        self.X, self.samples, self.weight, K = X, samples, samples.weight_or_ones, samples.n_classes
        self.n_samples, self.n_features, self.n_classes, self.n_passes = *X.shape, K, 0
        self.total_weight, self.mean_target = samples.total_weight, samples.mean_target
        self.has_labels, self.least_weight = samples.has_labels, samples.least_weight
        self.has_offset = samples.offset is not None
        target = samples.target
        whole = np.column_stack([1.0 - target, target]) if K == 2 else np.eye(K)[target] if target.ndim == 1 else target
        self.target = whole

    def logits(self, coef, intercept, offset=None):
        self.n_passes += 1
        u = self.X @ coef.T + intercept + (0.0 if offset is None else offset.reshape(self.n_samples, -1))
        return u if self.n_classes > 2 else np.column_stack([np.zeros(len(u)), u])

    def evaluate(self, coef, intercept, keep=True, recycle=None):
        u = self.logits(coef, intercept, self.samples.offset)
        residual = self.weight[:, None] * (softmax(u, axis=1) - self.target)[:, -len(coef) :]
        loss = -float(self.weight @ (self.target * log_softmax(u, axis=1)).sum(axis=1))
        return loss, np.ascontiguousarray((self.X.T @ residual).T), residual.sum(axis=0), PlainHandle(coef, intercept)

    def line(self, start, end, t):
        change = end.coef - start.coef, end.intercept - start.intercept
        at = start.coef + t * change[0], start.intercept + t * change[1]
        loss, of_coef, of_intercept, handle = self.evaluate(*at)
        slope = np.vdot(of_coef, change[0]) + of_intercept @ change[1]
        coef, intercept = self.hessian(handle).dot(*change)
        return loss, slope, np.vdot(coef, change[0]) + intercept @ change[1]

    def largest_logit_change(self, start, end):
        return np.ptp(self.logits(end.coef - start.coef, end.intercept - start.intercept), axis=1).max()

    def hessian(self, handle):
        return PlainHessian(self, softmax(self.logits(handle.coef, handle.intercept, self.samples.offset), axis=1))

    def gram(self, center, weight=None):
        Z = np.column_stack([self.X.toarray() if hasattr(self.X, "toarray") else self.X, np.ones(self.n_samples)])
        Z[:, :-1] -= center
        return (Z.T * (self.weight if weight is None else weight)) @ Z

    def moments(self):
        gram = self.gram(np.zeros(self.n_features)) / self.total_weight
        mean = gram[-1, :-1]
        return mean, np.diagonal(self.gram(mean))[:-1] / self.total_weight

    def take(self, rows):
        return PlainPasses(self.X[rows], self.samples.take(rows))


class PlainHessian:
    def __init__(self, passes, prob):
        self.passes, self.prob = passes, prob

    def dot(self, coef, intercept):
        v, prob = self.passes.logits(coef, intercept), self.prob
        product = self.passes.weight[:, None] * prob * (v - (prob * v).sum(axis=1, keepdims=True))
        product = product[:, -len(coef) :]
        return np.ascontiguousarray((self.passes.X.T @ product).T), product.sum(axis=0)

    def pair_grams(self, center):
        weights = (
            self.passes.weight * self.prob[:, k] * self.prob[:, m]
            for k, m in combinations(range(self.passes.n_classes), 2)
        )
        return np.stack([self.passes.gram(center, weight) for weight in weights])

    def intercept_block(self):
        prob, weight = self.prob, self.passes.weight
        block = np.diag(weight @ prob) - (prob.T * weight) @ prob
        return block if self.passes.n_classes > 2 else block[1:, 1:]

    def mean_curvature(self):
        return float(self.passes.weight @ (self.prob[:, 0] * self.prob[:, 1])) / self.passes.total_weight
