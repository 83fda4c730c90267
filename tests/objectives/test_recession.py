"""Directions in which the loss falls without end."""

import numpy as np
import posing
import pytest
import scipy.sparse as sp

from fastlogreg.data.layouts import as_design
from fastlogreg.objectives import recession
from fastlogreg.objectives.recession import recession_direction


def data(n=300, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) * [1.0, 100.0, 0.01] + [0.0, 1e4, 0.0]
    logits = ((X - [0.0, 1e4, 0.0]) / [1.0, 100.0, 0.01]) @ rng.normal(size=(3, n_classes))
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def posed(X, y, n_classes=2, weight=None, layout=np.asarray):
    if n_classes == 2:
        return posing.binary(as_design(layout(X)), y.astype(np.uint8), sample_weight=weight)
    return posing.softmax(as_design(layout(X)), y.astype(np.intp), n_classes, sample_weight=weight)


def loses_nothing(objective, direction, X, y, weight=None):
    """Whether a direction takes nothing from the margin of any sample, and gives to some."""
    if direction is None:
        return False
    coef, intercept = objective.to_coef(direction)
    logits = X @ coef.T + intercept
    logits = np.column_stack([np.zeros(len(X)), logits]) if logits.shape[1] == 1 else logits
    counted = np.arange(len(X)) if weight is None else np.flatnonzero(weight)
    gains = (logits[np.arange(len(X)), y][:, np.newaxis] - logits)[counted]
    return gains.min() >= -1e-8 * gains.max() and gains.max() > 0


@pytest.mark.parametrize("layout", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_classes", [2, 3])
class TestRecessionDirection:
    def test_none_where_classes_overlap(self, n_classes, layout):
        X, y = data(n_classes=n_classes)
        assert recession_direction(posed(X, y, n_classes, layout=layout)) is None

    @pytest.mark.parametrize("sentinel", [None, 1e4, 1e6])
    def test_a_dummy_of_one_class_only(self, n_classes, layout, sentinel):
        X, y = data(n_classes=n_classes)
        dummy = np.zeros(300)
        dummy[np.flatnonzero(y)[:7]] = 1.0
        y[dummy == 1] = 1
        if sentinel is not None:
            X[np.flatnonzero(dummy == 0)[0], 0] = sentinel
        X = np.column_stack([X, dummy])
        objective = posed(X, y, n_classes, layout=layout)
        assert loses_nothing(objective, recession_direction(objective), X, y)

    def test_complete_separation(self, n_classes, layout):
        X, _ = data()
        y = np.digitize(X[:, 2], [0.0, 0.005][: n_classes - 1])
        X = np.column_stack([X, y == 1, y == 2])
        objective = posed(X, y, n_classes, layout=layout)
        assert loses_nothing(objective, recession_direction(objective), X, y)

    def test_samples_without_weight_do_not_count(self, n_classes, layout):
        X, y = data(n_classes=n_classes)
        dummy = np.zeros(300)
        dummy[:9] = 1.0
        y[:7], y[7], y[8] = 1, 0, n_classes - 1
        X = np.column_stack([X, dummy])
        assert recession_direction(posed(X, y, n_classes, layout=layout)) is None
        weight = np.ones(300)
        weight[7:9] = 0.0
        objective = posed(X, y, n_classes, weight, layout)
        assert loses_nothing(objective, recession_direction(objective), X, y, weight)

    def test_the_same_from_few_samples_at_a_time(self, n_classes, layout, monkeypatch):
        monkeypatch.setattr(recession, "ALL_AT_ONCE", 0)
        self.test_none_where_classes_overlap(n_classes, layout)
        self.test_a_dummy_of_one_class_only(n_classes, layout, None)


def test_unknown_with_too_many_unknowns(monkeypatch):
    monkeypatch.setattr(recession, "MAX_UNKNOWNS", 3)
    X, _ = data()
    y = (X[:, 0] + 100 * X[:, 2] > 0).astype(int)
    assert recession_direction(posed(X, y)) is None
    assert recession_direction(posed(X, (X[:, 0] > 0).astype(int))) is not None  # a column alone
