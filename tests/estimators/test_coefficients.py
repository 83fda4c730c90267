"""Coefficients that were set by hand, or that a fit begins with: predictions and starts."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model
from sklearn.exceptions import NotFittedError
from stochastic import KINDS, fitted, make_data

from fastlogreg import LogisticRegression, SGDLogisticRegression

ESTIMATORS = [LogisticRegression, SGDLogisticRegression]
THEIRS = {LogisticRegression: linear_model.LogisticRegression, SGDLogisticRegression: linear_model.SGDClassifier}


@pytest.fixture(params=ESTIMATORS)
def make(request):
    return request.param


@pytest.fixture(params=[2, 4])
def n_classes(request):
    return request.param


def coefficients(n_classes, d=7, seed=0):
    n_outputs = n_classes if n_classes > 2 else 1
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_outputs, d)), rng.standard_normal(n_outputs)


def with_coefficients(model, coef, intercept, classes):
    model.coef_, model.intercept_, model.classes_ = coef, intercept, np.asarray(classes)
    return model


class TestPredictions:
    @pytest.mark.parametrize("labels", [[0, 1, 2, 3], ["a", "b", "c", "d"]])
    @pytest.mark.parametrize("of_layout", [np.asarray, sp.csr_matrix, np.ndarray.tolist])
    def test_without_a_fit_are_scikit_learns(self, make, n_classes, labels, of_layout):
        X, y = make_data(n_classes=n_classes)
        X, labels = of_layout(X), np.array(labels[:n_classes])
        ours = with_coefficients(make(), *coefficients(n_classes), labels)
        theirs = with_coefficients(linear_model.LogisticRegression(), *coefficients(n_classes), labels)
        for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
            expected = getattr(theirs, method)(X)
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(getattr(ours, method)(X), expected, rtol=1e-12, atol=1e-13)
            else:
                np.testing.assert_array_equal(getattr(ours, method)(X), expected)
        assert ours.score(X, labels[y]) == theirs.score(X, labels[y])

    @pytest.mark.parametrize("intercept", [0.3, [0.3], None])
    def test_shapes_that_scikit_learn_takes(self, make, intercept):
        """One row of coefficients without its dimension; an intercept that is a number, or none at all."""
        X, _ = make_data()
        coef = coefficients(2)[0][0]
        model = make(fit_intercept=intercept is not None)
        model.coef_, model.classes_ = coef.tolist(), ["no", "yes"]
        if intercept is not None:
            model.intercept_ = intercept
        logits = X @ coef + (0.3 if intercept else 0.0)
        np.testing.assert_allclose(model.decision_function(X), logits, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(model.predict(X), np.where(logits > 0, "yes", "no"))

    def test_after_a_fit(self, make, n_classes):
        X, y = make_data(n_classes=n_classes)
        model = make().fit(X, y)
        coef, intercept = coefficients(n_classes)
        model.coef_, model.intercept_ = coef, intercept
        unfitted = with_coefficients(make(), coef, intercept, range(n_classes))
        np.testing.assert_array_equal(model.predict_proba(X), unfitted.predict_proba(X))

    def test_mistakes_are_told(self, make):
        X, _ = make_data()
        model = with_coefficients(make(), *coefficients(2), [0, 1])
        for wrong in (X[:, :3], sp.csr_matrix(X[:, :3])):
            with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 7 features"):
                model.predict(wrong)
        with pytest.raises(ValueError, match=r"coef_ has 4 rows, .* the 2 classes"):
            with_coefficients(make(), *coefficients(4), [0, 1]).predict(X)
        with pytest.raises(ValueError, match="do not fit each other"):
            with_coefficients(make(), coefficients(4)[0], np.zeros(3), range(4)).predict(X)
        model = make()
        model.classes_ = np.array([0, 1])
        with pytest.raises(NotFittedError):
            model.predict(X)


class TestWarmStart:
    def test_from_coefficients_set_by_hand(self, n_classes):
        X, y = make_data(n_classes=n_classes)
        best = LogisticRegression(tol=1e-8).fit(X, y)
        for classes in (best.classes_, None):
            model = LogisticRegression(warm_start=True)
            model.coef_, model.intercept_ = best.coef_, best.intercept_
            if classes is not None:
                model.classes_ = classes
            assert model.fit(X, y).n_iter_[0] <= 1
            np.testing.assert_allclose(model.coef_, best.coef_, rtol=0, atol=1e-6)

    def test_of_gradient_steps_is_scikit_learns(self):
        X, y = make_data()
        options = {"learning_rate": "constant", "eta0": 1e-3, "tol": None, "max_iter": 2, "warm_start": True}
        ours, theirs = SGDLogisticRegression(**options), linear_model.SGDClassifier(loss="log_loss", **options)
        for model in (ours, theirs):
            with_coefficients(model, *coefficients(2), [0, 1]).set_params(random_state=0).fit(X, y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)

    @pytest.mark.parametrize("known", [4, 3, 2])
    @pytest.mark.parametrize("new", [4, 3, 2])
    def test_from_other_classes_is_refused(self, make, known, new):
        X, y = make_data(n_classes=4)
        options = {} if make is LogisticRegression else {"max_iter": 2, "tol": None}
        model = make(warm_start=True, **options).fit(X, y % known)
        coef, classes = model.coef_, model.classes_
        shifted = y % new + (known == new)
        with pytest.raises(ValueError, match="warm_start: the coefficients are those of the classes"):
            model.fit(X, shifted)
        assert model.coef_ is coef
        assert model.classes_ is classes
        with pytest.raises(ValueError, match="warm_start: the coefficients are those of the classes"):
            model.fit(X, np.array(list("abcd"))[y % known])
        np.testing.assert_array_equal(model.set_params(warm_start=False).fit(X, shifted).classes_, np.unique(shifted))

    def test_from_what_does_not_fit_is_refused(self, make):
        X, y = make_data(n_classes=4)
        model = make(warm_start=True).fit(X, y)
        with pytest.raises(ValueError, match="warm_start: the coefficients are those of 7 features, X has 5"):
            model.fit(X[:, :5], y)
        assert model.n_features_in_ == 7
        model = make(warm_start=True)
        model.coef_, model.intercept_ = coefficients(2)
        with pytest.raises(ValueError, match="warm_start: coef_ has 1 rows"):
            model.fit(X, y)
        model.coef_[0, 2] = np.nan
        with pytest.raises(ValueError, match="coef_ contains NaN"):
            model.fit(X, y % 2)


class TestStartOfStochasticFits:
    @pytest.mark.parametrize("shape", [(1, 7), (7,)])
    @pytest.mark.parametrize("given", itertools.product([True, False], repeat=2))
    def test_is_scikit_learns(self, shape, given):
        X, y = make_data()
        start = {"coef_init": coefficients(2)[0].reshape(shape), "intercept_init": 0.5}
        start = {name: value for (name, value), take in zip(start.items(), given, strict=True) if take}
        options = {"learning_rate": "constant", "eta0": 1e-3, "tol": None, "max_iter": 2, "random_state": 0}
        ours = SGDLogisticRegression(**options).fit(X, y, **start)
        theirs = linear_model.SGDClassifier(loss="log_loss", **options).fit(X, y, **start)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)

    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_is_a_warm_start_from_the_same(self, kind, n_classes):
        X, y = make_data(n_classes=n_classes)
        coef, intercept = coefficients(n_classes)
        warm = with_coefficients(SGDLogisticRegression(warm_start=True), coef, intercept, range(n_classes))
        warm.set_params(tol=None, max_iter=2, random_state=0, **kind).fit(X, y)
        of_fit = {"coef_init": coef.tolist(), "intercept_init": intercept}
        given = fitted(X, y, tol=None, max_iter=2, random_state=0, of_fit=of_fit, **kind)
        np.testing.assert_array_equal(given.coef_, warm.coef_)
        # they take the place of a warm start's, too
        warm.coef_, warm.intercept_ = coefficients(n_classes, seed=1)
        np.testing.assert_array_equal(warm.fit(X, y, **of_fit).coef_, given.coef_)

    def test_mistakes_are_told(self, n_classes):
        X, y = make_data(n_classes=n_classes)
        model = SGDLogisticRegression()
        coef, intercept = coefficients(n_classes)
        with pytest.raises(ValueError, match="coef_init has the shape"):
            model.fit(X, y, coef_init=coef[:, :3])
        with pytest.raises(ValueError, match="intercept_init has the shape"):
            model.fit(X, y, intercept_init=np.zeros(3))
        with pytest.raises(ValueError, match="coef_init contains NaN"):
            model.fit(X, y, coef_init=coef * np.nan)
        with pytest.raises(ValueError, match="intercept_init contains infinity"):
            model.fit(X, y, intercept_init=np.full_like(intercept, np.inf))
        assert not hasattr(model, "n_features_in_")
