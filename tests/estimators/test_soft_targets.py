"""Soft targets are scored by their cross-entropy, searched by it, and refused where they know one class only."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastlogreg import LogisticRegression


def make_data(n_classes=3, n=240, d=4, noise=0.7):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    logits = X @ rng.normal(size=(d, n_classes)) + noise * rng.normal(size=(n, n_classes))
    target = softmax(logits, axis=1)
    return X, target[:, 1] if n_classes == 2 else target


@pytest.fixture(params=[2, 3])
def data(request):
    return make_data(request.param)


class TestScore:
    @pytest.mark.parametrize("of_layout", [np.asarray, sp.csr_matrix, np.ndarray.tolist])
    def test_is_minus_the_mean_cross_entropy(self, data, of_layout):
        X, target = data
        model = LogisticRegression(soft_targets=True).fit(X, target)
        logits = X @ model.coef_.T + model.intercept_
        if target.ndim == 1:
            logits, target = np.hstack([0 * logits, logits]), np.column_stack([1 - target, target])
        expected = np.mean(np.sum(target * log_softmax(logits, axis=1), axis=1))
        y = data[1] if of_layout is np.asarray else data[1].tolist()
        assert model.score(of_layout(X), y) == pytest.approx(expected, rel=1e-12)

    def test_of_labels_in_rows_is_scikit_learns_log_loss(self):
        X, target = make_data()
        model, labels = LogisticRegression(soft_targets=True).fit(X, target), target.argmax(axis=1)
        expected = -log_loss(labels, model.predict_proba(X))
        assert model.score(X, np.eye(3)[labels]) == pytest.approx(expected, rel=1e-12)

    def test_weights_and_counts_are_repetition(self, data):
        X, target = data
        model = LogisticRegression(soft_targets=True).fit(X, target)
        weight = np.random.default_rng(1).integers(0, 4, len(X))
        expected = model.score(np.repeat(X, weight, axis=0), np.repeat(target, weight, axis=0))
        assert model.score(X, target, sample_weight=weight) == pytest.approx(expected, rel=1e-12)
        rows = target if target.ndim == 2 else np.column_stack([1 - target, target])
        assert model.score(X, weight[:, None] * rows) == pytest.approx(expected, rel=1e-12)

    def test_of_labels_stays_the_accuracy(self):
        X, target = make_data()
        y = target.argmax(axis=1)
        model = LogisticRegression().fit(X, y)
        assert model.score(X, y) == np.mean(model.predict(X) == y)

    def test_a_part_may_know_one_class_only(self):
        X, target = make_data(2)
        model = LogisticRegression(soft_targets=True).fit(X, target)
        expected = np.mean(model.predict_log_proba(X[:5])[:, 1])
        assert model.score(X[:5], np.ones(5)) == pytest.approx(expected, rel=1e-12)

    def test_mistakes_are_told(self, data):
        X, target = data
        model = LogisticRegression(soft_targets=True).fit(X, target)
        with pytest.raises(ValueError, match="y has probabilities of 5 classes"):
            model.score(X, np.ones((len(X), 5)))
        with pytest.raises(ValueError, match=r"probabilities in \[0, 1\]"):
            model.score(X, np.arange(len(X)))
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            model.score(X, target[:-1])
        with pytest.raises(ValueError, match="y contains NaN"):
            model.score(X, target * np.nan)
        with pytest.raises(ValueError, match=r"Sample weights must|No sample has a weight"):
            model.score(X, target, sample_weight=np.zeros(len(X)))


class TestSearch:
    def test_finds_the_strength_that_predicts_best(self, data):
        X, target = data
        model = LogisticRegression(soft_targets=True)
        strengths = [1e-4, 1e-2, 1.0]
        search = GridSearchCV(model, {"C": strengths}, cv=3).fit(X, target)
        scores = [cross_val_score(model.set_params(C=C), X, target, cv=3).mean() for C in strengths]
        np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores, rtol=1e-12)
        assert search.best_params_["C"] == strengths[int(np.argmax(scores))] == 1.0
        assert len(set(scores)) == 3


class TestOneClass:
    @pytest.mark.parametrize("only", [0, 1, 2])
    @pytest.mark.parametrize("scale", [1.0, 3.0])
    def test_is_refused(self, only, scale):
        X, _ = make_data()
        rows = np.zeros((len(X), 3))
        rows[:, only] = scale
        with pytest.raises(ValueError, match=f"at least 2 classes.* only to one class, {only}"):
            LogisticRegression(soft_targets=True).fit(X, rows)

    @pytest.mark.parametrize("only", [0.0, 1.0])
    def test_of_two_is_refused(self, only):
        X, _ = make_data()
        for y in (np.full(len(X), only), np.column_stack([np.full(len(X), 1 - only), np.full(len(X), only)])):
            with pytest.raises(ValueError, match=f"at least 2 classes.* only to one class, {only:.0f}"):
                LogisticRegression(soft_targets=True).fit(X, y)

    def test_that_has_all_the_weight_is_refused(self, data):
        X, target = data
        target = target.copy()
        weight = np.zeros(len(X))
        weight[:50] = 1.0
        target[:50] = 1.0 if target.ndim == 1 else [0.0, 1.0, 0.0]
        with pytest.raises(ValueError, match="only to one class, 1"):
            LogisticRegression(soft_targets=True).fit(X, target, sample_weight=weight)
        weight[50] = 0.5
        assert LogisticRegression(soft_targets=True).fit(X, target, sample_weight=weight).gap_ < 1e-9
