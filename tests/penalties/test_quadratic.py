"""Quadratic penalties against the formula, finite differences and brute force, and what they add to a duality gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.objectives.coordinates import Coordinates
from fastlogreg.penalties import Quadratic
from fastlogreg.penalties.quadratic import QuadraticInParameters

EPS = np.finfo(float).eps
STRENGTH = 0.3
D = 5
FACTORS = np.array([1.0, 0.2, 0.0, 7.0, 1e-3])


def in_parameters(curvature, center=None):
    curvature = np.asarray(curvature, dtype=float)
    return QuadraticInParameters(curvature, center, is_strict=bool(np.all(curvature > 0)))


@pytest.fixture(params=[(factors, center) for factors in (False, True) for center in (False, True)], ids=str)
def penalty(request):
    """Of twenty parameters, some without curvature or not, with a centre or not."""
    rng = np.random.default_rng(0)
    factors, center = request.param
    curvature = rng.exponential(size=20) * (rng.random(20) < 0.7) if factors else np.full(20, STRENGTH)
    return in_parameters(curvature, rng.normal(size=20) if center else None)


def center_of(penalty):
    return 0.0 if penalty.center is None else penalty.center


def gradient_of(penalty, at):
    gradient = np.zeros(len(at))
    penalty.add_gradient(at, gradient)
    return gradient


class TestValues:
    def test_formula(self, penalty):
        z = np.random.default_rng(1).normal(size=20)
        off = z - center_of(penalty)
        assert_allclose(penalty.value(z), np.sum(penalty.curvature / 2 * off**2), rtol=100 * EPS)
        assert_array_equal(gradient_of(penalty, z), penalty.curvature * off)

    def test_small_numbers(self):
        penalty = in_parameters([1.0, 0.0, 3.0])
        assert penalty.value(np.array([-2.0, 7.0, 1.0])) == 3.5
        centered = in_parameters([1.0, 0.0, 3.0], np.array([-2.0, 1.0, 3.0]))
        assert centered.value(np.array([-2.0, 7.0, 1.0])) == 6.0
        nothing = in_parameters(np.zeros(0))
        assert nothing.value(np.zeros(0)) == 0.0
        assert nothing.on_line(np.zeros(0), np.zeros(0), 0.5) == (0.0, 0.0, 0.0)

    def test_finite_differences(self, penalty):
        """Central ones are exact for a quadratic, up to rounding."""
        z = np.random.default_rng(2).normal(size=20)
        step = 0.5
        gradient = [
            (penalty.value(z + step * unit) - penalty.value(z - step * unit)) / (2 * step) for unit in np.eye(20)
        ]
        assert_allclose(gradient_of(penalty, z), gradient, rtol=0, atol=1e-13)
        direction = np.random.default_rng(3).normal(size=20)
        product = np.zeros(20)
        penalty.add_product(direction, product)
        difference = gradient_of(penalty, z + direction) - gradient_of(penalty, z)
        assert_allclose(product, difference, rtol=0, atol=1e-13)

    def test_are_added(self, penalty):
        rng = np.random.default_rng(4)
        z, before = rng.normal(size=(2, 20))
        gradient, product = before.copy(), before.copy()
        penalty.add_gradient(z, gradient)
        assert_allclose(gradient, before + gradient_of(penalty, z), rtol=4 * EPS, atol=EPS)
        penalty.add_product(z, product)
        assert_allclose(product, before + penalty.curvature * z, rtol=4 * EPS, atol=EPS)

    @pytest.mark.parametrize("t", [-1.0, 0.0, 0.7, 1.0, 3.0])
    def test_on_line(self, penalty, t):
        start, end = np.random.default_rng(5).normal(size=(2, 20))
        at, step = start + t * (end - start), end - start
        expected = penalty.value(at), gradient_of(penalty, at) @ step, np.sum(penalty.curvature * step**2)
        assert_allclose(penalty.on_line(start, end, t), expected, rtol=1000 * EPS)

    def test_arguments_stay(self, penalty):
        arrays = np.random.default_rng(6).normal(size=(3, 20))
        before = arrays.copy()
        arrays.flags.writeable = penalty.curvature.flags.writeable = False
        if penalty.center is not None:
            penalty.center.flags.writeable = False
        penalty.value(arrays[0])
        penalty.on_line(arrays[0], arrays[1], 0.3)
        penalty.prox(arrays[0], 0.3)
        penalty.conjugate_gap(*arrays, 0.0)
        assert_array_equal(arrays, before)


class TestProx:
    @pytest.mark.parametrize("step", [1e-3, 0.5, 20.0])
    def test_is_the_minimiser(self, penalty, step):
        """Where the slope is zero, and no other point, near or far, is lower."""
        rng = np.random.default_rng(7)
        z = rng.normal(size=20)
        best = penalty.prox(z, step)
        assert_allclose(gradient_of(penalty, best) + (best - z) / step, 0.0, atol=1e-13 / step)

        def value(x):
            return penalty.value(x) + np.sum((x - z) ** 2) / (2 * step)

        for size in (1e-3, 0.1, 1.0, 10.0):
            for other in best + size * rng.normal(size=(10, 20)):
                assert value(other) > value(best)

    def test_by_brute_force(self):
        """Of one parameter, on a grid."""
        grid = np.linspace(-3.0, 3.0, 600_001)
        for curvature, center, z, step in ((0.0, 1.0, 0.7, 2.0), (2.0, 1.0, -1.5, 0.3), (5.0, -2.0, 2.5, 4.0)):
            penalty = in_parameters([curvature], np.array([center]))
            values = curvature / 2 * (grid - center) ** 2 + (grid - z) ** 2 / (2 * step)
            assert_allclose(penalty.prox(np.array([z]), step), grid[values.argmin()], rtol=0, atol=1e-5)

    def test_parameters_without_curvature_stay(self):
        z = np.array([3.0, -1.0])
        assert_array_equal(in_parameters([0.0, 1.0]).prox(z, 1.0), [3.0, -0.5])
        assert_array_equal(in_parameters([0.0, 1.0], np.array([9.0, 1.0])).prox(z, 1.0), [3.0, 0.0])


class TestQuadratic:
    """In the coefficients, and in the parameters of coordinates."""

    @staticmethod
    def coordinates(fit_intercept=True):
        rng = np.random.default_rng(8)
        center = rng.normal(size=D) * fit_intercept
        return Coordinates(center, rng.uniform(0.1, 10.0, size=D), 1.7, fit_intercept)

    @pytest.mark.parametrize("n_outputs", [1, 3])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("centered", [True, False])
    @pytest.mark.parametrize("factors", [None, FACTORS])
    def test_is_the_same_in_parameters(self, factors, centered, fit_intercept, n_outputs):
        coordinates, rng = self.coordinates(fit_intercept), np.random.default_rng(9)
        center = rng.normal(size=(n_outputs, D)) if centered else None
        there = None if center is None else coordinates.from_coef(center, np.zeros(n_outputs))
        penalty = Quadratic(STRENGTH, factors, center).in_parameters(coordinates, n_outputs, there)
        z = rng.normal(size=n_outputs * (D + fit_intercept))
        coef, _ = coordinates.to_coef(z)
        off = coef if center is None else coef - center
        factor = np.ones(D) if factors is None else factors
        assert_allclose(penalty.value(z), STRENGTH / 2 * np.sum(factor * off**2), rtol=1000 * EPS)
        assert penalty.center is there
        if fit_intercept:
            assert_array_equal(penalty.curvature.reshape(n_outputs, -1)[:, D], 0.0)

    def test_curvatures(self):
        assert_array_equal(Quadratic(STRENGTH).curvatures(3), np.full(3, STRENGTH))
        assert_array_equal(Quadratic(STRENGTH, FACTORS).curvatures(D), STRENGTH * FACTORS)
        assert_array_equal(Quadratic(0.0, FACTORS).curvatures(D), np.zeros(D))

    @pytest.mark.parametrize(
        ("strength", "factors", "center", "strict", "uniform", "zero"),
        [
            (0.3, None, None, True, True, False),
            (0.0, None, None, False, True, True),
            (0.3, np.full(D, 2.0), None, True, True, False),
            (0.3, np.zeros(D), None, False, True, True),
            (0.3, FACTORS, None, False, False, False),
            (0.3, FACTORS + 0.1, None, True, False, False),
            (0.0, FACTORS, None, False, True, True),
            (0.3, None, np.ones((1, D)), True, False, False),
            (0.3, FACTORS, np.ones((1, D)), False, False, False),
            (0.0, None, np.ones((1, D)), False, True, True),
        ],
    )
    def test_what_it_says_of_itself(self, strength, factors, center, strict, uniform, zero):
        penalty = Quadratic(strength, factors, center)
        for one in (penalty, penalty.in_parameters(self.coordinates(), 1)):
            assert one.is_strict is strict
            assert one.is_uniform is uniform
            assert one.is_zero is zero
            assert one.is_smooth

    @pytest.mark.parametrize("centered", [True, False])
    @pytest.mark.parametrize("factors", [None, FACTORS])
    def test_of_columns(self, factors, centered):
        """What is not of these columns is zero, or at its centre."""
        rng = np.random.default_rng(10)
        center = rng.normal(size=(2, D)) if centered else None
        penalty, columns = Quadratic(STRENGTH, factors, center), np.array([0, 2, 3])
        part = penalty.of_columns(columns)
        coef = np.zeros((2, D)) if center is None else center.copy()
        coef[:, columns] = rng.normal(size=(2, 3))
        plain = Coordinates(np.zeros(D), np.ones(D), 1.0, False)
        whole = penalty.in_parameters(plain, 2, None if center is None else center.ravel())
        some = part.in_parameters(plain.of_columns(columns), 2, None if center is None else part.center.ravel())
        assert part.strength == STRENGTH
        assert_array_equal(part.curvatures(3), penalty.curvatures(D)[columns])
        assert_allclose(some.value(coef[:, columns].ravel()), whole.value(coef.ravel()), rtol=100 * EPS)

    def test_of_columns_may_be_strict_or_uniform(self):
        penalty = Quadratic(STRENGTH, np.array([1.0, 0.0, 2.0, 2.0]))
        assert not penalty.is_strict
        assert penalty.of_columns(np.array([0, 3])).is_strict
        assert not penalty.of_columns(np.array([0, 3])).is_uniform
        assert penalty.of_columns(np.array([2, 3])).is_uniform
        assert penalty.of_columns(np.array([1])).is_zero


def conjugate_gap(direction, residual, gradient, curvature, rounding, center=None):
    return in_parameters(curvature, center).conjugate_gap(direction, residual, gradient, rounding)


class TestDualityGap:
    """Fenchel and Young's gap ``P(z) + P*(s) - z.s >= 0`` of a slope s that a dual point asks of the penalty."""

    @staticmethod
    def fenchel_young(penalty, z, slope):
        """By P*'s formula: ``sum_j s_j c_j + s_j^2 / (2 curvature_j)``."""
        center, kept = np.broadcast_to(center_of(penalty), z.shape), penalty.curvature > 0
        conjugate = slope[kept] @ center[kept] + np.sum(slope[kept] ** 2 / (2 * penalty.curvature[kept]))
        return penalty.value(z) + conjugate - slope @ z

    def test_is_fenchel_and_young_s(self, penalty):
        """With the gradient g and the direction v, the dual variables are those of the slope ``P'(z) + P'' v - rho``
        less what the penalty has: the loss's is ``rho - P'(z) - P'' v``, for H v = rho - g.
        """
        rng = np.random.default_rng(11)
        kept = penalty.curvature > 0
        for size in (0.0, 0.1, 3.0):
            z, direction, loss_slope = rng.normal(size=(3, 20))
            residual = size * rng.normal(size=20) * kept  # what is not penalised is explained
            gradient = loss_slope + gradient_of(penalty, z)
            explained, strictly, _, gap, _ = penalty.conjugate_gap(direction, residual, gradient, 0.0)
            assert explained
            assert strictly
            slope = np.where(kept, gradient_of(penalty, z) + penalty.curvature * direction - residual, 0.0)
            assert_allclose(gap, self.fenchel_young(penalty, z, slope), rtol=1e-11, atol=1e-12)
            assert gap >= 0

    @pytest.mark.parametrize("centered", [False, True])
    def test_bounds_the_gap_of_a_quadratic_objective(self, centered):
        """Of a loss ``|A z - b|^2 / 2``, whose own gap is half of v' H_loss v; at the optimum both are zero."""
        rng = np.random.default_rng(12)
        A, b = rng.normal(size=(30, 6)), rng.normal(size=30)
        center = rng.normal(size=6) if centered else None
        penalty = in_parameters([0.5, 2.0, 0.0, 1.0, 0.1, 30.0], center)
        H = A.T @ A + np.diag(penalty.curvature)
        best = np.linalg.solve(H, A.T @ b + penalty.curvature * center_of(penalty))

        def objective(z):
            return np.sum((A @ z - b) ** 2) / 2 + penalty.value(z)

        def gap_of(z, direction):
            gradient = A.T @ (A @ z - b) + gradient_of(penalty, z)
            residual = gradient + H @ direction
            answer = penalty.conjugate_gap(direction, residual, gradient, 1e-12)
            explained, _, loss_curvature, penalty_gap, _ = answer
            assert explained
            assert_allclose(loss_curvature, np.sum((A @ direction) ** 2), rtol=1e-9, atol=1e-20)
            return loss_curvature / 2 + penalty_gap

        for size in (1e-3, 0.1, 3.0):
            z = best + size * rng.normal(size=6)
            true = objective(z) - objective(best)
            assert_allclose(gap_of(z, best - z), true, rtol=1e-8)  # the Newton direction leaves no doubt
            # another direction that leaves nothing to the parameter without a penalty
            other = (best - z) + 0.1 * size * rng.normal(size=6)
            other[2] -= (H[2] @ (other - (best - z))) / H[2, 2]
            assert gap_of(z, other) >= true * (1 - 1e-9)
        assert gap_of(best, np.zeros(6)) <= 1e-20

    def test_centre_does_not_matter(self):
        rng = np.random.default_rng(13)
        arguments = (*rng.normal(size=(3, 20)), rng.exponential(size=20), 0.01)
        assert conjugate_gap(*arguments) == conjugate_gap(*arguments, center=rng.normal(size=20))


