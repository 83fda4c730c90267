"""Newton directions from a factored matrix against numpy.linalg's."""

import numpy as np
import posing
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.data.layouts import as_design

EPS = np.finfo(float).eps
SIZES = [1, 2, 3, 8, 50]


def matrix_of(p, condition, seed=0):
    """A symmetric matrix (p, p) with eigenvalues from 1 to `condition`, and its gradient."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.normal(size=(p, p)))
    matrix = (vectors * np.geomspace(1.0, condition, p)) @ vectors.T
    return (matrix + matrix.T) / 2, rng.normal(size=p)


def assert_is_residual(residual, matrix, gradient, direction):
    expected = (gradient + matrix.astype(np.longdouble) @ direction).astype(float)
    sizes = np.abs(gradient) + np.abs(matrix) @ np.abs(direction)
    assert np.all(np.abs(residual - expected) <= (len(gradient) + 2) * EPS * sizes)


def assert_near(actual, expected, error):
    """In the norm, relatively."""
    assert np.linalg.norm(actual - expected) <= error * np.linalg.norm(expected)


class TestRegular:
    @pytest.mark.parametrize("p", SIZES)
    def test_tells_its_matrix(self, p):
        matrix, gradient = matrix_of(p, 1e3)
        factored = FactoredHessian(matrix)
        factored.solve(gradient)
        assert_array_equal(factored.matrix(), matrix)

    def test_tells_a_singular_matrix(self):
        matrix = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        assert_array_equal(FactoredHessian(matrix).matrix(), matrix + np.diag([0.0, 0.0, 1.0]))

    @pytest.mark.parametrize("p", SIZES)
    def test_decrement(self, p):
        matrix, gradient = matrix_of(p, 1e3)
        expected = np.sqrt(gradient @ np.linalg.solve(matrix, gradient))
        assert_allclose(FactoredHessian(matrix).decrement(gradient), expected, rtol=1e4 * p * EPS)

    def test_decrement_of_a_singular_matrix(self):
        matrix, gradient = np.ones((3, 3)), np.ones(3)
        assert_allclose(FactoredHessian(matrix).decrement(gradient), 1.0, rtol=100 * EPS)

    @pytest.mark.parametrize("condition", [1.0, 1e2, 1e6])
    @pytest.mark.parametrize("p", SIZES)
    def test_direction_and_residual(self, p, condition):
        matrix, gradient = matrix_of(p, condition)
        direction, residual = FactoredHessian(matrix).solve(gradient)
        assert_near(direction, -np.linalg.solve(matrix, gradient), 10 * p * EPS * condition)
        assert_is_residual(residual, matrix, gradient, direction)
        assert np.linalg.norm(residual) <= 10 * p * EPS * (1 + np.linalg.norm(matrix) * np.linalg.norm(direction))

    @pytest.mark.parametrize("p", SIZES[1:])
    def test_units_of_the_parameters_do_not_matter(self, p):
        """A diagonal with a spread of 1e8, in any order: the errors are those of the matrix without it."""
        matrix, gradient = matrix_of(p, 100.0)
        unit = np.random.default_rng(1).permutation(np.geomspace(1e-2, 1e2, p))
        scaled, scaled_gradient = matrix * np.outer(unit, unit), gradient * unit
        direction, residual = FactoredHessian(scaled).solve(scaled_gradient)
        assert_near(direction * unit, -np.linalg.solve(matrix, gradient), 10 * p * EPS * 100)
        assert_is_residual(residual, scaled, scaled_gradient, direction)

    @pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
    def test_unit_of_the_matrix_does_not_matter(self, scale):
        matrix, gradient = matrix_of(8, 100.0)
        expected, expected_residual = FactoredHessian(matrix).solve(gradient)
        direction, residual = FactoredHessian(scale * matrix).solve(scale * gradient)
        assert_array_equal(direction, expected)
        assert_array_equal(residual, scale * expected_residual)

    def test_one_factor_serves_many_gradients(self):
        matrix, _ = matrix_of(8, 100.0)
        factored = FactoredHessian(matrix)
        for gradient in np.random.default_rng(1).normal(size=(3, 8)):
            direction, residual = factored.solve(gradient)
            fresh_direction, fresh_residual = FactoredHessian(matrix).solve(gradient)
            assert_near(direction, -np.linalg.solve(matrix, gradient), 1e4 * EPS)
            assert_array_equal(direction, fresh_direction)
            assert_array_equal(residual, fresh_residual)

    def test_no_parameters(self):
        direction, residual = FactoredHessian(np.zeros((0, 0))).solve(np.zeros(0))
        assert direction.shape == residual.shape == (0,)


class TestNearlySingular:
    """[[1, r], [r, 1]] with r = 1 - 2^-k, whose eigenvalues are 2 - 2^-k and 2^-k."""

    @staticmethod
    def matrix(k):
        r = 1 - 2.0**-k
        return np.array([[1.0, r], [r, 1.0]])

    @pytest.mark.parametrize("k", [10, 30, 40])  # two by Cholesky, one in the span of both eigenvectors
    def test_what_counts(self, k):
        matrix, gradient = self.matrix(k), np.array([1.0, 0.0])
        direction, residual = FactoredHessian(matrix).solve(gradient)
        r, determinant = matrix[0, 1], 2.0**-k * (2 - 2.0**-k)
        assert_near(direction, np.array([-1.0, r]) / determinant, 10 * EPS * 2.0**k)
        assert_is_residual(residual, matrix, gradient, direction)

    @pytest.mark.parametrize("unit", [(1e-4, 1.0), (1e4, 1.0)])
    @pytest.mark.parametrize("k", [10, 30])
    def test_what_counts_in_any_units(self, k, unit):
        """Cholesky goes on where the eigenvalues span more digits than there are."""
        matrix = self.matrix(k) * np.outer(unit, unit)
        direction, _ = FactoredHessian(matrix).solve(np.array([unit[0], 0.0]))
        r, determinant = 1 - 2.0**-k, 2.0**-k * (2 - 2.0**-k)
        assert_near(direction * unit, np.array([-1.0, r]) / determinant, 10 * EPS * 2.0**k)

    @pytest.mark.parametrize("k", [46, 53])
    def test_what_does_not(self, k):
        """Only the sum of the two is known to be curved; along the difference, the step is the gradient's half."""
        matrix, gradient = self.matrix(k), np.array([1.0, 0.0])
        direction, residual = FactoredHessian(matrix).solve(gradient)
        # once refined: what is left of the gradient is descended a second time
        assert_allclose(direction, np.array([-0.25, -0.25]) - 2 * np.array([0.25, -0.25]), rtol=1e-12)
        assert_is_residual(residual, matrix, gradient, direction)


