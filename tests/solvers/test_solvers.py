"""Solvers: known optima, the proof of the gap, the seeds' update, and what each promises on the way."""

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import posing
import pytest
import scipy.sparse as sp
import twins
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.curvature.quasi_newton import InverseHessian
from fastlogreg.data.layouts import as_design
from fastlogreg.objectives.point import Point
from fastlogreg.solvers import Stop, auto, gd, plan
from fastlogreg.solvers.gap import accuracy_asked, newton_step
from fastlogreg.solvers.line_search import ends_well, minimize_on_line
from fastlogreg.solvers.newton import newton_steps
from fastlogreg.solvers.newton_step import VALUE_NOISE
from fastlogreg.solvers.progress import Limits, Progress

GD_METHODS = ("fixed", "armijo", "nesterov")
SOLVERS = {f"gd-{method}": functools.partial(gd, method=method) for method in GD_METHODS}
SOLVERS |= {"newton": auto}
LAYOUTS = {
    "C": np.ascontiguousarray,
    "F32": lambda X: np.asfortranarray(X, dtype=np.float32),
    "CSR": sp.csr_matrix,
}
# Solvers end where the value is minimal to its rounding, 8 units of 1e-16: coefficients of columns of size one are then
# right to sqrt(2 . 8 . 1e-16 . value / curvature), some 1e-7 where the curvature is moderate.
COEF_ERROR = 1e-6


@pytest.fixture(params=SOLVERS)
def solver(request):
    """Each solver, with its signature's defaults."""
    return functools.partial(solve, SOLVERS[request.param])


def solve(solver, objective, *, start=None, tol=1e-8, max_iter=20_000, **options):
    """The solution and the points it went through."""
    path = []

    def on_iteration(n_iter, point):
        assert n_iter == len(path)
        path.append(point)

    start = objective.start() if start is None else start
    return solver(objective, start, tol=tol, max_iter=max_iter, on_iteration=on_iteration, **options), path


def coefficients(objective, solution):
    coef, intercept = objective.to_coef(solution.point.parameters)
    return np.concatenate([coef.ravel(), intercept])


class Data:
    """A problem with an optimum: X (n, d) with some zeros, labels drawn from a logistic model, weights."""

    def __init__(self, n=300, d=5, seed=0, l2=0.0, layout="C", fit_intercept=True, weighted=False):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, d)) + rng.normal(size=d)
        X[rng.random((n, d)) < 0.3] = 0.0
        self.X = X.astype(np.float32).astype(float)  # exact in both precisions
        self.coef = rng.normal(size=(1, d)) / np.sqrt(d)
        self.intercept = rng.normal(size=1) * fit_intercept
        self.prob = twins.sigmoid(twins.logits(self.X, self.coef, self.intercept))[0]
        self.labels = (rng.random(n) < self.prob).astype(float)
        self.weight = rng.exponential(size=n) if weighted else None
        self.layout, self.l2, self.fit_intercept = layout, l2, fit_intercept

    def objective(self, target=None, n_threads=1, **options):
        options = {"sample_weight": self.weight, "l2": self.l2, "fit_intercept": self.fit_intercept} | options
        design = as_design(LAYOUTS[self.layout](self.X), n_threads)
        return posing.binary(design, self.labels if target is None else target, **options)


class TestKnownOptimum:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_model_that_made_soft_targets(self, solver, layout, fit_intercept, weighted):
        """With p_i = sigma(x_i . w + b) every residual at (w, b) is zero, whatever the weights."""
        data = Data(layout=layout, fit_intercept=fit_intercept, weighted=weighted)
        objective = data.objective(data.prob)
        solution, _ = solver(objective)
        assert solution.stop is Stop.CONVERGED
        coef, intercept = objective.to_coef(solution.point.parameters)
        assert_allclose(coef, data.coef, rtol=0, atol=COEF_ERROR)
        assert_allclose(intercept, data.intercept, rtol=0, atol=COEF_ERROR)

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("l2", [0.0, 0.01, 10.0])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_all_agree_and_predict_the_mean_label(self, layout, l2, weighted):
        data = Data(layout=layout, l2=l2, weighted=weighted)
        objective = data.objective()
        found = []
        for method in SOLVERS.values():
            solution, _ = solve(method, objective)
            found.append(coefficients(objective, solution))
            prob = twins.sigmoid(solution.point.handle.logits)
            mean_label = np.average(data.labels, weights=data.weight)
            assert_allclose(np.average(prob, weights=data.weight), mean_label, rtol=COEF_ERROR)
        assert_allclose(found, found[-1:] * len(found), rtol=0, atol=COEF_ERROR)

    @pytest.mark.parametrize("l2", [0.0, 0.1])
    def test_tol_zero_ends_at_rounding(self, solver, l2):
        data = Data(l2=l2)
        objective = data.objective()
        solution, _ = solver(objective, tol=0.0)
        assert solution.stop in (Stop.CONVERGED, Stop.STALLED)
        lowest = exact_minimum(objective, data.X, solution)
        assert_allclose(solution.point.value, float(lowest), rtol=VALUE_NOISE)


