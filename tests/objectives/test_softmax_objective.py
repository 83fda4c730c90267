"""The mean objective of many classes: contrasts, derivatives, the proof of a gap, the preconditioner, row spans."""

import itertools
import sys

import numpy as np
import posing
import pytest
import scipy.sparse as sp
import twins
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.curvature.class_blocks import ClassBlocks
from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.curvature.pilot import stratified_rows
from fastlogreg.data.layouts import as_design
from fastlogreg.objectives.contrasts import contrasts, of_contrasts, of_pair_grams
from fastlogreg.objectives.row_span import RowSpan
from fastlogreg.solvers import SOLVERS, Stop
from fastlogreg.solvers.gap import newton_step
from fastlogreg.solvers.newton_step import Direction, step_along
from fastlogreg.solvers.plan import has_cheap_row_span

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F32": lambda X: np.asfortranarray(X, dtype=np.float32),
    "CSR": sp.csr_matrix,
}


class TestContrasts:
    @pytest.mark.parametrize("n_classes", [2, 3, 4, 10, 57])
    def test_orthonormal_and_zero_in_sum(self, n_classes):
        Q = of_contrasts(np.eye(n_classes - 1))
        assert Q.shape == (n_classes, n_classes - 1)
        assert_allclose(Q.T @ Q, np.eye(n_classes - 1), rtol=0, atol=1e-15 * n_classes)
        assert_allclose(Q.sum(axis=0), 0.0, atol=1e-15 * n_classes)
        assert_allclose(contrasts(np.eye(n_classes)), Q.T, rtol=0, atol=1e-15 * n_classes)

    @pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 7)])
    def test_round_trip(self, shape):
        rows = np.random.default_rng(0).normal(size=shape)
        centered = rows - rows.mean(axis=0)
        assert_allclose(of_contrasts(contrasts(rows)), centered, rtol=0, atol=1e-14)
        assert_allclose(contrasts(rows), contrasts(centered), rtol=0, atol=1e-14)
        reduced = np.random.default_rng(1).normal(size=(shape[0] - 1, *shape[1:]))
        assert_allclose(contrasts(of_contrasts(reduced)), reduced, rtol=0, atol=1e-14)
        assert_allclose(np.linalg.norm(of_contrasts(reduced)), np.linalg.norm(reduced), rtol=1e-14)

    @pytest.mark.parametrize("n_classes", [2, 3, 4, 7])
    def test_pair_grams(self, n_classes):
        """What lies below the diagonals and beyond the scale is not read."""
        rng = np.random.default_rng(0)
        q = contrasts(np.eye(n_classes)).T
        scale = rng.exponential(size=3)
        pairs = list(itertools.combinations(range(n_classes), 2))
        grams = np.full((len(pairs), 5, 5), np.nan)
        expected = 0.0
        for gram, (k, other) in zip(grams, pairs, strict=True):
            Z = rng.normal(size=(6, 3))
            gram[:3, :3] = np.where(np.tri(3, dtype=bool).T, Z.T @ Z, np.nan)
            of_pair = np.outer(q[k] - q[other], q[k] - q[other])
            expected = expected + np.kron(of_pair, (scale * Z).T @ (scale * Z))
        matrix = of_pair_grams(grams, scale, n_classes)
        assert_allclose(matrix, expected, rtol=0, atol=1e-13)
        assert_array_equal(matrix, matrix.T)


