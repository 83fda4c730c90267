"""The change of variables against its matrix, written out entry by entry."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.objectives.coordinates import Coordinates
from fastlogreg.penalties import Quadratic

EPS = np.finfo(float).eps
# Ten additions and products at most, of terms whose sizes the bounds add up.
ROUNDING = 16 * EPS


class Case:
    """Coordinates, and the matrix (d + 1, width) that takes one output's parameters to (coef, intercept)."""

    d = 5
    factor = 0.3

    def __init__(self, fit_intercept, n_outputs=1, constant_columns=()):
        rng = np.random.default_rng(0)
        d, width = self.d, self.d + fit_intercept
        self.center = 10 * rng.normal(size=d) * fit_intercept
        self.inverse_scale = rng.uniform(0.1, 10.0, size=d)
        self.inverse_scale[list(constant_columns)] = 0.0
        self.inverse_intercept_scale = 1.7
        self.coordinates = Coordinates(self.center, self.inverse_scale, self.inverse_intercept_scale, fit_intercept)
        self.matrix = np.zeros((d + 1, width))
        for j in range(d):
            self.matrix[j, j] = self.inverse_scale[j]
            self.matrix[d, j] = -self.center[j] * self.inverse_scale[j]
        if fit_intercept:
            self.matrix[d, d] = self.inverse_intercept_scale
        self.parameters = rng.normal(size=(n_outputs, width))
        self.of_coef, self.of_intercept = rng.normal(size=(n_outputs, d)), rng.normal(size=n_outputs)
        self.ridge = rng.exponential(size=(n_outputs, width))
        self.ridge[:, d:] = 0.0

    def gradient(self):
        return self.coordinates.gradient(self.of_coef, self.of_intercept, self.factor)


def assert_within(actual, expected, error):
    excess = np.abs(actual - expected) - error
    assert np.all(excess <= 0), f"beyond its bound by {excess.max()}"


@pytest.fixture(params=[(True, ()), (True, (0, 3)), (False, ()), (False, (4,))], ids=str)
def kind(request):
    """Whether there is an intercept, and the columns that do not vary."""
    return request.param


@pytest.mark.parametrize("n_outputs", [1, 3])
class TestVectors:
    def test_to_coef(self, kind, n_outputs):
        case = Case(kind[0], n_outputs, kind[1])
        coef, intercept = case.coordinates.to_coef(case.parameters.ravel())
        assert coef.shape == (n_outputs, case.d)
        assert intercept.shape == (n_outputs,)
        expected = case.parameters @ case.matrix.T
        error = ROUNDING * np.abs(case.parameters) @ np.abs(case.matrix.T)
        assert_within(np.column_stack([coef, intercept]), expected, error)
        assert_array_equal(coef[:, list(kind[1])], 0.0)
        if not kind[0]:
            assert_array_equal(intercept, 0.0)

    def test_from_coef_undoes_it(self, kind, n_outputs):
        case = Case(kind[0], n_outputs, kind[1])
        parameters = case.coordinates.from_coef(*case.coordinates.to_coef(case.parameters.ravel()))
        assert parameters.shape == (case.parameters.size,)
        expected = case.parameters.copy()
        expected[:, list(kind[1])] = 0.0
        sizes = np.abs(expected) @ np.abs(case.matrix.T) / case.inverse_intercept_scale  # the intercept's come last
        error = ROUNDING * np.abs(expected)
        error[:, case.d :] += ROUNDING * sizes[:, case.d :]
        assert_within(parameters.reshape(expected.shape), expected, error)

    def test_coefficients_of_constant_columns_are_dropped(self, kind, n_outputs):
        """They have no parameter, and the intercept does not make up for them."""
        case = Case(kind[0], n_outputs, kind[1])
        dropped = list(kind[1])
        without = case.of_coef.copy()
        without[:, dropped] = 0.0
        parameters = case.coordinates.from_coef(case.of_coef, case.of_intercept)
        assert_array_equal(parameters, case.coordinates.from_coef(without, case.of_intercept))
        coef, intercept = case.coordinates.to_coef(parameters)
        assert_allclose(coef, without, rtol=ROUNDING)
        size = np.abs(case.of_intercept) + np.abs(without) @ np.abs(case.center)
        assert_within(intercept, case.of_intercept * kind[0], ROUNDING * size)

    def test_gradient(self, kind, n_outputs):
        case = Case(kind[0], n_outputs, kind[1])
        terms = np.column_stack([case.of_coef, case.of_intercept])
        expected = case.factor * terms @ case.matrix
        sizes = case.factor * np.abs(terms) @ np.abs(case.matrix)
        gradient = case.gradient()
        assert gradient.shape == (case.parameters.size,)
        assert_within(gradient.reshape(expected.shape), expected, ROUNDING * sizes)

    def test_arguments_stay_and_results_are_new(self, kind, n_outputs):
        case = Case(kind[0], n_outputs, kind[1])
        given = (case.center, case.inverse_scale, case.parameters, case.of_coef, case.of_intercept)
        for array in given:
            array.flags.writeable = False
        flat = case.parameters.ravel()
        first, second = (
            [
                *case.coordinates.to_coef(flat),
                case.coordinates.from_coef(case.of_coef, case.of_intercept),
                case.gradient(),
            ]
            for _ in range(2)
        )
        for result, again in zip(first, second, strict=True):
            assert_array_equal(result, again)
            assert result.flags.writeable
            assert not any(np.shares_memory(result, array) for array in (*given, again))


