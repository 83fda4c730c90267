"""Dual coordinate descent: the sweep against a slow twin, bounds that hold, and what it spares."""

import functools
import itertools
import math

import numpy as np
import posing
import pytest
import scipy.optimize
import scipy.sparse as sp
import twins
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression
from fastlogreg.data.layouts import as_design
from fastlogreg.solvers import auto, plan
from fastlogreg.solvers.dual import _dual_problem, dual_steps
from fastlogreg.solvers.gap import accuracy_asked
from fastlogreg.solvers.progress import Limits, Progress, Solution

N, D = 700, 900


@functools.cache
def text():
    """Word counts: few columns hold most entries, so rows have much in common."""
    rng = np.random.default_rng(3)
    rows = np.repeat(np.delete(np.arange(N), 5), 20)
    columns = (D * rng.random(len(rows)) ** 3).astype(int)
    X = sp.csr_matrix((rng.random(len(rows)), (rows, columns)), shape=(N, D))
    logits = X @ rng.standard_normal(D)
    labels = rng.random(N) < twins.sigmoid(2 * (logits - logits.mean()) / logits.std())
    return X, labels.astype(float)


def centered(n_samples=4000, n_features=5000, seed=0):
    """Rows with nothing in common."""
    rng = np.random.default_rng(seed)
    X = sp.random(n_samples, n_features, 0.005, format="csr", random_state=rng, data_rvs=rng.standard_normal)
    labels = rng.random(n_samples) < twins.sigmoid(3 * (X @ rng.standard_normal(n_features)))
    return sp.csr_matrix(X), labels.astype(float)


def objective_of(X, target, l2=1e-4, n_threads=1, **options):
    return posing.binary(as_design(X, n_threads), target, l2=l2, **options)


def dual_of(objective):
    """The dual problem, which is worth its sweeps, in units of ``1 / l2``."""
    assert plan.has_cheap_dual(objective)
    dual, unit = _dual_problem(objective)
    assert unit == objective.penalty_of_coef.strength
    return dual


def minimum(objective):
    return auto(objective, objective.start(), tol=1e-7, max_iter=500, on_iteration=lambda *_: None).point.value


def value_at(objective, coef, intercept):
    return objective.evaluate(objective.from_coef(coef[None], np.array([intercept]))).value


def twin_sweep(X, target, cost, block_rows, center, give, intercept):
    """The first sweep: in the order of the blocks, each residual where the others allow the most."""
    n, d = X.shape
    Z = X.toarray() - center
    residual, w, total = np.zeros(n), np.zeros(d), 0.0
    n_blocks = math.ceil(n / block_rows)
    for block in np.random.default_rng(0).permutation(n_blocks):
        for i in range(block * block_rows, min(n, (block + 1) * block_rows)):
            u = Z[i] @ w + intercept + give * total
            K = cost[i] * (Z[i] @ Z[i] + give)

            def excess(theta, u=u, K=K, p=target[i]):
                return theta + K * (twins.sigmoid(theta) - p) - u

            theta = scipy.optimize.brentq(excess, -abs(u) - K - 1, abs(u) + K + 1, xtol=1e-13)
            residual[i] = target[i] - twins.sigmoid(theta)
            w += cost[i] * residual[i] * Z[i]
            total += cost[i] * residual[i]
    return residual