class Case:
    """An objective, and the same from plain twins."""

    n, d = 60, 4

    def __init__(self, layout="C", n_classes=3, fit_intercept=True, weighted=True, soft=True, l2=0.3):
        rng = np.random.default_rng(0)
        X = rng.normal(loc=[0.0, 1.0, -2.0, 3.0], size=(self.n, self.d)) * [1.0, 20.0, 0.05, 3.0]
        X[rng.random(X.shape) < 0.3] = 0.0
        self.X = X.astype(np.float32).astype(float)  # exact in both precisions
        label = rng.integers(0, n_classes, self.n)
        self.target = rng.dirichlet(np.ones(n_classes), self.n) if soft else np.eye(n_classes)[label]
        self.weight = rng.exponential(size=self.n) * (rng.random(self.n) < 0.8) if weighted else None
        self.weights = self.weight if weighted else np.ones(self.n)
        self.l2, self.fit_intercept = l2, fit_intercept
        self.objective = posing.softmax(
            as_design(LAYOUTS[layout](self.X)),
            self.target if soft else label,
            n_classes,
            sample_weight=self.weight,
            l2=l2,
            fit_intercept=fit_intercept,
        )
        coef = rng.normal(size=(n_classes, self.d)) / [1.0, 20.0, 0.05, 3.0]
        intercept = rng.normal(size=n_classes) * fit_intercept
        self.coef, self.intercept = coef - coef.mean(axis=0), intercept - intercept.mean()
        self.z = self.objective.from_coef(self.coef, self.intercept)
        self.direction = rng.normal(size=self.z.size)

    def twin_arguments(self):
        return self.X, self.target, self.weights, self.l2, self.coef, self.intercept

    def jacobian(self):
        """Of each class's coefficients and intercept in the parameters: linear, so told by the unit vectors."""
        columns = [self.objective.to_coef(unit) for unit in np.eye(self.z.size)]
        return np.array([np.column_stack(column).ravel() for column in columns]).T

    def twin_gradient(self):
        return self.jacobian().T @ np.column_stack(twins.softmax_gradient(*self.twin_arguments())).ravel()

    def twin_hessian(self):
        hessian = twins.softmax_hessian(self.X, self.weights, self.l2, self.coef, self.intercept)
        return self.jacobian().T @ hessian @ self.jacobian()


OPTIONS = {
    "layout": list(LAYOUTS),
    "n_classes": [3, 5],
    "fit_intercept": [True, False],
    "weighted": [True, False],
    "soft": [True, False],
    "l2": [0.0, 0.3],
}
ALL_OPTIONS = [dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())]


