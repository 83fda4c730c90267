"""Newton directions in combinations of columns that depend on one another."""

import numpy as np
import posing
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from fastlogreg import LogisticRegression
from fastlogreg.curvature.conditioned import ConditionedColumns
from fastlogreg.curvature.factored import FactoredHessian
from fastlogreg.data.layouts import as_design


def business_table(seed, n=3000):
    """Amounts with copies, near copies and sums, flags that few rows carry, and sentinels; and labels."""
    rng = np.random.default_rng(seed)
    columns = []
    for _ in range(4):
        active = rng.random(n) < rng.choice([0.9, 0.3, 0.05])
        amount = np.where(active, np.round(np.exp(rng.normal(rng.uniform(3, 10), 1.5, n)), 2), 0.0)
        near = amount.copy()
        near[rng.integers(0, n, 3)] += 300.0
        part = np.where(rng.random(n) < 0.3, amount, 0.0)
        ratio = part / np.maximum(amount, 1.0)
        ratio[rng.integers(0, n, rng.choice([1, 5, 30]))] = 9999999999.0
        rare = np.zeros(n)
        rare[rng.integers(0, n, rng.choice([1, 4]))] = 9e4
        columns += [amount, amount, near, part, amount - part, ratio, rare, 2 * rare, np.zeros(n)]
    X = np.column_stack([*columns, rng.gamma(3, 11, n), np.where(rng.random(n) < 0.003, -999999.0, 2.0)])
    logits = -1.5 + 0.03 * (X[:, -2] - 33) + 0.1 * np.log1p(X[:, 0])
    return X, (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(int)


class TestFits:
    @pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
    @pytest.mark.parametrize("seed", range(4))
    def test_business_tables_end_at_the_optimum_in_tens_of_passes(self, seed, C):
        """Dense and sparse, without a warning, and no neighbour in the coefficients' space is lower."""
        X, y = business_table(seed)
        values = []
        for layout in (X, np.asfortranarray(X), sp.csr_array(X)):
            model = LogisticRegression(C=C).fit(layout, y)
            assert model.n_passes_ <= 80
            assert np.isfinite(model.gap_)
            values.append(_value(model, X, y, C))
        assert_allclose(values, min(values), rtol=2e-9)
        weaker = LogisticRegression(C=C, tol=1e-6).fit(X, y)
        assert_allclose(values, _value(weaker, X, y, C), rtol=2e-9)

    def test_copies_share_a_coefficient(self):
        X, y = business_table(0)
        coef = LogisticRegression().fit(X, y).coef_[0]
        assert_allclose(coef[0::9][:4], coef[1::9][:4], rtol=1e-6, atol=1e-12)

    def test_without_a_penalty_copies_have_the_least_norm(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 4))
        y = (X[:, 0] + rng.logistic(size=300) > 0).astype(int)
        model = LogisticRegression(C=np.inf).fit(np.column_stack([X, X[:, 0], X[:, 1] + X[:, 2]]), y)
        assert model.gap_proven_
        assert_allclose(model.coef_[0, 0], model.coef_[0, 4], rtol=1e-7)


def _value(model, X, y, C):
    """The mean objective in extended precision."""
    coef = model.coef_[0].astype(np.longdouble)
    u = X.astype(np.longdouble) @ coef + model.intercept_[0]
    return float(np.logaddexp(0, np.where(y == 1, -u, u)).mean() + coef @ coef / (2 * C * len(y)))


class TestConditionedColumns:
    @pytest.fixture(params=[0.0, 1e-13])
    def columns(self, request):
        rng = np.random.default_rng(1)
        X = rng.normal(size=(200, 4))
        X = np.column_stack([X, X[:, 0], X[:, 0] + 1e-6 * rng.normal(size=200), np.ones(200)])
        objective = posing.binary(as_design(X), (X[:, 0] > 0.3).astype(np.uint8), l2=request.param)
        point = objective.evaluate(0.1 * rng.normal(size=objective.n_parameters) * (objective.mean_squares > 0))
        hessian = FactoredHessian.of(objective, point)
        assert hessian.is_singular
        return objective, point, ConditionedColumns(objective, hessian)

    def test_directions_solve_the_newton_equations(self, columns):
        objective, point, conditioned = columns
        direction, residual = conditioned.hessian(point).solve(point.gradient)
        exact = point.gradient + objective.hessian(point).dot(direction)
        assert_allclose(residual, exact, rtol=0, atol=1e-10)
        assert np.abs(exact).max() < 1e-9 * np.abs(point.gradient).max()

    def test_gradients_go_there_and_back(self, columns):
        objective, point, conditioned = columns
        conditioned.hessian(point)
        back = conditioned.of_combined_gradient(conditioned.combined_gradient(point.gradient))
        assert_allclose(back, point.gradient * (objective.mean_squares > 0), rtol=0, atol=1e-10)

    def test_losses_of_all_samples_are_the_objective_s(self, columns):
        objective, point, conditioned = columns
        hessian = conditioned.hessian(point)
        losses = conditioned.losses_from(point, np.arange(200))
        step = 0.1 * np.random.default_rng(2).normal(size=len(hessian.matrix())) * (np.diagonal(hessian.matrix()) > 0)
        there = objective.evaluate(point.parameters + conditioned.direction(step))
        of_penalty = objective.penalty.value(there.parameters)
        assert_allclose(losses.evaluate(step).value, there.value - of_penalty, rtol=1e-9)