class TestSingular:
    @staticmethod
    def matrix(p=6, copies=(0, 0, 3)):
        """Of columns some of which are there again."""
        X = np.random.default_rng(0).normal(size=(4 * p, p))
        X = np.column_stack([X, X[:, list(copies)]])
        return X.T @ X

    @pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
    @pytest.mark.parametrize("copies", [(0,), (0, 0, 3), (5, 4, 3, 2, 1, 0)])
    def test_least_norm(self, copies, scale):
        matrix = scale * self.matrix(copies=copies)
        gradient = matrix @ np.random.default_rng(1).normal(size=len(matrix))
        direction, residual = FactoredHessian(matrix).solve(gradient)
        # The eigenvalues that are kept span less than two decades.
        assert_near(direction, -np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ gradient, 1e4 * EPS)
        assert np.linalg.norm(residual) <= 1e4 * EPS * np.linalg.norm(gradient)
        assert_is_residual(residual, matrix, gradient, direction)

    def test_what_no_direction_explains_is_left_and_descended(self):
        """With the largest eigenvalue's step, twice because the solution is refined once."""
        matrix = self.matrix()
        gradient = np.random.default_rng(1).normal(size=len(matrix))
        inverse = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
        rest = gradient - matrix @ (inverse @ gradient)
        direction, residual = FactoredHessian(matrix).solve(gradient)
        assert_near(direction, -inverse @ gradient - 2 * rest / np.linalg.eigvalsh(matrix)[-1], 1e4 * EPS)
        assert_near(residual, rest, 1e4 * EPS)

    def test_not_positive(self):
        """A negative eigenvalue can only be rounding's."""
        matrix, gradient = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([1.0, 0.0])
        direction, residual = FactoredHessian(matrix).solve(gradient)
        assert_allclose(direction.sum(), -1 / 3, rtol=10 * EPS)
        assert direction @ gradient < 0
        assert_is_residual(residual, matrix, gradient, direction)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_decrement(bad):
    matrix, gradient = matrix_of(6, 1e3)
    matrix[4, 2] = matrix[2, 4] = bad
    hessian = FactoredHessian(matrix)
    assert np.isnan(hessian.decrement(gradient))
    assert np.isnan(hessian.solve(gradient)[0]).any()


