"""The mean objective: value, derivatives and coordinates against the textbook's formula and finite differences."""

import itertools

import numpy as np
import posing
import pytest
import scipy.sparse as sp
import twins
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse.linalg import LinearOperator, eigsh

from fastlogreg.data.layouts import as_design

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F32": lambda X: np.asfortranarray(X, dtype=np.float32),
    "CSR": sp.csr_matrix,
}


class Case:
    """An objective, and the same from plain twins."""

    n, d = 60, 4

    def __init__(
        self, layout="C", fit_intercept=True, weighted=True, soft=True, l2=0.3, standardize=True, offset=False
    ):
        rng = np.random.default_rng(0)
        X = rng.normal(loc=[0.0, 1.0, -2.0, 3.0], size=(self.n, self.d)) * [1.0, 20.0, 0.05, 3.0]
        X[rng.random(X.shape) < 0.3] = 0.0
        self.X = X.astype(np.float32).astype(float)  # exact in both precisions
        self.target = rng.random(self.n) if soft else rng.integers(0, 2, self.n).astype(float)
        self.weight = rng.exponential(size=self.n) * (rng.random(self.n) < 0.8) if weighted else None
        self.weights = self.weight if weighted else np.ones(self.n)
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.objective = posing.binary(
            as_design(LAYOUTS[layout](self.X)),
            self.target,
            sample_weight=self.weight,
            l2=l2,
            offset=np.linspace(-3, 3, self.n) if offset else None,
            fit_intercept=fit_intercept,
            standardize=standardize,
        )
        self.coef = rng.normal(size=(1, self.d)) / [1.0, 20.0, 0.05, 3.0]
        self.intercept = rng.normal(size=1) * fit_intercept
        self.z = self.objective.from_coef(self.coef, self.intercept)
        self.other = self.z + 0.7 * rng.normal(size=self.z.size)

    def twin_arguments(self):
        return self.X, self.target, self.weights, self.l2, self.coef, self.intercept

    def jacobian(self):
        """Of the coefficients and intercepts in the parameters: linear, so told by the unit vectors."""
        columns = [self.objective.to_coef(unit) for unit in np.eye(self.z.size)]
        return np.array([np.concatenate([coef.ravel(), intercept]) for coef, intercept in columns]).T

    def twin_gradient(self):
        coef_gradient, intercept_gradient = twins.gradient(*self.twin_arguments())
        return self.jacobian().T @ np.concatenate([coef_gradient.ravel(), intercept_gradient])

    def twin_hessian(self):
        in_coef = twins.hessian(self.X, self.weights, self.l2, self.coef, self.intercept)
        return self.jacobian().T @ in_coef @ self.jacobian()


OPTIONS = {
    "layout": list(LAYOUTS),
    "fit_intercept": [True, False],
    "weighted": [True, False],
    "soft": [True, False],
    "l2": [0.0, 0.3],
    "standardize": [True, False],
}


def _name(options):
    return "-".join(f"{name}={value}" if isinstance(value, int | float) else value for name, value in options.items())


ALL_OPTIONS = [dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())]


@pytest.fixture(params=ALL_OPTIONS, ids=_name)
def case(request):
    return Case(**request.param)


