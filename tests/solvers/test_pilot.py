"""The pilot: which rows it takes and where, what it knows of the Hessian, and the fits that start from it."""

import functools
import warnings

import numpy as np
import posing
import pytest
import scipy.sparse as sp
import twins
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression
from fastlogreg.curvature.pilot import RUN, stratified_rows
from fastlogreg.data.layouts import as_design
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers import Stop, auto, plan, problem
from fastlogreg.solvers.gap import accuracy_asked
from fastlogreg.solvers.pilot import pilot_steps
from fastlogreg.solvers.progress import Limits, Progress

N, D = 60_000, 10
# What NumPy's sums of 1e5 losses are known to, relatively.
NOISE = 1e-14
FEW_PASSES = 8


@functools.cache
def make_data(n=N, d=D, seed=0, shift=0.3):
    """X (n, d) and labels of a logistic model; `shift` is its intercept."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    logits = X @ (2 / np.sqrt(d) * rng.standard_normal(d)) + shift
    y = (rng.random(n) < twins.sigmoid(logits)).astype(int)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def sampled_rows(n=N, n_parameters=D + 1):
    """The rows of X that a pilot copies, by the constants it documents."""
    return stratified_rows(n, min(400 * n_parameters, n // 16) // RUN * RUN)


def with_unseen_indicator(X, y, size=1.0, n_carriers=200):
    """X with a further column, not zero in a few rows outside of the sample, which are almost all of class 1."""
    n, d = X.shape
    rng = np.random.default_rng(11)
    carriers = rng.choice(np.setdiff1d(np.arange(n), sampled_rows(n, d + 2)), n_carriers, replace=False)
    X, y = np.column_stack([X, np.zeros(n)]), y.copy()
    X[carriers, -1] = size
    y[carriers] = rng.random(n_carriers) < 0.9
    return X, y


def with_pilot(X, y, weight=None, C=1.0, n_threads=1, fit_intercept=True):
    total = len(y) if weight is None else weight.sum()
    return posing.with_pilot(
        as_design(X, n_threads),
        np.asarray(y, dtype=float),
        sample_weight=weight,
        l2=1 / (C * total),
        fit_intercept=fit_intercept,
    )


def without_pilot(X, y, weight=None, C=1.0):
    l2 = 1 / (C * (len(y) if weight is None else weight.sum()))
    return posing.binary(as_design(X), np.asarray(y, dtype=float), sample_weight=weight, l2=l2)


def minimize(objective, start, tol):
    return auto(objective, start, tol=tol, max_iter=100, on_iteration=lambda *_: None).point


def value(coef, intercept, X, y, C=1.0, weight=None):
    """The mean objective in plain NumPy."""
    weight = np.ones(len(y)) if weight is None else weight
    u = X @ np.asarray(coef, dtype=float).ravel() + float(np.ravel(intercept)[0])
    return (weight @ (np.logaddexp(0, u) - y * u) + 0.5 * np.sum(np.square(coef, dtype=float)) / C) / weight.sum()


def true_gap(coef, intercept, *problem):
    """Relative, against the minimum found without a pilot."""
    objective = without_pilot(*problem[:2], C=problem[2], weight=problem[3])
    lowest = value(*objective.to_coef(minimize(objective, objective.start(), tol=1e-8).parameters), *problem)
    return value(coef, intercept, *problem) / lowest - 1


def assert_arrives(model, X, y, weight=None):
    """The gap is below 1e-9, and `gap_` a bound on it or near it, as `gap_proven_` says."""
    gap = true_gap(model.coef_, model.intercept_, X, y, model.C, weight)
    assert gap <= 1e-9
    assert model.gap_ <= 1e-9
    if model.gap_proven_:
        assert gap <= model.gap_ + NOISE
    else:
        assert model.gap_ / 3 - NOISE <= gap <= 3 * model.gap_ + NOISE


class TestRows:
    @pytest.mark.parametrize(("n", "m"), [(5000, 312), (N, 3744), (999_983, 4400), (10**7 + 1, 40_000)])
    def test_distinct_runs_one_in_each_stretch(self, n, m):
        rows = stratified_rows(n, m)
        assert rows.shape == (m,)
        assert rows[0] >= 0
        assert rows[-1] < n
        assert np.all(np.diff(rows) > 0)
        runs = rows.reshape(-1, RUN)
        assert_array_equal(runs - runs[:, :1], np.broadcast_to(np.arange(RUN), runs.shape))
        stretch = (n - RUN) / len(runs)
        places = runs[:, 0] / stretch - np.arange(len(runs))
        assert places.min() > -1 / stretch  # rounded down
        assert places.max() + RUN / stretch <= 1
        # Spread over the stretches, so that what recurs with their length is not missed: uniform has 0.29.
        assert places.std() > 0.25

    def test_always_the_same(self):
        before = np.random.get_state()[1].copy()
        assert_array_equal(stratified_rows(N, 3744), stratified_rows(N, 3744))
        assert_array_equal(np.random.get_state()[1], before)

    @pytest.mark.parametrize("n_runs", [1, 1024, 1025, 3000])
    def test_places_of_one_generator(self, n_runs):
        """However many of them are at hand."""
        stretch = 2 * RUN
        starts = stratified_rows(n_runs * stretch + RUN, n_runs * RUN)[::RUN]
        places = np.random.default_rng(0).random(n_runs)
        assert_array_equal(starts, (np.arange(n_runs) * stretch + places * RUN).astype(int))

    def test_the_pilot_has_these_rows_targets_and_weights(self):
        X, y = make_data()
        weight = np.random.default_rng(1).exponential(size=N)
        pilot, rows = with_pilot(X, y, weight).pilot.objective, sampled_rows()
        assert_array_equal(pilot.passes.local.design.X, X[rows])
        assert_array_equal(pilot.passes.local.samples.target, y[rows])
        assert_array_equal(pilot.passes.local.samples.weight, weight[rows])


class TestWhere:
    def test_400_rows_a_parameter_or_a_sixteenth(self):
        X, y = make_data()
        assert with_pilot(X, y).pilot.rows_a_parameter == N // 16 // RUN * RUN / (D + 1)
        X, y = make_data(200_000)
        assert with_pilot(X, y).pilot.rows_a_parameter == 400
        assert with_pilot(X, y, fit_intercept=False).pilot.objective.n_samples == 400 * D

    def test_not_of_few_entries(self):
        X, y = make_data()
        assert with_pilot(X[:50_000], y[:50_000]).pilot is not None
        assert with_pilot(X[:49_999], y[:49_999]).pilot is None

    def test_not_where_a_sixteenth_is_few_rows(self):
        X, y = make_data(6400, 99)
        assert with_pilot(X, y).pilot.objective.n_samples == 400  # 4 a parameter
        assert with_pilot(X[:6399], y[:6399]).pilot is None

    def test_not_of_sparse_data(self):
        X, y = make_data()
        assert with_pilot(sp.csr_array(X), y).pilot is None

    def test_not_of_several_classes(self):
        X, y = make_data()
        passes = posing.passes(as_design(X, 1), y + (X[:, 0] > 0), n_classes=3)
        assert plan.pilot_rows(passes, fit_intercept=True) == 0
        assert problem(passes, Quadratic(1.0), fit_intercept=True).pilot is None

    def test_not_with_one_class(self):
        X, _ = make_data()
        y = np.ones(N)
        y[sampled_rows()] = 0
        assert with_pilot(X, y).pilot is None
        y[sampled_rows()[0]] = 1
        assert with_pilot(X, y).pilot is not None
        weight = np.ones(N)
        weight[sampled_rows()[0]] = 0.0
        assert with_pilot(X, y, weight).pilot is None

    def test_not_where_most_of_the_sample_has_no_weight(self):
        X, y = make_data()
        weight = np.ones(N)
        weight[sampled_rows()[1000:]] = 0.0
        assert with_pilot(X, y, weight).pilot is None

    def test_not_of_many_parameters(self, monkeypatch):
        X, y = make_data()
        monkeypatch.setattr(plan, "MAX_PILOT_PARAMETERS", D)
        assert with_pilot(X, y).pilot is None
        assert with_pilot(X, y, fit_intercept=False).pilot is not None

    def test_a_large_pilot_has_its_own(self, monkeypatch):
        X, y = make_data()
        assert with_pilot(X, y).pilot.objective.pilot is None
        monkeypatch.setattr(plan, "PILOT_ENTRIES", 3000)
        objective = with_pilot(X, y)
        inner = objective.pilot.objective.pilot
        assert inner.objective.n_samples == 3744 // 16 // RUN * RUN
        assert inner.objective.coordinates is objective.pilot.objective.coordinates is objective.coordinates
        assert_arrives(LogisticRegression().fit(X, y), X, y)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_farthest_entries_of_some_rows(self, dtype, order):
        X, center = np.array(make_data(n=100)[0], dtype=dtype, order=order), np.linspace(-1.0, 1.0, D)
        assert_array_equal(as_design(X).farthest(center, 7), np.abs(X[::7] - center).max(axis=0))
        X[14, 2], X[21, 3], X[22, 4] = np.nan, -np.inf, np.nan
        assert_array_equal(np.flatnonzero(np.isinf(as_design(X).farthest(center, 7))), [2, 3])

    def test_coordinates_take_a_pass_only_where_the_sample_does_not_know_them(self):
        X, y = make_data()
        assert with_pilot(X, y).n_passes == 0
        assert with_pilot(X, y, C=np.inf).n_passes == 1
        rare = np.zeros(N)
        rare[::3000] = 1.0
        X = np.column_stack([X, rare])
        objective = with_pilot(X, y)
        assert objective.n_passes == 1
        assert_allclose(objective.center, X.mean(axis=0), rtol=0, atol=1e-14)
        assert objective.pilot.objective.coordinates is objective.coordinates


class TestHessian:
    @staticmethod
    def spectrum(objective, parameters):
        """Of the Hessian, as the pilot's sees it."""
        known = objective.pilot.hessian(objective.pilot.objective.evaluate(parameters))
        whole = objective.hessian(objective.evaluate(parameters)).matrix()
        return np.linalg.eigvals(np.linalg.solve(known, whole)).real

    @pytest.mark.parametrize("C", [1e-4, 1.0, np.inf])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_is_nearly_the_whole_s(self, fit_intercept, C):
        objective = with_pilot(*make_data(), C=C, fit_intercept=fit_intercept)
        parameters = np.random.default_rng(2).normal(size=objective.n_parameters) / 3
        spread = 1.5 / np.sqrt(objective.pilot.rows_a_parameter)  # Marchenko and Pastur's, of finite matrices
        spectrum = self.spectrum(objective, parameters)
        assert spectrum.min() > (1 - spread) ** 2
        assert spectrum.max() < (1 + spread) ** 2

    @pytest.mark.parametrize("C", [1e-2, 1.0, np.inf])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("size", [1.0, 1e6, 1e-6])
    def test_columns_of_few_rows(self, size, fit_intercept, C):
        """One with four times its share of carriers in the sample, one with a quarter, one that it never sees."""
        X, y = make_data()
        rows = sampled_rows()
        others = np.setdiff1d(np.arange(N), rows)
        rng = np.random.default_rng(3)
        rare = np.zeros((N, 3))
        for column, n_in_sample in enumerate((25, 2, 0)):
            rare[rng.choice(rows, n_in_sample, replace=False), column] = size
            rare[rng.choice(others, 100 - n_in_sample, replace=False), column] = size
        objective = with_pilot(np.column_stack([X, rare]), y, C=C, fit_intercept=fit_intercept)
        start = objective.start()
        # The curvature of all samples is the same there: the diagonals must be, too.
        known = objective.pilot.hessian(objective.pilot.objective.evaluate(start))
        whole = objective.hessian(objective.evaluate(start)).matrix()
        assert_allclose(np.diagonal(known), np.diagonal(whole), rtol=1e-9)
        spectrum = self.spectrum(objective, start)
        # What two rows tell of other columns is wrong by a half; unmended, the spectrum spans 0.25 to infinity.
        assert spectrum.min() > 0.4
        assert spectrum.max() < 2.5


