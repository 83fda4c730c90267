"""Steps of hard fits: which samples a quadratic model misjudges, the model that heeds them, and what it is good for."""

import warnings
from types import SimpleNamespace

import numpy as np
import posing
import pytest
import scipy.optimize
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg import LogisticRegression
from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.data import misjudged
from fastlogreg.data.layouts import as_design
from fastlogreg.data.misjudged import MisjudgedSamples
from fastlogreg.solvers import refined_model
from fastlogreg.solvers.refined_model import LINES_BEFORE_MODELS, RefinedModel, StepSearch, _capacity


def _lattice(n_samples, degree, seed):
    """Monomials of three whole numbers and labels of a smooth surface among them: nearly separable."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 64, (n_samples, 3)) / 63.0
    red, green, blue = colours.T
    y = np.sin(6 * red) + 2 * green**2 - blue - 0.6 + 0.01 * rng.standard_normal(n_samples) > 0
    powers = [(a, b, c) for a in range(degree + 1) for b in range(degree + 1 - a) for c in range(degree + 1 - a - b)]
    return np.column_stack([np.prod(colours**power, axis=1) for power in powers if any(power)]), y


@pytest.fixture(params=[(0.0, False, True), (0.01, True, True), (0.01, False, False)], ids=["free", "weighted", "raw"])
def objective(request):
    l2, weighted, fit_intercept = request.param
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 12)) + 0.3
    y = (X @ rng.standard_normal(12) + rng.standard_normal(400) > 0).astype(float)
    weight = rng.uniform(0.5, 2.0, len(y)) if weighted else None
    return posing.binary(as_design(X), y, sample_weight=weight, l2=l2, fit_intercept=fit_intercept)


def _points(objective, seed=0):
    """A point and the end of a step from there that is too long."""
    rng = np.random.default_rng(seed)
    start = objective.evaluate(objective.start() + 0.3 * rng.standard_normal(objective.n_parameters))
    return start, objective.evaluate(start.parameters - 20.0 * start.gradient)


def _errors(objective, start, end, t):
    """What the quadratic models of the losses at the start are wrong by, the slow way."""
    u, change = start.handle.logits, t * (end.handle.logits - start.handle.logits)
    prob = 1.0 / (1.0 + np.exp(-u))
    weight, target = objective.passes.local.samples.weight_or_ones, objective.passes.local.samples.target
    exact = np.logaddexp(0.0, u + change) - np.logaddexp(0.0, u) - target * change
    return weight * np.abs(exact - change * (prob - target) - 0.5 * prob * (1.0 - prob) * change**2)


def _samples(objective):
    return MisjudgedSamples(objective.passes.local, _capacity(objective))


class TestMisjudgedSamples:
    @pytest.mark.parametrize("block_rows", [7, 1000])
    def test_are_those_with_the_largest_errors(self, objective, block_rows, monkeypatch):
        monkeypatch.setattr(misjudged, "MIN_BLOCK_ROWS", block_rows)
        samples = _samples(objective)
        start, end = _points(objective)
        samples.learn(start.handle, end.handle, 0.7)
        errors = _errors(objective, start, end, 0.7)
        n_rows = min(4 * objective.n_parameters, 400 // 8)
        assert_array_equal(samples.rows, np.sort(np.argsort(-errors)[:n_rows]))

    def test_are_remembered_for_a_while(self, objective):
        samples = _samples(objective)
        (first, first_end), (second, second_end) = _points(objective, seed=1), _points(objective, seed=2)
        samples.learn(first.handle, first_end.handle, 1.0)
        before = np.zeros(400)
        before[samples.rows] = _errors(objective, first, first_end, 1.0)[samples.rows]
        samples.learn(second.handle, second_end.handle, 0.5)
        errors = np.maximum(misjudged.DECAY * before, _errors(objective, second, second_end, 0.5))
        n_rows = len(samples.rows)
        assert_array_equal(samples.rows, np.sort(np.argsort(-errors)[:n_rows]))
        newest = np.argsort(-_errors(objective, second, second_end, 0.5))[:n_rows]
        assert not np.isin(newest, samples.rows).all()

    def test_a_step_beyond_all_bounds_tells_nothing(self, objective):
        samples = _samples(objective)
        start, end = _points(objective)
        samples.learn(start.handle, end.handle, 0.7)
        known = samples.rows
        for beyond in (np.inf, np.nan):
            samples.learn(start.handle, SimpleNamespace(logits=np.full_like(end.handle.logits, beyond)), 0.7)
        assert len(known) == len(samples.rows)

    @pytest.mark.parametrize(
        ("n_samples", "n_features", "n_rows"), [(40, 3, 5), (1000, 3, 16), (1000, 8, 36), (5000, 3, 50)]
    )
    def test_are_few(self, n_samples, n_features, n_rows):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n_samples, n_features))
        objective = posing.binary(as_design(X), (X[:, 0] > 0).astype(float))
        samples = _samples(objective)
        samples.learn(*(point.handle for point in _points(objective)), 1.0)
        assert len(samples.rows) == n_rows


class TestRefinedModel:
    """Its parameters are directions from the start."""

    def _model(self, objective, rows, start):
        return RefinedModel(objective, rows, start, FactoredHessian.of(objective, start))

    def test_of_no_change_is_the_objective(self, objective):
        """Up to a constant, to the second order."""
        start, _ = _points(objective)
        model = self._model(objective, np.arange(5, 60), start)
        at = model.evaluate(np.zeros_like(start.parameters))
        assert_allclose(at.gradient, start.gradient, rtol=1e-10, atol=1e-12)
        rng = np.random.default_rng(1)
        other = objective.evaluate(start.parameters + rng.standard_normal(start.parameters.size))
        end = model.evaluate(other.parameters - start.parameters)
        assert_allclose(model.on_line(at, end, 0.0)[1:], objective.on_line(start, other, 0.0)[1:], rtol=1e-10)

    def test_of_all_samples_is_the_objective(self, objective):
        start, end = _points(objective)
        model = self._model(objective, np.arange(400), start)
        step = end.parameters - start.parameters
        at, there = model.evaluate(0.0 * step), model.evaluate(step)
        assert_allclose(there.value - at.value, end.value - start.value, rtol=1e-8)
        assert_allclose(there.gradient, end.gradient, rtol=1e-8, atol=1e-10)

    def test_derivatives(self, objective):
        start, end = _points(objective)
        model = self._model(objective, np.arange(0, 400, 3), start)
        step = end.parameters - start.parameters
        at, there = model.evaluate(0.0 * step), model.evaluate(step)

        def value(t):
            return model.evaluate(t * step).value

        h, t = 1e-4, 0.3
        on_line = model.on_line(at, there, t)
        slope = (value(t + h) - value(t - h)) / (2 * h)
        curvature = (value(t + h) - 2 * value(t) + value(t - h)) / h**2
        assert_allclose(on_line, [value(t), slope, curvature], rtol=1e-5)
        inside = model.evaluate(t * step)
        assert_allclose(inside.gradient @ step, slope, rtol=1e-6)

    def test_minimizer(self, objective):
        start, end = _points(objective)
        samples = _samples(objective)
        samples.learn(start.handle, end.handle, 1.0)
        model = self._model(objective, samples.rows, start)
        best = scipy.optimize.minimize(
            lambda z: model.evaluate(z).value,
            0.0 * start.parameters,
            jac=lambda z: model.evaluate(z).gradient,
            tol=1e-12,
        )
        gain = model.evaluate(0.0 * start.parameters).value - best.fun
        assert model.evaluate(model.minimizer() - start.parameters).value - best.fun <= 2e-3 * gain

    def test_passes_over_the_copy_count_as_parts_of_one(self, objective):
        start, _ = _points(objective)
        model = self._model(objective, np.arange(20), start)
        before = objective.n_passes
        model.minimizer()
        assert 0.1 < objective.n_passes - before < 3.0


class TestStepSearch:
    def test_good_ends_stay(self, objective):
        start, _ = _points(objective)
        hessian = FactoredHessian.of(objective, start)
        end = objective.evaluate(start.parameters + 0.9 * hessian.solve(start.gradient)[0])
        search = StepSearch(objective, 0.3)
        for _ in range(2 * LINES_BEFORE_MODELS):
            assert search.better(start, end, hessian) is end

    def test_from_the_sixth_line_on_the_model_leads_lower(self, objective):
        start, _ = _points(objective)
        hessian = FactoredHessian.of(objective, start)
        search = StepSearch(objective, 0.3)
        values = []
        for _ in range(LINES_BEFORE_MODELS + 3):
            end = objective.evaluate(start.parameters + 4.0 * hessian.solve(start.gradient)[0])
            values.append(search.better(start, end, hessian).value)
        assert len(set(values[:LINES_BEFORE_MODELS])) == 1
        assert values[LINES_BEFORE_MODELS] < values[0] - 1e-3

    def test_without_a_hessian_of_the_point_lines_go_on(self, objective):
        start, _ = _points(objective)
        hessian = FactoredHessian.of(objective, start)
        elsewhere = FactoredHessian(hessian.matrix())
        search = StepSearch(objective, 0.3)
        values = set()
        for _ in range(2 * LINES_BEFORE_MODELS):
            for of_another in (None, elsewhere):
                end = objective.evaluate(start.parameters + 4.0 * hessian.solve(start.gradient)[0])
                values.add(search.better(start, end, of_another).value)
        assert len(values) == 1

    def test_no_descent(self, objective):
        start, _ = _points(objective)
        hessian = FactoredHessian.of(objective, start)
        search = StepSearch(objective, 0.3)
        for _ in range(LINES_BEFORE_MODELS + 2):
            end = objective.evaluate(start.parameters - hessian.solve(start.gradient)[0])
            assert search.better(start, end, hessian) is None


class TestHardFits:
    @pytest.mark.parametrize("C", [1e9, np.inf])
    def test_need_little_memory_beside_x(self, monkeypatch, peak_memory, C):
        X, y = _lattice(100_000, 5, seed=1)
        with warnings.catch_warnings(action="ignore"):  # a thousand samples are separable
            for warm_up in (1.0, C):  # imports and pools
                LogisticRegression(C=warm_up).fit(X[:1000], y[:1000])
        models, minimizer = [], RefinedModel.minimizer
        monkeypatch.setattr(RefinedModel, "minimizer", lambda model: models.append(1) or minimizer(model))
        peak = peak_memory(lambda: LogisticRegression(C=C, n_jobs=1).fit(X, y))
        assert models
        gram_matrices = 64 * 8 * 56**2  # a sum for each of the chunks
        # without a penalty, linear programmes tell whether the classes are separable
        rows_of_programmes = 20 * 2 * 56
        programmes = 0 if np.isfinite(C) else 7 * rows_of_programmes * 56 * 8 + 4 * 8 * len(X)
        assert peak < 0.06 * X.nbytes + gram_matrices + programmes

    def test_take_few_iterations(self, monkeypatch):
        problems = [_lattice(5000, 5, seed) for seed in range(1, 6)]
        models = [LogisticRegression(C=1e10).fit(*problem) for problem in problems]
        monkeypatch.setattr(refined_model, "LINES_BEFORE_MODELS", 1000)
        without = [LogisticRegression(C=1e10, max_iter=200).fit(*problem) for problem in problems]
        for one, other in zip(models, without, strict=True):
            assert one.gap_ <= 1e-9
            assert_allclose(one.loss_curve_[-1], other.loss_curve_[-1], rtol=2e-9)
        assert sum(model.n_iter_[0] for model in models) < 0.5 * sum(model.n_iter_[0] for model in without)
        assert sum(model.n_passes_ for model in models) < 0.7 * sum(model.n_passes_ for model in without)

    @pytest.mark.parametrize("form", ["F", "float32", "csr", "weighted"])
    def test_of_any_data(self, form):
        X, y = _lattice(5000, 5, seed=1)
        expected = LogisticRegression(C=1e10).fit(X, y)
        weight = None
        if form == "F":
            X = np.asfortranarray(X)
        elif form == "float32":
            X = X.astype(np.float32)
            expected = LogisticRegression(C=1e10).fit(X.astype(np.float64), y)
        elif form == "csr":
            X = sp.csr_array(X)
        else:
            weight = np.repeat([2.0, 1.0], [2500, 2500])
            expected = LogisticRegression(C=1e10).fit(np.vstack([X[:2500], X]), np.append(y[:2500], y))
        model = LogisticRegression(C=1e10).fit(X, y, sample_weight=weight)
        assert model.n_iter_[0] > LINES_BEFORE_MODELS
        assert model.gap_ <= 1e-9
        assert_allclose(model.loss_curve_[-1], expected.loss_curve_[-1], rtol=2e-9)

    def test_the_same_bits_for_any_number_of_threads(self):
        X, y = _lattice(20_000, 5, seed=1)
        one, two = (LogisticRegression(C=1e12, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
        assert_array_equal(one.coef_, two.coef_)
        assert one.n_iter_[0] > LINES_BEFORE_MODELS