class TestDerivatives:
    def test_value_and_gradient(self, case):
        point = case.objective.evaluate(case.z)
        assert_array_equal(point.parameters, case.z)
        assert_allclose(point.value, twins.value(*case.twin_arguments()), rtol=1e-13)
        gradient = case.twin_gradient()
        assert_allclose(point.gradient, gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
        logits = twins.logits(case.X, case.coef, case.intercept)[0]
        assert_allclose(point.handle.logits, logits, rtol=1e-11, atol=1e-11)

    def test_gradient_is_the_value_s(self, case):
        step = 1e-5
        scale = np.maximum(np.abs(case.z), 1e-2)
        for j, unit in enumerate(np.eye(case.z.size)):
            h = step * scale[j]
            up, down = (case.objective.evaluate(case.z + sign * h * unit).value for sign in (1, -1))
            slope = case.objective.evaluate(case.z).gradient[j]
            # The difference's own errors: rounding of the values, and the third derivative.
            assert_allclose(slope, (up - down) / (2 * h), atol=1e-14 / h + 1e-6 * abs(slope) + 1e-9)

    def test_hessian(self, case):
        hessian = case.objective.hessian(case.objective.evaluate(case.z))
        expected = case.twin_hessian()
        tolerance = {"rtol": 0, "atol": 1e-12 * np.abs(expected).max()}
        direction = case.other - case.z
        assert_allclose(hessian.dot(direction), expected @ direction, rtol=0, atol=1e-11 * np.abs(expected).max())
        assert_allclose(hessian.matrix(), expected, **tolerance)

    def test_hessian_is_the_gradient_s(self, case):
        direction = case.other - case.z
        h = 1e-5
        up, down = (case.objective.evaluate(case.z + sign * h * direction).gradient for sign in (1, -1))
        product = case.objective.hessian(case.objective.evaluate(case.z)).dot(direction)
        assert_allclose(product, (up - down) / (2 * h), rtol=0, atol=1e-7 * np.abs(product).max())

    @pytest.mark.parametrize("t", [-1.0, 0.0, 0.3, 1.0, 2.5])
    def test_line(self, case, t):
        start, end = case.objective.evaluate(case.z), case.objective.evaluate(case.other)
        passes = case.objective.n_passes
        value, slope, curvature = case.objective.on_line(start, end, t)
        assert case.objective.n_passes == passes
        direction = case.other - case.z
        there = case.objective.evaluate(case.z + t * direction)
        expected_curvature = direction @ case.objective.hessian(there).dot(direction)
        assert_allclose(value, there.value, rtol=1e-12)
        size = np.abs(there.gradient) @ np.abs(direction)
        assert_allclose(slope, there.gradient @ direction, rtol=0, atol=1e-11 * size)
        assert_allclose(curvature, expected_curvature, rtol=1e-10)


class TestCoordinates:
    def test_round_trip(self, case):
        coef, intercept = case.objective.to_coef(case.z)
        assert_allclose(coef, case.coef, rtol=1e-14)
        assert_allclose(intercept, case.intercept, rtol=1e-13, atol=1e-13)
        assert_allclose(case.objective.from_coef(*case.objective.to_coef(case.other)), case.other, rtol=1e-12)

    def test_raw_parameters_are_the_coefficients(self):
        case = Case(standardize=False)
        assert_array_equal(case.z, np.column_stack([case.coef, case.intercept]).ravel())

    def test_value_does_not_depend_on_coordinates(self, case):
        for standardize in (True, False):
            objective = posing.binary(
                case.objective.passes.local.design,
                case.target,
                sample_weight=case.weight,
                l2=case.l2,
                fit_intercept=case.fit_intercept,
                standardize=standardize,
            )
            point = objective.evaluate(objective.from_coef(case.coef, case.intercept))
            assert_allclose(point.value, case.objective.evaluate(case.z).value, rtol=1e-13)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_hessian_at_the_start_has_a_unit_diagonal(self, layout, fit_intercept):
        case = Case(layout, fit_intercept=fit_intercept, soft=False)
        hessian = case.objective.hessian(case.objective.evaluate(case.objective.start()))
        assert_allclose(np.diagonal(hessian.matrix()), 1.0, rtol=1e-6)
        assert_allclose(hessian.mean_curvature(), 1.0, rtol=1e-6)

    def test_mean_curvature(self, case):
        hessian = case.objective.hessian(case.objective.evaluate(case.z))
        p = twins.sigmoid(twins.logits(case.X, case.coef, case.intercept))
        mean = np.average(p[0] * (1 - p[0]), weights=case.weights)
        assert_allclose(hessian.mean_curvature(), mean * case.objective.inverse_intercept_scale**2, rtol=1e-12)

    def test_start_predicts_the_mean_target(self, case):
        coef, intercept = case.objective.to_coef(case.objective.start())
        assert_array_equal(coef, 0.0)
        expected = np.average(case.target, weights=case.weight) if case.fit_intercept else 0.5
        assert_allclose(twins.sigmoid(intercept), expected, rtol=1e-12)

    @pytest.mark.parametrize("target", [0.0, 1.0])
    def test_start_is_finite_for_a_single_class(self, target):
        objective = posing.binary(as_design(np.arange(5.0)[:, None]), np.full(5, target), l2=1.0)
        point = objective.evaluate(objective.start())
        assert np.isfinite(point.value)
        assert np.isfinite(point.gradient).all()
        assert point.value < 1e-2

    @pytest.mark.parametrize("power", [-40, -20, 20, 40])
    def test_unit_of_the_weights_does_not_matter(self, power):
        """f divides by the sum of the weights; l2 is the mean objective's."""
        case = Case()
        scaled = posing.binary(as_design(case.X), case.target, sample_weight=case.weight * 2.0**power, l2=case.l2)
        coef, intercept = case.objective.to_coef(case.objective.start())
        scaled_coef, scaled_intercept = scaled.to_coef(scaled.start())
        assert_allclose(scaled_coef, coef)
        assert_allclose(scaled_intercept, intercept, rtol=1e-12)
        z = scaled.from_coef(case.coef, case.intercept)
        assert_allclose(scaled.evaluate(z).value, case.objective.evaluate(case.z).value, rtol=1e-13)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", ["C", "CSR"])
    @pytest.mark.parametrize("l2", [0.0, 0.3])
    def test_columns_without_variance(self, layout, l2, fit_intercept):
        """They have the coefficient zero, but for a constant column where there is no intercept to take its place."""
        X = np.random.default_rng(0).normal(size=(30, 3))
        X[:, 0], X[:, 1] = 0.0, 2.0
        target = np.arange(30) % 2.0
        objective = posing.binary(as_design(LAYOUTS[layout](X)), target, l2=l2, fit_intercept=fit_intercept)
        assert objective.finite
        z = np.ones(objective.n_parameters)
        coef, _ = objective.to_coef(z)
        assert (coef[0] != 0).tolist() == [False, not fit_intercept, True]
        point = objective.evaluate(z)
        assert np.isfinite(point.value)
        assert np.isfinite(point.gradient).all()
        assert point.gradient[0] == 0
        flat = np.diagonal(objective.hessian(point).matrix()) == 0
        assert flat[:3].tolist() == [True, fit_intercept, False]

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e200])
    @pytest.mark.parametrize("layout", ["C", "CSR"])
    def test_what_is_not_finite_is_noticed_without_a_warning(self, layout, wrong):
        X = np.random.default_rng(0).normal(size=(30, 3))
        assert posing.binary(as_design(LAYOUTS[layout](X)), np.ones(30)).finite
        X[17, 1] = wrong
        assert not posing.binary(as_design(LAYOUTS[layout](X)), np.ones(30)).finite


