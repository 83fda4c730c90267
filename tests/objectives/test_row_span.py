"""Few samples of many features: the optimum over the span of the rows is that over all coefficients."""

import functools
import warnings

import numpy as np
import posing
import pytest
import scipy.sparse as sp
import twins
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from fastlogreg import LogisticRegression
from fastlogreg.data.layouts import as_design
from fastlogreg.objectives.row_span import RowSpan
from fastlogreg.solvers import auto, plan
from fastlogreg.solvers.gap import gap_from_gradient
from fastlogreg.solvers.plan import has_cheap_row_span

N, D = 40, 400
LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "F32": lambda X: np.asfortranarray(X, dtype=np.float32),
    "C32": lambda X: np.ascontiguousarray(X, dtype=np.float32),
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "CSR": sp.csr_array,
}
# Readings for moments, Gram matrix, lift and the lifted point, whose gradient proves it.
COLD_PASSES = 4
# One for the projection of a warm start, and two Newton steps of three readings where the gradient does not.
FEW_PASSES = COLD_PASSES + 1 + 2 * 3


@functools.cache
def make_data(seed=0, n=N, d=D):
    """X with zeros, columns off the origin, and labels that it half explains; exact in float32."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 0.3 * rng.normal(size=d)
    X[rng.random((n, d)) < 0.3] = 0.0
    X = X.astype(np.float32).astype(float)
    y = (X[:, :5].sum(axis=1) + 2 * rng.normal(size=n) > 0.7).astype(int)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def standardized(X, fit_intercept=True):
    center = X.mean(axis=0) if fit_intercept else np.zeros(X.shape[1])
    return center, np.sqrt(np.mean((X - center) ** 2, axis=0))


def assert_optimal(model, X, target, C, weight=None):
    """Newton's step from the model's coefficients, over all of them, is 1e-6 of the largest at most."""
    weight = np.ones(len(X)) if weight is None else weight
    l2 = 1 / (C * weight.sum())
    coef, intercept = model.coef_.astype(float), np.asarray(model.intercept_, dtype=float).reshape(-1)
    free = slice(None) if model.fit_intercept else slice(-1)
    assert model.fit_intercept or intercept == 0.0
    gradient = np.append(*twins.gradient(X, target, weight, l2, coef, intercept))[free]
    step = np.linalg.solve(twins.hessian(X, weight, l2, coef, intercept)[free, free], gradient)
    assert_allclose(step, 0.0, rtol=0, atol=1e-6 * np.abs(coef).max())
    assert coef.any()


def objective_of(X, y, **options):
    return posing.binary(as_design(X), np.asarray(y, dtype=float), **({"l2": 1 / len(y)} | options))


class TestOptimum:
    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e2, 1e4])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_is_scikit_learn_s(self, fit_intercept, C):
        X, y = make_data()
        ours = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X, y)
        theirs = SklearnLogisticRegression(
            C=C, fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-13, max_iter=1000
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at this tolerance its line search reports rounding
            theirs.fit(X, y)
        size = np.abs(theirs.coef_).max()
        assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-6 * size)
        assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-6 * max(size, 1))
        assert ours.gap_proven_
        assert ours.gap_ <= 1e-9
        assert ours.n_passes_ <= FEW_PASSES

    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e2, 1e4])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_passes_of_a_cold_start(self, fit_intercept, C):
        X, y = make_data()
        model = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X, y)
        assert model.n_passes_ == COLD_PASSES
        assert model.n_iter_ == 0
        assert len(model.loss_curve_) == 1
        assert model.gap_proven_
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e4])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_layouts_and_weights(self, layout, fit_intercept, weighted, C):
        X, y = make_data(1)
        weight = np.random.default_rng(1).integers(0, 4, size=N).astype(float) if weighted else None
        model = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(LAYOUTS[layout](X), y, weight)
        assert_optimal(model, X, y, C, weight)
        assert model.gap_proven_
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e4])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_soft_targets(self, sparse, fit_intercept, C):
        X, _ = make_data(2)
        target = np.random.default_rng(2).random(N)
        model = LogisticRegression(C=C, fit_intercept=fit_intercept, soft_targets=True)
        model.fit(sp.csr_array(X) if sparse else X, target)
        assert_optimal(model, X, target, C)
        assert model.gap_proven_
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e4])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_duplicated_rows_are_weights(self, sparse, fit_intercept, C):
        X, y = make_data(3)
        times = np.random.default_rng(3).integers(1, 4, size=N)
        rows = np.repeat(X, times, axis=0)
        model = LogisticRegression(C=C, fit_intercept=fit_intercept)
        model.fit(sp.csr_array(rows) if sparse else rows, np.repeat(y, times))
        assert_optimal(model, X, y, C, times.astype(float))
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e4])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_constant_columns(self, sparse, C):
        X, y = make_data(4)
        constants = np.broadcast_to([0.0, 0.1, -3.7e6], (N, 3))
        base = LogisticRegression(C=C).fit(X, y)
        wider = np.column_stack([constants, X])
        model = LogisticRegression(C=C).fit(sp.csr_array(wider) if sparse else wider, y)
        assert not model.coef_[0, :3].any()
        assert_allclose(model.coef_[0, 3:], base.coef_[0], rtol=0, atol=1e-7 * np.abs(base.coef_).max())
        assert_allclose(model.intercept_, base.intercept_, rtol=0, atol=1e-7 * max(1, np.abs(base.coef_).max()))

    def test_constant_column_without_an_intercept_is_a_column_like_others(self):
        X, y = make_data(4)
        wider = np.column_stack([np.full(N, 2.0), X])
        model = LogisticRegression(fit_intercept=False).fit(wider, y)
        assert model.coef_[0, 0] != 0
        assert_optimal(model, wider, y, 1.0)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("kind", ["plain", "scaled", "off the origin", "CSR"])
    def test_without_a_penalty_soft_targets_have_the_least_norm(self, kind, fit_intercept):
        """Of all coefficients that predict the targets exactly, the shortest in standardised columns."""
        X, _ = make_data(5)
        if kind == "scaled":
            X = X * np.logspace(-2, 2, D)
        elif kind == "off the origin":
            X = X + 3.0
        target = np.random.default_rng(5).uniform(0.05, 0.95, size=N)
        model = LogisticRegression(C=np.inf, soft_targets=True, fit_intercept=fit_intercept)
        model.fit(sp.csr_array(X) if kind == "CSR" else X, target)
        logits = np.log(target / (1 - target))
        # Objectives equal to 1e-15 have logits equal to its root.
        assert_allclose(model.decision_function(X), logits, rtol=0, atol=1e-7)
        center, scale = standardized(X, fit_intercept)
        shortest = np.linalg.pinv((X - center) / scale, rcond=1e-8) @ (logits - logits.mean() * fit_intercept)
        assert_allclose(model.coef_[0] * scale, shortest, rtol=0, atol=1e-6 * np.abs(shortest).max())

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("C", [1e-2, 1.0, 1e4])
    @pytest.mark.parametrize("off", [0.0, 100.0])
    def test_badly_scaled_columns_end_with_a_proof(self, off, C, seed):
        X, y = make_data(seed)
        rng = np.random.default_rng(seed)
        X = (X + off * rng.normal(size=D)) * 10.0 ** rng.uniform(-3, 6, size=D)
        model = LogisticRegression(C=C).fit(X, y)  # warnings are errors here
        assert model.gap_proven_
        assert model.gap_ <= 1e-9
        assert model.n_passes_ <= 2 * FEW_PASSES
        problem = [np.asarray(part, dtype=np.longdouble) for part in (X, y, np.ones(N), 1 / (C * N))]
        lowest = twins.minimum(*problem, model.coef_, model.intercept_)
        reached = twins.value(*problem, model.coef_.astype(np.longdouble), model.intercept_)
        assert reached - lowest <= 1e-9 * lowest

    @pytest.mark.parametrize("factor", [1.0, -1.0, 10.0, 100.0, -100.0])
    def test_warm_start_at_the_optimum_and_elsewhere(self, factor):
        X, y = make_data(6)
        model = LogisticRegression(warm_start=True).fit(X, y)
        coef = model.coef_
        model.coef_ = factor * coef
        model.fit(X, y)
        assert_allclose(model.coef_, coef, rtol=0, atol=1e-7 * np.abs(coef).max())
        assert model.n_passes_ <= FEW_PASSES

    @pytest.mark.parametrize("sparse", [False, True])
    def test_same_bits_for_any_number_of_threads(self, sparse):
        X, y = make_data(7, 90, 3000)
        X = sp.csr_array(X) if sparse else X
        one, two = (LogisticRegression(n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
        np.testing.assert_array_equal(one.coef_, two.coef_)
        assert one.gap_ == two.gap_


class TestWithoutVariation:
    """Rows that are all alike: coefficients cannot tell them apart, and the intercept is the answer."""

    ROW = np.random.default_rng(13).normal(size=D) + 3.0
    KINDS = {  # noqa: RUF012
        "nothing in CSR": sp.csr_array((N, D)),
        "zeros in CSR": sp.csr_array((np.zeros(3), (range(3), range(3))), shape=(N, D)),
        "alike in CSR": sp.csr_array(np.tile(ROW * (ROW > 4), (N, 1))),
        "zeros": np.zeros((N, D)),
        "constants": np.full((N, D), 0.1),
        "alike": np.tile(ROW, (N, 1)),
        "alike, F32": np.asfortranarray(np.tile(ROW, (N, 1)), dtype=np.float32),
    }

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("C", [1e-3, 1.0, 1e4, np.inf])
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_the_intercept_is_the_answer(self, weighted, n_classes, C, kind):
        X, y = self.KINDS[kind], np.minimum(np.arange(N) % 7, n_classes - 1)
        weight = 1.0 + np.arange(N) % 3 if weighted else None
        model = LogisticRegression(C=C).fit(X, y, weight)
        shares = np.bincount(y, weights=weight) / (N if weight is None else weight.sum())
        assert_allclose(model.predict_proba(X), np.tile(shares, (N, 1)), rtol=0, atol=1e-4)
        assert_allclose(model.coef_, 0.0, rtol=0, atol=1e-9)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("C", [1e-3, 1.0, np.inf])
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_without_an_intercept(self, n_classes, C, kind):
        """Zeros leave even chances; rows that are not zero do what one column as long as they are does."""
        X, y = self.KINDS[kind], np.minimum(np.arange(N) % 7, n_classes - 1)
        model = LogisticRegression(C=C, fit_intercept=False).fit(X, y)
        lengths = np.sqrt((X.multiply(X) if sp.issparse(X) else X * X).sum(axis=1)).reshape(-1, 1)
        same = LogisticRegression(C=C, fit_intercept=False, tol=1e-6).fit(lengths, y)
        assert_allclose(model.predict_proba(X), same.predict_proba(lengths), rtol=0, atol=1e-4)
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("C", [1.0, np.inf])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_a_single_sample(self, fit_intercept, C):
        model = LogisticRegression(soft_targets=True, C=C, fit_intercept=fit_intercept).fit(self.ROW[None], [0.3])
        assert model.gap_ <= 1e-9
        if fit_intercept or np.isinf(C):
            assert_allclose(model.predict_proba(self.ROW[None])[0, 1], 0.3, atol=1e-4)

    def test_gradient_descent_has_no_curvature_to_go_by(self):
        y = np.arange(N) % 2
        model = LogisticRegression(solver="gd", fit_intercept=False).fit(np.zeros((N, D)), y)
        assert not model.coef_.any()
        assert model.gap_ <= 1e-9


class TestGapFromGradient:
    @pytest.mark.parametrize("l2", [1e-3, 1.0])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("n", [N, 10 * D])
    def test_bounds_the_gap_near_and_far(self, n, fit_intercept, weighted, l2):
        """Of coefficients alone, of the intercept alone and of both off the minimum."""
        X, y = make_data(12, n)
        rng = np.random.default_rng(12)
        target = np.where(rng.random(n) < 0.5, y, rng.uniform(size=n))
        weight = rng.exponential(size=n) if weighted else None
        objective = objective_of(X, target, sample_weight=weight, l2=l2, fit_intercept=fit_intercept)
        solution = auto(objective, objective.start(), tol=1e-8, max_iter=100, on_iteration=lambda *_: None)
        minimum = solution.point.value
        bounds = []
        for size in 10.0 ** np.arange(-4, 1):
            for off in (slice(D), slice(D, None), slice(None)):
                shift = np.zeros(objective.n_parameters)
                shift[off] = size * rng.normal(size=shift[off].size)
                point = objective.evaluate(solution.point.parameters + shift)
                bounds.append(gap_from_gradient(objective, point))
                assert point.value - minimum <= bounds[-1] * (1 + 1e-6) + 1e-15
        assert np.isfinite(bounds[: 3 * 3]).all()
        assert gap_from_gradient(objective, solution.point) <= 1e-12

    def test_is_that_of_strong_convexity_where_the_intercept_is_optimal(self):
        X, y = make_data(13)
        objective = objective_of(X, y, fit_intercept=False)
        point = objective.evaluate(np.random.default_rng(13).normal(size=D))
        expected = np.sum(point.gradient**2 / (2 * objective.penalty.curvature))
        assert_allclose(gap_from_gradient(objective, point), expected, rtol=1e-12)

    def test_nothing_is_known_without_a_penalty_or_far_from_the_best_intercept(self):
        X, y = make_data(14)
        unpenalised = objective_of(X, y, l2=0.0)
        assert gap_from_gradient(unpenalised, unpenalised.evaluate(unpenalised.start())) == np.inf
        objective = objective_of(X, y)
        assert gap_from_gradient(objective, objective.evaluate(np.append(np.zeros(D), 5.0))) == np.inf


class TestRowSpan:
    @pytest.mark.parametrize("l2", [0.0, 1e-2])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_project_undoes_lift(self, layout, fit_intercept, weighted, l2):
        X, y = make_data(8)
        rng = np.random.default_rng(8)
        weight = rng.exponential(size=N) if weighted else None
        whole = objective_of(LAYOUTS[layout](X), y, sample_weight=weight, l2=l2, fit_intercept=fit_intercept)
        span = RowSpan(whole)
        assert span.objective.n_features == N - fit_intercept
        parameters = rng.normal(size=span.objective.n_parameters)
        lifted = span.lift(parameters)
        assert_allclose(span.project(lifted), parameters, rtol=0, atol=1e-10)
        assert_allclose(span.lift(span.project(lifted)), lifted, rtol=0, atol=1e-10)

        here, there = span.objective.evaluate(parameters), whole.evaluate(lifted)
        assert_allclose(here.handle.logits, there.handle.logits, rtol=0, atol=1e-10)
        assert_allclose(here.value, there.value, rtol=1e-12)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_project_keeps_the_logits_and_shortens_the_coefficients(self, fit_intercept):
        """Of parameters outside of the span."""
        X, y = make_data(9)
        whole = objective_of(X, y, fit_intercept=fit_intercept)
        span = RowSpan(whole)
        parameters = np.random.default_rng(109).normal(size=whole.n_parameters)
        projected = span.project(parameters)
        before, after = whole.evaluate(parameters), span.objective.evaluate(projected)
        assert_allclose(after.handle.logits, before.handle.logits, rtol=0, atol=1e-9)
        coef = whole.to_coef(parameters)[0][0]
        theta = span.objective.to_coef(projected)[0][0]
        center = X.mean(axis=0) if fit_intercept else 0.0
        rows = np.linalg.svd(X - center, full_matrices=False)[2][: N - fit_intercept]
        assert_allclose(np.linalg.norm(theta), np.linalg.norm(rows @ coef), rtol=1e-10)
        assert np.linalg.norm(theta) < 0.5 * np.linalg.norm(coef)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_rank_of_duplicated_rows(self, fit_intercept):
        X, y = make_data(10)
        span = RowSpan(objective_of(np.vstack([X[:25], X[:15]]), y, fit_intercept=fit_intercept))
        assert span.objective.n_features == 25 - fit_intercept
        parameters = np.random.default_rng(10).normal(size=span.objective.n_parameters)
        assert_allclose(span.project(span.lift(parameters)), parameters, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_rows_without_variation_span_nothing(self, fit_intercept):
        y = np.arange(N) % 4 == 0
        whole = objective_of(sp.csr_array((N, D)), y, fit_intercept=fit_intercept)
        span, start = RowSpan(whole), np.append(np.zeros(D), 2.0)[: D + fit_intercept]
        assert span.objective.n_features == 1
        value = span.objective.evaluate(span.project(start)).value
        assert value == pytest.approx(whole.evaluate(start).value, rel=1e-15)
        assert_allclose(span.lift(span.project(start)), start, rtol=1e-15)

    def test_zeros_are_projected_without_a_pass(self):
        X, y = make_data(11)
        whole = objective_of(X, y)
        span = RowSpan(whole)
        passes = whole.n_passes
        assert_allclose(span.project(whole.start()), span.objective.start(), rtol=1e-15)
        assert whole.n_passes == passes

    def test_where_it_is_used(self, monkeypatch):
        monkeypatch.setattr(plan, "MAX_MATRIX_PARAMETERS", 50)
        X, y = make_data(0, 60, 400)
        assert has_cheap_row_span(objective_of(X[:50], y[:50]))
        assert not has_cheap_row_span(objective_of(X[:51], y[:51]))
        assert has_cheap_row_span(objective_of(X[:40, :300], y[:40]))  # 301 parameters with the intercept
        assert not has_cheap_row_span(objective_of(X[:40, :300], y[:40], fit_intercept=False))
        # what counts is the columns of one output
        label = np.arange(40) % 3
        assert has_cheap_row_span(posing.softmax(as_design(X[:40]), label, 3))
        assert not has_cheap_row_span(posing.softmax(as_design(X[:40, :200]), label, 3))

    def test_not_where_samples_are_more_than_parameters(self):
        X, y = make_data(0, 402, 400)
        assert has_cheap_row_span(objective_of(X[:400], y[:400]))
        assert not has_cheap_row_span(objective_of(X[:401], y[:401]))
