"""Sparse data of many rows: what a sample knows of the Hessian, and the fits that step with it."""

import functools
import warnings

import numpy as np
import posing
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression
from fastlogreg.curvature.sampled_block import SampledBlock
from fastlogreg.data.layouts import as_design
from fastlogreg.objectives.binary import BinaryHessian
from fastlogreg.solvers import Stop, auto, plan, sampled
from fastlogreg.solvers.conjugate_gradients import ConjugateGradients
from fastlogreg.solvers.gap import accuracy_asked
from fastlogreg.solvers.progress import Limits, Progress
from fastlogreg.solvers.sampled import SparseEquations, sampled_steps

N = 60_000


@functools.cache
def one_hot(n_rare=300, seed=0):
    """Nine groups of categories, frequent ones and rare, beside an unscaled numeric column; labels from a model."""
    rng = np.random.default_rng(seed)
    sizes = [2, 3, 5, 7, 12, 20, 30, 40, n_rare]
    firsts = np.cumsum([1, *sizes[:-1]])
    columns = np.stack(
        [first + (size * rng.random(N) ** 3).astype(int) for first, size in zip(firsts, sizes, strict=True)]
    )
    numeric = 1e4 * rng.exponential(size=N)
    values = np.column_stack([numeric, np.ones((N, len(sizes)))])
    indices = np.column_stack([np.zeros(N, dtype=int), columns.T]).astype(np.int32)
    indptr = np.arange(0, indices.size + 1, indices.shape[1], dtype=np.int32)
    X = sp.csr_matrix((values.ravel(), indices.ravel(), indptr), shape=(N, 1 + sum(sizes)))
    coef = rng.standard_normal(X.shape[1])
    coef[0] *= 1e-4
    y = (rng.random(N) < 1 / (1 + np.exp(-(X @ coef - np.mean(X @ coef))))).astype(np.int64)
    return X, y


def objective_of(X, y, *, l2=1e-5, **options):
    return posing.binary(as_design(X, 1), y.astype(float), l2=l2, **options)