class TestSteps:
    """The estimate of the gap, on which the steps end."""

    @staticmethod
    def steps(objective, tol, patience=np.inf, max_iter=100):
        """The progress where a Hessian of all rows would take `patience` passes."""
        passes = plan.passes_of_a_hessian
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "passes_of_a_hessian", lambda one: patience if one is objective else passes(one))
            limits = Limits(tol, max_iter, lambda *_: None)
            return pilot_steps(objective, Progress(objective.start()), limits, minimize)

    @pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-4])
    @pytest.mark.parametrize("kind", ["plain", "C=inf", "correlated", "imbalanced", "weighted", "40 columns", "unseen"])
    def test_estimate_is_the_true_gap(self, kind, tol):
        X, y = make_data(d=40) if kind == "40 columns" else make_data(shift=-6.0 if kind == "imbalanced" else 0.3)
        X = np.cumsum(X, axis=1) + 30 if kind == "correlated" else X
        if kind == "unseen":
            X, y = with_unseen_indicator(X, y)
        C = np.inf if kind in ("C=inf", "unseen") else 1.0
        weight = np.random.default_rng(4).exponential(size=N) if kind == "weighted" else None
        objective = with_pilot(X, y, weight, C)
        solution = self.steps(objective, tol).solution
        assert solution.stop is Stop.CONVERGED
        assert not solution.proven
        assert solution.gap <= 0.3 * accuracy_asked(solution.point, tol)
        gap = true_gap(*objective.to_coef(solution.point.parameters), X, y, C, weight)
        estimate = solution.gap / solution.point.value
        assert estimate / 3 - NOISE <= gap <= 3 * estimate + NOISE

    def test_the_pilot_is_let_go(self):
        objective = with_pilot(*make_data())
        self.steps(objective, 1e-4)
        assert objective.pilot is None

    def test_hands_over_where_patience_ends(self):
        ended = self.steps(with_pilot(*make_data()), 1e-8, patience=0.5)
        assert ended.solution is None
        assert ended.point is not None
        assert ended.n_iter == 1
        assert self.steps(with_pilot(*make_data()), 1e-4, max_iter=1).solution.n_iter == 1

    def test_the_start_where_the_sample_misleads(self):
        """In coordinates of all rows."""
        X, y = make_data()
        y = y.copy()
        y[sampled_rows()] = 1 - y[sampled_rows()]
        objective = with_pilot(X, y)
        coef, intercept = objective.to_coef(objective.start())
        ended = self.steps(objective, 1e-4)
        assert ended.point is None
        assert ended.solution is None
        assert_allclose(objective.center, X.mean(axis=0), rtol=0, atol=1e-14)
        assert_array_equal(objective.to_coef(ended.parameters)[0], coef)
        assert_allclose(objective.to_coef(ended.parameters)[1], intercept, rtol=1e-14)