class TestWithoutCurvature:
    """Parameters whose row and column are zero."""

    flat = np.array([True, False, False, True, False, False])

    def matrix(self, regular):
        curved = matrix_of(4, 100.0)[0] if regular else TestSingular.matrix(3, (0,))
        matrix = np.zeros((6, 6))
        matrix[np.ix_(~self.flat, ~self.flat)] = curved
        return matrix, curved

    @pytest.mark.parametrize("regular", [True, False])
    @pytest.mark.parametrize("slope", [0.0, 3.0])
    def test_the_others_do_not_notice(self, regular, slope):
        matrix, curved = self.matrix(regular)
        gradient = matrix @ np.random.default_rng(1).normal(size=6)
        gradient[self.flat] = slope
        direction, residual = FactoredHessian(matrix).solve(gradient)
        expected = -np.linalg.pinv(curved, rcond=1e-10, hermitian=True) @ gradient[~self.flat]
        assert_near(direction[~self.flat], expected, 1e4 * EPS)
        assert np.linalg.norm(residual[~self.flat]) <= 1e4 * EPS * np.linalg.norm(gradient)
        assert_array_equal(residual[self.flat], slope)
        if slope == 0:
            assert np.abs(direction[self.flat]).max() <= 1e4 * EPS * np.linalg.norm(direction)

    @pytest.mark.parametrize("regular", [True, False])
    def test_their_direction_is_downhill(self, regular):
        matrix, _ = self.matrix(regular)
        gradient = np.random.default_rng(1).normal(size=6)
        direction, _ = FactoredHessian(matrix).solve(gradient)
        assert_allclose(direction[self.flat], -gradient[self.flat], rtol=1e4 * EPS)

    def test_the_others_may_be_small(self):
        matrix, curved = self.matrix(regular=False)
        gradient = matrix @ np.random.default_rng(1).normal(size=6)
        direction, _ = FactoredHessian(1e-16 * matrix).solve(1e-16 * gradient)
        expected = -np.linalg.pinv(curved, rcond=1e-10, hermitian=True) @ gradient[~self.flat]
        assert_near(direction[~self.flat], expected, 1e4 * EPS)

    def test_none_has_any(self):
        gradient = np.array([1.0, -2.0])
        direction, residual = FactoredHessian(np.zeros((2, 2))).solve(gradient)
        assert_array_equal(np.sign(direction), -np.sign(gradient))
        assert_array_equal(residual, gradient)


class TestMemory:
    @pytest.mark.parametrize("matrix", [matrix_of(5, 100.0)[0], TestSingular.matrix(), np.diag([1.0, 0.0])])
    def test_arguments_stay_and_results_are_new(self, matrix):
        matrix, gradient = matrix.copy(), np.arange(1.0, len(matrix) + 1)
        before = matrix.copy()
        matrix.flags.writeable = gradient.flags.writeable = False
        factored = FactoredHessian(matrix)
        first = factored.solve(gradient)
        kept = [part.copy() for part in first]
        second = factored.solve(-gradient)
        assert_array_equal(matrix, before)
        assert_array_equal(gradient, np.arange(1.0, len(matrix) + 1))
        assert_array_equal(first, kept)
        assert_array_equal(second, np.negative(kept))


