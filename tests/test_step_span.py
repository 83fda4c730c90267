"""The span of a fit's steps: the minimum over it, what it remembers, and what it is good for."""

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

import fastlogreg._step_span
from fastlogreg import LogisticRegression
from fastlogreg._design import as_design
from fastlogreg._evaluation import Point
from fastlogreg._objective import Objective
from fastlogreg._softmax_objective import SoftmaxObjective
from fastlogreg._step_logits import StepLogits
from fastlogreg._step_span import MOST_STEPS, StepSpan
from fastlogreg.solvers._common import minimize_on_line
from fastlogreg.solvers.newton import LINES_BEFORE_SPAN


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 30))
    return X, (X @ rng.standard_normal(30) + rng.standard_normal(400) > 0).astype(float), rng


def _lattice(n_samples, degree, seed):
    """Monomials of three whole numbers and labels of a smooth surface among them: nearly separable."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 64, (n_samples, 3)) / 63.0
    red, green, blue = colours.T
    y = np.sin(6 * red) + 2 * green**2 - blue - 0.6 + 0.01 * rng.standard_normal(n_samples) > 0
    powers = [(a, b, c) for a in range(degree + 1) for b in range(degree + 1 - a) for c in range(degree + 1 - a - b)]
    return np.column_stack([np.prod(colours**power, axis=1) for power in powers if any(power)]), y


def _remembering(objective, rng, n_steps):
    """A span that knows so many random steps, and the points between them."""
    span = StepSpan.of(objective)
    points = [objective.evaluate(objective.start())]
    for _ in range(n_steps):
        step = 0.1 * rng.standard_normal(objective.n_parameters)
        points.append(objective.evaluate(points[-1].parameters + step))
        span.remember(*points[-2:])
    return span, points


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_minimum_over_the_span(data, l2, weighted):
    X, y, rng = data
    weight = rng.uniform(0.5, 2.0, len(y)) if weighted else None
    objective = Objective(as_design(X), y, sample_weight=weight, l2=l2)
    span, points = _remembering(objective, rng, 4)
    start = points[-1]
    end = objective.evaluate(start.parameters - 0.5 * start.gradient)
    steps = np.diff([point.parameters for point in [*points, end]], axis=0)
    directions = np.vstack([start.parameters, steps, np.eye(31)[-1]])
    best = scipy.optimize.minimize(
        lambda c: objective.evaluate(c @ directions).value,
        np.eye(len(directions))[0],
        jac=lambda c: directions @ objective.evaluate(c @ directions).gradient,
        tol=1e-12,
    )
    parameters, value = span.minimizer(start, end, 1e-6 * start.value)
    found = objective.evaluate(parameters).value
    assert found - best.fun <= 1e-6 * start.value
    assert_allclose(value, found, rtol=1e-4)  # the steps before are rounded


def test_remembers_the_last_steps(data):
    X, y, rng = data
    objective = Objective(as_design(X), y)
    assert not StepSpan.of(objective).has_steps
    many, points = _remembering(objective, rng, 3 * MOST_STEPS)
    last = StepSpan.of(objective)
    for start, end in zip(points[-7:-1], points[-6:], strict=True):
        last.remember(start, end)
    start = points[-1]
    end = objective.evaluate(start.parameters - 0.1 * start.gradient)
    (_, value), (_, expected) = (span.minimizer(start, end, 1e-6) for span in (many, last))
    assert_allclose(value, expected, rtol=1e-6)


def test_no_stored_logits_no_span(data):
    X, y, _ = data
    assert StepSpan.of(SoftmaxObjective(as_design(X), np.arange(len(y)) % 3, 3)) is None


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_over_the_logits_of_steps(weighted):
    rng = np.random.default_rng(0)
    n = 9001
    start, end, other = rng.standard_normal((3, n)) * [[1.0], [2.0], [100.0]]
    target = (rng.random(n) < 0.5).astype(float)
    weight = rng.uniform(0.0, 2.0, n) if weighted else None
    logits = StepLogits(n, 3)
    logits.put(0, start, other)
    logits.put(1, 1e-20 * other, 1e-20 * end)
    logits.put(2, start, start)
    coef, intercept = np.array([1.0, 0.3, 0.01, 2e18, 1.0]), 0.1
    loss, gradient, hessian = logits.sums(start, end, 3, coef, intercept, target, weight)
    steps = [other - start, 1e-20 * (end - other), np.zeros(n)]
    columns = np.array([start, end - start, *steps, np.ones(n)])
    u = np.append(coef, intercept) @ columns
    prob = 1.0 / (1.0 + np.exp(-u))
    s = np.ones(n) if weight is None else weight
    size = np.abs(columns)
    assert_allclose(loss, s @ (np.logaddexp(0.0, u) - target * u), rtol=1e-3)
    assert np.all(np.abs(gradient - columns @ (s * (prob - target))) <= 1e-3 * (size @ s))
    expected = (columns * (s * prob * (1.0 - prob))) @ columns.T
    assert np.all(np.abs(hessian - expected) <= 1e-3 * (size * s) @ size.T)


def test_what_is_not_rounded_is_summed_exactly():
    rng = np.random.default_rng(0)
    n = 50_000
    start, end = rng.standard_normal((2, n))
    target = (rng.random(n) < 0.5).astype(float)
    steps = np.exp2(rng.integers(-20, 0, n)) * rng.choice([-1.0, 1.0], n)
    coef = np.array([1.0, 0.5, 0.25])
    u = start + 0.5 * (end - start) + 0.25 * steps
    sums = []
    for n_threads in (1, 2):
        logits = StepLogits(n, 1, n_threads)
        logits.put(0, np.zeros(n), steps)
        sums.append(logits.sums(start, end, 1, coef, 0.0, target))
    assert_allclose(sums[0][0], np.sum(np.logaddexp(0.0, u) - target * u), rtol=1e-12)
    for one, two in zip(*sums, strict=True):
        np.testing.assert_array_equal(one, two)


def test_logits_of_other_samples_are_refused():
    logits, short = StepLogits(10, 2), np.zeros(9)
    right, coef = np.zeros(10), np.zeros(3)
    for start, end in ((short, right), (right, short)):
        with pytest.raises(ValueError, match="9 values for 10 samples"):
            logits.put(0, start, end)
        with pytest.raises(ValueError, match="9 values for 10 samples"):
            logits.sums(start, end, 1, coef, 0.0, right)
    for target, weight in ((short, right), (right, short)):
        with pytest.raises(ValueError, match="9 values for 10 samples"):
            logits.sums(right, right, 1, coef, 0.0, target, weight)
    for n_steps in (0, 2, 3, -1):
        with pytest.raises(ValueError, match="3 coefficients for 2 columns"):
            logits.sums(right, right, n_steps, coef, 0.0, right)
    with pytest.raises(IndexError):
        logits.put(2, right, right)


@pytest.mark.parametrize("C", [1e9, np.inf])
def test_hard_fits_need_little_memory_beside_x(monkeypatch, peak_memory, C):
    X, y = _lattice(100_000, 5, seed=1)
    LogisticRegression().fit(X[:1000], y[:1000])  # imports and pools
    combined, minimizer = [], StepSpan.minimizer
    monkeypatch.setattr(StepSpan, "minimizer", lambda *arguments: combined.append(1) or minimizer(*arguments))
    peak = peak_memory(lambda: LogisticRegression(C=C, n_jobs=1).fit(X, y))
    assert combined
    gram_matrices = 64 * 8 * 56**2  # a sum for each of the chunks
    assert peak < 0.1 * X.nbytes + gram_matrices


def test_hard_fits_take_fewer_iterations(monkeypatch):
    problems = [_lattice(5000, 5, seed) for seed in range(1, 6)]
    models = [LogisticRegression(C=1e10).fit(*problem) for problem in problems]
    monkeypatch.setattr(fastlogreg._step_span.StepSpan, "of", lambda *_: None)
    without = [LogisticRegression(C=1e10).fit(*problem) for problem in problems]
    for one, other in zip(models, without, strict=True):
        assert one.gap_ <= 1e-9
        assert_allclose(one.loss_curve_[-1], other.loss_curve_[-1], rtol=2e-9)
    assert sum(model.n_iter_[0] for model in models) < 0.8 * sum(model.n_iter_[0] for model in without)
    assert sum(model.n_passes_ for model in models) < 0.8 * sum(model.n_passes_ for model in without)


def test_the_same_bits_for_any_number_of_threads():
    X, y = _lattice(20_000, 5, seed=1)
    one, two = (LogisticRegression(C=1e12, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    assert one.n_iter_[0] > LINES_BEFORE_SPAN


@pytest.mark.parametrize(("rise", "slope", "good"), [(5e-11, 0.05, True), (5e-11, 0.5, False), (1e-9, 0.05, False)])
def test_slopes_tell_the_minimum_where_values_are_rounded(rise, slope, good):
    start = Point(np.array([0.0]), 1.0, np.array([-1.0]), np.zeros((1, 1)))
    end = Point(np.array([1e-10]), 1.0 + rise, np.array([slope]), np.zeros((1, 1)))

    class OnlyThese:
        LINES_ARE_FREE = True

        def largest_logit_change(self, start, end):
            return 1e-10

        def on_line(self, start, end, t):
            return np.inf, np.nan, np.nan

    assert (minimize_on_line(OnlyThese(), start, end) is end) == good