def problem_of(objective, X):
    """X, target, weight and strength of the penalty, as twins want them."""
    samples = objective.passes.local.samples
    return X, samples.target[np.newaxis], samples.weight_or_ones, objective.penalty_of_coef.strength


def exact_minimum(objective, X, near):
    """Of the objective with dense X, in extended precision; `near` is a solution close by."""
    return twins.minimum(*problem_of(objective, X), *objective.to_coef(near.point.parameters), objective.fit_intercept)


def assert_proven(objective, X, solution, lowest):
    """The gap bounds the distance to the lowest value, but for the rounding of the value."""
    problem = (*problem_of(objective, X), *objective.to_coef(solution.point.parameters))
    reached = twins.value(*(np.asarray(part, dtype=np.longdouble) for part in problem))
    assert reached - lowest <= solution.gap + VALUE_NOISE * reached


class TestGap:
    """The gap that is reported bounds the true one: what "proven optimal" stands on."""

    @staticmethod
    def problem(kind, seed, spread, targets, weighted, log_c, fit_intercept):
        """An objective with a penalty, whose columns differ by factors up to 10^(2 spread), and its dense X."""
        rng = np.random.default_rng(seed)
        n, d = (rng.integers(5, 40), rng.integers(40, 90)) if kind == "wide" else (rng.integers(20, 150), 8)
        X = rng.normal(size=(n, d)) @ (np.eye(d) + rng.normal() * rng.normal(size=(d, d)) / d)
        if kind == "CSR":
            X[rng.random((n, d)) < 0.6] = 0.0
        else:
            X += rng.normal(size=d) * 10.0 ** rng.uniform(-1, 2)
        logits = 3 * (X - X.mean(axis=0)) @ rng.normal(size=d) / np.sqrt(d)
        X *= 10.0 ** rng.uniform(-spread, spread, size=d)
        prob = twins.sigmoid(logits)
        target = {"soft": prob, "labels": rng.random(n) < prob, "separable": logits > np.median(logits)}[targets]
        weight = rng.exponential(size=n) if weighted else np.ones(n)
        objective = posing.binary(
            as_design(sp.csr_matrix(X) if kind == "CSR" else X),
            target.astype(float),
            sample_weight=weight,
            l2=1 / (10.0**log_c * weight.sum()),
            fit_intercept=fit_intercept,
        )
        return objective, X

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        kind=st.sampled_from(["dense", "CSR", "wide"]),
        seed=st.integers(0, 10**9),
        spread=st.sampled_from([0, 3, 6]),
        targets=st.sampled_from(["soft", "labels", "separable"]),
        weighted=st.booleans(),
        log_c=st.floats(-4, 6),
        fit_intercept=st.booleans(),
        max_iter=st.integers(0, 40),
    )
    def test_bounds_the_true_gap(self, max_iter, **options):
        objective, X = self.problem(**options)
        found = [
            solve(method, objective, tol=tol, max_iter=limit)[0]
            for method in (functools.partial(gd, method="nesterov"), auto)
            for tol, limit in ((1e-2, 300), (1e-4, max_iter), (1e-8, 300))
        ]
        lowest = exact_minimum(objective, X, min(found, key=lambda solution: solution.point.value))
        for solution in found:
            assert_proven(objective, X, solution, lowest)

    @pytest.mark.parametrize("targets", ["soft", "labels", "separable"])
    @pytest.mark.parametrize("spread", [0, 6])
    @pytest.mark.parametrize("kind", ["dense", "CSR", "wide"])
    def test_newton_arrives(self, kind, spread, targets):
        """With the estimator's defaults, whatever the columns' units and the strength of the penalty."""
        for seed in range(5):
            for log_c in (-2, 0, 2, 4):
                objective, _ = self.problem(kind, seed, spread, targets, False, log_c, fit_intercept=True)
                solution, _ = solve(auto, objective, tol=1e-4, max_iter=100)
                assert solution.stop is Stop.CONVERGED, (seed, log_c)

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(("kind", "spread"), [("dense", 0), ("CSR", 0), ("wide", 0), ("wide", 6)])
    def test_holds_where_the_minimum_is_tiny(self, kind, spread, seed):
        """Separable classes under a weak penalty: the gradient is far below the rounding of 1, and yet matters."""
        objective, X = self.problem(kind, seed, spread, "separable", False, log_c=6, fit_intercept=True)
        lowest = exact_minimum(objective, X, solve(auto, objective, max_iter=300)[0])
        assert lowest < 1e-2
        for tol in (1e-1, 1e-2, 1e-3, 1e-4):
            assert_proven(objective, X, solve(auto, objective, tol=tol, max_iter=300)[0], lowest)

    @pytest.mark.parametrize("seed", range(6))
    def test_bounds_it_without_a_penalty(self, solver, seed):
        data = Data(seed=seed, weighted=True)
        objective = data.objective()
        best, _ = solve(auto, objective, tol=0.0)
        lowest = exact_minimum(objective, data.X, best)
        for tol, max_iter in ((1e-2, 1000), (1e-4, seed), (1e-8, 20_000)):
            assert_proven(objective, data.X, solver(objective, tol=tol, max_iter=max_iter)[0], lowest)

    @pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
    def test_tol_is_met(self, solver, tol):
        objective = Data(l2=0.01).objective()
        solution, _ = solver(objective, tol=tol)
        assert solution.stop is Stop.CONVERGED
        assert solution.gap <= accuracy_asked(solution.point, tol) * (1 + 1e-6)

    @pytest.mark.parametrize("name", ["golub", "a9a", "covtype20k"])
    def test_real_data(self, name, real_data):
        """All values less their gaps lie below all values."""
        X, y = real_data(name)
        design, target = as_design(X), (y == 1).astype(float)
        found = []
        for C in (1e-2, 1.0):
            objective = posing.binary(design, target, l2=1 / (C * len(y)))
            found = [
                solve(method, objective, tol=tol, max_iter=100)[0] for method in (gd, auto) for tol in (1e-2, 1e-4)
            ]
            lowest = min(solution.point.value for solution in found)
            # The loss of a sample far on its right side is exp(-|u|), known to as many digits as u is after its point.
            farthest = max(np.abs(solution.point.handle.logits).max() for solution in found)
            noise = max(VALUE_NOISE, np.finfo(float).eps * farthest)
            assert max(solution.point.value - solution.gap for solution in found) <= lowest * (1 + noise)
            assert lowest > 0


