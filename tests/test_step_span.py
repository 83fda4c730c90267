"""The span of a fit's steps: the minimum over it, what it remembers, and what it is good for."""

import functools

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
from fastlogreg._step_span import MOST_STEPS, StepSpan
from fastlogreg.solvers._common import minimize_on_line
from fastlogreg.solvers.newton import LINES_BEFORE_SPAN, _minimizer

MINIMIZER = functools.partial(_minimizer, max_iter=50)


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
    span = StepSpan.of(objective, MINIMIZER)
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
    assert_allclose(objective.evaluate(parameters).value, best.fun, rtol=1e-6)
    assert_allclose(value, best.fun, rtol=1e-6)


def test_remembers_the_last_steps(data):
    X, y, rng = data
    objective = Objective(as_design(X), y)
    assert not StepSpan.of(objective, MINIMIZER).has_steps
    many, points = _remembering(objective, rng, 3 * MOST_STEPS)
    last = StepSpan.of(objective, MINIMIZER)
    for start, end in zip(points[-7:-1], points[-6:], strict=True):
        last.remember(start, end)
    start = points[-1]
    end = objective.evaluate(start.parameters - 0.1 * start.gradient)
    (_, value), (_, expected) = (span.minimizer(start, end, 1e-6) for span in (many, last))
    assert_allclose(value, expected, rtol=1e-6)


def test_few_parameters_or_no_stored_logits_have_none(data):
    X, y, _ = data
    assert StepSpan.of(Objective(as_design(X[:, :12].copy()), y), MINIMIZER) is None
    assert StepSpan.of(SoftmaxObjective(as_design(X), np.arange(len(y)) % 3, 3), MINIMIZER) is None


def test_hard_fits_take_fewer_iterations(monkeypatch):
    X, y = _lattice(5000, 5, seed=1)
    model = LogisticRegression(C=1e10).fit(X, y)
    assert model.gap_ <= 1e-9
    monkeypatch.setattr(fastlogreg._step_span.StepSpan, "of", lambda *_: None)
    without = LogisticRegression(C=1e10).fit(X, y)
    assert_allclose(model.loss_curve_[-1], without.loss_curve_[-1], rtol=2e-9)
    assert model.n_iter_[0] < 0.75 * without.n_iter_[0]
    assert model.n_passes_ < 0.75 * without.n_passes_


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
