"""Unpenalised fits: what is said of separable classes, and how far such fits go."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression


def said(X, y, **options):
    """The model of an unpenalised fit, and whether it says that the classes are separable."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=np.inf, **options).fit(X, y)
    return model, any("separable" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("tol", [1e-4, 1e-2, 0.1])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_overlapping_classes_are_not_called_separable(n_classes, tol):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(500, 4))
        y = np.digitize(5 * X[:, 0] + rng.logistic(size=500), [-1.0, 1.0][: n_classes - 1])
        assert not said(X, y, tol=tol)[1]


@pytest.mark.parametrize("layout", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("kind", ["trend", "large entry", "sentinel"])
def test_a_dummy_of_one_class_is_noticed_beside_other_columns(kind, layout):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        year = rng.integers(1990, 2021, 400).astype(float)
        X = np.column_stack([year, year**2]) if kind == "trend" else rng.normal(size=(400, 2))
        if kind != "trend":
            X[1, 0] = 1e4 if kind == "large entry" else 9999999999.0
        y = (rng.random(400) < 0.5).astype(int)
        dummy = rng.random(400) < 0.05
        dummy[1] = False
        y[dummy] = 1
        model, separable = said(layout(np.column_stack([X, dummy])), y)
        assert separable
        assert not model.gap_proven_


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_fits_go_on_to_the_infimum(n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    X[:, 0] = np.sign(X[:, 0]) * (0.1 + np.abs(X[:, 0]))
    y = np.digitize(X[:, 0], [0.0, 1.0][: n_classes - 1])
    if n_classes == 3:
        X = np.column_stack([X, y == 1])
    model, separable = said(X, y)
    assert separable
    prob = model.predict_proba(X)[np.arange(60), y]
    assert -np.log(prob).mean() <= 1e-8


def test_a_start_far_off_is_judged_by_where_the_fit_ends():
    """One column changes its unit between two fits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X @ [1, -1, 0.5, 0] + rng.normal(size=200) > 0).astype(int)
    model = LogisticRegression(warm_start=True, C=np.inf).fit(X * [1e-9, 1, 1, 1], y)
    model.set_params(C=1.0).fit(X, y)
    np.testing.assert_allclose(model.coef_, LogisticRegression().fit(X, y).coef_, rtol=1e-3, atol=1e-3)


def test_one_warning():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    with pytest.warns(ConvergenceWarning, match="separable") as record:
        LogisticRegression(C=np.inf).fit(X, [0, 0, 1, 1])
    assert len(record) == 1
