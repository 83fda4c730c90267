"""What the tests of stochastic steps share: data, all kinds of steps, fits, objectives, and plain twins of the steps.

Of two classes there is one output, whose logit is that of class 1; of K classes there are K.
"""

import warnings

import numpy as np
import scipy.sparse as sp
import twins
from scipy.optimize import brentq, minimize
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression, SGDLogisticRegression
from fastlogreg.data.layouts import as_design
from fastlogreg.data.rows import Rows

KINDS = {
    "scheduled": {"learning_rate": "optimal"},
    "averaged": {"learning_rate": "invscaling", "average": 20},
    "l1": {"learning_rate": "optimal", "penalty": "elasticnet", "alpha": 1e-3},
    "batches": {"learning_rate": "constant", "batch_size": 32},
    "newton": {},
    "diagonal": {"penalty": "l1", "alpha": 1e-3},
}


def draw(logits, rng):
    """Classes drawn from their probabilities: two with logits (n,), K with logits (n, K)."""
    if logits.ndim == 1:
        return (rng.random(len(logits)) < expit(logits)).astype(int)
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


def make_data(n=400, d=7, n_classes=2, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    logits = X @ rng.standard_normal(d) + 0.3 if n_classes == 2 else X @ rng.standard_normal((d, n_classes))
    return X * scale, draw(logits, rng)


def sparse_data(n=400, d=40, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.csr_matrix(sp.random(n, d, density=0.2, format="csr", random_state=0, data_rvs=rng.standard_normal))
    return X, draw(X @ rng.standard_normal(d if n_classes == 2 else (d, n_classes)), rng)


def fitted(X, y, model=SGDLogisticRegression, of_fit=None, **options):
    """The model fitted, whether it converged or not; `of_fit` are further arguments of its fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model(**options).fit(X, y, **(of_fit or {}))


def value(X, y, alpha, coef, intercept):
    """The mean objective at coefficients (1 or K, d), of classes 0, 1, ..."""
    u = X @ coef.astype(float).T + intercept
    loss = twins.losses(u[:, 0], y) if len(coef) == 1 else twins.softmax_losses(u, np.eye(len(coef))[y])
    return loss.mean() + alpha / 2 * np.sum(coef.astype(float) ** 2)


def objective(model, X, y, alpha):
    """The mean objective at a model's coefficients."""
    return value(X, np.searchsorted(model.classes_, y), alpha, model.coef_, model.intercept_)


def optimum(X, y, alpha, tol=1e-7):
    C = np.inf if alpha == 0 else 1 / (alpha * len(y))
    return objective(LogisticRegression(C=C, tol=tol, max_iter=1000).fit(X, y), X, y, alpha)


def settings_of(**options):
    settings = {"schedule": "constant", "eta0": 0.1, "power_t": 0.4, "alpha": 0.01, "penalised": True, "l1_ratio": 0.0}
    return {**settings, "fit_intercept": True, "average": 0, "batch_size": 1, **options}


def solution_of(steps, X, y, weight=None, order=None):
    """Coefficients and intercept after an epoch."""
    steps.begin_epoch()
    steps.feed(Rows(as_design(X)), np.asarray(y, dtype=float), weight, order)
    steps.end_epoch()
    return steps.solution()


def assert_same(ours, expected, rtol=1e-10):
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def probabilities(u):
    """Of logits (n, 1 or K)."""
    return expit(u) if u.shape[1] == 1 else twins.softmax(u)


def rates(settings):
    """The step length as a function of t, one more than the steps done."""
    alpha, eta0 = settings["alpha"], settings["eta0"]
    typical = 1 / np.sqrt(np.sqrt(alpha))
    start = max(1.0, 1 / (1 + np.exp(-typical))) / (typical * alpha)
    return {
        "constant": lambda t: eta0,
        "adaptive": lambda t: eta0,
        "optimal": lambda t: 1 / (alpha * (start + t - 1)),
        "invscaling": lambda t: eta0 / t ** settings["power_t"],
    }[settings["schedule"]]


def gradient_twin(X, target, settings, order, weight):
    """Gradient steps in plain NumPy, on dense X (n, d) and target probabilities (n, 1 or K)."""
    l1, l2 = settings["alpha"] * settings["l1_ratio"], settings["alpha"] * (1 - settings["l1_ratio"])
    rate, first_averaged = rates(settings), settings["average"]
    w, had, mean = np.zeros((3, target.shape[1], X.shape[1]))
    b, mean_b = np.zeros((2, target.shape[1]))
    accrued = reach = 0.0  # reach: what one unit more of the coefficients now adds to their average
    batches = np.split(order, range(settings["batch_size"], len(order), settings["batch_size"]))
    for t, batch in enumerate(batches, 1):
        eta = rate(t)
        slope = weight[batch, None] * (probabilities(X[batch] @ w.T + b) - target[batch])
        shrink = max(0.0, 1 - l2 * eta)
        w = shrink * w - eta * slope.T @ X[batch] / len(batch)
        reach = reach / shrink if shrink else 0.0
        b = b - settings["fit_intercept"] * eta * slope.mean(axis=0)
        if first_averaged and t >= first_averaged:
            share = 1 / (t - first_averaged + 1)
            mean, mean_b = mean + share * (w - mean), mean_b + share * (b - mean_b)
            reach += share * (1 - reach)
        if l1:
            accrued += l1 * eta
            before = w
            cut = np.where(w > 0, np.maximum(0, w - (accrued + had)), np.minimum(0, w + (accrued - had)))
            touched = np.any(X[batch] != 0, axis=0)
            w = np.where(touched, cut, w)
            had += w - before
            mean = mean + reach * (w - before)  # scikit-learn's average has it as if it had always been so
    return (mean, mean_b) if 0 < first_averaged <= len(batches) else (w, b)


def diagonal_twin(X, target, weight, alpha, l1_ratio, fit_intercept=True):
    """Steps with a curvature for each coefficient in plain NumPy, on dense X (n, d) and targets (n, 1 or K)."""
    n_outputs = target.shape[1]
    n_classes = max(2, n_outputs)
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    v, h = np.zeros((2, n_outputs, X.shape[1]))
    b, h_b = np.zeros((2, n_outputs))
    total = 0.0

    def solution(scale):
        shrunk = np.sign(v) * np.maximum(np.abs(v) - l1 * total, 0)
        return np.divide(shrunk, scale, out=np.zeros_like(v), where=scale > 0)

    for x, p_target, s in zip(X, target, weight, strict=True):
        total += s
        so_far, unseen = l2 * total + h, 0.5 * (n_classes - 1) / n_classes**2 * s
        scale = np.where(so_far > 0, so_far, unseen * x**2)
        w = solution(scale)
        u = w @ x + b
        p = probabilities(u[None])[0]
        curvature = s * p * (1 - p)
        h_b = h_b + curvature
        rate = fit_intercept / (h_b + 0.25 * s)
        reach = np.divide(x**2, scale, out=np.zeros_like(scale), where=scale > 0).sum(axis=1) + rate
        g = implicit_slopes(u, reach, p_target, s)
        charged = 0.5 * curvature[:, None]
        v += np.outer(g, x) + charged * x**2 * w
        h += np.where(so_far > 0, charged, np.maximum(charged, unseen)) * x**2
        b = b + rate * g
    coef = solution(l2 * total + h)
    return coef - (l1 == 0 and n_outputs > 1) * coef.mean(axis=0), b


def implicit_slopes(u, reach, target, weight):
    """g = weight (target - p(u + reach g)); of several outputs the minimiser of the convex value with this gradient."""

    def probability(g):
        return probabilities((u + reach * g)[None])[0]

    if len(u) == 1:
        return brentq(lambda g: (g - weight * (target - probability(g)))[0], -weight, weight, xtol=1e-15)

    def convex_value(g):
        return weight * twins.softmax_losses((u + reach * g)[None], target[None])[0] + 0.5 * (reach * g**2).sum()

    def gradient(g):
        return reach * (g - weight * (target - probability(g)))

    def hessian(g):
        p = probability(g)
        return np.diag(reach) + weight * np.outer(reach, reach) * (np.diag(p) - np.outer(p, p))

    start = weight * (target - probability(np.zeros_like(u)))
    options = {"jac": gradient, "hess": hessian, "method": "trust-exact", "options": {"gtol": 1e-10}}
    g = minimize(convex_value, 0.5 * start, **options).x
    for _ in range(3):
        g = g - np.linalg.solve(hessian(g), gradient(g))
    return g
