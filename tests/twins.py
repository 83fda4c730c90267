"""Slow, plain twins of what the package computes: the textbook's formulae, on dense X, in X's precision.

Shapes as in the package: X (n, d), coef (K, d), intercept (K,), logits and target (K, n), weight (n,), and an offset in
the shape of the logits, or (n,) for one output.
"""

import numpy as np


def logits(X, coef, intercept):
    return coef @ X.T + intercept[:, None]


def sigmoid(u):
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is the right zero
        return 1 / (1 + np.exp(-u))


def losses(u, target):
    return (1 - target) * np.logaddexp(0, u) + target * np.logaddexp(0, -u)


def residuals(u, target):
    return (1 - target) * sigmoid(u) - target * sigmoid(-u)


def curvatures(u):
    return sigmoid(u) * sigmoid(-u)


def value(X, target, weight, l2, coef, intercept, offset=0.0):
    """The mean objective."""
    loss = weight * losses(logits(X, coef, intercept) + offset, target)
    return loss.sum() / weight.sum() + l2 / 2 * (coef**2).sum()


def gradient(X, target, weight, l2, coef, intercept, offset=0.0):
    """Of `value` in the coefficients (K, d) and in the intercepts (K,)."""
    residual = weight * residuals(logits(X, coef, intercept) + offset, target)
    return residual @ X / weight.sum() + l2 * coef, residual.sum(axis=1) / weight.sum()


def hessian(X, weight, l2, coef, intercept, offset=0.0):
    """Of `value` for one output, (d + 1, d + 1), the intercept last."""
    Z = np.column_stack([X, np.ones_like(X[:, :1])])
    curvature = weight * curvatures(logits(X, coef, intercept) + offset)[0]
    matrix = (Z.T * curvature) @ Z / weight.sum()
    matrix[:-1, :-1] += l2 * np.eye(X.shape[1])
    return matrix


def minimum(X, target, weight, l2, coef, intercept, fit_intercept=True):
    """Of `value` over one output, in extended precision where the machine has it, from a start near the minimiser."""
    X, target, weight, coef, intercept = (
        np.asarray(a, dtype=np.longdouble) for a in (X, target, weight, coef, intercept)
    )
    problem = X, target, weight, np.longdouble(l2)
    kept = slice(None) if fit_intercept else slice(-1)
    lowest = value(*problem, coef, intercept)
    for _ in range(100):
        slope = np.concatenate([part.ravel() for part in gradient(*problem, coef, intercept)])[kept]
        matrix = hessian(X, weight, problem[-1], coef, intercept)[kept, kept]
        scale = 1 / np.sqrt(np.diagonal(matrix))
        # Solved in double precision: the direction need not be exact, the slope and the values are.
        step = np.linalg.solve((matrix * np.outer(scale, scale)).astype(float), (scale * slope).astype(float))
        step = np.append(-scale * step, [0] * (not fit_intercept))
        for length in 0.5 ** np.arange(20):
            end = coef + length * step[:-1], intercept + length * step[-1:]
            if value(*problem, *end) < lowest:
                break
        else:
            return lowest
        coef, intercept = end
        lowest = value(*problem, *end)
    raise AssertionError("no convergence: the start is far, or the problem is flat")


def softmax_logits(X, coef, intercept):
    """Of K classes (n, K); so are their targets."""
    return X @ coef.T + intercept


def softmax(u):
    prob = np.exp(u - u.max(axis=1, keepdims=True))
    return prob / prob.sum(axis=1, keepdims=True)


def softmax_losses(u, target):
    shifted = u - u.max(axis=1, keepdims=True)
    return (target * (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted)).sum(axis=1)


def softmax_value(X, target, weight, l2, coef, intercept, offset=0.0):
    """The mean objective of K classes."""
    loss = weight @ softmax_losses(softmax_logits(X, coef, intercept) + offset, target)
    return loss / weight.sum() + l2 / 2 * (coef**2).sum()


def softmax_gradient(X, target, weight, l2, coef, intercept, offset=0.0):
    """Of `softmax_value` in the coefficients (K, d) and in the intercepts (K,)."""
    residual = weight[:, None] * (softmax(softmax_logits(X, coef, intercept) + offset) - target)
    return residual.T @ X / weight.sum() + l2 * coef, residual.sum(axis=0) / weight.sum()


def softmax_hessian(X, weight, l2, coef, intercept, offset=0.0):
    """Of `softmax_value` (K (d + 1), K (d + 1)): for each class its coefficients, then its intercept."""
    n_classes, width = len(coef), X.shape[1] + 1
    Z = np.column_stack([X, np.ones(len(X))])
    prob = softmax(softmax_logits(X, coef, intercept) + offset)
    curvature = prob[:, :, None] * (np.eye(n_classes) - prob[:, None, :])
    matrix = np.einsum("i,ikl,ia,ib->kalb", weight / weight.sum(), curvature, Z, Z, optimize=True)
    matrix = matrix.reshape(n_classes * width, n_classes * width)
    return matrix + np.diag(np.tile(np.append(np.full(width - 1, l2), 0.0), n_classes))
