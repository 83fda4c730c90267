"""Offsets of the logits, and the penalty's centre, which is an offset seen from elsewhere."""

import itertools

import numpy as np
import posing
import pytest
import scipy.sparse as sp
import twins
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.data.layouts import as_design
from fastlogreg.objectives.binary import BinaryObjective
from fastlogreg.objectives.row_span import RowSpan
from fastlogreg.objectives.softmax import SoftmaxObjective
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers import SOLVERS, Stop
from fastlogreg.solvers.plan import has_cheap_row_span

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F32": lambda X: np.asfortranarray(X, dtype=np.float32),
    "CSR": sp.csr_matrix,
}
N, D = 60, 4
SIZES = np.array([1.0, 20.0, 0.05, 3.0])


class Case:
    """Samples of two classes or more with offsets, and the slow twins of the objective over them."""

    def __init__(self, layout="C", n_classes=2, fit_intercept=True, weighted=True, soft=False, l2=0.3):
        rng = np.random.default_rng(0)
        X = rng.normal(loc=[0.0, 1.0, -2.0, 3.0], size=(N, D)) * SIZES
        X[rng.random(X.shape) < 0.3] = 0.0
        self.X, self.layout = X.astype(np.float32).astype(float), layout  # exact in both precisions
        self.n_classes, self.is_binary = n_classes, n_classes == 2
        rows = 1 if self.is_binary else n_classes
        if self.is_binary:
            self.target = rng.random(N) if soft else rng.integers(0, 2, N).astype(np.uint8)
            self.twin_target = self.target.astype(float)
        else:
            label = rng.integers(0, n_classes, N)
            self.twin_target = rng.dirichlet(np.ones(n_classes), N) if soft else np.eye(n_classes)[label]
            self.target = self.twin_target if soft else label
        self.weight = rng.exponential(size=N) * (rng.random(N) < 0.8) if weighted else None
        self.weights = self.weight if weighted else np.ones(N)
        self.l2, self.fit_intercept = l2, fit_intercept
        self.offset = 2.0 * rng.normal(size=N if self.is_binary else (N, n_classes))
        self.coef, self.other_coef = rng.normal(size=(2, rows, D)) / SIZES
        self.intercept, self.other_intercept = rng.normal(size=(2, rows)) * fit_intercept
        if not self.is_binary:
            for row in (self.coef, self.other_coef, self.intercept, self.other_intercept):
                row -= row.mean(axis=0)
        self.objective = self.objective_with()
        self.z = self.objective.from_coef(self.coef, self.intercept)
        self.other = self.objective.from_coef(self.other_coef, self.other_intercept)

    def objective_with(self, offset="own", l2=None, center=None, X=None, factors=None):
        design = as_design(LAYOUTS[self.layout](self.X if X is None else X))
        offset = self.offset if isinstance(offset, str) else offset
        passes = posing.passes(design, self.target, self.weight, n_classes=self.n_classes, offset=offset)
        penalty = Quadratic(self.l2 if l2 is None else l2, factors, center)
        return (BinaryObjective if self.is_binary else SoftmaxObjective)(
            passes, penalty, fit_intercept=self.fit_intercept
        )

    def logits(self, coef, intercept, X=None):
        """Without the offset, in its shape."""
        logits = twins.softmax_logits(self.X if X is None else X, coef, intercept)
        return logits[:, 0] if self.is_binary else logits

    def in_z(self, of_coef, of_intercept):
        """A gradient in the coefficients and intercepts as one in the parameters."""
        return self.jacobian().T @ np.column_stack([of_coef, of_intercept]).ravel()

    def jacobian(self):
        """Of each row's coefficients and intercept in the parameters: linear, so told by the unit vectors."""
        columns = [self.objective.to_coef(unit) for unit in np.eye(self.z.size)]
        return np.array([np.column_stack(column).ravel() for column in columns]).T

    def twin_value(self, coef, intercept):
        of = twins.value if self.is_binary else twins.softmax_value
        return of(self.X, self.twin_target, self.weights, self.l2, coef, intercept, self.offset)

    def twin_gradient(self, coef, intercept):
        of = twins.gradient if self.is_binary else twins.softmax_gradient
        return self.in_z(*of(self.X, self.twin_target, self.weights, self.l2, coef, intercept, self.offset))

    def twin_hessian(self, coef, intercept):
        of = twins.hessian if self.is_binary else twins.softmax_hessian
        hessian = of(self.X, self.weights, self.l2, coef, intercept, self.offset)
        return self.jacobian().T @ hessian @ self.jacobian()


OPTIONS = {
    "layout": list(LAYOUTS),
    "n_classes": [2, 3, 5],
    "fit_intercept": [True, False],
    "weighted": [True, False],
    "soft": [True, False],
    "l2": [0.0, 0.3],
}
ALL_OPTIONS = [dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())]