class TestPasses:
    def test_each_costs_what_it_says(self):
        case = Case()
        objective = case.objective
        before = objective.n_passes

        def cost():
            nonlocal before
            passes, before = objective.n_passes - before, objective.n_passes
            return passes

        point = objective.evaluate(case.z)
        assert cost() == 1
        hessian = objective.hessian(point)
        assert cost() == 0
        hessian.dot(case.z)
        assert cost() == 1
        hessian.mean_curvature()
        assert cost() == 0
        hessian.matrix()
        assert cost() == 1
        objective.curvature_bound()
        assert cost() == 1
        objective.proves_separable(point)
        objective.start()
        assert cost() == 0
        assert objective.n_passes == objective.passes.n_passes == objective.passes.local.design.n_passes

    def test_recycled_memory(self, case):
        spare = case.objective.evaluate(case.other)
        memory = spare.handle.logits
        fresh = case.objective.evaluate(case.z)
        point = case.objective.evaluate(case.z, recycle=spare)
        assert point.handle.logits is memory
        assert_array_equal(point.handle.logits, fresh.handle.logits)
        assert_array_equal(point.gradient, fresh.gradient)
        assert point.value == fresh.value

    def test_logits_that_were_not_kept(self, case):
        kept = case.objective.evaluate(case.z)
        before = case.objective.n_passes
        point = case.objective.evaluate(case.z, keep=False)
        assert case.objective.n_passes == before + 1
        assert point.value == kept.value
        assert_array_equal(point.gradient, kept.gradient)
        assert_array_equal(point.handle.logits, kept.handle.logits)
        assert case.objective.n_passes == before + 2
        assert point.handle.logits is point.handle.logits
        assert case.objective.n_passes == before + 2

    def test_logits_that_were_forgotten(self, case):
        point = case.objective.evaluate(case.z)
        kept = point.handle.logits.copy()
        point.handle.forget()
        before = case.objective.n_passes
        assert_array_equal(point.handle.logits, kept)
        assert case.objective.n_passes == before + 1

    def test_memory_of_logits_that_were_not_kept(self, case):
        spare = case.objective.evaluate(case.other, keep=False)
        before = case.objective.n_passes
        point = case.objective.evaluate(case.z, recycle=spare)
        assert case.objective.n_passes == before + 1
        assert_array_equal(point.handle.logits, case.objective.evaluate(case.z).handle.logits)