class TestSweep:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("l2", [1e-2, 1e-5])
    def test_twin(self, fit_intercept, l2, monkeypatch):
        monkeypatch.setattr(plan, "IN_COMMON", 1.0)
        monkeypatch.setattr(plan, "FREE_PARAMETERS", 0.0)
        X, target = text()
        objective = objective_of(X, target, l2=l2, fit_intercept=fit_intercept)
        dual = dual_of(objective)
        dual.sweep()
        coef, _, bound = dual.end()
        cost = np.full(N, 1 / (l2 * N))
        center = X.toarray().mean(axis=0) if fit_intercept else np.zeros(D)
        give = max(0.03 * X.toarray().var(axis=0).sum(), 40 / cost.sum()) if fit_intercept else 0.0
        start = np.log(target.mean() / (1 - target.mean())) if fit_intercept else 0.0
        block_rows = min(32, 16 * 1024 // (X.nnz * 12 // N))
        residual = twin_sweep(X, target, cost, block_rows, center, give, start)
        q = target - residual
        if fit_intercept:
            q += q * (1 - q) * (cost @ residual) / (cost @ (q * (1 - q)))
        entropy = -q * np.log(q) - (1 - q) * np.log1p(-q)
        w = X.T @ (cost * (target - q))
        assert_allclose(coef, w, rtol=1e-4, atol=1e-5 * np.abs(w).max())
        assert_allclose(bound, cost @ entropy - 0.5 * w @ w, rtol=1e-5)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_rises(self, fit_intercept, monkeypatch):
        monkeypatch.setattr(plan, "IN_COMMON", 1.0)
        monkeypatch.setattr(plan, "FREE_PARAMETERS", 0.0)
        dual = dual_of(objective_of(*text(), fit_intercept=fit_intercept))
        values = []
        for _ in range(12):
            dual.sweep()
            values.append(dual.value)
        assert np.all(np.diff(values[3:]) > -1e-6 * values[-1])

    def test_value(self):
        """The entropy less half of the squared coefficients: the bound, once the sum of the variables is zero."""
        objective = objective_of(*text())
        dual = dual_of(objective)
        for _ in range(40):
            dual.sweep()
        assert_allclose(dual.value, dual.end()[2], rtol=1e-7)

    @pytest.mark.parametrize("C", [1.0, 10.0, 100.0])
    def test_gap(self, C):
        """What a sweep found of it is what it leaves, or several times that."""
        objective = objective_of(*centered(), l2=1 / (4000 * C))
        dual = dual_of(objective)
        left, n_sweeps = math.inf, 0
        while left > 1e-8 * dual.value:
            dual.sweep()
            n_sweeps += 1
            coef, intercept, bound = dual.end()
            left = value_at(objective, coef, intercept) / objective.penalty_of_coef.strength - bound
            if left < 1e-4 * dual.value:
                assert 0.5 * left < dual.gap < 10 * left
        assert n_sweeps < 60

    def test_strong_penalties_visit_every_sample(self):
        dual = dual_of(objective_of(*text(), l2=1e-3))
        assert [dual.sweep() for _ in range(10)] == [1.0] * 10

    def test_passes_over(self):
        """With a weak penalty those that gain little, but not twice in a row: an account of what was read."""
        dual = dual_of(objective_of(*text(), l2=1e-6))
        parts = [dual.sweep() for _ in range(30)]
        assert parts[:2] == [1.0, 1.0]
        assert all(first + second >= 1.0 - 1e-12 for first, second in itertools.pairwise(parts))
        assert np.mean(parts[3:]) < 0.75

    def test_no_sample_of_weight_zero_is_read(self):
        X, target = text()
        weight = (np.arange(N) % 2).astype(float)
        part = dual_of(objective_of(X, target, sample_weight=weight)).sweep()
        assert part == X[1::2].nnz / X.nnz

    def test_end_takes_a_pass(self):
        objective = objective_of(*text())
        dual = dual_of(objective)
        dual.sweep()
        before = objective.n_passes
        dual.end()
        assert objective.n_passes == before + 1


OPTIONS = {
    "plain": lambda rng: {},
    "weights": lambda rng: {"sample_weight": rng.integers(0, 4, N).astype(float)},
    "no intercept": lambda rng: {"fit_intercept": False},
    "strong": lambda rng: {"l2": 1.0},
    "weak": lambda rng: {"l2": 1e-6},
}


class TestBound:
    """The dual's end is below the minimum, and meets its coefficients' value there."""

    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize("soft", [False, True])
    def test_meets_the_minimum(self, options, soft, monkeypatch):
        monkeypatch.setattr(plan, "IN_COMMON", 1.0)
        monkeypatch.setattr(plan, "FREE_PARAMETERS", 0.0)
        X, target = text()
        rng = np.random.default_rng(1)
        if soft:
            target = np.where(rng.random(N) < 0.1, target, 0.2 + 0.6 * rng.random(N))
        objective = objective_of(X, target, **OPTIONS[options](rng))
        best = minimum(objective)
        dual, l2 = dual_of(objective), objective.penalty_of_coef.strength
        for n_sweeps in range(200):
            dual.sweep()
            if n_sweeps in (0, 1, 5):
                assert l2 * dual.end()[2] <= best * (1 + 1e-12)
        coef, intercept, bound = dual.end()
        assert_allclose(l2 * bound, best, rtol=1e-6)
        assert_allclose(value_at(objective, coef, intercept), best, rtol=1e-6)

    @pytest.mark.parametrize("index", [np.int32, np.int64])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_layouts(self, index, dtype):
        X, target = text()
        X = X.astype(np.float32).astype(dtype)
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        ends = []
        for matrix in (X, sp.csr_matrix(text()[0].astype(np.float32).astype(np.float64))):
            dual = dual_of(objective_of(matrix, target))
            dual.sweep()
            ends.append(dual.end())
        assert_allclose(ends[0][0], ends[1][0], rtol=1e-2, atol=1e-2)  # the orders of rows may differ
        assert_allclose(ends[0][2], ends[1][2], rtol=1e-2)

    def test_a_sum_that_cannot_be_made_zero(self):
        """Before any sweep of labels no variable can give way."""
        assert dual_of(objective_of(*text())).end()[2] == -np.inf


def steps(objective, start=None, *, tol=1e-4, max_iter=100):
    """The progress after as many passes as `max_iter`: half of a fit's iterations."""
    start = objective.start() if start is None else start
    return dual_steps(objective, Progress(start), Limits(tol, 2 * max_iter, lambda *_: None))


def way_after_the_first(objective):
    """The name of the way to go where the span of the rows, which is for few of them, is none."""
    return plan.next_way(objective, Progress(objective.start()), Limits(1e-4, 100, lambda *_: None), ["row-span"]).name


class TestSteps:
    @pytest.mark.parametrize("l2", [1e-3, 1e-4, 1e-5])
    def test_proves_its_end(self, l2):
        objective = objective_of(*text(), l2=l2)
        solution = steps(objective).solution
        assert isinstance(solution, Solution)
        assert solution.gap <= accuracy_asked(solution.point, 1e-4)
        assert 0 <= solution.point.value - minimum(objective) <= solution.gap

    @pytest.mark.parametrize("l2", [1e-3, 1e-4])
    def test_a_proof_that_failed(self, l2, monkeypatch):
        """Sweeps go on from there, and every pass is counted."""
        expected = steps(objective_of(*text(), l2=l2)).solution
        monkeypatch.setattr("fastlogreg.solvers.dual.PROVABLE", 100.0)
        objective = objective_of(*text(), l2=l2)
        evaluations = []
        evaluate = objective.evaluate
        monkeypatch.setattr(objective, "evaluate", lambda parameters: evaluations.append(1) or evaluate(parameters))
        solution = steps(objective).solution
        assert len(evaluations) > 1
        assert solution.gap <= accuracy_asked(solution.point, 1e-4)
        assert_allclose(solution.point.value, expected.point.value, rtol=2e-9)

    def test_no_dual_problem(self):
        X, target = text()
        for objective in (
            objective_of(X.toarray(), target),
            objective_of(X, target, l2=0.0),
            objective_of(X, target, l2=1.0),
            objective_of(X, target, fit_intercept=False),  # much in common
        ):
            assert not plan.has_cheap_dual(objective)
            assert way_after_the_first(objective) != "dual"

    def test_nothing_in_common(self):
        objective = objective_of(*centered(), fit_intercept=False)
        assert plan.has_cheap_dual(objective)
        assert way_after_the_first(objective) == "dual"

    def test_a_start_that_knows_more(self):
        objective = objective_of(*text())
        given = objective.start()
        given[3] = 1.0
        before = objective.n_passes
        limits = Limits(1e-4, 100, lambda *_: None)
        assert plan.next_way(objective, Progress(objective.start()), limits, ["row-span"]).name == "dual"
        assert plan.next_way(objective, Progress(given), limits, ["row-span"]).name == "preconditioned"
        assert objective.n_passes == before

    @pytest.mark.parametrize("max_iter", [0, 1, 5])
    def test_max_iter(self, max_iter):
        objective = objective_of(*text())
        before = objective.n_passes
        bound = steps(objective, tol=1e-8, max_iter=max_iter).bound
        assert max_iter <= objective.n_passes - before - (max_iter > 0) < max_iter + 1
        assert bound <= minimum(objective)

    def test_gives_up(self):
        """Next to no penalty."""
        objective = objective_of(*text(), l2=1e-13)
        before = objective.n_passes
        steps(objective, max_iter=1000)
        assert objective.n_passes - before < plan.MAX_DUAL_PASSES

    @pytest.mark.parametrize("repeats", [2, 30])
    def test_repeated_entries(self, repeats):
        """Rows are longer than their entries say; the fit ends where it should all the same."""
        X, target = centered()
        data = np.repeat(X.data / repeats, repeats)
        repeated = sp.csr_matrix((data, np.repeat(X.indices, repeats), X.indptr * repeats), shape=X.shape)
        fits = [LogisticRegression(C=10.0).fit(matrix, target) for matrix in (X, repeated)]
        assert_allclose(fits[0].loss_curve_[-1], fits[1].loss_curve_[-1], rtol=2e-9)


class TestFit:
    """Text that has neither a cheap matrix nor a cheap span of the rows."""

    @pytest.mark.parametrize("C", [0.01, 1.0, 100.0, 1e4])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_fewer_passes_than_gradients(self, C, fit_intercept, monkeypatch):
        X, target = centered()
        fit = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X, target)
        assert fit.solver_.startswith("dual") == (C > 0.01)
        monkeypatch.setattr(plan, "has_cheap_dual", lambda objective: False)
        alone = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X, target)
        assert fit.gap_ <= 2e-9
        assert fit.gap_proven_
        assert fit.n_passes_ <= alone.n_passes_
        if C >= 100:
            assert fit.n_passes_ < 0.7 * alone.n_passes_
        assert_allclose(fit.loss_curve_[-1], alone.loss_curve_[-1], rtol=3e-9)

    def test_threads_and_repetition_change_no_bit(self):
        X, target = centered()
        fits = [LogisticRegression(C=10.0, n_jobs=n_jobs).fit(X, target) for n_jobs in (1, 2, 2)]
        for fit in fits[1:]:
            assert_array_equal(fit.coef_, fits[0].coef_)
            assert_array_equal(fit.intercept_, fits[0].intercept_)

    def test_weights_are_repetition(self):
        X, target = centered(2000, 2500)
        weight = np.random.default_rng(2).integers(0, 3, 2000)
        weighted = LogisticRegression(C=10.0, tol=1e-6).fit(X, target, sample_weight=weight.astype(float))
        rows = np.repeat(np.arange(2000), weight)
        repeated = LogisticRegression(C=10.0, tol=1e-6).fit(X[rows], target[rows])
        assert_allclose(weighted.coef_, repeated.coef_, atol=1e-4)
        assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-4)

    def test_float32(self):
        X, target = centered()
        single = LogisticRegression(C=10.0).fit(X.astype(np.float32), target)
        double = LogisticRegression(C=10.0).fit(X.astype(np.float32).astype(np.float64), target)
        assert single.coef_.dtype == np.float32
        assert single.gap_ <= 2e-9
        assert_allclose(single.coef_, double.coef_, atol=1e-3)

    def test_too_few_iterations_are_told(self):
        X, target = centered()
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            LogisticRegression(C=1e4, max_iter=2).fit(X, target)
