"""Columns far from zero beside their spread, or with squares that vanish; what rounding their coefficients costs."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression
from fastlogreg.objectives.origin import moved

LAYOUTS = [np.ascontiguousarray, np.asfortranarray, sp.csr_array]


def data(n_classes=2, n=400):
    """Values of few bits, which far origins do not round."""
    rng = np.random.default_rng(n_classes)
    X = np.round(rng.normal(size=(n, 3)) * 64) / 64
    y = (X @ rng.normal(size=(3, n_classes)) + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    return X, y


def exact_sum(first, terms, factors):
    """``first + terms @ factors``, rounded once."""
    products = (Fraction(float(term)) * Fraction(float(factor)) for term, factor in zip(terms, factors, strict=True))
    return float(Fraction(float(first)) + sum(products))


def exact_objective(model, X, y, far=(0.0, 0.0, 0.0)):
    """The mean objective of the stored coefficients over X + far: no far term enters a rounded sum."""
    intercept = [exact_sum(b, row, far) for b, row in zip(model.intercept_, model.coef_, strict=True)]
    coef = model.coef_.astype(np.longdouble)
    logits = X.astype(np.longdouble) @ coef.T + intercept
    if logits.shape[1] == 1:
        logits = np.column_stack([np.zeros(len(X)), logits])
    logits -= logits.max(axis=1, keepdims=True)
    loss = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y])
    return loss + np.sum(coef**2) / (2 * model.C * len(y))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("far", [1e7, -(2.0**32), 2.0**36])
def test_far_columns_are_as_good_as_centred_ones(layout, n_classes, C, far):
    X, y = data(n_classes)
    near = LogisticRegression(C=C, tol=1e-6).fit(X, y)
    origin = [far, 0.0, 2 * far]
    model = LogisticRegression(C=C, tol=1e-6).fit(layout(X + origin), y)
    assert_allclose(model.coef_, near.coef_, rtol=1e-6, atol=1e-9)
    value, lowest = exact_objective(model, X, y, origin), exact_objective(near, X, y)
    assert value - lowest <= (model.gap_ + 1e-12) * lowest
    assert model.gap_proven_


def test_what_float64_cannot_hold_is_said():
    X, y = data()
    origin = [2.0**46, 0.0, 0.0]
    with pytest.warns(
        ConvergenceWarning, match=r"float64 does not hold the optimal coefficients.*subtract their means"
    ):
        model = LogisticRegression().fit(X + origin, y)
    near = LogisticRegression(tol=1e-6).fit(X, y)
    lowest = exact_objective(near, X, y)
    risen = float(exact_objective(model, X, y, origin) / lowest - 1)
    assert 1e-9 < risen <= 1.001 * model.gap_


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_classes", [2, 3])
class TestFloat32:
    def test_keeps_its_type_where_that_costs_nothing(self, layout, n_classes):
        X, y = data(n_classes)
        for C in (1e-3, 1.0, np.inf):
            model = LogisticRegression(C=C).fit(layout(X.astype(np.float32)), y)
            assert model.coef_.dtype == model.intercept_.dtype == np.float32

    def test_gives_float64_where_it_would_not_hold_the_optimum(self, layout, n_classes):
        X, y = data(n_classes)
        X = np.add(X, [2.0**14, 0.0, 2.0**15], dtype=np.float64).astype(np.float32)
        model = LogisticRegression().fit(layout(X), y)
        assert model.coef_.dtype == model.intercept_.dtype == np.float64
        lowest = exact_objective(LogisticRegression(tol=1e-6).fit(X.astype(np.float64), y), X, y)
        assert exact_objective(model, X, y) - lowest <= 1e-9 * lowest
        assert model.predict_proba(layout(X)).shape == (len(X), n_classes)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scale", [2.0**-500, 2.0**-530, 2.0**-900])
def test_small_columns_count_without_a_penalty(layout, fit_intercept, scale):
    X, y = data()
    options = {"C": np.inf, "fit_intercept": fit_intercept}
    expected = LogisticRegression(**options).fit(X, y)
    model = LogisticRegression(**options).fit(layout(X * [scale, 1.0, 1.0]), y)
    assert_allclose(model.coef_ * [scale, 1.0, 1.0], expected.coef_, rtol=1e-9)
    assert model.gap_proven_
    warm = LogisticRegression(warm_start=True, **options).fit(layout(X * [scale, 1.0, 1.0]), y)
    assert warm.fit(layout(X * [scale, 1.0, 1.0]), y).n_iter_[0] <= 1


def test_the_moved_intercept_is_rounded_once():
    rng = np.random.default_rng(0)
    coef, origin = rng.normal(size=(2, 9)), 1e12 * rng.normal(size=9)
    intercept = -(coef @ origin) + rng.normal(size=2)
    expected = [exact_sum(b, row, origin) for b, row in zip(intercept, coef, strict=True)]
    assert moved(intercept, coef, origin).tolist() == expected