def test_of_an_objective():
    rng = np.random.default_rng(0)
    objective = posing.binary(as_design(rng.normal(size=(50, 4))), rng.random(50), l2=0.1)
    point = objective.evaluate(rng.normal(size=5))
    passes = objective.n_passes
    factored = FactoredHessian.of(objective, point)
    assert objective.n_passes == passes + 1
    assert factored.point is point
    direction, _ = factored.solve(point.gradient)
    assert_near(objective.hessian(point).dot(direction), -point.gradient, 1e4 * EPS)
    assert FactoredHessian(np.eye(2)).point is None


class TestHiddenCurvature:
    """Of columns that differ by less than what the matrix tells apart."""

    @staticmethod
    def problem(spread, l2=0.0):
        """Two nearly constant columns without an intercept, and the same span by columns that nothing hides."""
        rng = np.random.default_rng(0)
        Z = rng.normal(size=(300, 4))
        y = (rng.random(300) < 1 / (1 + np.exp(-Z @ [1.0, -1.0, 0.5, 0.0]))).astype(float)
        hiding = np.column_stack([1 + spread * Z[:, :2], Z[:, 2:]])
        plain = np.column_stack([1 + spread * Z[:, 0], Z[:, 1] - Z[:, 0], Z[:, 2:]])
        return [posing.binary(as_design(X), y, l2=l2, fit_intercept=False) for X in (hiding, plain)]

    @pytest.mark.parametrize("spread", [1e-7, 1e-8, 1e-9])
    def test_products_find_it(self, spread):
        """The decrement does not depend on the columns that span the logits."""
        objective, plain = self.problem(spread)
        point, same = (one.evaluate(np.zeros(4)) for one in (objective, plain))
        factored = FactoredHessian.of(objective, point)
        expected = FactoredHessian.of(plain, same).decrement(same.gradient)
        assert factored.decrement(point.gradient) < 0.5 * expected
        passes = objective.n_passes
        assert factored.resolve(objective)
        assert objective.n_passes == passes + 1
        assert_allclose(factored.decrement(point.gradient), expected, rtol=1e-14 / spread)
        direction, residual = factored.solve(point.gradient)
        assert_allclose(-direction @ point.gradient, expected**2, rtol=1e-14 / spread)
        assert np.abs(residual).max() <= EPS * np.abs(direction).max()
        assert not factored.resolve(objective)

    def test_gain_of_what_is_hidden(self):
        objective, plain = self.problem(1e-8)
        point = objective.evaluate(np.zeros(4))
        factored = FactoredHessian.of(objective, point)
        gain = (
            0.5
            * FactoredHessian.of(plain, plain.evaluate(np.zeros(4))).decrement(plain.evaluate(np.zeros(4)).gradient)
            ** 2
        )
        _, residual = factored.solve(point.gradient)
        assert factored.hidden_gain(residual) > 0.1 * gain
        factored.resolve(objective)
        assert factored.hidden_gain(factored.solve(point.gradient)[1]) < 1e-10 * gain

    def test_nothing_is_hidden_from_cholesky(self):
        matrix, gradient = matrix_of(6, 1e3)
        factored = FactoredHessian(matrix)
        assert factored.hidden_gain(gradient) == 0
        assert not factored.resolve(None)

    def test_copies_have_none(self):
        """Their rounding is not taken for curvature, whether columns are centered or not."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(200, 3)) + 1e6
        X = np.column_stack([X, X[:, 0], 2 * X[:, 1]])
        for fit_intercept in (False, True):
            objective = posing.binary(as_design(X), rng.random(200), l2=0.0, fit_intercept=fit_intercept)
            point = objective.evaluate(objective.start())
            factored = FactoredHessian.of(objective, point)
            assert factored.resolve(objective)
            direction, _ = factored.solve(point.gradient)
            assert_allclose(direction[[3, 4]], direction[[0, 1]], rtol=1e-8)
            assert np.abs(direction[:5]).max() < 1e5  # a copy's rounding as curvature would take 1e10 and more
