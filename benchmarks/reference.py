"""How good a solution is: the objective, recomputed for everyone by one function, and a slow solver to compare with.

Plain NumPy in float64, and nothing of fastlogreg: what judges the fits shares no code with them.
"""

import numpy as np
import scipy.sparse as sp

# Beyond so many features the reference is not computed: its eigendecompositions would take minutes.
MOST_FEATURES = 1000
MOST_ITERATIONS = 300
# A block of rows, made dense and standardised, takes a few megabytes.
BLOCK_VALUES = 1 << 20


def mean_objective(X, y, coef, intercept, C, l1_ratio=0.0):
    """``sum_i L_i / n + (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|^2) / (C n)`` in nats per sample.

    The objective of scikit-learn's LogisticRegression divided by ``C n``; the intercept is free.
    """
    coef = np.asarray(coef, dtype=np.float64)
    logits = X @ coef + float(intercept)
    losses = np.logaddexp(0.0, np.where(y == 1, -logits, logits))
    penalty = l1_ratio * np.abs(coef).sum() + 0.5 * (1.0 - l1_ratio) * float(coef @ coef)
    return (float(losses.sum()) + penalty / C) / len(y)


def relative_gap(objective, minimum):
    """How far an objective is above a minimum, in units of the minimum; below zero if it is lower."""
    return objective / minimum - 1.0


def minimise(X, y, C):
    """Coefficients and intercept at the minimum with an L2 penalty or none, by a damped Newton method.

    It works in standardised coordinates z, ``w_j = z_j / D_j`` with ``D_j^2 = var_j + 4 l2`` (the Hessian's diagonal at
    zero, times four), around the columns' means, with the penalty ``l2 / 2 sum_j (z_j / D_j)^2`` that is the same
    function. Eigenvalues of the Hessian that are rounding are left out of the step.
    """
    coordinates = _Standardised(X, y, 0.0 if np.isinf(C) else 1.0 / (C * len(y)))
    z = np.zeros(X.shape[1] + 1)
    value, gradient, hessian = coordinates.expand(z)
    for _ in range(MOST_ITERATIONS):
        step = _truncated_newton_step(gradient, hessian)
        slope = float(gradient @ step)
        if -slope <= 1e-16 * value:
            break
        length, trial = 1.0, coordinates.expand(z + step)
        while trial[0] > value + 1e-4 * length * slope and length > 1e-10:
            length *= 0.5
            trial = coordinates.expand(z + length * step)
        if trial[0] >= value:
            break
        z = z + length * step
        value, gradient, hessian = trial
    return coordinates.to_coef(z)


def _truncated_newton_step(gradient, hessian):
    eigenvalues, vectors = np.linalg.eigh(hessian)
    kept = eigenvalues > len(eigenvalues) * np.finfo(float).eps * eigenvalues[-1]
    vectors = vectors[:, kept]
    return -vectors @ ((vectors.T @ gradient) / eigenvalues[kept])


class _Standardised:
    """The mean objective in standardised coordinates, the intercept last; X is standardised block by block."""

    def __init__(self, X, y, l2):
        self.X, self.y = X, y
        n, d = X.shape
        rows = max(1, BLOCK_VALUES // (d + 1))
        self.blocks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
        self.center = np.asarray(X.mean(axis=0)).ravel()
        variance = sum(np.square(self._dense(block) - self.center).sum(axis=0) for block in self.blocks) / n
        scale = np.sqrt(variance + 4.0 * l2)
        self.inverse_scale = np.divide(1.0, scale, out=np.zeros(d), where=scale > 0)
        self.ridge = np.append(l2 * self.inverse_scale**2, 0.0)

    def _dense(self, block):
        rows = self.X[block]
        return rows.toarray() if sp.issparse(rows) else rows

    def _standard(self, block):
        Z = np.ones((block.stop - block.start, len(self.ridge)))
        Z[:, :-1] = (self._dense(block) - self.center) * self.inverse_scale
        return Z

    def expand(self, z):
        """Value, gradient and Hessian."""
        loss, gradient, hessian = 0.0, np.zeros(len(z)), np.zeros((len(z), len(z)))
        for block in self.blocks:
            Z, y = self._standard(block), self.y[block]
            logits = Z @ z
            small = np.exp(-np.abs(logits))
            # sigma(-|u|): the residual of a sample on its right side, with all its digits
            tail = small / (1.0 + small)
            wrong = np.where((y == 1) == (logits >= 0), tail, 1.0 - tail)
            loss += float(np.logaddexp(0.0, np.where(y == 1, -logits, logits)).sum())
            gradient += np.where(y == 1, -wrong, wrong) @ Z
            Z *= np.sqrt(tail * (1.0 - tail))[:, np.newaxis]
            hessian += Z.T @ Z
        n = len(self.y)
        value = loss / n + 0.5 * float(z @ (self.ridge * z))
        return value, gradient / n + self.ridge * z, hessian / n + np.diag(self.ridge)

    def to_coef(self, z):
        coef = z[:-1] * self.inverse_scale
        return coef, float(z[-1] - coef @ self.center)