class TestFarStart:
    """From coefficients that are much too long, as those of a warm start may be."""

    LOWEST = -(149 * np.log(149 / 150) + np.log(1 / 150)) / 150

    @staticmethod
    def objective(n_columns):
        """Labels that the sign of x predicts, but for one in 150; x stands in every column."""
        X = np.repeat([[-1.0], [1.0]], 150, axis=0)
        labels = np.repeat([0.0, 1.0], 150)
        labels[[0, -1]] = 1.0, 0.0
        return posing.binary(as_design(np.repeat(X, n_columns, axis=1)), labels)

    def start(self, objective, size):
        d = objective.n_features
        return objective.from_coef(np.full((1, d), size / d), np.zeros(1))

    @pytest.mark.parametrize("n_columns", [1, 400])  # a factored Hessian; conjugate gradients
    @pytest.mark.parametrize("size", [50.0, 1e3, 1e6])
    @pytest.mark.parametrize("max_iter", [0, 1])
    def test_no_proof_where_the_hessian_vanishes(self, solver, max_iter, size, n_columns):
        objective = self.objective(n_columns)
        solution, _ = solver(objective, start=self.start(objective, size), tol=1e-4, max_iter=max_iter)
        assert solution.gap >= solution.point.value - self.LOWEST

    @pytest.mark.parametrize("n_columns", [1, 400])
    @pytest.mark.parametrize("size", [50.0, 1e3, 1e6])
    @pytest.mark.parametrize("method", ["gd-armijo", "newton"])
    def test_arrives_nevertheless(self, method, size, n_columns):
        objective = self.objective(n_columns)
        start = self.start(objective, size)
        solution, _ = solve(SOLVERS[method], objective, start=start, tol=1e-4, max_iter=100)
        assert solution.stop is Stop.CONVERGED
        assert_allclose(solution.point.value, self.LOWEST, rtol=1e-8)