def plain_conjugate_gap(direction, residual, gradient, ridge, rounding):
    free, kept = ridge == 0, ridge > 0
    left = np.abs(residual[free]).max(initial=0.0)
    slope = np.abs(gradient).max(initial=0.0)
    strictly = left <= max(1e-8 * slope, rounding)
    explained = strictly or (not kept.any() and left <= 0.1 * slope)
    # residual = gradient + (H_loss + diag(ridge)) direction
    loss_curvature = direction @ (residual - gradient - ridge * direction)
    counted = np.where(np.abs(residual) > rounding, residual, 0.0)
    mismatch = (counted - ridge * direction)[kept]
    doubt = np.sum(rounding * (2 * np.abs(mismatch) + rounding) / (2 * ridge[kept]))
    return explained, strictly, loss_curvature, np.sum(mismatch**2 / (2 * ridge[kept])), doubt


class TestConjugateGap:
    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_twin(self, data):
        p = data.draw(st.integers(0, 6))
        size = st.sampled_from([0.0, 1e-12, 1e-9, 3e-8, 1e-3, 0.05, 0.3, 2.0])
        signed = st.builds(np.copysign, size, st.sampled_from([-1.0, 1.0]))
        direction, residual, gradient = (
            np.array(data.draw(st.lists(signed, min_size=p, max_size=p)), dtype=float) for _ in range(3)
        )
        ridge = np.array(data.draw(st.lists(st.sampled_from([0.0, 1e-3, 1.0]), min_size=p, max_size=p)), dtype=float)
        arguments = direction, residual, gradient, ridge, data.draw(st.sampled_from([0.0, 1e-10, 1e-2]))
        explained, strictly, *sums = conjugate_gap(*arguments)
        expected_explained, expected_strictly, *expected = plain_conjugate_gap(*arguments)
        assert (explained, strictly) == (expected_explained, expected_strictly)
        sizes = np.abs(direction) @ (np.abs(residual) + np.abs(gradient) + ridge * np.abs(direction))
        assert_allclose(sums[0], expected[0], rtol=0, atol=16 * EPS * sizes)
        assert_allclose(sums[1], expected[1], rtol=16 * EPS)
        assert_allclose(sums[2], expected[2], rtol=64 * EPS)

    @pytest.mark.parametrize("ridge", [0.0, 0.3])
    def test_loss_curvature_is_the_loss_s(self, ridge):
        rng = np.random.default_rng(1)
        A, gradient, direction = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5)
        matrix = A.T @ A
        ridges = np.array([ridge, ridge, 2 * ridge, ridge, 0.0])
        residual = gradient + matrix @ direction + ridges * direction
        *_, loss_curvature, _, _ = conjugate_gap(direction, residual, gradient, ridges, 0.0)
        assert_allclose(loss_curvature, direction @ matrix @ direction, rtol=1e-13)

    # Of the largest slope, 2, in a parameter of its own.
    @pytest.mark.parametrize("sign", [-1.0, 1.0])
    @pytest.mark.parametrize(
        ("penalised", "share", "rounding", "explained", "strictly"),
        [
            (False, 0.0, 0.0, True, True),
            (False, 0.9e-8, 0.0, True, True),
            (False, 1.1e-8, 0.0, True, False),
            (False, 0.09, 0.0, True, False),
            (False, 0.11, 0.0, False, False),
            (False, 0.11, 0.23, True, True),
            (True, 0.0, 0.0, True, True),
            (True, 0.9e-8, 0.0, True, True),
            (True, 1.1e-8, 0.0, False, False),
            (True, 0.09, 0.0, False, False),
            (True, 1.1e-8, 2.3e-8, True, True),
            (True, 1.1e-8, 2.1e-8, False, False),
        ],
    )
    def test_what_is_explained(self, penalised, share, rounding, explained, strictly, sign):
        gradient = np.array([-2.0, 0.1, 0.2])
        ridge = np.array([0.5 * penalised, 0.0, 0.0])
        for place in (1, 2):
            residual = np.zeros(3)
            residual[place] = sign * 2.0 * share
            answers = conjugate_gap(np.zeros(3), residual, gradient, ridge, rounding)[:2]
            assert answers == (explained, strictly)

    def test_penalised_parameters_need_not_be_explained(self):
        """Their residual costs what the second sum says."""
        ridge, residual = np.array([0.5, 0.0]), np.array([3.0, 0.0])
        answer = conjugate_gap(np.array([2.0, 0.0]), residual, np.ones(2), ridge, 0.0)
        assert answer == (True, True, 2.0 * (3.0 - 1.0 - 1.0), (3.0 - 1.0) ** 2 / (2 * 0.5), 0.0)

    def test_residuals_within_rounding_are_none(self):
        ridge, residual, direction = np.array([0.5, 2.0]), np.array([1e-3, -1e-3]), np.array([2.0, 1.0])
        for rounding, counted in ((1e-3, 0.0), (0.9e-3, 1.0)):
            *_, penalty_gap, _ = conjugate_gap(direction, residual, np.ones(2), ridge, rounding)
            expected = np.sum((counted * residual - ridge * direction) ** 2 / (2 * ridge))
            assert_allclose(penalty_gap, expected, rtol=8 * EPS)

    @pytest.mark.parametrize("ridge", [0.0, 1.0])
    @pytest.mark.parametrize(
        "residual",
        [
            [0.0, 0.0, np.nan],
            [0.0, np.nan, 0.0],
        ],
    )
    def test_nan_explains_nothing(self, residual, ridge):
        answers = conjugate_gap(np.zeros(3), np.array(residual), np.ones(3), np.array([ridge, 0.0, 0.0]), 1.0)[:2]
        assert answers == (False, False)

    def test_no_parameters(self):
        assert conjugate_gap(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0), 0.0) == (True, True, 0.0, 0.0, 0.0)
