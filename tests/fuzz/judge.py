"""A slow and careful solver, to judge the package's fits by: it shares no code with them.

`Problem` holds the samples in extended precision, each column less one of its own values and scaled by a power of two:
neither origins nor units cost accuracy then. `minimum` takes Newton steps to where their gain is lost in rounding. What
is compared in the end is one function, `Problem.value_at`, of the coefficients that a fit hands out.

A value that `minimum` finds is attained: a fit above it is not optimal, whatever else may be wrong here. `lower_bound`
proves that nothing lies far below.
"""

import copy
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from extended import EPS, REAL, exact_dot, pivoted_qr


class Problem:
    """The mean objective of logistic regression over weighted samples.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    target : ndarray of shape (n, K)
        Probabilities of the classes.
    weight : ndarray of shape (n,)
    strength : float or longdouble
        ``strength / 2 |w|^2`` is the penalty of the mean objective.
    fit_intercept : bool

    Attributes
    ----------
    Z : ndarray of shape (n, d)
        ``(X - origin) / scale`` of the samples that have weight.
    ridge : ndarray of shape (d,)
        The penalty's curvature in the coefficients of Z.
    target : ndarray of shape (K, n)
    contrasts : ndarray of shape (m, K)
        The logits of the classes are m free logits times this: the second class' own for two classes, K - 1 orthonormal
        contrasts for more. Parameters are (m, d + 1), the intercepts last.
    held : ndarray of shape (K, n) or None
        Where False, a class is not possible for a sample; None stands for True.
    """

    def __init__(self, X, target, weight, strength, fit_intercept):
        weighs = weight > 0
        X = X[weighs].astype(REAL)
        self.target = np.ascontiguousarray(target[weighs].T.astype(REAL))
        self.weight = weight[weighs].astype(REAL)
        self.weight /= self.weight.sum()
        self.strength, self.fit_intercept, self.held = REAL(strength), fit_intercept, None
        # A value of the column itself: those near it lose nothing when it is taken away.
        self.origin = np.sort(X, axis=0)[len(X) // 2] if fit_intercept else np.zeros(X.shape[1], dtype=REAL)
        self.Z = X - self.origin
        largest = np.max(np.abs(self.Z), axis=0)
        self.scale = np.where(largest > 0, np.ldexp(REAL(1), np.frexp(largest)[1]), REAL(1))
        self.Z /= self.scale
        self.ridge = self.strength / self.scale**2
        self.contrasts = _contrasts(len(self.target))
        self.pairs = [(k, other) for k in range(len(self.target)) for other in range(k)]

    @property
    def n_outputs(self):
        return len(self.contrasts)

    def with_held(self, held):
        """The same problem, but for the classes that are possible for each sample (K, n)."""
        other = copy.copy(self)
        other.held = held
        return other

    def value_at(self, coef, intercept):
        """The objective at coefficients (1, d) or (K, d) and intercepts as an estimator hands them out."""
        coef = np.asarray(coef, dtype=REAL)
        shift = [exact_dot(self.origin, w, b) for w, b in zip(coef, np.asarray(intercept, dtype=REAL), strict=True)]
        logits = (coef * self.scale) @ self.Z.T + np.array(shift, dtype=REAL)[:, None]
        if len(coef) == 1:
            logits = np.concatenate([np.zeros_like(logits), logits])
        loss, _ = _losses(logits, self.target)
        return self.weight @ loss + self.strength / 2 * np.sum(coef**2)

    def value(self, parameters, logits):
        """The objective at parameters and their free logits."""
        return self.weight @ self.losses(logits)[0] + np.sum(self.ridge * parameters[:, :-1] ** 2) / 2

    def logits(self, parameters):
        """The free logits (m, n)."""
        return parameters[:, :-1] @ self.Z.T + parameters[:, -1:]

    def losses(self, logits):
        """The samples' losses (n,) and probabilities (K, n) at free logits."""
        return _losses(self.contrasts.T @ logits, self.target, self.held)

    def slopes(self, prob):
        """The slopes of the weighted losses in the free logits (m, n), without subtracting a probability from one."""
        slopes = np.zeros((self.n_outputs, len(self.weight)), dtype=REAL)
        for k, other in self.pairs:
            difference = self.target[other] * prob[k] - self.target[k] * prob[other]
            slopes += np.outer(self.contrasts[:, k] - self.contrasts[:, other], self.weight * difference)
        return slopes

    def curvature_roots(self, prob):
        """The losses' curvatures: of each pair of classes a vector (m,), and factors (n,) of its square."""
        return [
            (self.contrasts[:, k] - self.contrasts[:, other], np.sqrt(self.weight * prob[k] * prob[other]))
            for k, other in self.pairs
        ]

    def gradient(self, parameters, slopes):
        of_intercept = slopes.sum(axis=1) if self.fit_intercept else np.zeros(self.n_outputs, dtype=REAL)
        return np.column_stack([slopes @ self.Z + self.ridge * parameters[:, :-1], of_intercept])

    def hessian_dot(self, roots, direction):
        logits = self.logits(direction)
        return self.gradient(direction, sum(np.outer(pair, root**2 * (pair @ logits)) for pair, root in roots))

    def to_coef(self, parameters):
        """Coefficients (1, d) or (K, d) and intercepts, in extended precision."""
        coef = parameters[:, :-1] / self.scale
        intercept = np.array([exact_dot(-self.origin, w, b) for w, b in zip(coef, parameters[:, -1], strict=True)])
        if len(self.target) == 2:
            return coef, intercept
        return self.contrasts.T @ coef, self.contrasts.T @ intercept

    def rounding_allowance(self, parameters, eps):
        """What the objective may be above its minimum, there, because of rounding: each term of the logits, and each
        coefficient, changes by ``2 eps`` of itself in the worst direction.

        A loss then rises above its tangent by half the Hessian's form, times e to the change as curvatures grow no
        faster, and by no more than the change.
        """
        coef, intercept = self.to_coef(parameters)
        _, prob = self.losses(self.logits(parameters))
        change = 2 * eps * (np.abs(coef) @ np.abs(self.Z * self.scale + self.origin).T + np.abs(intercept)[:, None])
        if len(coef) == 1:
            change = np.concatenate([np.zeros_like(change), change])
        form = sum(prob[k] * prob[other] * (change[k] + change[other]) ** 2 for k, other in self.pairs)
        largest = 2 * change.max(axis=0)
        of_loss = np.where(largest > 100, largest, np.minimum(form / 2 * np.exp(np.minimum(largest, 100)), largest))
        return self.weight @ of_loss + self.strength / 2 * np.sum((2 * eps * coef) ** 2)


@dataclass
class Minimum:
    """Where `minimum` ended: a value, about how far above the true minimum it is, and the parameters."""

    value: REAL
    error: REAL
    parameters: np.ndarray
    n_steps: int

    @property
    def is_certain(self):
        return bool(self.error <= 1e-11 * self.value)


# What a QR factor may take from a column before only rounding is left of it.
FINEST = 4 * EPS


def minimum(problem, *, start=None, resolution=FINEST, max_steps=400):
    """The `Minimum` of a problem that has one: there is a penalty, or nothing separates the classes.

    Columns that differ from others' combinations by less than the part `resolution` of their lengths are left alone.
    """
    if problem.Z.shape[1] > len(problem.Z) and np.all(problem.ridge > 0):
        return _minimum_in_span(problem, max_steps)
    shape = (problem.n_outputs, problem.Z.shape[1] + 1)
    parameters = np.zeros(shape, dtype=REAL) if start is None else start
    logits = problem.logits(parameters)
    value, damping, stalled, precise = problem.value(parameters, logits), REAL(0), 0, False
    for n_steps in range(max_steps):  # noqa: B007
        _, prob = problem.losses(logits)
        gradient, roots = problem.gradient(parameters, problem.slopes(prob)), problem.curvature_roots(prob)
        direction = _newton_direction(problem, roots, gradient, damping, resolution, precise)
        gain = abs(np.sum(gradient * direction)) / 2
        is_last = precise and damping == 0 and gain <= 1e-16 * value
        t = REAL(1) if is_last else _best_on_line(problem, parameters, logits, direction)
        end = parameters + t * direction
        end_logits = problem.logits(end)
        end_value = problem.value(end, end_logits)
        fell = end_value < value * (1 - 10 * EPS)
        if end_value < value or (is_last and end_value <= value * (1 + 10 * EPS)):
            parameters, logits, value = end, end_logits, end_value
        if is_last:
            break
        stalled = 0 if fell else stalled + 1
        if precise and stalled > 3:
            break
        precise |= not fell or (damping == 0 and gain <= 1e-13 * value)
        damping = _next_damping(damping, t if fell else REAL(0), stalled)
    return Minimum(value, gain, parameters, n_steps)


def lower_bound(problem, parameters):
    """A value below the minimum, from the dual variables of the parameters, where all columns have a penalty.

    A proof for all intercepts within one of those here, to which convexity bounds them: their slopes need not be zero.
    """
    _, prob = problem.losses(problem.logits(parameters))
    slopes = problem.slopes(prob)
    entropy = -np.sum(prob * np.log(np.maximum(prob, np.finfo(REAL).tiny)), axis=0)
    of_coef, of_intercept = slopes @ problem.Z, slopes.sum(axis=1) * problem.fit_intercept
    of_penalty = np.sum(of_coef**2 / problem.ridge) / 2
    return problem.weight @ entropy - of_penalty + np.sum(of_intercept * parameters[:, -1] - np.abs(of_intercept))


def _minimum_in_span(problem, max_steps):
    """The same over the span of fewer rows than columns, all with a penalty: an LQ factor in the place of Z."""
    root = np.sqrt(problem.ridge)
    scaled = (problem.Z / root).T
    order = np.argsort(-np.max(np.abs(scaled), axis=1))
    factor = pivoted_qr(scaled[order], EPS * np.max(np.abs(scaled)))
    small = copy.copy(problem)
    small.Z = np.empty((len(problem.Z), len(factor.R)), dtype=REAL)
    small.Z[factor.columns] = factor.R.T
    largest = np.max(np.abs(small.Z), axis=0)
    small.Z /= largest
    small.ridge = 1 / largest**2
    found = minimum(small, max_steps=max_steps)
    rotated = np.zeros((len(scaled), problem.n_outputs), dtype=REAL)
    rotated[: len(largest)] = (found.parameters[:, :-1] / largest).T
    coef = np.empty_like(rotated)
    coef[order] = factor.rotate(rotated)
    parameters = np.column_stack([coef.T / root, found.parameters[:, -1]])
    value = problem.value(parameters, problem.logits(parameters))
    return Minimum(value, max(found.error, value - found.value), parameters, found.n_steps)


def _contrasts(n_classes):
    if n_classes == 2:
        return np.array([[0, 1]], dtype=REAL)
    rows = [[1] * k + [-k] + [0] * (n_classes - k - 1) for k in range(1, n_classes)]
    contrasts = np.array(rows, dtype=REAL)
    return contrasts / np.sqrt(np.sum(contrasts**2, axis=1, keepdims=True))


def _losses(logits, target, held=None):
    """Cross-entropies (n,) and probabilities (K, n) of logits (K, n)."""
    if held is not None:
        logits = np.where(held, logits, -np.inf)
    top = logits.max(axis=0)
    behind = top - logits
    powers = np.exp(-behind)
    prob = powers / powers.sum(axis=0)
    # The largest power is 1: the logarithm of the sum is that of one and the others.
    powers[np.argmax(logits, axis=0), np.arange(powers.shape[1])] = 0
    log_sum = np.log1p(powers.sum(axis=0))
    if held is not None:
        behind = np.where(held, behind, 0)
    return np.sum(target * (behind + log_sum), axis=0), prob


def _next_damping(damping, t, stalled):
    """More where the step's best length `t` is a small part of it, less where it is most of it or more."""
    if t < 0.1:
        return max(30 * damping, REAL(1e-10)) if stalled < 2 else REAL(0)
    if t > 0.5:
        return damping / 30 if damping > 1e-14 else REAL(0)
    return damping


def _newton_direction(problem, roots, gradient, damping, resolution, precise):
    """The solution of the Newton equations, by conjugate gradients; `damping` adds that part of the diagonal that the
    Hessian has where all classes are as likely.
    """
    extra = damping * (problem.weight @ problem.Z**2 / 4 + problem.ridge)
    precondition = _preconditioner(problem, roots, extra, resolution, precise)
    direction, residual = np.zeros_like(gradient), -gradient
    search = conditioned = precondition(residual)
    product = first = np.sum(residual * conditioned)
    for _ in range(30):
        if not product > 1e-16 * first:
            break
        curved = problem.hessian_dot(roots, search)
        curved[:, :-1] += extra * search[:, :-1]
        curvature = np.sum(search * curved)
        if not curvature > 0:
            break
        step = product / curvature
        direction += step * search
        residual = residual - step * curved
        conditioned = precondition(residual)
        product, before = np.sum(residual * conditioned), product
        search = conditioned + product / before * search
    return direction


# A QR factor of more multiplications than this takes too long in extended precision.
MOST_PRECISE_WORK = 1e8


def _preconditioner(problem, roots, extra, resolution, precise):
    """Applies an inverse of the Hessian, as far as a rank-revealing QR factor of its root tells columns apart: one in
    float64, or if `precise` in extended precision.
    """
    root = _hessian_root(problem, roots, problem.ridge + extra)
    length = np.sqrt(np.sum(root**2, axis=0))
    inverse = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    root *= inverse
    # Rows of very different sizes are safe in an order of their sizes.
    root = root[np.argsort(-np.max(np.abs(root), axis=1))]
    if precise and root.size * root.shape[1] <= MOST_PRECISE_WORK:
        factor = pivoted_qr(root, resolution)
        rank, R, columns, solve = len(factor.R), factor.R, factor.columns, _solve_in_extended
    else:
        R, columns = scipy.linalg.qr(root.astype(np.float64), mode="r", pivoting=True, check_finite=False)
        rank = int(np.sum(np.abs(np.diag(R)) > max(4 * np.finfo(float).eps, resolution)))
        solve = _solve_in_double
    R, chosen = R[:rank, :rank], columns[:rank]

    def precondition(vector):
        flat = (vector if problem.fit_intercept else vector[:, :-1]).ravel()
        out = np.zeros_like(flat)
        out[chosen] = inverse[chosen] * solve(R, inverse[chosen] * flat[chosen])
        out = out.reshape(problem.n_outputs, -1)
        return out if problem.fit_intercept else np.column_stack([out, np.zeros(len(out), dtype=REAL)])

    return precondition


def _hessian_root(problem, roots, ridge):
    """A matrix whose columns' products are the Hessian with that ridge, of the flat parameters."""
    n, d = problem.Z.shape
    m, width = problem.n_outputs, d + problem.fit_intercept
    columns = np.column_stack([problem.Z, np.ones(n, dtype=REAL)])[:, :width]
    of_loss = [np.einsum("i,k,ij->ikj", root, pair, columns).reshape(n, m * width) for pair, root in roots]
    of_penalty = np.zeros((m, d, m, width), dtype=REAL)
    for k in range(m):
        of_penalty[k, np.arange(d), k, np.arange(d)] = np.sqrt(ridge)
    return np.concatenate([*of_loss, of_penalty[:, ridge > 0].reshape(-1, m * width)])


def _solve_in_double(R, vector):
    """``R^-1 R^-T vector``."""
    size = np.max(np.abs(vector), initial=0)
    if size == 0:
        return vector
    half = scipy.linalg.solve_triangular(R, (vector / size).astype(np.float64), trans="T", check_finite=False)
    return size * scipy.linalg.solve_triangular(R, half, check_finite=False).astype(REAL)


def _solve_in_extended(R, vector):
    """``R^-1 R^-T vector``."""
    out = vector.copy()
    for k in range(len(R)):
        out[k] = (out[k] - R[:k, k] @ out[:k]) / R[k, k]
    for k in range(len(R) - 1, -1, -1):
        out[k] = (out[k] - R[k, k + 1 :] @ out[k + 1 :]) / R[k, k]
    return out


def _best_on_line(problem, parameters, logits, direction):
    """How far along a direction the objective is near its minimum there."""
    along = problem.logits(direction)
    linear = np.sum(problem.ridge * parameters[:, :-1] * direction[:, :-1])
    quadratic = np.sum(problem.ridge * direction[:, :-1] ** 2)
    loss_before, _ = problem.losses(logits)

    def derivatives(t):
        """What the value is above that at the start, the slope and the curvature."""
        loss, prob = problem.losses(logits + t * along)
        rise = problem.weight @ (loss - loss_before) + t * linear + t * t * quadratic / 2
        curvature = sum(np.sum((root * (pair @ along)) ** 2) for pair, root in problem.curvature_roots(prob))
        return rise, np.sum(problem.slopes(prob) * along) + linear + t * quadratic, curvature + quadratic

    _, first, _ = derivatives(REAL(0))
    low, high, t = REAL(0), REAL(np.inf), REAL(1)
    for _ in range(100):
        rise, slope, curvature = derivatives(t)
        if rise <= 0 and abs(slope) <= 0.1 * abs(first):
            break
        low, high = (t, high) if slope < 0 else (low, t)
        newton = t - slope / curvature if curvature > 0 else REAL(np.inf)
        if high < np.inf and not low < newton < high:
            newton = (low + high) / 2
        t = newton if high < np.inf else min(max(newton, 1.1 * t), 10 * t)
    return t