class TestGradientDescent:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("soft", [False, True])
    def test_fixed_steps_are_the_textbook_s(self, layout, soft):
        """w <- w - step dJ/dw and b <- b - step dJ/db of the mean cross-entropy, coefficient by coefficient."""
        data = Data(layout=layout)
        target = data.prob if soft else data.labels
        objective = data.objective(target, standardize=False)
        start, step, n_iter = np.zeros(6), 0.3, 50
        _, path = solve(gd, objective, start=start, tol=0.0, max_iter=n_iter, method="fixed", step=step)
        w, b, m = np.zeros(5), 0.0, len(target)
        for point in path:
            assert_allclose(point.parameters, np.append(w, b), rtol=1e-12, atol=1e-14)
            residual = twins.sigmoid(data.X @ w + b) - target
            w = w - step * data.X.T @ residual / m
            b = b - step * residual.sum() / m
        assert len(path) == n_iter + 1

    @pytest.mark.parametrize("l2", [0.0, 0.1])
    @pytest.mark.parametrize("standardize", [True, False])
    @pytest.mark.parametrize("step", [None, 1e-3, 1e3])
    def test_armijo_never_raises_the_value(self, step, standardize, l2):
        data = Data(l2=l2)
        objective = data.objective(standardize=standardize)
        _, path = solve(gd, objective, tol=0.0, max_iter=60, method="armijo", step=step)
        values = np.array([point.value for point in path])
        assert np.all(np.diff(values) <= VALUE_NOISE * values[:-1])
        assert values[-1] < values[0]

    @pytest.mark.parametrize("method", ["fixed", "nesterov"])
    def test_the_default_step_never_diverges(self, method):
        data = Data(l2=0.01)
        data.X[:, 1] *= 1e3
        data.X[:, 2] += 1e3
        objective = data.objective(standardize=False)
        _, path = solve(gd, objective, tol=0.0, max_iter=100, method=method)
        assert max(point.value for point in path) <= path[0].value * (1 + 1e-12)

    def test_momentum_pays_on_ill_conditioned_data(self):
        data = Data(n=500, d=8, l2=1e-4)
        data.X[:] = np.cumsum(data.X, axis=1)
        objective = data.objective()
        n_iter = {m: solve(gd, objective, tol=1e-5, max_iter=50_000, method=m)[0].n_iter for m in GD_METHODS}
        assert n_iter["nesterov"] < 0.5 * n_iter["fixed"]
        assert n_iter["armijo"] < n_iter["fixed"]

    @pytest.mark.parametrize("method", ["fixed", "nesterov"])
    @pytest.mark.parametrize("step", [1e2, 1e3, 1e300])
    def test_too_long_a_step_is_reported(self, method, step):
        with pytest.raises(FloatingPointError, match=f"step {step:g} diverged".replace("+", r"\+")):
            solve(gd, Data(l2=0.1).objective(), method=method, step=step)

    def test_unknown_method(self):
        with pytest.raises(ValueError, match="none of"):
            solve(gd, Data().objective(), method="adam")


class TestLineSearch:
    @staticmethod
    def line(length, l2=0.01):
        """A point, and one `length` Newton steps away from it."""
        objective = Data(l2=l2).objective()
        start = objective.evaluate(objective.start())
        unit = newton_step(objective, start, 0.0).end.parameters - start.parameters
        return objective, start, objective.evaluate(start.parameters + length * unit)

    def test_a_good_unit_step_costs_no_pass(self):
        objective, start, end = self.line(1.0)
        passes = objective.n_passes
        assert minimize_on_line(objective, start, end) is end
        assert objective.n_passes == passes

    @pytest.mark.parametrize("l2", [0.0, 0.01])
    @pytest.mark.parametrize("length", [1e-4, 1e-2, 0.05, 3.0, 30.0, 1e3, 1e6])
    def test_otherwise_one_pass(self, length, l2):
        objective, start, end = self.line(length, l2)
        direction = end.parameters - start.parameters
        passes = objective.n_passes
        found = minimize_on_line(objective, start, end)
        assert objective.n_passes == passes + 1
        assert found.value < start.value
        assert abs(found.gradient @ direction) <= 0.11 * abs(start.gradient @ direction)
        t = (found.parameters - start.parameters) @ direction / (direction @ direction)
        assert_allclose(found.parameters, start.parameters + t * direction, rtol=1e-12, atol=1e-14)
        fresh = objective.evaluate(found.parameters)
        assert_array_equal(found.handle.logits, fresh.handle.logits)
        assert found.value == fresh.value

    @pytest.mark.parametrize("length", [-1e-3, -1.0, -1e3, 0.0])
    def test_nothing_is_lower_uphill(self, length):
        objective, start, end = self.line(length)
        passes = objective.n_passes
        assert minimize_on_line(objective, start, end) is None
        assert objective.n_passes == passes

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_step_that_leaves_more_of_the_slope_is_too_short(self, share):
        objective = Data(l2=0.01).objective()
        start = objective.evaluate(objective.start())
        step = newton_step(objective, start, 0.0).end.parameters - start.parameters
        for t in (0.02, 0.3, 0.7):
            end = objective.evaluate(start.parameters + t * step)
            left = (end.gradient @ step) / (start.gradient @ step)
            assert 0 < left < 1
            found = minimize_on_line(objective, start, end, slope_left=share)
            assert (found is end) == (left <= share)
            assert abs(found.gradient @ step) <= share * abs(start.gradient @ step)

    def test_nothing_is_lower_than_the_minimum(self):
        objective = Data(l2=0.01).objective()
        best = solve(auto, objective, tol=0.0)[0].point
        away = objective.evaluate(best.parameters + 0.5)
        found = minimize_on_line(objective, best, away)
        assert found is None or found.value <= best.value * (1 + VALUE_NOISE)

    @pytest.mark.parametrize(("rise", "slope", "good"), [(5e-11, 0.05, True), (5e-11, 0.5, False), (1e-9, 0.05, False)])
    def test_slopes_tell_the_minimum_where_values_are_rounded(self, rise, slope, good):
        start = Point(np.array([0.0]), 1.0, np.array([-1.0]), SimpleNamespace())
        end = Point(np.array([1e-10]), 1.0 + rise, np.array([slope]), SimpleNamespace())
        assert ends_well(start, end, 0.9) == good