@pytest.fixture(params=ALL_OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def case(request):
    return Case(**request.param)


class TestDerivatives:
    def test_value_and_gradient(self, case):
        point = case.objective.evaluate(case.z)
        assert_array_equal(point.parameters, case.z)
        assert_allclose(point.value, twins.softmax_value(*case.twin_arguments()), rtol=1e-13)
        gradient = case.twin_gradient()
        assert_allclose(point.gradient, gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())

    def test_coefficients_and_back(self, case):
        coef, intercept = case.objective.to_coef(case.z)
        assert_allclose(coef, case.coef, rtol=1e-12, atol=1e-14)
        assert_allclose(intercept, case.intercept, rtol=1e-11, atol=1e-12)
        shifted = case.objective.from_coef(case.coef + np.arange(4.0), case.intercept + 3.0 * case.fit_intercept)
        assert_allclose(shifted, case.z, rtol=1e-11, atol=1e-11)

    def test_finite_differences(self, case):
        step, objective = 1e-5, case.objective
        at = objective.evaluate(case.z)
        up, down = (objective.evaluate(case.z + sign * step * case.direction) for sign in (1, -1))
        slope = at.gradient @ case.direction
        assert_allclose((up.value - down.value) / (2 * step), slope, rtol=1e-6, atol=1e-9)
        product = objective.hessian(at).dot(case.direction)
        difference = (up.gradient - down.gradient) / (2 * step)
        assert_allclose(difference, product, rtol=0, atol=1e-7 * np.abs(product).max())

    def test_line(self, case):
        objective, t = case.objective, 0.3
        start, end = objective.evaluate(case.z), objective.evaluate(case.z + case.direction)
        there = objective.evaluate(case.z + t * case.direction)
        value, slope, curvature = objective.on_line(start, end, t)
        assert_allclose(value, there.value, rtol=1e-13)
        assert_allclose(slope, there.gradient @ case.direction, rtol=1e-10, atol=1e-13)
        product = objective.hessian(there).dot(case.direction)
        assert_allclose(curvature, case.direction @ product, rtol=1e-11)
        coef, intercept = objective.to_coef(case.direction)
        logits = twins.softmax_logits(case.X, coef, intercept)
        assert_allclose(objective.largest_logit_change(start, end), np.ptp(logits, axis=1).max(), rtol=1e-10)

    def test_hessian(self, case):
        objective, expected = case.objective, case.twin_hessian()
        tolerance = {"rtol": 0, "atol": 1e-12 * np.abs(expected).max()}
        hessian = objective.hessian(objective.evaluate(case.z))
        assert_allclose([hessian.dot(unit) for unit in np.eye(case.z.size)], expected, **tolerance)
        if case.fit_intercept:
            of_intercepts = np.arange(case.d, case.z.size, case.d + 1)
            assert_allclose(hessian.intercept_block(), expected[np.ix_(of_intercepts, of_intercepts)], **tolerance)
        assert_allclose(hessian.matrix(), expected, **tolerance)

    def test_has_matrix(self, case):
        """Sparse X is filled in for it while it is small."""
        assert case.objective.has_matrix
        n_samples = 1_000_001 // case.d + 1
        target = np.arange(n_samples) % 3
        assert not posing.softmax(as_design(sp.csr_matrix((n_samples, case.d))), target, 3).has_matrix

    def test_start(self, case):
        """The mean prediction is the mean target, and the value is known without a pass."""
        objective = case.objective
        coef, intercept = objective.to_coef(objective.start())
        assert not coef.any()
        value = twins.softmax_value(case.X, case.target, case.weights, 0.0, coef, intercept)
        assert_allclose(objective.value_without_coefficients(), value, rtol=1e-13)
        mean = np.average(case.target, axis=0, weights=case.weights)
        prob = twins.softmax(intercept[None])[0]
        assert_allclose(prob, mean if case.fit_intercept else 1 / len(prob), rtol=1e-12)

    def test_curvature_bound(self, case):
        bound = case.objective.curvature_bound()
        for factor in (0.0, 0.1, 1.0):
            point = case.objective.evaluate(factor * case.z)
            largest = np.linalg.eigvalsh(
                np.array([case.objective.hessian(point).dot(unit) for unit in np.eye(case.z.size)])
            )[-1]
            assert largest <= bound * (1 + 1e-12)


class TestTwoOfThreeClasses:
    @pytest.mark.parametrize("l2", [0.0, 1e-3, 0.3])
    @pytest.mark.parametrize("soft", [False, True])
    def test_is_the_binary_objective_with_half_the_penalty(self, soft, l2):
        """At ``w_1 = -w_0 = w / 2`` the logits differ by x.w, and ``|w_0|^2 + |w_1|^2 = |w|^2 / 2``; the offset leaves
        nothing for the third class.
        """
        case, rng = Case(), np.random.default_rng(1)
        second = rng.random(case.n) if soft else rng.integers(0, 2, case.n).astype(float)
        target = np.column_stack([1 - second, second, np.zeros(case.n)]) if soft else second.astype(np.intp)
        offset = np.zeros((case.n, 3))
        offset[:, 2] = -1e4
        held = {"sample_weight": case.weight, "offset": offset, "l2": l2}
        objective = posing.softmax(as_design(case.X), target, 3, **held)
        binary = posing.binary(as_design(case.X), second, sample_weight=case.weight, l2=l2 / 2)
        coef, intercept = case.coef[1:2], case.intercept[1:2]
        halves = np.array([-0.5, 0.5, 0.0])
        z = objective.from_coef(halves[:, None] * coef, halves * intercept)
        here, there = objective.evaluate(z), binary.evaluate(binary.from_coef(coef, intercept))
        assert_allclose(here.value, there.value, rtol=1e-13)
        options = {"tol": 1e-7, "max_iter": 100, "on_iteration": lambda *_: None}
        softmax = SOLVERS["newton"](objective, z, **options)
        sigmoid = SOLVERS["newton"](binary, binary.start(), **options)
        assert_allclose(softmax.point.value, sigmoid.point.value, rtol=1e-14)
        coef, intercept = objective.to_coef(softmax.point.parameters)
        expected_coef, expected_intercept = binary.to_coef(sigmoid.point.parameters)
        assert_allclose(coef[1:2] - coef[:1], expected_coef, rtol=1e-7, atol=1e-9)
        assert_allclose(intercept[1:2] - intercept[:1], expected_intercept, rtol=1e-7)


def minimum(objective):
    options = {"tol": 0.0, "max_iter": 200, "on_iteration": lambda *_: None}
    solution = SOLVERS["newton"](objective, objective.start(), **options)
    assert solution.stop is Stop.CONVERGED
    return solution.point


def problem_matrix(n, d, rng=None):
    """Correlated columns off the origin."""
    rng = np.random.default_rng(0) if rng is None else rng
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + rng.normal(size=d)


def problem(n=400, d=12, n_classes=4, seed=0, layout=np.ascontiguousarray, **options):
    """Labels that correlated columns half explain."""
    rng = np.random.default_rng(seed)
    X = problem_matrix(n, d, rng)
    score = X @ rng.normal(size=(d, n_classes)) / np.sqrt(d) + rng.gumbel(size=(n, n_classes))
    y = score.argmax(axis=1)
    assert len(np.unique(y)) == n_classes
    return posing.softmax(as_design(layout(X)), y, n_classes, **({"l2": 1 / n} | options))


class TestGap:
    @pytest.mark.parametrize("l2", [0.0, 1e-4, 1e-1])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", [np.ascontiguousarray, sp.csr_matrix])
    def test_bounds_the_true_one(self, layout, fit_intercept, l2):
        objective = problem(l2=l2, fit_intercept=fit_intercept, layout=layout)
        best = minimum(problem(l2=l2, fit_intercept=fit_intercept))
        direction = np.random.default_rng(1).normal(size=best.parameters.size)
        tight = 0
        for distance in (3.0, 1.0, 0.3, 0.1, 1e-2, 1e-3, 1e-4):
            point = objective.evaluate(best.parameters + distance * direction)
            true = point.value - best.value
            step = newton_step(objective, point, 2 * true)
            if step.proven:
                assert step.gap >= true - 1e-15
            tight += step.gap <= 2 * true
        assert tight >= 2  # near the minimum it is not only a bound

    @pytest.mark.parametrize("l2", [0.0, 1e-4, 1e-1])
    def test_with_the_hessian_of_an_earlier_point(self, l2):
        objective = problem(l2=l2)
        best = minimum(objective)
        rng = np.random.default_rng(2)
        finite = 0
        for distance in (0.1, 0.03, 0.01, 1e-3, 1e-4):
            point = objective.evaluate(best.parameters + distance * rng.normal(size=best.parameters.size))
            earlier = objective.evaluate(point.parameters + distance * rng.normal(size=best.parameters.size))
            moved = objective.largest_logit_change(earlier, point)
            direction = Direction.of(objective, point, FactoredHessian.of(objective, earlier), 0.0, moved)
            assert direction.moved > 0
            step = step_along(objective, point, direction, 0.0)
            if step.proven:
                assert step.gap >= point.value - best.value
            finite += step.proven and step.gap < 2 * (point.value - best.value)
        assert finite >= 2

    @pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    @pytest.mark.parametrize("n_classes", [3, 12])  # below and above what class blocks are for
    def test_of_a_solution(self, n_classes, solver, tol):
        objective = problem(n_classes=n_classes, n=800)
        best = minimum(problem(n_classes=n_classes, n=800))
        options = {"tol": tol, "max_iter": 10_000, "on_iteration": lambda *_: None}
        solution = SOLVERS[solver](objective, objective.start(), **options)
        assert solution.stop is Stop.CONVERGED
        assert solution.point.value - best.value <= solution.gap + 1e-15
        assert solution.gap <= 0.1 * tol**2 * solution.point.value


class TestClassBlocks:
    @staticmethod
    def products(objective, point, precondition):
        """Of the Hessian, by preconditioned conjugate gradients to a residual of 1e-6."""
        hessian, residual = objective.hessian(point), -point.gradient
        scaled = search = precondition(residual)
        for count in range(1, 1000):
            product = residual @ scaled
            curved = hessian.dot(search)
            residual = residual - product / (search @ curved) * curved
            if np.linalg.norm(residual) <= 1e-6 * np.linalg.norm(point.gradient):
                return count
            scaled = precondition(residual)
            search = scaled + residual @ scaled / product * search
        raise AssertionError("no convergence")

    @pytest.mark.parametrize("layout", [np.ascontiguousarray, sp.csr_matrix])
    @pytest.mark.parametrize(("weighted", "with_offset"), [(False, False), (True, False), (False, True)])
    def test_spares_products(self, weighted, with_offset, layout):
        """At the start, and where probabilities are far apart."""
        rng = np.random.default_rng(3)
        weight = rng.exponential(size=5000) if weighted else None
        offset = 2 * rng.normal(size=(5000, 5)) if with_offset else None
        objective = problem(5000, 30, 5, layout=layout, sample_weight=weight, offset=offset)
        starts = objective.start(), 0.3 * minimum(objective).parameters
        for parameters in starts:
            point = objective.evaluate(parameters)
            with_blocks = self.products(objective, point, ClassBlocks(objective).at(point))
            without = self.products(objective, point, lambda residual: residual)
            assert with_blocks <= 0.5 * without

    @pytest.mark.parametrize("with_offset", [False, True])
    def test_few_rows_for_many_classes(self, monkeypatch, with_offset):
        """A copy of a few rows tells little of each class; what all tell together spares products all the same."""
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.FEW_PROBABILITIES", 0)
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.MAX_COLUMNS", 20)
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.FULLEST_COLUMNS", 20)
        offset = np.random.default_rng(7).normal(size=(3000, 60)) if with_offset else None
        objective = problem(3000, 20, 60, layout=sp.csr_matrix, offset=offset)
        for parameters in (objective.start(), minimum(objective).parameters):
            point = objective.evaluate(parameters + 0.01)
            blocks = ClassBlocks(objective)
            assert blocks._rows.n_samples < 300
            with_blocks = self.products(objective, point, blocks.at(point))
            assert with_blocks < self.products(objective, point, lambda residual: residual)

    def test_no_weight_in_the_copied_rows(self, monkeypatch):
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.FEW_PROBABILITIES", 0)
        copied = stratified_rows(3000, 187 // 8 * 8)
        weight = np.ones(3000)
        weight[copied] = 0.0
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.stratified_rows", lambda *_: copied)
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.MAX_COLUMNS", 5)
        objective = problem(3000, 20, 60, sample_weight=weight)
        point = objective.evaluate(objective.start())
        assert np.isfinite(ClassBlocks(objective).at(point)(point.gradient)).all()

    @pytest.mark.parametrize("with_offset", [False, True])
    @pytest.mark.parametrize("layout", [np.ascontiguousarray, sp.csr_matrix])
    def test_some_classes_after_others(self, monkeypatch, layout, with_offset):
        """Where memory is short, the blocks are those of all rows just the same."""
        offset = 3 * np.random.default_rng(7).normal(size=(500, 7)) if with_offset else None
        objective = problem(500, 8, 7, layout=layout, offset=offset)
        point = objective.evaluate(0.5 * minimum(objective).parameters)
        at_once = ClassBlocks(objective).at(point)(point.gradient)
        monkeypatch.setattr("fastlogreg.curvature.class_blocks.FEW_PROBABILITIES", 1000)
        blocks, n_passes = ClassBlocks(objective), objective.n_passes
        one_after_another = blocks.at(point)(point.gradient)
        assert objective.n_passes - n_passes >= 5
        assert_allclose(one_after_another, at_once, rtol=0, atol=1e-4 * np.abs(at_once).max())

    @pytest.mark.parametrize("limits", [{}, {"FEW_PROBABILITIES": 1000}, {"FEW_PROBABILITIES": 0, "MAX_COLUMNS": 5}])
    @pytest.mark.parametrize("layout", [np.ascontiguousarray, sp.csr_matrix])
    def test_see_the_offset(self, monkeypatch, layout, limits):
        """Blocks of all rows and classes at once, of one class after another, and of a copy of some rows."""
        for name, limit in limits.items():
            monkeypatch.setattr(f"fastlogreg.curvature.class_blocks.{name}", limit)
        plain, rng = problem(500, 8, 7, layout=layout, l2=0.0), np.random.default_rng(8)
        coef = rng.normal(size=(7, 8))
        offset = twins.softmax_logits(problem_matrix(500, 8), coef, np.zeros(7))
        shifted = problem(500, 8, 7, layout=layout, l2=0.0, offset=offset)
        here = shifted.evaluate(shifted.start())
        there = plain.evaluate(plain.from_coef(coef, shifted.to_coef(here.parameters)[1]))
        gradient = rng.normal(size=plain.n_parameters)
        expected = ClassBlocks(plain).at(there)(gradient)
        assert_allclose(ClassBlocks(shifted).at(here)(gradient), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        elsewhere = ClassBlocks(plain).at(plain.evaluate(plain.start()))(gradient)
        assert np.abs(elsewhere - expected).max() > 0.1 * np.abs(expected).max()

    @pytest.mark.parametrize("layout", [np.ascontiguousarray, sp.csr_matrix])
    def test_a_class_without_curvature(self, layout):
        objective = problem(600, 5, 4, layout=layout)
        point = objective.evaluate(objective.from_coef(np.zeros((4, 5)), np.array([0.0, 0.0, 0.0, -2000.0])))
        assert np.isfinite(ClassBlocks(objective).at(point)(point.gradient)).all()

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_is_symmetric_and_positive(self, fit_intercept):
        objective = problem(600, 5, 4, fit_intercept=fit_intercept)
        apply = ClassBlocks(objective).at(objective.evaluate(objective.start()))
        matrix = np.array([apply(unit) for unit in np.eye(objective.n_parameters)])
        assert_allclose(matrix, matrix.T, rtol=0, atol=1e-5 * np.abs(matrix).max())
        assert np.linalg.eigvalsh(matrix + matrix.T).min() > 0

    def test_is_the_inverse_where_all_probabilities_are_the_same(self, monkeypatch):
        """Up to the factor ``1 - p_k``, with the blocks of all rows."""
        monkeypatch.setattr(sys.modules["fastlogreg.curvature.class_blocks"], "ROWS_A_COLUMN", 1000)
        rng = np.random.default_rng(4)
        X = rng.normal(size=(300, 6))
        objective = posing.softmax(as_design(X), np.arange(300) % 3, 3, l2=1e-3)
        point = objective.evaluate(objective.start())
        direction = ClassBlocks(objective).at(point)(objective.hessian(point).dot(np.ones(objective.n_parameters)))
        assert_allclose(direction, 1.5, rtol=1e-2)

    def test_columns_that_the_sample_has_not_seen(self):
        """Ones in a few rows: they neither stop conjugate gradients nor are taken for free."""
        rng = np.random.default_rng(5)
        n, d, rare = 20_000, 40, 30
        X = sp.random_array((n, d), density=0.3, rng=rng, format="lil") if hasattr(sp, "random_array") else None
        X = sp.lil_array((n, d)) if X is None else X
        X[:, :rare] = 0.0
        for column in range(rare):
            X[rng.integers(0, n, size=1 + column % 3), column] = 1.0
        y = rng.integers(0, 4, size=n)
        objective = posing.softmax(as_design(sp.csr_array(X)), y, 4, l2=1 / n)
        point = objective.evaluate(objective.start())
        apply, hessian = ClassBlocks(objective).at(point), objective.hessian(point)
        for column in range(rare):
            unit = np.eye(objective.n_parameters)[column]
            assert 0.05 <= (unit @ apply(unit)) * (unit @ hessian.dot(unit)) <= 20.0
        without = self.products(objective, point, lambda residual: residual)
        assert self.products(objective, point, apply) <= without + 5

    def test_too_large_for_blocks(self, monkeypatch):
        """Of fewer columns, or diagonals alone, the fit arrives all the same."""
        monkeypatch.setattr(sys.modules["fastlogreg.curvature.class_blocks"], "MAX_COLUMNS", 5)
        objective = problem(1000, 30, 5)
        best = minimum(problem(1000, 30, 5))
        options = {"tol": 1e-4, "max_iter": 100, "on_iteration": lambda *_: None}
        solution = SOLVERS["newton"](objective, objective.start(), **options)
        assert solution.stop is Stop.CONVERGED
        assert solution.point.value - best.value <= solution.gap


class TestRowSpan:
    @pytest.mark.parametrize("l2", [0.0, 1e-2])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_is_the_same_objective(self, layout, fit_intercept, l2):
        rng = np.random.default_rng(6)
        X = (rng.normal(size=(40, 400)) * (rng.random((40, 400)) < 0.5)).astype(np.float32).astype(float)
        target = rng.dirichlet(np.ones(3), size=40)
        whole = posing.softmax(as_design(LAYOUTS[layout](X)), target, 3, l2=l2, fit_intercept=fit_intercept)
        assert has_cheap_row_span(whole)
        span = RowSpan(whole)
        assert span.objective.n_outputs == 2
        parameters = rng.normal(size=span.objective.n_parameters)
        lifted = span.lift(parameters)
        assert_allclose(span.project(lifted), parameters, rtol=0, atol=1e-10)
        assert_allclose(span.objective.evaluate(parameters).value, whole.evaluate(lifted).value, rtol=1e-12)
        best = minimum(span.objective)
        gradient = whole.evaluate(span.lift(best.parameters)).gradient
        assert_allclose(gradient, 0.0, atol=1e-7)