@pytest.fixture(params=ALL_OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def case(request):
    return Case(**request.param)


@pytest.fixture(params=[o for o in ALL_OPTIONS if o["n_classes"] == 2], ids=lambda o: "-".join(map(str, o.values())))
def binary_case(request):
    return Case(**request.param)


def assert_near(actual, expected, error):
    """Relatively to the largest."""
    assert_allclose(actual, expected, rtol=0, atol=error * np.abs(expected).max())


class TestDerivatives:
    def test_value_and_gradient(self, case):
        for keep in (True, False):
            point = case.objective.evaluate(case.z, keep=keep)
            assert_allclose(point.value, case.twin_value(case.coef, case.intercept), rtol=1e-13)
            assert_near(point.gradient, case.twin_gradient(case.coef, case.intercept), 1e-12)
        assert case.objective.passes.has_offset
        assert not case.objective_with(offset=None).passes.has_offset

    def test_hessian(self, case):
        expected = case.twin_hessian(case.coef, case.intercept)
        for keep in (True, False):
            hessian = case.objective.hessian(case.objective.evaluate(case.z, keep=keep))
            assert_near([hessian.dot(unit) for unit in np.eye(case.z.size)], expected, 1e-12)
            assert_near(hessian.matrix(), expected, 1e-12)

    @pytest.mark.parametrize("t", [0.0, 0.3, 1.0, -1.5])
    def test_line(self, case, t):
        objective = case.objective
        start, end = objective.evaluate(case.z), objective.evaluate(case.other)
        coef = case.coef + t * (case.other_coef - case.coef)
        intercept = case.intercept + t * (case.other_intercept - case.intercept)
        value, slope, curvature = objective.on_line(start, end, t)
        direction = case.other - case.z
        gradient, hessian = case.twin_gradient(coef, intercept), case.twin_hessian(coef, intercept)
        assert_allclose(value, case.twin_value(coef, intercept), rtol=1e-12)
        assert_allclose(slope, gradient @ direction, rtol=0, atol=1e-11 * (np.abs(gradient) @ np.abs(direction)))
        assert_allclose(curvature, direction @ hessian @ direction, rtol=1e-10)

    def test_largest_logit_change(self, case):
        """Of the logits that the coefficients make."""
        start, end = case.objective.evaluate(case.z), case.objective.evaluate(case.other)
        change = case.logits(case.other_coef - case.coef, case.other_intercept - case.intercept)
        largest = np.abs(change).max() if case.is_binary else np.ptp(change, axis=1).max()
        assert_allclose(case.objective.largest_logit_change(start, end), largest, rtol=1e-10)

    def test_logits_of_two_classes_hold_it(self, binary_case):
        case = binary_case
        expected = case.logits(case.coef, case.intercept) + case.offset
        handle = case.objective.evaluate(case.z).handle
        assert_allclose(handle.logits, expected, rtol=1e-11, atol=1e-11)
        handle.forget()
        assert_allclose(handle.logits, expected, rtol=1e-11, atol=1e-11)
        mean = np.average(twins.curvatures(expected), weights=case.weights)
        curvature = case.objective.hessian(case.objective.evaluate(case.z)).mean_curvature()
        assert_allclose(curvature, mean * case.objective.inverse_intercept_scale**2, rtol=1e-12)

    def test_start(self, case):
        """Without coefficients the offset is there still."""
        coef, intercept = case.objective.to_coef(case.objective.start())
        assert_array_equal(coef, 0.0)
        value = case.objective.value_without_coefficients()
        assert_allclose(value, case.twin_value(coef, intercept), rtol=1e-13)

    def test_curvature_bound(self, case):
        bound = case.objective.curvature_bound()
        for factor in (0.0, 0.1, 1.0):
            hessian = case.twin_hessian(factor * case.coef, factor * case.intercept)
            assert np.linalg.eigvalsh(hessian)[-1] <= bound * (1 + 1e-12)

    def test_of_some_rows(self, case):
        """They take theirs along."""
        rows = np.flatnonzero(case.weights)[::-2]
        part = case.objective.take(rows, coordinates=case.objective.coordinates)
        fewer = Case(n_classes=case.n_classes)
        fewer.__dict__.update(case.__dict__)
        fewer.X, fewer.twin_target, fewer.weights = case.X[rows], case.twin_target[rows], case.weights[rows]
        fewer.offset = case.offset[rows]
        point = part.evaluate(case.z)
        assert_allclose(point.value, fewer.twin_value(case.coef, case.intercept), rtol=1e-13)
        assert_near(point.gradient, fewer.twin_gradient(case.coef, case.intercept), 1e-12)


class TestIsAShift:
    """An offset of ``X w0 + b0`` at w and b is none at ``w + w0`` and ``b + b0``."""

    def test_without_a_penalty(self, case):
        b0 = case.other_intercept
        shifted = case.objective_with(case.logits(case.other_coef, b0), l2=0.0)
        plain = case.objective_with(None, l2=0.0)
        self.assert_same(case, shifted, plain, plain.from_coef(case.coef + case.other_coef, case.intercept + b0))

    def test_with_a_penalty_about_its_negative(self, case):
        """And with factors, of which one may be zero."""
        b0 = case.other_intercept
        offset = case.logits(case.other_coef, b0)
        for factors in (None, np.array([2.0, 1.0, 0.1, 0.0])):
            shifted = case.objective_with(offset, center=-case.other_coef, factors=factors)
            plain = case.objective_with(None, factors=factors)
            self.assert_same(case, shifted, plain, plain.from_coef(case.coef + case.other_coef, case.intercept + b0))

    def test_beside_another_offset(self, case):
        b0 = case.other_intercept
        shifted = case.objective_with(case.offset + case.logits(case.other_coef, b0), center=-case.other_coef)
        plain = case.objective
        self.assert_same(case, shifted, plain, plain.from_coef(case.coef + case.other_coef, case.intercept + b0))

    @staticmethod
    def assert_same(case, shifted, plain, there):
        assert_array_equal(shifted.inverse_scale, plain.inverse_scale)
        z = shifted.from_coef(case.coef, case.intercept)
        one, other = shifted.evaluate(z), plain.evaluate(there)
        assert_allclose(one.value, other.value, rtol=1e-12)
        assert_near(one.gradient, other.gradient, 1e-11)
        direction = np.random.default_rng(1).normal(size=z.size)
        assert_near(shifted.hessian(one).dot(direction), plain.hessian(other).dot(direction), 1e-11)
        assert_near(shifted.hessian(one).matrix(), plain.hessian(other).matrix(), 1e-11)
        ends = shifted.evaluate(z + direction), plain.evaluate(there + direction)
        value, slope, curvature = shifted.on_line(one, ends[0], 0.3)
        expected_value, expected_slope, expected_curvature = plain.on_line(other, ends[1], 0.3)
        assert_allclose(value, expected_value, rtol=1e-12)
        size = np.abs(one.gradient) @ np.abs(direction)
        assert_allclose(slope, expected_slope, rtol=1e-11, atol=1e-11 * size)
        assert_allclose(curvature, expected_curvature, rtol=1e-10)
        changes = shifted.largest_logit_change(one, ends[0]), plain.largest_logit_change(other, ends[1])
        assert_allclose(*changes, rtol=1e-10)

    @pytest.mark.parametrize("n_classes", [3, 5])
    def test_what_all_classes_share_is_not_heeded(self, n_classes):
        """In an offset and in a centre."""
        case = Case(n_classes=n_classes)
        shared, of_samples = np.array([3.0, -0.1, 40.0, 0.5]), np.linspace(-5, 5, N)[:, None]
        one = case.objective_with(center=case.other_coef).evaluate(case.z)
        other = case.objective_with(case.offset + of_samples, center=case.other_coef + shared).evaluate(case.z)
        assert_allclose(one.value, other.value, rtol=1e-12)
        assert_near(one.gradient, other.gradient, 1e-11)


def minimum(objective, solver="newton"):
    """The coefficients and intercepts that rounding allows."""
    options = {"tol": 0.0, "max_iter": 2000, "on_iteration": lambda *_: None}
    solution = SOLVERS[solver](objective, objective.start(), **options)
    assert solution.stop in (Stop.CONVERGED, Stop.STALLED)
    return objective.to_coef(solution.point.parameters)


class TestOptimum:
    """That of a penalty about a centre c is c more than that with the offset ``X c``."""

    @pytest.mark.parametrize("with_offset", [False, True])
    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_of_a_centre_is_that_of_an_offset(self, layout, n_classes, fit_intercept, soft, with_offset):
        case = Case(layout, n_classes, fit_intercept, soft=soft, l2=0.05)
        offset = case.offset if with_offset else np.zeros_like(case.offset)
        about = case.objective_with(offset if with_offset else None, center=case.other_coef)
        beside = case.objective_with(offset + case.logits(case.other_coef, np.zeros(len(case.coef))))
        self.assert_is(minimum(about), minimum(beside), case.other_coef)

    @pytest.mark.parametrize("solver", ["newton", "gd"])
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_of_solvers(self, n_classes, solver):
        """Those that see gradients only go as far as values tell."""
        case = Case(n_classes=n_classes, l2=0.05)
        coef, intercept = minimum(case.objective_with(center=case.other_coef), solver)
        expected, expected_intercept = minimum(case.objective_with(center=case.other_coef))
        error = 1e-8 if solver == "newton" else 1e-6
        assert_allclose(coef * SIZES, expected * SIZES, rtol=0, atol=error)
        assert_allclose(intercept, expected_intercept, rtol=0, atol=error)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_constant_column_gets_the_centre_s_value(self, layout, n_classes, fit_intercept):
        """Where an intercept takes its place, nothing pulls it away from there; a column of zeros likewise."""
        case = Case(layout, n_classes, fit_intercept, l2=0.05)
        X = np.column_stack([case.X[:, :2], np.full(N, 1.5), case.X[:, 2:], np.zeros(N)])
        rng = np.random.default_rng(2)
        center = rng.normal(size=(len(case.coef), 6)) / [*SIZES[:2], 1.0, *SIZES[2:], 1.0]
        if not case.is_binary:
            center -= center.mean(axis=0)
        offset = case.offset + case.logits(center, np.zeros(len(center)), X)
        about = minimum(case.objective_with(center=center, X=X))
        self.assert_is(about, minimum(case.objective_with(offset, X=X)), center)
        assert_allclose(about[0][:, 5], center[:, 5], rtol=1e-12)
        if fit_intercept:
            assert_allclose(about[0][:, 2], center[:, 2], rtol=1e-12)
        else:
            assert np.all(np.abs(about[0][:, 2] - center[:, 2]) > 1e-3)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_with_factors(self, n_classes):
        """A column without a penalty has no centre, and one with a heavy one is near it."""
        case = Case(n_classes=n_classes, l2=0.05)
        factors = np.array([0.0, 1.0, 1e8, 2.0])
        about = case.objective_with(center=case.other_coef, factors=factors)
        beside = case.objective_with(
            case.offset + case.logits(case.other_coef, np.zeros(len(case.coef))), factors=factors
        )
        coef = minimum(about)
        self.assert_is(coef, minimum(beside), case.other_coef)
        assert_allclose(coef[0][:, 2], case.other_coef[:, 2], rtol=0, atol=1e-6)
        elsewhere = case.other_coef.copy()
        elsewhere[:, 0] += 5.0
        assert_allclose(minimum(case.objective_with(center=elsewhere, factors=factors))[0], coef[0], atol=1e-8)

    @staticmethod
    def assert_is(about, beside, center):
        (coef, intercept), (shifted, same_intercept) = about, beside
        size = np.abs(coef).max(axis=0) + 1e-3
        assert_allclose(coef / size, (shifted + center) / size, rtol=0, atol=1e-8)
        assert_allclose(intercept, same_intercept, rtol=0, atol=1e-8)


class TestRowSpan:
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_is_the_same_objective(self, layout, fit_intercept, n_classes):
        whole = self.whole(layout, n_classes, fit_intercept)
        assert has_cheap_row_span(whole)
        span = RowSpan(whole)
        parameters = np.random.default_rng(4).normal(size=span.objective.n_parameters)
        lifted = span.lift(parameters)
        assert_allclose(span.project(lifted), parameters, rtol=0, atol=1e-10)
        assert_allclose(span.objective.evaluate(parameters).value, whole.evaluate(lifted).value, rtol=1e-12)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_not_about_a_centre(self, n_classes):
        assert not has_cheap_row_span(self.whole("C", n_classes, True, center=True))

    @staticmethod
    def whole(layout, n_classes, fit_intercept, center=False):
        case, rng = Case(layout, n_classes, fit_intercept), np.random.default_rng(3)
        X = (rng.normal(size=(N, 400)) * (rng.random((N, 400)) < 0.5)).astype(np.float32).astype(float)
        return case.objective_with(X=X, l2=1e-2, center=np.ones((len(case.coef), 400)) if center else None)


class TestSeparable:
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_an_offset_proves_nothing(self, n_classes):
        """It, not a hyperplane, may have put the samples on their sides."""
        case = Case(n_classes=n_classes, l2=0.0, weighted=False)
        sides = 1e3 * (2.0 * case.target - 1.0 if case.is_binary else case.twin_target)
        objective = case.objective_with(sides)
        zeros = objective.evaluate(objective.from_coef(np.zeros_like(case.coef), np.zeros_like(case.intercept)))
        assert zeros.value < 1e-100
        assert not objective.proves_separable(zeros)


def test_offsets_that_do_not_fit():
    design = as_design(np.ones((10, 2)))
    with pytest.raises(ValueError, match=r"offset is \(9,\), expected \(10,\)"):
        posing.binary(design, np.zeros(10), offset=np.zeros(9))
    with pytest.raises(ValueError, match=r"offset is \(10,\), expected \(10, 3\)"):
        posing.softmax(design, np.zeros(10, dtype=np.intp), 3, offset=np.zeros(10))