class TestGram:
    def test_of_columns_about_their_centers(self, kind):
        case = Case(kind[0], 1, kind[1])
        X = np.random.default_rng(1).normal(size=(20, case.d))
        ones = np.ones((20, 1))
        centered, about_zero = np.column_stack([X - case.center, ones]), np.column_stack([X, ones])
        gram = case.coordinates.gram(centered.T @ centered, case.factor)
        expected = case.factor * case.matrix.T @ (about_zero.T @ about_zero) @ case.matrix
        sizes = np.abs(about_zero) @ np.abs(case.matrix)
        assert gram.shape == expected.shape
        assert_within(gram, expected, 40 * EPS * case.factor * sizes.T @ sizes)  # sums over 20 samples

    def test_every_entry_is_read_where_it_belongs(self, kind):
        """Of any matrix, not of symmetric ones only; without an intercept the ones are not read."""
        case = Case(kind[0], 1, kind[1])
        centered = np.random.default_rng(1).normal(size=(case.d + 1, case.d + 1))
        width = case.d + kind[0]
        scale = np.append(case.inverse_scale, case.inverse_intercept_scale)[:width]
        expected = case.factor * np.diag(scale) @ centered[:width, :width] @ np.diag(scale)
        if not kind[0]:
            centered[-1] = centered[:, -1] = np.nan
        assert_allclose(case.coordinates.gram(centered, case.factor), expected, rtol=ROUNDING)


def test_attributes():
    case = Case(True)
    assert case.coordinates.center is case.center
    assert case.coordinates.inverse_scale is case.inverse_scale
    assert case.coordinates.inverse_intercept_scale == case.inverse_intercept_scale
    assert case.coordinates.fit_intercept is True
    assert Case(False).coordinates.fit_intercept is False


class TestStandardized:
    curvature, l2 = 0.2, 0.03

    def of(self, mean, variance, fit_intercept=True):
        mean, variance = np.asarray(mean, dtype=float), np.asarray(variance, dtype=float)
        return Coordinates.standardized(mean, variance, self.curvature, np.full(len(mean), self.l2), fit_intercept)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_formula(self, fit_intercept):
        mean, variance = np.array([3.0, -2.0, 0.0]), np.array([0.5, 4.0, 1e-9])
        coordinates = self.of(mean, variance, fit_intercept)
        square = variance if fit_intercept else variance + mean**2
        assert_array_equal(coordinates.center, mean if fit_intercept else np.zeros(3))
        assert_allclose(coordinates.inverse_scale, (self.curvature * square + self.l2) ** -0.5, rtol=4 * EPS)
        assert_allclose(coordinates.inverse_intercept_scale, self.curvature**-0.5, rtol=4 * EPS)
        assert coordinates.finite

    def test_columns_that_do_not_vary(self):
        assert_array_equal(self.of([5.0, 0.0], [0.0, 0.0]).inverse_scale, [0.0, 0.0])
        without = self.of([5.0, 0.0], [0.0, 0.0], fit_intercept=False).inverse_scale
        assert without[0] > 0
        assert without[1] == 0

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("place", [0, 1])
    def test_not_finite(self, bad, place):
        moments = [[1.0, 2.0], [1.0, 2.0]]
        moments[place][1] = bad
        assert not self.of(*moments).finite


class TestOfThePenalty:
    @pytest.mark.parametrize("n_outputs", [1, 3])
    def test_curvature_of_the_parameters(self, kind, n_outputs):
        """The square of the coefficients in the parameters, of which the intercepts have no part."""
        case = Case(kind[0], n_outputs, kind[1])
        penalty = Quadratic(0.03).in_parameters(case.coordinates, n_outputs)
        of_output = np.append(0.03 * case.inverse_scale**2, [0.0] * kind[0])
        assert_allclose(penalty.curvature, np.tile(of_output, n_outputs), rtol=4 * EPS)
        coef, _ = case.coordinates.to_coef(case.parameters.ravel())
        assert_allclose(penalty.value(case.parameters.ravel()), 0.015 * np.sum(coef**2), rtol=100 * EPS)


def test_gram_with_a_ridge(kind):
    case = Case(kind[0], 1, kind[1])
    centered = np.random.default_rng(0).normal(size=(case.d + 1, case.d + 1))
    centered += centered.T
    ridge = case.ridge.ravel()
    gram = case.coordinates.gram(centered, case.factor)
    assert_array_equal(case.coordinates.gram(centered, case.factor, ridge), gram + np.diag(ridge))