class TestPath:
    def test_iterations_are_told_in_order(self, solver):
        objective = Data(l2=0.01).objective()
        solution, path = solver(objective, tol=1e-6)
        assert len(path) == solution.n_iter + 1
        assert path[-1] is solution.point
        assert_array_equal(path[0].parameters, objective.start())

    def test_points_are_what_a_fresh_pass_says(self, solver):
        """Memory for logits goes round; what is returned holds its own."""
        objective = Data(l2=0.01).objective()
        for max_iter in (1, 2, 3, 10, 20_000):
            point = solver(objective, max_iter=max_iter)[0].point
            fresh = objective.evaluate(point.parameters)
            assert_array_equal(point.handle.logits, fresh.handle.logits)
            assert_array_equal(point.gradient, fresh.gradient)
            assert point.value == fresh.value

    @pytest.mark.parametrize("wide", [False, True])
    def test_no_iterations(self, solver, wide):
        data = Data(n=20, d=30, l2=0.1) if wide else Data(l2=0.1)
        objective = data.objective()
        solution, path = solver(objective, max_iter=0)
        assert solution.n_iter == 0
        assert solution.stop is Stop.MAX_ITER
        assert_array_equal(solution.point.parameters, objective.start())
        assert_proven(objective, data.X, solution, exact_minimum(objective, data.X, solver(objective)[0]))
        assert len(path) == 1

    @pytest.mark.parametrize("wide", [False, True])
    def test_one_iteration(self, solver, wide):
        data = Data(n=20, d=30, l2=0.1) if wide else Data(l2=0.1)
        objective = data.objective()
        solution, path = solver(objective, max_iter=1)
        assert solution.n_iter == 1
        assert solution.stop is Stop.MAX_ITER
        assert path[1].value < path[0].value
        assert_proven(objective, data.X, solution, exact_minimum(objective, data.X, solver(objective)[0]))

    def test_at_the_optimum_already(self, solver):
        objective = Data(l2=0.1).objective()
        best, _ = solve(auto, objective, tol=1e-8)
        solution, _ = solver(objective, start=best.point.parameters, tol=1e-4)
        assert solution.stop is Stop.CONVERGED
        assert solution.n_iter <= 1
        assert_allclose(solution.point.parameters, best.point.parameters, rtol=0, atol=COEF_ERROR)

    def test_newton_needs_few_iterations(self):
        solution, _ = solve(auto, Data(l2=1e-3).objective(), tol=1e-8)
        assert solution.n_iter <= 10


