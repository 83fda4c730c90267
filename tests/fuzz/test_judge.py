"""The judge itself, against mpmath with 60 digits, and against what is known by construction."""

import mpmath
import numpy as np
import pytest
from extended import EPS, IS_EXTENDED, REAL, exact_dot, pivoted_qr
from judge import Problem, lower_bound, minimum
from separation import infimum, separation

pytestmark = pytest.mark.skipif(not IS_EXTENDED, reason="longdouble is no 80-bit float here")

mp = mpmath.mp.clone()
mp.dps = 60


def exact_minimum(X, labels, weight, strength, fit_intercept):
    """The minimum of the mean objective by damped Newton steps in 60 digits; one row of coefficients for each class but
    the first, whose own is minus their sum, or for two classes zero.
    """
    n, d = X.shape
    n_classes = int(labels.max()) + 1
    width, m = d + fit_intercept, n_classes - 1
    rows = mp.matrix([[mp.mpf(float(x)) for x in row] + [mp.mpf(1)] * fit_intercept for row in X])
    share = [mp.mpf(float(w)) / mp.mpf(float(weight.sum())) for w in weight]
    # logits of the classes and the coefficients under the penalty, from the m free rows
    lift = mp.matrix(n_classes, m)
    for k in range(m):
        lift[k + 1, k] = 1
        if n_classes > 2:
            lift[0, k] = -1
    gram = lift.T * lift
    theta = mp.zeros(m * width, 1)

    def at(theta, derivatives):
        W = mp.matrix(m, width)
        for k in range(m):
            for j in range(width):
                W[k, j] = theta[k * width + j]
        value, gradient, hessian = mp.mpf(0), mp.zeros(m * width, 1), mp.zeros(m * width, m * width)
        penalised = lift * W
        value += strength / 2 * sum(penalised[k, j] ** 2 for k in range(n_classes) for j in range(d))
        logits = rows * (lift * W).T
        for i in range(n):
            powers = [mp.exp(logits[i, k]) for k in range(n_classes)]
            total = sum(powers)
            value += share[i] * (mp.log(total) - logits[i, int(labels[i])])
            if not derivatives:
                continue
            prob = mp.matrix([p / total for p in powers])
            slope = lift.T * (prob - mp.matrix([int(k == labels[i]) for k in range(n_classes)]))
            curved = lift.T * (mp.diag(list(prob)) - prob * prob.T) * lift
            for a in range(m * width):
                gradient[a] += share[i] * slope[a // width] * rows[i, a % width]
                for b in range(m * width):
                    term = curved[a // width, b // width] * rows[i, a % width] * rows[i, b % width]
                    hessian[a, b] += share[i] * term
        if derivatives:
            for a in range(m * width):
                for k in range(m):
                    if a % width < d:
                        gradient[a] += strength * gram[a // width, k] * theta[k * width + a % width]
                        hessian[a, k * width + a % width] += strength * gram[a // width, k]
        return value, gradient, hessian

    for _ in range(200):
        value, gradient, hessian = at(theta, True)
        step = -mp.lu_solve(hessian, gradient)
        t = mp.mpf(1)
        while at(theta + t * step, False)[0] > value:
            t /= 2
            if t < mp.mpf(2) ** -30:
                return value
        theta += t * step
        if abs((gradient.T * step)[0]) < mp.mpf(10) ** -40 * value:
            return at(theta, False)[0]
    raise AssertionError("the reference does not converge")


def random_problem(seed, n, d, n_classes):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    labels = (X @ rng.normal(size=(d, n_classes)) + 2 * rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    labels[:n_classes] = np.arange(n_classes)
    return X, labels, rng.integers(1, 4, n).astype(float)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("strength", [1e-2, 1e-12])
@pytest.mark.parametrize("kind", ["plain", "units", "origin", "near copy", "sentinel"])
def test_minimum_is_that_of_60_digits(n_classes, fit_intercept, kind, strength):
    X, labels, weight = random_problem(3, 10, 2, n_classes)
    if kind == "units":
        X *= [1e-9, 1e8]
    elif kind == "origin":
        X[:, 0] += 1e11
    elif kind == "near copy":
        X[:, 1] = X[:, 0] + 1e-6 * X[:, 1]
    elif kind == "sentinel":
        X[3, 0] = 1e10
    expected = exact_minimum(X, labels, weight, mp.mpf(strength), fit_intercept)
    found = minimum(Problem(X, np.eye(n_classes)[labels], weight, strength, fit_intercept))
    assert found.is_certain
    # Logits that cancel from a million times as much have lost so much of the last bit.
    cancelled = {"near copy": 1e6, "origin": 1.0 if fit_intercept else 1e11}.get(kind, 1.0)
    assert abs(mp.mpf(str(found.value)) - expected) < 100 * cancelled * EPS * expected


def test_value_of_a_column_far_away():
    X = np.array([[1e12 + 1.0], [1e12 - 2.0], [1e12 + 0.5]])
    problem = Problem(X, np.eye(2)[[0, 1, 1]], np.ones(3), 0.25, True)
    logits = [mp.mpf(3) * (mp.mpf(x) - mp.mpf(10) ** 12) + mp.mpf(0.5) for x in X[:, 0]]
    expected = sum(mp.log1p(mp.exp(sign * u)) for sign, u in zip((1, -1, -1), logits, strict=True)) / 3 + mp.mpf(9) / 8
    assert abs(mp.mpf(str(problem.value_at([[3.0]], [0.5 - 3e12]))) - expected) < 1e-18 * expected


def test_exact_dot_rounds_once():
    assert exact_dot([REAL(2) ** 200, REAL(1), -(REAL(2) ** 200)], [1.0, 3.0, 1.0], 0.5) == 3.5


@pytest.mark.parametrize("n_classes", [2, 3])
def test_lower_bound_is_below_and_near(n_classes):
    X, labels, weight = random_problem(1, 50, 6, n_classes)
    problem = Problem(X, np.eye(n_classes)[labels], weight, 1e-2, True)
    found = minimum(problem)
    gap = found.value - lower_bound(problem, found.parameters)
    assert -10 * EPS <= gap <= 1e-16


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_rows_of_many_columns_are_solved_in_their_span(n_classes):
    X, labels, weight = random_problem(2, 12, 40, n_classes)
    X *= 10.0 ** np.random.default_rng(0).uniform(-3, 3, 40)
    problem = Problem(X, np.eye(n_classes)[labels], weight, 1e-4, True)
    found = minimum(problem)
    assert found.value - lower_bound(problem, found.parameters) <= 1e-13 * found.value


def test_classes_that_are_not_held_have_no_part():
    X, labels, weight = random_problem(4, 40, 3, 3)
    pair = labels < 2
    held = np.ones((3, 40), dtype=bool)
    held[2] = False
    of_three = Problem(X[pair], np.eye(3)[labels[pair]], weight[pair], 0.0, True)
    of_two = Problem(X[pair], np.eye(2)[labels[pair]], weight[pair], 0.0, True)
    expected = minimum(of_two).value
    assert abs(minimum(of_three.with_held(held[:, pair])).value - expected) <= 1e-15 * expected


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rounding_allowance_covers_rounded_coefficients(n_classes):
    X, labels, weight = random_problem(5, 60, 5, n_classes)
    X += 10.0 ** np.arange(5)
    problem = Problem(X, np.eye(n_classes)[labels], weight, 1e-3, True)
    found = minimum(problem)
    coef, intercept = problem.to_coef(found.parameters)
    rise = problem.value_at(coef.astype(np.float32), intercept.astype(np.float32)) - found.value
    allowance = problem.rounding_allowance(found.parameters, np.finfo(np.float32).eps)
    assert 1e-5 * allowance < rise <= allowance


def test_pivoted_qr_factors_what_can_be_told_apart():
    A = np.random.default_rng(0).normal(size=(9, 4)).astype(REAL)
    A[:, 3] = A[:, 0] - A[:, 1]
    factor = pivoted_qr(A, 1e-15)
    basis = factor.basis()
    assert factor.R.shape == (3, 4)
    np.testing.assert_allclose(basis @ factor.R, A[:, factor.columns], atol=50 * EPS)
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=50 * EPS)


def posed(X, labels, fit_intercept=True):
    labels = np.asarray(labels)
    return Problem(
        np.asarray(X, dtype=float), np.eye(labels.max() + 1)[labels], np.ones(len(labels)), 0.0, fit_intercept
    )


def test_separable_classes():
    found = separation(posed([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]))
    assert found.verdict == "separable"
    assert infimum(posed([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]), found).value == 0


def test_three_separable_classes():
    assert (
        separation(posed([[0, 0], [0.1, 0], [3, 0], [3, 0.2], [0, 4], [0, 5]], [0, 0, 1, 1, 2, 2])).verdict
        == "separable"
    )


@pytest.mark.parametrize("origin", [0.0, 1e12])
def test_classes_that_overlap(origin):
    assert separation(posed(np.array([[0.0], [1.0], [2.0], [3.0]]) + origin, [0, 1, 0, 1])).verdict == "no"
    assert separation(posed(np.tile([[0.0], [1.0]], (3, 1)) + origin, [0, 0, 1, 1, 2, 2])).verdict == "no"


def test_one_point_of_both_classes_separates_in_part():
    problem = posed([[0.0], [1.0], [1.0], [1.0], [2.0]], [0, 0, 1, 1, 1])
    found = separation(problem)
    assert found.verdict == "partly"
    assert np.array_equal(found.apart.any(axis=0), [True, False, False, False, True])
    of_rest = 3 * (np.log(3) - 2 / 3 * np.log(2)) / 5
    np.testing.assert_allclose(float(infimum(problem, found).value), of_rest, rtol=1e-15)


def test_a_flag_of_one_class_beside_a_year_and_its_square():
    rng = np.random.default_rng(0)
    year = rng.integers(1990, 2020, 80).astype(float)
    flag = (np.arange(80) < 3).astype(float)
    labels = np.where(flag > 0, 1, rng.integers(0, 2, 80))
    problem = posed(np.column_stack([year, year**2, flag, np.where(np.arange(80) == 40, 1e10, 0.0)]), labels)
    found = separation(problem)
    assert found.verdict == "partly"
    assert np.array_equal(np.flatnonzero(found.apart.any(axis=0)), [0, 1, 2, 40])
    rest = ~found.apart.any(axis=0)
    expected = minimum(posed(np.column_stack([year, year**2])[rest], labels[rest])).value * rest.mean()
    assert abs(infimum(problem, found).value - expected) <= 1e-12 * expected


def test_soft_targets_hold_a_direction_back():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    shares = np.array([0.0, 0.0, 1.0, 0.9])
    target = np.column_stack([1 - shares, shares])
    assert separation(Problem(X, target, np.ones(4), 0.0, True)).verdict == "no"
    assert separation(Problem(X[:3], target[:3], np.ones(3), 0.0, True)).verdict == "separable"


def test_what_only_rounding_separates_is_left_alone_at_a_resolution():
    X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0 + 4e-16], [3.0, 3.0 + 5e-16]])
    problem = posed(X, [0, 1, 0, 1])
    assert separation(problem).verdict in ("separable", "partly")
    assert separation(problem, resolution=1e-10).verdict == "no"