def fit(X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return LogisticRegression(**options).fit(X, y)


def steps(objective, *, tol=1e-4, max_iter=100):
    return sampled_steps(objective, Progress(objective.start()), Limits(tol, max_iter, lambda *_: None))


def newton_end(objective, tol=1e-4):
    solution = auto(objective, objective.start(), tol=tol, max_iter=200, on_iteration=lambda *_: None)
    return solution.point.parameters


class TestBlock:
    def test_where_it_pays(self):
        X, y = one_hot()
        assert plan.sampled_block_pays(objective_of(X, y))
        assert SampledBlock.of(objective_of(X, y)) is not None
        assert not plan.sampled_block_pays(objective_of(X[:4000], y[:4000]))  # few entries
        assert not plan.sampled_block_pays(objective_of(X.toarray(), y))
        assert not plan.sampled_block_pays(posing.softmax(as_design(X, 1), y + (X[:, 1].toarray()[:, 0] > 0), 3))
        wide = sp.hstack([X, sp.csr_matrix((N, N))], format="csr")
        assert not plan.sampled_block_pays(objective_of(wide, y))

    def test_rare_columns_alone(self):
        indptr = np.arange(600_001)
        X = sp.csr_matrix((np.ones(600_000), np.arange(600_000) % 60_000, indptr), shape=(600_000, 60_000))
        y = np.arange(600_000) % 7 < 3
        assert SampledBlock.of(objective_of(X, y)) is None

    def test_rows_without_weight(self):
        X, y = one_hot()
        weight = np.zeros(N)
        weight[SampledBlock.of(objective_of(X, y))._rows[0] + 10 :: 100] = 1.0
        block = SampledBlock.of(objective_of(X, y, sample_weight=weight))
        assert block is None or np.isfinite(block._stretch).all()
        only = np.ones(N)
        only[SampledBlock.of(objective_of(X, y))._rows] = 0.0
        objective = objective_of(X, y, sample_weight=only)
        assert SampledBlock.of(objective) is None
        progress, passes = Progress(objective.start()), objective.n_passes
        assert sampled_steps(objective, progress, Limits(1e-4, 100, lambda *_: None)) is progress
        assert progress.point is None
        assert objective.n_passes == passes
        solution = auto(objective, objective.start(), tol=1e-4, max_iter=200, on_iteration=lambda *_: None)
        assert "sampled" not in solution.ways
        assert solution.gap <= 1e-9 * solution.point.value

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    def test_nearly_the_inverse(self, fit_intercept, weighted):
        X, y = one_hot()
        weight = np.random.default_rng(1).exponential(size=N) if weighted else None
        objective = objective_of(X, y, fit_intercept=fit_intercept, sample_weight=weight, l2=1e-3)
        point = objective.evaluate(newton_end(objective))
        hessian = objective.hessian(point)
        apply = SampledBlock.of(objective).inverse(hessian)
        inverse = np.column_stack([apply(unit) for unit in np.eye(objective.n_parameters)])
        assert_allclose(inverse, inverse.T, atol=1e-10 * np.abs(inverse).max())
        eigenvalues = np.linalg.eigvals(inverse @ hessian.matrix()).real
        assert np.quantile(eigenvalues, 0.05) > 0.2
        assert np.quantile(eigenvalues, 0.95) < 2.0
        assert eigenvalues.min() > 0

    def test_columns_that_the_sample_lacks(self):
        X, y = one_hot()
        rows = SampledBlock.of(objective_of(X, y))._rows
        others = np.setdiff1d(np.arange(N), rows)
        missing = sp.csr_matrix((np.ones(500), (others[:500], np.zeros(500, dtype=int))), shape=(N, 1))
        constant_in_sample = sp.csr_matrix(np.where(np.isin(np.arange(N), rows), 1.0, 2.0)[:, None])
        X = sp.hstack([X, missing, constant_in_sample], format="csr")
        objective = objective_of(X, y)
        point = objective.evaluate(objective.start())
        result = SampledBlock.of(objective).inverse(objective.hessian(point))(np.ones(objective.n_parameters))
        d = X.shape[1]
        assert_allclose(result[d - 2 : d], 1.0, rtol=1e-6)  # the diagonal at the start is one


class TestFits:
    @pytest.mark.parametrize("C", [1e-2, 1.0, 100.0, 1e4])
    def test_optimum(self, C):
        X, y = one_hot()
        model = fit(X, y, C=C)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_
        exact = fit(X, y, C=C, tol=1e-7)
        assert model.loss_curve_[-1] <= exact.loss_curve_[-1] * (1 + 1e-9)
        assert_allclose(model.loss_curve_[-1], exact.loss_curve_[-1], rtol=2e-9)
        assert model.n_passes_ <= 25
        assert_allclose(model.predict_proba(X)[:, 1].mean(), y.mean(), rtol=1e-4)

    def test_same_as_dense(self):
        X, y = one_hot()
        assert_allclose(fit(X, y, tol=1e-7).coef_, fit(X.toarray(), y, tol=1e-7).coef_, rtol=1e-4, atol=1e-6)

    def test_one_matrix_of_all_rows(self, monkeypatch):
        made = []
        matrix = BinaryHessian.matrix
        monkeypatch.setattr(BinaryHessian, "matrix", lambda self: made.append(self) or matrix(self))
        fit(*one_hot(n_rare=100))
        assert len(made) == 1

    def test_more_columns_than_a_matrix_pays_for(self):
        X, y = one_hot(n_rare=3000)
        model = fit(X, y)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_
        assert model.n_passes_ <= 25

    @pytest.mark.parametrize("C", [1e-2, 100.0, 1e4])
    def test_many_columns(self, C):
        X, y = one_hot(n_rare=3000)
        model = fit(X, y, C=C)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_
        exact = fit(X, y, C=C, tol=1e-6)
        assert_allclose(model.loss_curve_[-1], exact.loss_curve_[-1], rtol=2e-9)

    @pytest.mark.parametrize("n_rare", [300, 3000])
    def test_matrix_that_is_not_small(self, n_rare, monkeypatch):
        X, y = one_hot(n_rare=n_rare)
        expected = fit(X, y).loss_curve_[-1]
        monkeypatch.setattr(SparseEquations, "of", lambda *_: None)
        model = fit(X, y)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_
        assert_allclose(model.loss_curve_[-1], expected, rtol=2e-9)

    @pytest.mark.parametrize(
        "options",
        [{"fit_intercept": False}, {"penalty": None}, {"class_weight": "balanced"}],
        ids=["no intercept", "no penalty", "weights"],
    )
    @pytest.mark.parametrize("n_rare", [30, 600])
    def test_options(self, options, n_rare):
        X, y = one_hot(n_rare=n_rare)
        model = fit(X, y, **options)
        assert model.gap_ <= 1e-9
        exact = fit(X, y, tol=1e-6, **options)
        assert_allclose(model.loss_curve_[-1], exact.loss_curve_[-1], rtol=2e-9)

    @pytest.mark.parametrize("n_rare", [300, 3000])
    def test_same_bits_for_any_number_of_threads(self, n_rare):
        X, y = one_hot(n_rare=n_rare)
        coefs = [fit(X, y, n_jobs=n_jobs).coef_ for n_jobs in (1, 2, 3)]
        assert_array_equal(coefs[0], coefs[1])
        assert_array_equal(coefs[0], coefs[2])

    def test_types(self):
        X, y = one_hot()
        expected = fit(X, y).coef_
        wide = sp.csr_matrix((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape)
        assert_array_equal(fit(wide, y).coef_, expected)
        assert_allclose(fit(X.astype(np.float32), y).coef_, expected, rtol=1e-2, atol=1e-4)

    def test_warm_start_at_the_optimum(self):
        X, y = one_hot()
        model = fit(X, y, warm_start=True)
        passes = model.n_passes_
        assert model.fit(X, y).n_passes_ < passes

    def test_separable(self):
        X, _ = one_hot()
        y = (X[:, 0].toarray().ravel() > 1e4).astype(int)
        with pytest.warns(ConvergenceWarning, match="separable"):
            LogisticRegression(penalty=None).fit(X, y)


class TestSteps:
    def test_handed_over_where_they_take_long(self, monkeypatch):
        monkeypatch.setattr(SparseEquations, "of", lambda *_: None)
        monkeypatch.setattr(plan, "SAMPLED_PATIENCE", 5)
        objective = objective_of(*one_hot(n_rare=3000))
        point = objective.evaluate(objective.start())
        ended = steps(objective)
        assert ended.solution is None
        assert ended.point.value < point.value
        assert ended.n_iter <= 5
        target = accuracy_asked(ended.point, 1e-4)
        passes = objective.n_passes
        ended.directions.direction(ended.point, target)
        with_inverse, passes = objective.n_passes - passes, objective.n_passes
        ConjugateGradients(objective).direction(ended.point, target)
        assert with_inverse <= objective.n_passes - passes

    def test_handed_over_where_none_descends(self, monkeypatch):
        monkeypatch.setattr(sampled, "minimize_on_line", lambda *_: None)
        objective = objective_of(*one_hot())
        ended = steps(objective)
        assert ended.solution is None
        assert_array_equal(ended.point.parameters, objective.start())
        assert ended.n_iter == 0
        assert fit(*one_hot()).gap_ <= 1e-9

    def test_iterations_used_up(self):
        objective = objective_of(*one_hot(n_rare=60))
        ended = steps(objective, max_iter=3).solution
        assert ended.stop is Stop.MAX_ITER
        assert ended.n_iter == 3
        exact = steps(objective, tol=1e-7).solution
        assert exact.stop is Stop.CONVERGED
        assert ended.point.value - exact.point.value <= ended.gap

    @pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-4, 1e-5])
    @pytest.mark.parametrize("n_rare", [60, 2000])
    def test_gap_is_a_bound(self, tol, n_rare):
        objective = objective_of(*one_hot(n_rare=n_rare))
        minimum = objective.evaluate(newton_end(objective, tol=1e-7)).value
        ended = auto(objective, objective.start(), tol=tol, max_iter=100, on_iteration=lambda *_: None)
        assert ended.proven
        assert ended.point.value - minimum <= ended.gap + 1e-15


class TestConjugateGradients:
    @pytest.mark.parametrize("with_inverse", [True, False])
    def test_intercept_solved_exactly(self, with_inverse):
        X, y = one_hot(n_rare=3000)
        objective = objective_of(X, y)
        point = objective.evaluate(objective.start())
        inverse = SampledBlock.of(objective).inverse(objective.hessian(point)) if with_inverse else None
        direction = ConjugateGradients(objective, inverse).direction(point, 1e-12)
        assert abs(direction.residual[-1]) <= 1e-12 * np.abs(point.gradient).max()
        true_residual = point.gradient + objective.hessian(point).dot(direction.vector)
        assert_allclose(direction.residual, true_residual, atol=1e-9 * np.abs(point.gradient).max())