class TestInvariance:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_units_of_the_columns(self, solver, layout):
        """By powers of two, which round nothing: the path is the same, bit for bit."""
        data = Data(layout=layout)
        plain = data.objective()
        solution, path = solver(plain, tol=1e-6, max_iter=500)
        units = 2.0 ** np.array([-30, 7, 0, 20, -3])
        data.X = data.X * units
        scaled = data.objective()
        scaled_solution, scaled_path = solver(scaled, tol=1e-6, max_iter=500)
        assert len(path) == len(scaled_path)
        for point, scaled_point in zip(path, scaled_path, strict=True):
            assert_array_equal(point.parameters, scaled_point.parameters)
        assert solution.gap == scaled_solution.gap
        coef, intercept = plain.to_coef(solution.point.parameters)
        scaled_coef, scaled_intercept = scaled.to_coef(scaled_solution.point.parameters)
        assert_array_equal(coef, scaled_coef * units)
        assert_array_equal(intercept, scaled_intercept)

    @pytest.mark.parametrize("l2", [0.0, 0.1])
    def test_origins_of_the_columns(self, solver, l2):
        data = Data(l2=l2)
        plain = data.objective()
        solution, _ = solver(plain, tol=2.3e-6)
        offset = np.array([1e3, -1e5, 0.0, 7.0, 1e4])
        data.X = data.X + offset
        moved = data.objective()
        moved_solution, _ = solver(moved, tol=2.3e-6)
        assert abs(moved_solution.n_iter - solution.n_iter) <= 0.1 * solution.n_iter + 1
        coef, intercept = plain.to_coef(solution.point.parameters)
        moved_coef, moved_intercept = moved.to_coef(moved_solution.point.parameters)
        error = 10 * np.sqrt(
            2 * solution.gap + 2 * moved_solution.gap
        )  # of columns of size one, if a little correlated
        assert_allclose(moved_coef, coef, rtol=0, atol=error)
        assert_allclose(moved_intercept + moved_coef @ offset, intercept, rtol=0, atol=error)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_layouts(self, solver, layout):
        found = {}
        for name in ("C", layout):
            objective = Data(l2=0.01, layout=name).objective()
            found[name] = coefficients(objective, solver(objective)[0])
        assert_allclose(found[layout], found["C"], rtol=0, atol=COEF_ERROR)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", [(4001, 13), (90, 700)])  # several chunks; wide, for conjugate gradients
    def test_bits_for_any_number_of_threads(self, solver, layout, shape):
        n, d = shape
        data = Data(n=n, d=d, l2=1e-3, layout=layout)
        serial = None
        for n_threads in (1, 2, 3, 4):
            solution, path = solver(data.objective(n_threads=n_threads), tol=1e-4, max_iter=15)
            result = [point.parameters for point in path], [point.value for point in path], solution.gap
            serial = serial or result
            assert_array_equal(result[0], serial[0])
            assert result[1:] == serial[1:]

    @pytest.mark.usefixtures("isa")
    def test_instruction_sets(self, solver):
        data = Data(n=100, d=13, l2=0.01)
        objective = data.objective()
        solution, _ = solver(objective)
        lowest = exact_minimum(objective, data.X, solution)
        assert_allclose(solution.point.value, float(lowest), rtol=1e-14)

    def test_weights_are_repetition(self, solver):
        data = Data(n=60, l2=0.1)
        copies = np.random.default_rng(0).integers(0, 4, size=60)
        weighted = data.objective(sample_weight=copies.astype(float))
        repeated = posing.binary(as_design(np.repeat(data.X, copies, axis=0)), np.repeat(data.labels, copies), l2=0.1)
        found = [coefficients(objective, solver(objective)[0]) for objective in (weighted, repeated)]
        assert_allclose(*found, rtol=0, atol=COEF_ERROR)

    def test_intercept_is_a_column_of_ones(self, solver):
        data = Data()
        with_intercept = data.objective()
        ones = posing.binary(as_design(np.column_stack([data.X, np.ones(300)])), data.labels, fit_intercept=False)
        found = coefficients(with_intercept, solver(with_intercept)[0])
        assert_allclose(coefficients(ones, solver(ones)[0])[:-1], found, rtol=0, atol=COEF_ERROR)


class TestSeparable:
    X = np.array([[-3.0, 1.0], [-1.0, 2.0], [-0.5, 0.0], [0.5, 1.0], [1.0, 0.0], [2.0, 2.0]])
    labels = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_stops_with_all_samples_on_their_sides(self, solver, layout, fit_intercept):
        objective = posing.binary(as_design(LAYOUTS[layout](self.X)), self.labels, fit_intercept=fit_intercept)
        solution, _ = solver(objective)
        assert solution.stop is Stop.SEPARABLE
        assert_array_equal(solution.point.handle.logits > 0, self.labels == 1)
        assert solution.gap >= solution.point.value

    def test_one_sample_in_the_way(self, solver):
        objective = posing.binary(as_design(np.append(self.X, [[-5.0, 1.0]], axis=0)), np.append(self.labels, 1.0))
        solution, _ = solver(objective, tol=1e-4)
        assert solution.stop is Stop.CONVERGED

    def test_unless_it_has_no_weight(self, solver):
        objective = posing.binary(
            as_design(np.append(self.X, [[-5.0, 1.0]], axis=0)),
            np.append(self.labels, 1.0),
            sample_weight=np.append(np.ones(6), 0.0),
        )
        assert solver(objective)[0].stop is Stop.SEPARABLE

    def test_a_penalty_gives_an_optimum(self, solver):
        objective = posing.binary(as_design(self.X), self.labels, l2=1e-3)
        assert solver(objective, tol=1e-4)[0].stop is Stop.CONVERGED


