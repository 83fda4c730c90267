"""How good a solution is: the objective, recomputed for everyone by one function, and a slow solver to compare with.

Plain NumPy in float64, and nothing of fastlogreg: what judges the fits shares no code with them.
"""

import numpy as np
import scipy.sparse as sp

# Beyond 1001 parameters the reference is not computed: its eigendecompositions would take minutes.
MOST_PARAMETERS = 1001
MOST_ITERATIONS = 300
# Numbers in a block of rows, made dense and standardised: some megabytes.
BLOCK_VALUES = 1 << 20


def mean_objective(X, y, coef, intercept, C, l1_ratio=0.0):
    """``sum_i L_i / n + (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|^2) / (C n)`` in nats per sample.

    The objective of scikit-learn's LogisticRegression divided by ``C n``; the intercept is free. For two classes from
    coefficients (d,) and a number, for K >= 3 by softmax from all of (K, d) and (K,).
    """
    coef = np.asarray(coef, dtype=np.float64)
    intercept = np.asarray(intercept, dtype=np.float64)
    loss = 0.0
    for block in _blocks(len(y), values_a_row=max(1, coef.size // X.shape[1])):
        logits = X[block] @ coef.T + intercept
        loss += float(_losses(logits, y[block]).sum())
    penalty = l1_ratio * np.abs(coef).sum() + 0.5 * (1.0 - l1_ratio) * float(np.square(coef).sum())
    return (loss + penalty / C) / len(y)


def _losses(logits, y):
    """Cross-entropies of logits (n,), or of (n, K)."""
    if logits.ndim == 1:
        return np.logaddexp(0.0, np.where(y == 1, -logits, logits))
    below = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(below).sum(axis=1)) - below[np.arange(len(y)), y]


def _blocks(n_samples, values_a_row):
    rows = max(1, BLOCK_VALUES // values_a_row)
    return [slice(start, min(start + rows, n_samples)) for start in range(0, n_samples, rows)]


def relative_gap(objective, minimum):
    """How far an objective is above a minimum, in units of the minimum; below zero if it is lower."""
    return objective / minimum - 1.0


def n_parameters(problem):
    """How many numbers `minimise` works with: coefficients and intercepts."""
    return problem.n_coef + (problem.n_classes if problem.n_classes > 2 else 1)


def minimise(X, y, C):
    """Coefficients and intercept at the minimum with an L2 penalty or none, by a damped Newton method.

    It works in standardised coordinates z, ``w_j = z_j / D_j`` with ``D_j^2 = var_j + 4 l2`` (the Hessian's diagonal at
    zero for two classes, times four), around the columns' means, with the penalty ``l2 / 2 sum_j (z_j / D_j)^2`` that
    is the same function; of K >= 3 classes each has its own row of z. Eigenvalues of the Hessian that are rounding are
    left out of the step, and with them what adds the same to all classes.
    """
    coordinates = _Standardised(X, y, 0.0 if np.isinf(C) else 1.0 / (C * len(y)))
    z = np.zeros(coordinates.n_rows * (X.shape[1] + 1))
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
    """The mean objective in standardised coordinates: a row for each class, or one for two, with the intercept last.

    X is standardised block by block.
    """

    def __init__(self, X, y, l2):
        self.X, self.y = X, y
        n, d = X.shape
        n_classes = y.max() + 1
        self.n_rows = n_classes if n_classes > 2 else 1
        self.blocks = _blocks(n, max(d + 1, self.n_rows**2))
        self.center = np.asarray(X.mean(axis=0)).ravel()
        variance = sum(np.square(self._dense(block) - self.center).sum(axis=0) for block in self.blocks) / n
        scale = np.sqrt(variance + 4.0 * l2)
        self.inverse_scale = np.divide(1.0, scale, out=np.zeros(d), where=scale > 0)
        self.ridge = np.tile(np.append(l2 * self.inverse_scale**2, 0.0), self.n_rows)

    def _dense(self, block):
        rows = self.X[block]
        return rows.toarray() if sp.issparse(rows) else rows

    def _standard(self, block):
        Z = np.ones((block.stop - block.start, len(self.center) + 1))
        Z[:, :-1] = (self._dense(block) - self.center) * self.inverse_scale
        return Z

    def expand(self, z):
        """Value, gradient and Hessian."""
        n, n_columns = len(self.y), len(self.center) + 1
        loss, gradient = 0.0, np.zeros((self.n_rows, n_columns))
        hessian = np.zeros((self.n_rows, n_columns, self.n_rows, n_columns))
        for block in self.blocks:
            Z, y = self._standard(block), self.y[block]
            logits = Z @ z.reshape(self.n_rows, n_columns).T
            if self.n_rows == 1:
                loss += float(_losses(logits[:, 0], y).sum())
                residual, curvature = _binary_derivatives(logits, y)
            else:
                loss += float(_losses(logits, y).sum())
                residual, curvature = _softmax_derivatives(logits, y)
            gradient += residual.T @ Z
            for k, other in zip(*np.tril_indices(self.n_rows, -1), strict=True):
                product = Z.T @ (curvature[:, k, other, np.newaxis] * Z)
                hessian[k, :, other] += product
                hessian[other, :, k] += product
            for k in range(self.n_rows):
                root = np.sqrt(curvature[:, k, k, np.newaxis]) * Z
                hessian[k, :, k] += root.T @ root
        value = loss / n + 0.5 * float(z @ (self.ridge * z))
        hessian = hessian.reshape(len(z), len(z)) / n + np.diag(self.ridge)
        return value, gradient.ravel() / n + self.ridge * z, hessian

    def to_coef(self, z):
        z = z.reshape(self.n_rows, -1)
        coef = z[:, :-1] * self.inverse_scale
        intercept = z[:, -1] - coef @ self.center
        return (coef[0], float(intercept[0])) if self.n_rows == 1 else (coef, intercept)


def _binary_derivatives(logits, y):
    """Residuals (n, 1) and curvatures (n, 1, 1) of logits (n, 1)."""
    small = np.exp(-np.abs(logits))
    # sigma(-|u|): the residual of a sample on its right side, with all its digits
    tail = small / (1.0 + small)
    second = (y == 1)[:, np.newaxis]
    wrong = np.where(second == (logits >= 0), tail, 1.0 - tail)
    return np.where(second, -wrong, wrong), (tail * (1.0 - tail))[:, :, np.newaxis]


def _softmax_derivatives(logits, y):
    """Residuals (n, K) and curvatures (n, K, K) of logits (n, K); differences from one are sums of other classes."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    residual, own = p.copy(), (np.arange(len(y)), y)
    residual[own] = 0.0
    residual[own] = -residual.sum(axis=1)
    curvature = -p[:, :, np.newaxis] * p[:, np.newaxis, :]
    diagonal = np.einsum("ikk->ik", curvature)
    diagonal[:] = 0.0
    diagonal[:] = -curvature.sum(axis=2)
    return residual, curvature