class TestFullestColumns:
    @pytest.mark.parametrize("offset", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_hessian_is_a_block_of_the_whole(self, fit_intercept, offset):
        case = Case("CSR", fit_intercept=fit_intercept, offset=offset)
        stored = np.count_nonzero(case.X, axis=0)
        objective, places = case.objective.fullest_columns(2)
        columns = places[:-1] if fit_intercept else places
        assert set(stored[columns]) == set(np.sort(stored)[-2:])
        assert np.all(np.diff(places) > 0)
        point = case.objective.evaluate(case.z)
        whole = case.objective.hessian(point).matrix()
        block = objective.hessian(point).matrix()
        assert_allclose(block, whole[np.ix_(places, places)], rtol=0, atol=1e-13 * np.abs(whole).max())

    def test_is_for_sparse_matrices(self):
        assert Case("C").objective.fullest_columns(2) is None


class TestHessianFarOut:
    @pytest.mark.parametrize("standardize", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_no_curvature_is_left(self, layout, standardize):
        """Where every logit is past 750 the loss's curvature is 0, and what remains is the penalty's."""
        case = Case(layout, soft=False, standardize=standardize)
        objective = case.objective
        point = objective.evaluate(objective.from_coef(np.zeros((1, 4)), np.array([1e5])))
        hessian = objective.hessian(point)
        assert hessian.mean_curvature() == 0
        assert_array_equal(hessian.matrix(), np.diag(objective.penalty.curvature))
        assert_array_equal(hessian.dot(np.ones(5)), objective.penalty.curvature)


def largest_eigenvalue(hessian, size):
    operator = LinearOperator((size, size), matvec=hessian.dot, dtype=float)
    return eigsh(operator, k=1, v0=np.ones(size), return_eigenvectors=False)[0]


class TestCurvatureBound:
    @pytest.mark.parametrize("d", [4, 510])  # the matrix's largest eigenvalue, its trace
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("standardize", [True, False])
    def test_no_hessian_exceeds_it(self, layout, d, standardize):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(40, d)) + rng.normal(size=d)
        target, weight = rng.random(40), rng.exponential(size=40)
        for fit_intercept, l2, weights in itertools.product((True, False), (0.0, 0.3), (None, weight)):
            objective = posing.binary(
                as_design(LAYOUTS[layout](X)),
                target,
                sample_weight=weights,
                l2=l2,
                fit_intercept=fit_intercept,
                standardize=standardize,
            )
            bound = objective.curvature_bound()
            for size in (0.0, 0.01, 1.0):
                point = objective.evaluate(size * rng.normal(size=objective.n_parameters))
                assert largest_eigenvalue(objective.hessian(point), objective.n_parameters) <= bound * (1 + 1e-10)

    def test_it_is_reached_where_all_logits_are_zero(self):
        objective = Case(l2=0.0).objective
        point = objective.evaluate(objective.from_coef(np.zeros((1, 4)), np.zeros(1)))
        largest = largest_eigenvalue(objective.hessian(point), objective.n_parameters)
        assert_allclose(objective.curvature_bound(), largest, rtol=1e-10)


class TestSeparable:
    X = np.array([[-3.0], [-1.0], [0.5], [2.0]])
    labels = np.array([0.0, 0.0, 1.0, 1.0])

    def proof(self, coef, target=None, **options):
        objective = posing.binary(as_design(self.X), self.labels if target is None else target, **options)
        return objective.proves_separable(objective.evaluate(objective.from_coef(np.array([[coef]]), np.zeros(1))))

    def test_long_coefficients_that_separate_prove_it(self):
        assert self.proof(50.0)
        assert not self.proof(0.1)
        assert not self.proof(-50.0)

    def test_no_penalty_and_labels_only(self):
        assert not self.proof(50.0, l2=1e-9)
        assert not self.proof(50.0, target=np.array([0.0, 0.0, 1.0, 0.999]))

    def test_samples_without_weight_do_not_count(self):
        wrong = np.array([1.0, 0.0, 1.0, 1.0])
        assert not self.proof(50.0, target=wrong)
        assert self.proof(50.0, target=wrong, sample_weight=np.array([0.0, 1.0, 1.0, 1.0]))
        assert not self.proof(50.0, target=wrong, sample_weight=np.array([1e-3, 1.0, 1.0, 1.0]))

    @settings(max_examples=100, deadline=None)
    @given(
        labels=st.lists(st.integers(0, 1), min_size=4, max_size=4),
        weight=st.lists(st.sampled_from([0.0, 1e-3, 1.0, 50.0]), min_size=4, max_size=4).filter(any),
        coef=st.floats(-1e3, 1e3),
        intercept=st.floats(-1e3, 1e3),
    )
    def test_a_proof_is_right(self, labels, weight, coef, intercept):
        labels, weight = np.array(labels, dtype=float), np.array(weight)
        objective = posing.binary(as_design(self.X), labels, sample_weight=weight)
        point = objective.evaluate(objective.from_coef(np.array([[coef]]), np.array([intercept])))
        if objective.proves_separable(point):
            margins = np.where(labels == 1, point.handle.logits, -point.handle.logits)
            assert np.all(margins[weight > 0] > 0)


def test_arrays_that_do_not_fit():
    design = as_design(np.random.default_rng(0).normal(size=(30, 4)))
    with pytest.raises(ValueError, match="target"):
        posing.binary(design, np.zeros(29))
    objective = posing.binary(design, np.zeros(30))
    with pytest.raises(ValueError, match="4 parameters, expected 5"):
        objective.evaluate(np.zeros(4))