class TestAwkwardColumns:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("l2", [0.0, 0.1])
    @pytest.mark.parametrize("layout", ["C", "CSR"])
    def test_constant_zero_and_duplicate(self, solver, layout, l2, weighted):
        """Constant and zero columns get the coefficient 0, duplicates share one equally."""
        data = Data(layout=layout, l2=l2, weighted=weighted)
        regular = data.objective()
        expected, _ = solver(regular)
        data.X = np.column_stack([np.full(300, 0.1), data.X, np.zeros(300), np.full(300, -3.0)])
        objective = data.objective()
        solution, _ = solver(objective)
        assert solution.stop is Stop.CONVERGED
        coef, intercept = objective.to_coef(solution.point.parameters)
        regular_coef, regular_intercept = regular.to_coef(expected.point.parameters)
        assert_array_equal(coef[0, [0, 6, 7]], 0.0)
        assert_allclose(coef[0, 1:6], regular_coef[0], rtol=0, atol=COEF_ERROR)
        assert_allclose(intercept, regular_intercept, rtol=0, atol=COEF_ERROR)

        data.X = np.column_stack([data.X, data.X[:, 1]])
        twice = data.objective()
        solution, _ = solver(twice)
        assert solution.stop is Stop.CONVERGED
        coef, _ = twice.to_coef(solution.point.parameters)
        assert_allclose(coef[0, 1], coef[0, 8], rtol=0, atol=COEF_ERROR)
        if l2 == 0:
            assert_allclose(coef[0, 1] + coef[0, 8], regular_coef[0, 0], rtol=0, atol=COEF_ERROR)
            assert_allclose(solution.point.value, expected.point.value, rtol=1e-13)
        else:
            lowest = exact_minimum(twice, data.X, solution)
            assert_allclose(solution.point.value, float(lowest), rtol=1e-13)

    @pytest.mark.parametrize("layout", ["C", "CSR"])
    def test_constant_column_without_intercept_is_one(self, solver, layout):
        data = Data(layout=layout)
        regular = data.objective()
        data.X = np.column_stack([data.X, np.full(300, 2.0)])
        objective = data.objective(fit_intercept=False)
        solution, _ = solver(objective)
        found = coefficients(objective, solution)
        expected = coefficients(regular, solver(regular)[0])
        assert_allclose(np.append(found[:5], 2.0 * found[5]), expected, rtol=0, atol=COEF_ERROR)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_only_constant_columns(self, solver, layout):
        """The intercept alone is fitted: its optimum is where the start is."""
        objective = posing.binary(as_design(LAYOUTS[layout](np.full((30, 2), 3.0))), np.arange(30) % 3 / 2, l2=0.1)
        solution, _ = solver(objective)
        assert solution.stop is Stop.CONVERGED
        coef, intercept = objective.to_coef(solution.point.parameters)
        assert_array_equal(coef, 0.0)
        assert_allclose(twins.sigmoid(intercept), 0.5, rtol=1e-12)


class TestManyProducts:
    """Numeric columns that depend on one another, beside rare categories: conjugate gradients need a block."""

    @staticmethod
    @functools.cache
    def data():
        rng = np.random.default_rng(0)
        n, n_numeric, n_categories = 3000, 30, 1600
        numeric = rng.standard_normal((n, n_numeric)) @ np.diag(np.logspace(0, -4, n_numeric))
        numeric = numeric @ rng.standard_normal((n_numeric, n_numeric))
        categories = sp.csr_matrix(
            (np.ones(n), rng.integers(0, n_categories, n), np.arange(n + 1)), shape=(n, n_categories)
        )
        X = sp.csr_matrix(sp.hstack([sp.csr_matrix(numeric), categories]))
        labels = (rng.random(n) < twins.sigmoid(2 * numeric[:, 0] / numeric[:, 0].std())).astype(float)
        return X, labels

    def objective(self, n_threads=1):
        X, labels = self.data()
        return posing.binary(as_design(X, n_threads), labels, l2=1e-9)

    def test_a_block_spares_most_of_them(self, monkeypatch):
        with_block = self.objective()
        solution, _ = solve(auto, with_block, tol=1e-6, max_iter=100)
        assert solution.stop is Stop.CONVERGED
        assert solution.proven
        monkeypatch.setattr("fastlogreg.solvers.plan.MANY_PRODUCTS", np.inf)
        without = self.objective()
        same, _ = solve(auto, without, tol=1e-6, max_iter=100)
        assert with_block.n_passes < 0.6 * without.n_passes
        assert_allclose(solution.point.value, same.point.value, rtol=1e-12)

    def test_threads_change_no_bit(self):
        one, _ = solve(auto, self.objective(1), tol=1e-4, max_iter=100)
        two, _ = solve(auto, self.objective(2), tol=1e-4, max_iter=100)
        assert_array_equal(one.point.parameters, two.point.parameters)


