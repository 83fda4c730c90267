"""Unpenalised fits of classes that are separable: they end at the infimum, which the others' optimum is."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression


def data(n_classes=2, n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = (X @ rng.normal(size=(3, n_classes)) + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    return X, y


def separable_fit(X, y, sample_weight=None, **options):
    """The model of an unpenalised fit, its last objective, and what it says the distance from the infimum is."""
    with pytest.warns(ConvergenceWarning, match="separable") as record:
        model = LogisticRegression(C=np.inf, **options).fit(X, y, sample_weight)
    assert len(record) == 1
    return model, model.loss_curve_[-1]


def optimum(X, y, sample_weight=None, **options):
    """The least value of classes that are not separable."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return LogisticRegression(C=np.inf, tol=1e-6, **options).fit(X, y, sample_weight).loss_curve_[-1]


@pytest.mark.parametrize("layout", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sentinel", [None, 1e6])
def test_the_infimum_is_the_optimum_of_the_others(layout, n_classes, sentinel):
    """Two dummies, one inside of the other, tell of samples of one class; so does a column of a third."""
    X, y = data(n_classes)
    dummies = np.zeros((400, 2))
    dummies[:20, 0] = dummies[:5, 1] = 1.0
    y[:20] = 1
    if sentinel is not None:
        X[3, 0] = sentinel
    model, value = separable_fit(layout(np.column_stack([X, dummies])), y)
    infimum = optimum(X[20:], y[20:]) * 380 / 400
    assert -1e-12 <= value / infimum - 1 <= model.gap_ + 1e-12
    assert model.gap_ <= 1e-8


def test_a_class_that_some_samples_cannot_have():
    """A dummy of samples of two of three classes: they are set apart from the third, and stay undecided."""
    X, y = data(3)
    dummy = np.arange(400) < 60
    y[dummy] = np.where(y[dummy] == 2, 0, y[dummy])
    columns = np.column_stack([X, dummy])
    model, value = separable_fit(columns, y)
    far = LogisticRegression(C=1e8, tol=1e-7).fit(columns, y).loss_curve_[-1]
    assert far - 1e-6 <= value <= far
    assert model.predict_proba(columns[dummy])[:, 2].max() < 1e-12
    assert model.gap_ <= 1e-8


def test_in_turn():
    """Without the samples that the first direction sets apart, others are separable."""
    X, y = data()
    steps = np.zeros(400)
    steps[:4], steps[4:9], y[:9] = 1e5, 1e-3, 1
    steps[9:40] = -1e-3 * (np.arange(9, 40) % 3 == 0)
    y[9:40] = (np.arange(9, 40) % 3 != 0) & y[9:40].astype(bool)
    model, value = separable_fit(np.column_stack([X, steps]), y)
    others = steps == 0
    infimum = optimum(X[others], y[others]) * others.mean()
    assert -1e-12 <= value / infimum - 1 <= model.gap_ + 1e-12
    assert model.gap_ <= 1e-8


@pytest.mark.parametrize("n_classes", [2, 3])
def test_soft_targets(n_classes):
    X, y = data(n_classes)
    target = 0.8 * np.eye(n_classes)[y] + 0.2 / n_classes
    dummy = np.arange(400) < 10
    target[dummy] = np.eye(n_classes)[1]
    given = target[:, 1] if n_classes == 2 else target
    columns = np.column_stack([X, dummy])
    model, value = separable_fit(columns, given, soft_targets=True)
    infimum = optimum(X[~dummy], given[~dummy], soft_targets=True) * 390 / 400
    assert -1e-12 <= value / infimum - 1 <= model.gap_ + 1e-12
    target[0] = 1 / n_classes  # one that no direction may change
    given = target[:, 1] if n_classes == 2 else target
    optimum(columns, given, soft_targets=True)


def test_a_column_alone_parts_no_shared_sample():
    """Labels beside probabilities: what sets the former apart moves the latter."""
    x = np.concatenate([np.linspace(-2, -1, 9), np.linspace(1, 2, 9), [-0.5, 0.5]])
    target = np.concatenate([np.zeros(9), np.ones(9), [0.4, 0.6]])
    optimum(x[:, np.newaxis], target, soft_targets=True)
    x[18:] = 0.0
    _, value = separable_fit(x[:, np.newaxis], target, soft_targets=True)
    infimum = -(0.4 * np.log(0.5) + 0.6 * np.log(0.5)) * 2 / 20
    assert value == pytest.approx(infimum, rel=1e-8)


def test_samples_without_weight_do_not_count():
    X, y = data()
    dummy = np.arange(400) < 10
    y[dummy] = 1
    y[0] = 0
    weight = np.where(np.arange(400) == 0, 0.0, 1.5)
    columns = np.column_stack([X, dummy])
    optimum(columns, y)
    model, value = separable_fit(columns, y, weight)
    infimum = optimum(X[~dummy], y[~dummy]) * 390 / 399
    assert -1e-12 <= value / infimum - 1 <= model.gap_ + 1e-12


def test_complete_separation_by_several_directions():
    rng = np.random.default_rng(0)
    X = np.eye(30) * 10.0 ** rng.uniform(-6, 6, 30)
    _, value = separable_fit(X, np.arange(30) % 2)
    assert value <= 1e-8


def test_a_loss_of_a_ten_billionth_is_one():
    """A column of a sentinel of two samples and a one of a third, which loses what they would gain."""
    X, y = np.zeros((46, 2)), np.arange(46) % 2
    X[:, 1] = np.arange(46) % 3 == 0
    X[:3, 0], y[:3] = [1e10, 1e10, 1.0], [0, 0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LogisticRegression(C=np.inf).fit(X, y)
    assert model.gap_ <= 1e-8