def order(kind, X, y):
    if kind == "class":
        return np.argsort(y, kind="stable")
    if kind == "feature":
        return np.argsort(X[:, 0])
    blocks = np.arange(len(y)).reshape(-1, 1000)
    return np.random.default_rng(5).permutation(blocks[np.argsort(X[blocks].mean(axis=(1, 2)))]).ravel()


class TestFits:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("C", [1e-3, 1.0, 1e3, np.inf])
    def test_arrive_in_few_passes(self, C, seed):
        X, y = make_data(seed=seed)
        model = LogisticRegression(C=C).fit(X, y)
        assert_arrives(model, X, y)
        assert model.n_passes_ <= FEW_PASSES
        assert len(model.loss_curve_) == model.n_iter_[0] + 1
        assert np.all(np.diff(model.loss_curve_) <= NOISE)

    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_estimated_gap(self, C):
        """Where a step reaches the target, nothing is proven, and that is said."""
        X, y = make_data(120_000, 5)
        models = [LogisticRegression(C=C, tol=tol).fit(X, y) for tol in (1e-2, 1e-3, 1e-4)]
        assert not all(model.gap_proven_ for model in models)
        for model in models:
            gap = true_gap(model.coef_, model.intercept_, X, y, C, None)
            assert gap <= 0.1 * model.tol**2 + NOISE
            if model.gap_proven_:
                assert gap <= model.gap_ + NOISE
            else:
                assert model.gap_ / 3 - NOISE <= gap <= 3 * model.gap_ + NOISE

    def test_passes_do_not_grow_with_the_rows(self):
        passes = [LogisticRegression().fit(*make_data(n, 6)).n_passes_ for n in (100_000, 200_000, 400_000)]
        assert passes[2] <= passes[0]
        assert max(passes) <= 6

    @pytest.mark.parametrize("C", [1.0, np.inf])
    @pytest.mark.parametrize("kind", ["class", "feature", "blocks"])
    def test_sorted_rows(self, kind, C):
        X, y = make_data()
        # An origin that drifts along the file, as time does, for the blocks.
        X = X + np.repeat(np.random.default_rng(6).normal(size=(60, 1)), 1000, axis=0) if kind == "blocks" else X
        rows = order(kind, X, y)
        X, y = X[rows], y[rows]
        model = LogisticRegression(C=C).fit(X, y)
        assert_arrives(model, X, y)
        assert model.n_passes_ <= FEW_PASSES

    @pytest.mark.parametrize("sorted_", [False, True])
    def test_rare_one_hot_columns(self, sorted_):
        """From a quarter of the rows down to a few of them."""
        X, y = make_data()
        share = 0.75 ** np.arange(29)
        category = np.random.default_rng(7).choice(29, p=share / share.sum(), size=N)
        X = np.column_stack([X, category[:, None] == np.arange(29)])
        if sorted_:
            X, y = X[np.argsort(category)], y[np.argsort(category)]
        assert 1 <= X[:, D:].sum(axis=0).min() <= 5
        model = LogisticRegression().fit(X, y)
        assert_arrives(model, X, y)
        assert model.n_passes_ <= 2 * FEW_PASSES

    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_duplicated_and_constant_columns(self, C):
        X, y = make_data()
        constants = np.broadcast_to([0.0, 0.1, -3.7e6], (N, 3))
        doubled = np.column_stack([constants, X, X[:, :2]])
        model = LogisticRegression(C=C).fit(doubled, y)
        assert not model.coef_[0, :3].any()
        # Coefficients are known to the root of the gap, 3e-5, whose error duplicates share.
        assert_allclose(model.coef_[0, 3:5], model.coef_[0, -2:], rtol=0, atol=1e-6)
        base = LogisticRegression(C=C, tol=1e-8).fit(X, y)
        assert_allclose(model.decision_function(doubled), base.decision_function(X), rtol=0, atol=1e-3)
        reached = value(model.coef_, model.intercept_, doubled, y, C)
        lowest = value(base.coef_, base.intercept_, X, y, C)
        if np.isinf(C):
            assert reached <= lowest * (1 + 1e-9)
        else:  # sharing a coefficient halves its penalty
            assert lowest * (1 - 1e-3) < reached < lowest
            assert_arrives(model, doubled, y)
        assert model.n_passes_ <= FEW_PASSES

    def test_column_that_varies_outside_of_the_sample_only(self):
        X, y = make_data()
        X = np.column_stack([X, np.full(N, 5.0)])
        others = np.setdiff1d(np.arange(N), sampled_rows(N, D + 2))
        X[others, -1] += np.random.default_rng(8).normal(size=len(others)) + 2 * y[others]
        model = LogisticRegression().fit(X, y)
        assert model.coef_[0, -1] > 1
        assert_arrives(model, X, y)

    @pytest.mark.parametrize("size", [1.0, 1e6])
    @pytest.mark.parametrize("C", [1.0, np.inf])
    @pytest.mark.parametrize("shape", [(N, D), (20_000, 100)])
    def test_indicator_that_the_sample_never_sees(self, shape, C, size):
        X, y = with_unseen_indicator(*make_data(*shape), size)
        for tol in (1e-1, 1e-2, 1e-4):
            model = LogisticRegression(C=C, tol=tol).fit(X, y)
            gap = true_gap(model.coef_, model.intercept_, X, y, C, None)
            assert gap <= (model.gap_ if model.gap_proven_ else 3 * model.gap_) + NOISE
        assert_arrives(model, X, y)
        assert model.coef_[0, -1] * size > 1
        assert model.n_passes_ <= 2 * FEW_PASSES

    @pytest.mark.parametrize("C", [1.0, np.inf])
    @pytest.mark.parametrize("off", [0.0, 100.0])
    def test_units_and_origins(self, off, C):
        X, y = make_data()
        scale = 10.0 ** np.linspace(-6, 11, D)
        scaled = (X + off * np.random.default_rng(9).normal(size=D)) * scale
        model = LogisticRegression(C=C).fit(scaled, y)
        # With an origin far off, logits are known to 100 units of the last place, the value to fewer: they average out.
        assert_arrives(model, scaled, y)
        assert model.n_passes_ <= FEW_PASSES
        if np.isinf(C):
            base = LogisticRegression(C=C, tol=1e-8).fit(X, y)
            assert_allclose(model.coef_ * scale, base.coef_, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("shape", [(N, D), (20_000, 60)])
    def test_same_bits_for_any_number_of_threads(self, shape):
        X, y = make_data(*shape)
        one, two = (LogisticRegression(n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
        assert_array_equal(one.coef_, two.coef_)
        assert_array_equal(one.loss_curve_, two.loss_curve_)
        assert one.gap_ == two.gap_
        assert one.n_passes_ == two.n_passes_

    def test_layouts_agree(self):
        X = make_data()[0].astype(np.float32)
        y = make_data()[1]
        base = LogisticRegression(tol=1e-8).fit(X.astype(float), y)
        for other in (np.asfortranarray(X, dtype=float), np.repeat(X.astype(float), 2, axis=0)[::2]):
            model = LogisticRegression(tol=1e-8).fit(other, y)
            assert_allclose(model.coef_, base.coef_, rtol=0, atol=1e-9)
            assert model.n_passes_ == base.n_passes_
        for other in (X, np.asfortranarray(X)):
            model = LogisticRegression(tol=1e-8).fit(other, y)
            assert model.coef_.dtype == np.float32
            assert_allclose(model.coef_, base.coef_, rtol=1e-6, atol=1e-7)
            assert model.n_passes_ == base.n_passes_

    def test_weights_are_repetition(self):
        X, y = make_data()
        times = np.random.default_rng(10).integers(0, 4, size=N)
        weighted = LogisticRegression(tol=1e-8).fit(X, y, times)
        repeated = LogisticRegression(tol=1e-8).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
        assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-7)
        assert_allclose(weighted.intercept_, repeated.intercept_, rtol=0, atol=1e-7)
        model = LogisticRegression().fit(X, y, times)
        assert_arrives(model, X, y, times.astype(float))

    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_soft_targets(self, C):
        X, _ = make_data()
        coef = np.linspace(-1, 1, D)
        target = twins.sigmoid(X @ coef - 0.7)
        model = LogisticRegression(C=C, soft_targets=True).fit(X, target)
        assert_arrives(model, X, target)
        if np.isinf(C):
            assert_allclose(model.coef_[0], coef, rtol=0, atol=1e-4)
            assert_allclose(model.intercept_, -0.7, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_one_percent_of_a_class(self, C):
        X, y = make_data(shift=-6.5)
        assert 0.005 < y.mean() < 0.015
        model = LogisticRegression(C=C).fit(X, y)
        assert_arrives(model, X, y)
        assert model.n_passes_ <= 12
        balanced = LogisticRegression(C=C, class_weight="balanced").fit(X, y)
        assert_arrives(balanced, X, y, np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean())))

    def test_a_misleading_sample(self):
        """Its labels are the wrong ones."""
        X, y = make_data()
        y = y.copy()
        y[sampled_rows()] = 1 - y[sampled_rows()]
        objective = with_pilot(X, y)
        of_sample = objective.evaluate(minimize(objective.pilot.objective, objective.start(), tol=1e-4).parameters)
        assert of_sample.value > objective.value_without_coefficients()
        model = LogisticRegression().fit(X, y)
        assert_arrives(model, X, y)
        assert model.n_passes_ <= 2 * FEW_PASSES

    def test_a_separable_sample(self):
        X, y = make_data()
        y = y.copy()
        rows = sampled_rows()
        y[rows] = X[rows, 0] > 0
        for C in (1.0, 1e6, np.inf):
            model = LogisticRegression(C=C).fit(X, y)
            assert_arrives(model, X, y)
            assert model.n_passes_ <= 2 * FEW_PASSES

    def test_another_solver(self):
        X, y = make_data()
        model = LogisticRegression(solver="gd", max_iter=1000).fit(X, y)
        assert_arrives(model, X, y)
        assert model.gap_proven_


class TestErrors:
    @pytest.mark.parametrize("where", ["sampled", "not sampled"])
    @pytest.mark.parametrize(
        ("bad", "message"), [(np.nan, "contains NaN"), (np.inf, "infinity"), (-np.inf, "infinity"), (1e200, "overflow")]
    )
    @pytest.mark.parametrize("options", [{}, {"solver": "gd"}, {"max_iter": 0}, {"C": np.inf}], ids=str)
    def test_what_is_not_finite(self, options, bad, message, where):
        X, y = make_data()
        rows = sampled_rows()
        others = np.setdiff1d(np.arange(N), rows)
        model = LogisticRegression().fit(X[:500], y[:500]).set_params(**options)
        before = vars(model).copy()
        X = X.copy()
        X[(rows if where == "sampled" else others)[1234], 3] = bad
        for weight in (None, np.isfinite(X).all(axis=1).astype(float)):  # no weight does not hide it
            with pytest.raises(ValueError, match=message):
                model.fit(X, y, weight)
            assert vars(model).keys() == before.keys()
            assert all(vars(model)[name] is kept for name, kept in before.items())


class TestLimits:
    def test_warm_start_at_the_optimum(self):
        X, y = make_data()
        model = LogisticRegression(tol=1e-8, warm_start=True).fit(X, y)
        coef = model.coef_
        model.set_params(tol=1e-4).fit(X, y)
        assert model.n_passes_ <= 2
        assert model.n_iter_ == [0]
        assert_allclose(model.coef_, coef, rtol=0, atol=1e-12)
        assert_arrives(model, X, y)

    @pytest.mark.parametrize("factor", [1.001, 0.5, -1.0, 10.0, -100.0])
    def test_warm_start_elsewhere(self, factor):
        X, y = make_data()
        model = LogisticRegression(warm_start=True).fit(X, y)
        model.coef_, model.intercept_ = factor * model.coef_, factor * model.intercept_
        model.fit(X, y)
        assert_arrives(model, X, y)
        assert model.n_passes_ <= FEW_PASSES + 1

    @pytest.mark.parametrize("max_iter", [0, 1])
    def test_too_few_iterations_warn(self, max_iter):
        X, y = make_data()
        with pytest.warns(ConvergenceWarning, match="did not converge") as record:
            model = LogisticRegression(tol=1e-7, max_iter=max_iter).fit(X, y)
        assert len(record) == 1
        assert model.n_iter_ == [max_iter]
        gap = true_gap(model.coef_, model.intercept_, X, y, 1.0, None)
        assert 1e-15 < gap <= model.gap_

    def test_more_iterations_converge(self):
        X, y = make_data()
        needed = LogisticRegression().fit(X, y).n_iter_[0]
        for max_iter in range(1, needed + 1):
            with warnings.catch_warnings(record=True) as record:
                warnings.simplefilter("always")
                model = LogisticRegression(max_iter=max_iter).fit(X, y)
            assert model.n_iter_[0] <= max_iter
            gap = true_gap(model.coef_, model.intercept_, X, y, 1.0, None)
            assert gap <= (model.gap_ if model.gap_proven_ else 3 * model.gap_) + NOISE
            assert bool(record) == (model.gap_ > 1.001e-9)
        assert not record

    @pytest.mark.parametrize(("n_features", "share"), [(10, 0.05), (60, 0.1)])
    def test_little_memory_beside_x(self, n_features, share, peak_memory):
        X, y = make_data(200_000, n_features)
        LogisticRegression().fit(X[:1000], y[:1000])  # imports and pools
        assert peak_memory(lambda: LogisticRegression().fit(X, y)) <= share * X.nbytes

    def test_newton_steps_hold_two_vectors(self, peak_memory):
        """Beside the labels, the logits of two points, or of one and their curvatures."""
        X, _ = make_data(200_000, 10)
        y = X @ np.arange(1, 11) + 0.3 * np.random.default_rng(0).standard_normal(len(X)) > 0
        LogisticRegression().fit(X[:1000], y[:1000])  # imports and pools
        models = []
        peak = peak_memory(lambda: models.append(LogisticRegression(C=1000.0).fit(X, y)))
        assert models[0].gap_proven_
        assert 8 * len(y) < peak <= 2.3 * 8 * len(y)