class TestPreconditioned:
    """Text-like data, too wide for a matrix and too tall for the span of the rows: L-BFGS leads to the end."""

    N, D = 3000, 4000

    @staticmethod
    @functools.cache
    def data():
        N, D = TestPreconditioned.N, TestPreconditioned.D
        rng = np.random.default_rng(0)
        rows = np.repeat(np.arange(N), 40)
        columns = (D * rng.random(len(rows)) ** 3).astype(int)
        X = sp.csr_matrix((rng.random(len(rows)), (rows, columns)), shape=(N, D))
        logits = X @ rng.standard_normal(D)
        labels = rng.random(N) < twins.sigmoid(2 * (logits - logits.mean()) / logits.std())
        return X, labels.astype(float)

    def objective(self, l2=1e-4, n_threads=1, layout=sp.csr_matrix, **options):
        X, labels = self.data()
        return posing.binary(as_design(layout(X), n_threads), labels, l2=l2, **options)

    @pytest.mark.parametrize("l2", [1e-4, 1e-3])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_fewer_passes_than_conjugate_gradients(self, l2, fit_intercept):
        objective, alone = (self.objective(l2, fit_intercept=fit_intercept) for _ in range(2))
        solution, path = solve(auto, objective, tol=1e-4, max_iter=100)
        assert solution.stop is Stop.CONVERGED
        assert solution.proven
        assert path[-1] is solution.point
        limits = Limits(1e-4, 100, lambda *_: None)
        same = newton_steps(alone, Progress(alone.start()), limits).solution
        assert objective.n_passes < 0.9 * alone.n_passes
        assert abs(solution.point.value - same.point.value) <= solution.gap + same.gap

    def test_the_gradient_alone_proves_strong_penalties(self, monkeypatch):
        exact, _ = solve(auto, self.objective(l2=0.1), tol=1e-7, max_iter=100)
        objective = self.objective(l2=0.1)
        for module in ("newton", "preconditioned"):
            monkeypatch.setattr(f"fastlogreg.solvers.{module}.ConjugateGradients", None)
        solution, path = solve(auto, objective, tol=1e-4, max_iter=100)
        assert solution.stop is Stop.CONVERGED
        assert solution.proven
        assert solution.point.value - exact.point.value <= solution.gap <= accuracy_asked(solution.point, 1e-4)
        assert len(path) == solution.n_iter + 1

    @pytest.mark.parametrize("max_iter", [1, 2, 7])
    def test_half_of_the_iterations(self, max_iter):
        """The others are conjugate gradients', and the gap where they end is proven."""
        best, _ = solve(auto, self.objective(l2=1e-6), tol=1e-6, max_iter=100)
        solution, path = solve(auto, self.objective(l2=1e-6), tol=1e-4, max_iter=max_iter)
        assert solution.stop is Stop.MAX_ITER
        assert solution.n_iter == max_iter == len(path) - 1
        assert solution.gap >= solution.point.value - best.point.value

    def test_dense_and_threads(self):
        """Three threads change no bit, and a dense matrix the result by no more than its gap."""
        one, _ = solve(auto, self.objective(), tol=1e-4, max_iter=100)
        three, _ = solve(auto, self.objective(n_threads=3), tol=1e-4, max_iter=100)
        assert_array_equal(one.point.parameters, three.point.parameters)
        assert one.gap == three.gap
        dense, _ = solve(auto, self.objective(layout=lambda X: X.toarray()), tol=1e-4, max_iter=100)
        assert abs(dense.point.value - one.point.value) <= dense.gap + one.gap

    def test_separable_without_penalty(self):
        solution, _ = solve(auto, self.objective(l2=0.0), tol=1e-4, max_iter=100)
        assert solution.stop is Stop.SEPARABLE

    def test_few_pairs_where_a_pass_is_cheap(self, monkeypatch):
        counts = []

        class Counted(InverseHessian):
            def __init__(self, *args, memory, **options):
                counts.append(memory)
                super().__init__(*args, memory=memory, **options)

        monkeypatch.setattr("fastlogreg.solvers.preconditioned.InverseHessian", Counted)
        monkeypatch.setattr(plan, "has_cheap_dual", lambda objective: False)
        solve(auto, self.objective(), tol=1e-4, max_iter=100)
        assert counts == [10]
        solve(auto, self.objective(layout=lambda X: X.toarray()), tol=1e-4, max_iter=100)
        assert counts == [10, 30]


def test_inverse_hessian_forgets_the_oldest_pairs():
    path = solve(gd, Data(n=400, d=30, l2=1e-3).objective(), tol=1e-6)[1]
    short, newest = InverseHessian(memory=2), InverseHessian(memory=2)
    for start, end in itertools.pairwise(path[:6]):
        short.update(start, end)
    for start, end in itertools.pairwise(path[3:6]):
        newest.update(start, end)
    assert_array_equal(short.dot(path[6].gradient), newest.dot(path[6].gradient))


@pytest.mark.parametrize("method", ["gd-nesterov", "gd-armijo"])
def test_end_takes_two_hessians(method, monkeypatch):
    """One whose step does not prove the gap yet, and one where that step leads."""
    objective = Data(n=2000, d=8, l2=1e-3).objective()
    asked = []
    hessian = objective.hessian
    monkeypatch.setattr(objective, "hessian", lambda point: asked.append(point) or hessian(point))
    solution, path = solve(SOLVERS[method], objective, tol=1e-4)
    assert solution.stop is Stop.CONVERGED
    assert len(asked) <= 2
    assert path[-1] is solution.point
