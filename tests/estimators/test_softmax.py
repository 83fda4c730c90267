"""The estimator with more than two classes: parity with scikit-learn's optimum, weights, targets, what may go wrong."""

import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
import twins
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from fastlogreg import LogisticRegression

SKLEARN_VERSION = parse_version(sklearn.__version__)
METHODS = ("decision_function", "predict_proba", "predict_log_proba", "predict")


def make_data(n=300, d=6, n_classes=4, seed=0):
    """Labels that X half explains."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal(size=d)
    y = (X @ rng.normal(size=(d, n_classes)) / np.sqrt(d) + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    assert len(np.unique(y)) == n_classes
    return X, y


def sklearn_optimum(X, y, sample_weight=None, **options):
    model = SklearnLogisticRegression(**options, solver="newton-cholesky", tol=1e-13, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at this tolerance its line search reports rounding
        return model.fit(X, y, sample_weight)


def assert_same_model(ours, theirs, atol=1e-8):
    assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=atol)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=atol * max(1, np.abs(theirs.intercept_).max()))
    assert_array_equal(ours.classes_, theirs.classes_)


def mean_objective(model, X, target, weight=None):
    """Of the model's coefficients, in plain NumPy; target (n, K)."""
    weight = np.ones(len(X)) if weight is None else weight
    coef, intercept = model.coef_.astype(float), model.intercept_.astype(float)
    return twins.softmax_value(X, target, weight, 1 / (model.C * weight.sum()), coef, intercept)


class TestParity:
    @pytest.mark.parametrize(
        ("load", "C"),
        [
            (load_iris, 1e-3),
            (load_iris, 1.0),
            (load_wine, 1.0),
            (load_digits, 1.0),
        ],
    )
    def test_real_data(self, load, C):
        X, y = load(return_X_y=True)
        ours, theirs = LogisticRegression(C=C, tol=1e-7).fit(X, y), sklearn_optimum(X, y, C=C)
        assert_same_model(ours, theirs)
        assert ours.gap_proven_
        assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-8)
        assert_array_equal(ours.predict(X), theirs.predict(X))
        assert_allclose(ours.coef_.sum(axis=0), 0.0, atol=1e-12)
        assert_allclose(ours.intercept_.sum(), 0.0, atol=1e-12 * np.abs(ours.intercept_).max())

    @pytest.mark.parametrize("C", [1e-3, 1.0, 1e3, np.inf])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("n_classes", [3, 9])
    def test_penalties(self, n_classes, fit_intercept, C):
        X, y = make_data(n=600, n_classes=n_classes)
        options = {"C": C, "fit_intercept": fit_intercept}
        ours = LogisticRegression(tol=1e-7, **options).fit(X, y)
        # objectives equal to rounding leave the coefficients equal to its root, in flat directions
        assert_same_model(ours, sklearn_optimum(X, y, **options), atol=1e-7)
        assert_allclose(ours.coef_.sum(axis=0), 0.0, atol=1e-13)
        assert_allclose(ours.intercept_.sum(), 0.0, atol=1e-13)
        assert fit_intercept or not ours.intercept_.any()

    @pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 2: 0.5}])
    def test_weights(self, class_weight):
        X, y = make_data()
        weight = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
        ours = LogisticRegression(tol=1e-7, class_weight=class_weight).fit(X, y, weight)
        if class_weight == "balanced" and parse_version("1.7") > SKLEARN_VERSION:
            # scikit-learn 1.6 counts samples, not weights, when it balances: balance by hand
            class_weight = dict(enumerate(weight.sum() / 4 / np.bincount(y, weights=weight)))
        assert_same_model(ours, sklearn_optimum(X, y, weight, class_weight=class_weight))

    @pytest.mark.parametrize("C", [1.0, np.inf])
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    def test_solvers_agree(self, solver, C):
        X, y = make_data()
        model = LogisticRegression(solver=solver, C=C, tol=1e-7, max_iter=20_000).fit(X, y)
        assert_same_model(model, sklearn_optimum(X, y, C=C), atol=1e-6)
        assert solver == "gd" or np.all(np.diff(model.loss_curve_) <= 1e-15)
        assert len(model.loss_curve_) == model.n_iter_[0] + 1
        if np.inf > C:
            assert_allclose(model.loss_curve_[-1], mean_objective(model, X, np.eye(4)[y]), rtol=1e-13)

    @pytest.mark.parametrize("solver", ["newton", "gd"])
    @pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
    def test_tol_bounds_the_gap(self, tol, solver):
        X, y = load_iris(return_X_y=True)
        model = LogisticRegression(solver=solver, tol=tol, max_iter=20_000).fit(X, y)
        best = mean_objective(sklearn_optimum(X, y), X, np.eye(3)[y])
        assert mean_objective(model, X, np.eye(3)[y]) / best - 1 <= model.gap_ + 1e-14
        assert model.gap_ <= 0.101 * tol**2

    def test_units_and_origins_do_not_matter(self):
        X, y = make_data(n=800, d=30, n_classes=5)
        rng = np.random.default_rng(7)
        scale = 10.0 ** rng.uniform(-6, 6, X.shape[1])
        raw = X * scale + 1e3 * scale * rng.normal(size=X.shape[1])
        plain, moved = (LogisticRegression(C=np.inf).fit(Z, y) for Z in (X, raw))
        assert_allclose(moved.predict_proba(raw), plain.predict_proba(X), atol=1e-5)
        assert moved.n_passes_ <= 1.5 * plain.n_passes_
        assert LogisticRegression().fit(raw, y).gap_ <= 1e-9


class TestLayouts:
    @pytest.mark.parametrize("n_classes", [3, 12])  # by Newton's steps alone, and after class blocks
    def test_agree(self, n_classes):
        X, y = make_data(n=1000, d=9, n_classes=n_classes)
        X[np.abs(X) < 0.5] = 0.0
        base = LogisticRegression(tol=1e-7).fit(X, y)
        wide = sp.csr_array(X)
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
        for other in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], sp.csr_matrix(X), wide, sp.csc_array(X)):
            model = LogisticRegression(tol=1e-7).fit(other, y)
            assert_allclose(model.coef_, base.coef_, rtol=0, atol=1e-7)
            assert_allclose(model.loss_curve_[-1], base.loss_curve_[-1], rtol=1e-13)
            for method in METHODS[:-1]:
                assert_allclose(getattr(base, method)(other), getattr(base, method)(X), rtol=1e-9, atol=1e-13)
            assert_array_equal(base.predict(other), base.predict(X))

    def test_float32(self):
        X, y = make_data(n=1000)
        X = X.astype(np.float32)
        narrow, wide = LogisticRegression().fit(X, y), LogisticRegression().fit(X.astype(float), y)
        assert_allclose(narrow.coef_, wide.coef_, rtol=0, atol=1e-6)
        assert narrow.coef_.dtype == narrow.intercept_.dtype == np.float32
        for method in METHODS[:-1]:
            assert getattr(narrow, method)(X).dtype == np.float32
            assert_allclose(getattr(narrow, method)(X), getattr(wide, method)(X.astype(float)), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("sparse", [False, True])
    def test_same_bits_for_any_number_of_threads(self, sparse):
        X, y = make_data(n=30_000, d=20, n_classes=6)
        X = sp.csr_array(np.where(np.abs(X) > 0.7, X, 0.0)) if sparse else X
        fits = [LogisticRegression(n_jobs=k).fit(X, y) for k in (1, 2, 3)]
        for other in fits[1:]:
            assert_array_equal(other.coef_, fits[0].coef_)
            assert_array_equal(other.loss_curve_, fits[0].loss_curve_)
            assert_array_equal(other.predict_proba(X), fits[0].predict_proba(X))

    def test_arguments_stay_as_they_were(self):
        X, y = make_data()
        weight, target = np.linspace(0, 2, len(y)), np.eye(4)[y] * 3.0
        before = X.copy(), y.copy(), weight.copy(), target.copy()
        LogisticRegression(class_weight="balanced").fit(X, y, weight).predict_proba(X)
        LogisticRegression(soft_targets=True).fit(X, target, weight)
        for now, then in zip((X, y, weight, target), before, strict=True):
            assert_array_equal(now, then)

    @pytest.mark.parametrize("C", [1e-1, 1.0, 1e3])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_more_columns_than_rows(self, sparse, C):
        rng = np.random.default_rng(8)
        X = rng.poisson(0.05, size=(150, 2000)) * rng.exponential(size=2000)
        y = (X[:, :40] @ rng.normal(size=(40, 3)) + rng.gumbel(size=(150, 3))).argmax(axis=1)
        model = LogisticRegression(C=C, tol=1e-6).fit(sp.csr_array(X) if sparse else X, y)
        arguments = X, np.eye(3)[y], np.ones(150), 1 / (150 * C), model.coef_, model.intercept_
        of_coef, of_intercept = twins.softmax_gradient(*arguments)
        assert_allclose(of_coef, 0.0, atol=1e-8)
        assert_allclose(of_intercept, 0.0, atol=1e-8)
        assert model.gap_proven_

    def test_sparse_of_many_rare_columns(self):
        """Like text: too many columns for a Hessian, more rows than the span of them is worth."""
        rng = np.random.default_rng(9)
        n, d = 2500, 4000
        counts = rng.integers(5, 40, size=n)
        columns = np.minimum((d * rng.random(counts.sum()) ** 3).astype(int), d - 1)
        X = sp.csr_array((np.ones(len(columns)), columns, np.append(0, np.cumsum(counts))), shape=(n, d))
        X.sum_duplicates()
        y = (X @ rng.normal(size=(d, 5)) + rng.gumbel(size=(n, 5))).argmax(axis=1)
        model = LogisticRegression().fit(X, y)
        tight = LogisticRegression(tol=1e-6).fit(X, y)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_
        assert model.loss_curve_[-1] / tight.loss_curve_[-1] - 1 <= model.gap_ + 1e-14


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            ("b", "a", "d", "c"),
            (3, -1, 7, 0),
            (2.0, 0.0, 1.0, 5.0),
            (np.uint8(1), np.uint8(2), np.uint8(200), np.uint8(4)),
        ],
    )
    def test_of_any_type(self, labels):
        X, y = make_data()
        order = np.argsort(labels)
        base = LogisticRegression().fit(X, np.argsort(order)[y])
        for values in (np.array(labels)[y], [labels[k] for k in y], pd.Series(np.array(labels)[y])):
            model = LogisticRegression().fit(X, values)
            assert_array_equal(model.classes_, np.array(labels)[order])
            assert_array_equal(model.coef_, base.coef_)
            assert_array_equal(model.predict(X), np.array(labels)[order][base.predict(X)])

    def test_class_weight_by_name(self):
        X, y = make_data(n_classes=3)
        names = np.array(["low", "mid", "top"], dtype=object)
        ours = LogisticRegression(tol=1e-7, class_weight={"low": 2.0, "top": 0.5}).fit(X, names[y])
        assert_allclose(ours.coef_, sklearn_optimum(X, y, class_weight={0: 2.0, 2: 0.5}).coef_, atol=1e-8)

    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_a_class_of_one_sample(self, C):
        X, y = make_data()
        y[17] = 9
        assert_same_model(LogisticRegression(C=C, tol=1e-7).fit(X, y), sklearn_optimum(X, y, C=C))

    def test_every_sample_its_own_class(self):
        X = np.random.default_rng(0).normal(size=(12, 3))
        y = np.arange(12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # scikit-learn's, of a regression's target
            model = LogisticRegression(tol=1e-8).fit(X, y)
        arguments = X, np.eye(12), np.ones(12), 1 / 12, model.coef_, model.intercept_
        for gradient in twins.softmax_gradient(*arguments):
            assert_allclose(gradient, 0.0, atol=1e-9)

    @pytest.mark.parametrize("class_weight", [None, "balanced"])
    @pytest.mark.parametrize(("fit_intercept", "C"), [(True, 1.0), (True, np.inf), (False, 1.0)])
    def test_a_class_without_weight(self, fit_intercept, C, class_weight):
        """The others are as they would be without it, and it is never likely where an intercept can say so; that has no
        end, which a fit without a penalty warns of.
        """
        X, y = make_data(n_classes=3)
        options = {"C": C, "fit_intercept": fit_intercept, "class_weight": class_weight}
        endless = fit_intercept and np.isinf(C)
        with pytest.warns(ConvergenceWarning, match="in part") if endless else nullcontext():
            model = LogisticRegression(**options).fit(X, y, (y != 1) * 1.0)
        assert_array_equal(model.classes_, [0, 1, 2])
        assert model.gap_ <= 1e-9
        if fit_intercept:
            prob = model.predict_proba(X[y != 1])
            assert prob[:, 1].max() < 1e-6
            # two classes by softmax have half the penalty of one row of coefficients
            two = LogisticRegression(**(options | {"C": 2 * C})).fit(X[y != 1], y[y != 1])
            assert_allclose(prob[:, 2], two.predict_proba(X[y != 1])[:, 1], rtol=0, atol=1e-4)

    @pytest.mark.parametrize("solver", ["newton", "gd"])
    @pytest.mark.parametrize("only", [0, 2])
    def test_one_class_alone_has_weights(self, only, solver):
        X, y = make_data(n_classes=3)
        model = LogisticRegression(solver=solver).fit(X, y, (y == only) * 2.0)
        assert_array_equal(model.classes_, [0, 1, 2])
        assert not model.coef_.any()
        assert model.predict_proba(X)[:, only].min() > 1 - 1e-8
        free = LogisticRegression(fit_intercept=False, tol=1e-7).fit(X, y, (y == only) * 2.0)
        assert free.gap_ <= 1e-9
        free.set_params(C=2.0)  # weights of two in all samples count by C
        assert_allclose(mean_objective(free, X[y == only], np.eye(3)[y[y == only]]), free.loss_curve_[-1])

    def test_class_weights_of_zero(self):
        X, y = make_data(n_classes=3)
        by_class = LogisticRegression(class_weight={0: 1.0, 1: 0.0, 2: 2.0}).fit(X, y)
        by_sample = LogisticRegression().fit(X, y, np.array([1.0, 0.0, 2.0])[y])
        assert_array_equal(by_class.coef_, by_sample.coef_)


class TestWeights:
    @pytest.mark.parametrize("class_weight", [None, "balanced"])
    def test_are_repetition(self, class_weight):
        X, y = make_data()
        repeats = np.random.default_rng(3).integers(0, 5, len(y))
        options = {"class_weight": class_weight, "tol": 1e-6}
        weighted = LogisticRegression(**options).fit(X, y, repeats)
        repeated = LogisticRegression(**options).fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
        assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-7)
        assert_allclose(weighted.loss_curve_[-1], repeated.loss_curve_[-1], rtol=1e-11)

    def test_mean_prediction_is_mean_label(self):
        X, y = make_data()
        weight = np.random.default_rng(6).random(len(y))
        model = LogisticRegression(C=0.01, tol=1e-7).fit(X, y, weight)
        mean = np.average(model.predict_proba(X), axis=0, weights=weight)
        assert_allclose(mean, np.average(np.eye(4)[y], axis=0, weights=weight), atol=1e-8)


class TestSoftTargets:
    @pytest.mark.parametrize("sparse", [False, True])
    def test_counts_are_weighted_repetition(self, sparse):
        X, _ = make_data(n=120)
        counts = np.random.default_rng(4).integers(0, 4, size=(120, 3))
        counts[5] = 0  # weighs nothing
        weight = np.random.default_rng(5).random(120)
        given = sp.csr_array(X) if sparse else X
        soft = LogisticRegression(soft_targets=True, tol=1e-7).fit(given, counts, weight)
        hard = LogisticRegression(tol=1e-7).fit(
            np.repeat(X, counts.sum(axis=1), axis=0),
            np.concatenate([np.repeat(np.arange(3), row) for row in counts]),
            np.repeat(weight, counts.sum(axis=1)),
        )
        assert_allclose(soft.coef_, hard.coef_, rtol=0, atol=1e-8)
        assert_allclose(soft.intercept_, hard.intercept_, rtol=0, atol=1e-8)
        assert_array_equal(soft.classes_, [0, 1, 2])

    def test_probabilities_are_weighted_labels(self):
        X, _ = make_data(n=200)
        target = np.random.default_rng(6).dirichlet(np.ones(5), size=200)
        soft = LogisticRegression(soft_targets=True, tol=1e-7).fit(X, target)
        hard = LogisticRegression(tol=1e-7).fit(np.repeat(X, 5, axis=0), np.tile(np.arange(5), 200), target.ravel())
        assert_allclose(soft.coef_, hard.coef_, rtol=0, atol=1e-8)
        assert soft.predict(X).dtype.kind == "i"

    def test_rows_of_one_are_labels(self):
        X, y = make_data()
        labels = LogisticRegression(tol=1e-7).fit(X, y)
        for target in (np.eye(4)[y], np.eye(4, dtype=int)[y], np.eye(4)[y].tolist(), pd.DataFrame(np.eye(4)[y])):
            soft = LogisticRegression(soft_targets=True, tol=1e-7).fit(X, target)
            assert_allclose(soft.coef_, labels.coef_, rtol=0, atol=1e-10)

    def test_two_columns_are_binary(self):
        X, _ = make_data()
        target = np.random.default_rng(7).random(len(X))
        binary = LogisticRegression(soft_targets=True).fit(X, target)
        columns = LogisticRegression(soft_targets=True).fit(X, np.column_stack([1 - target, target]))
        assert columns.coef_.shape == (1, X.shape[1])
        assert_allclose(columns.coef_, binary.coef_, rtol=1e-12)
        scaled = LogisticRegression(soft_targets=True).fit(X, 5 * np.column_stack([1 - target, target]))
        weighted = LogisticRegression(soft_targets=True).fit(X, target, np.full(len(X), 5.0))
        assert_allclose(scaled.coef_, weighted.coef_, rtol=1e-12)

    def test_recover_the_truth(self):
        rng = np.random.default_rng(8)
        X, coef, intercept = rng.normal(size=(500, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
        target = twins.softmax(twins.softmax_logits(X, coef, intercept))
        model = LogisticRegression(C=np.inf, soft_targets=True, tol=1e-7).fit(X, target)
        assert_allclose(model.coef_, coef - coef.mean(axis=0), atol=1e-7)
        assert_allclose(model.intercept_, intercept - intercept.mean(), atol=1e-7)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda target: -target, "not negative"),
            (lambda target: target * np.inf, "NaN|infinity"),
            (lambda target: np.where(target > 0.5, np.nan, target), "NaN"),
            (lambda target: target[:, :1], "at least two classes"),
            (lambda target: target[:-1], "inconsistent numbers of samples"),
            (lambda target: 0 * target, "zero"),
            (lambda target: target[:, :, None], "dim 3"),
        ],
    )
    def test_errors(self, change, message):
        X, _ = make_data()
        target = np.random.default_rng(9).dirichlet(np.ones(3), size=len(X))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            bad = change(target)
        with pytest.raises(ValueError, match=message):
            LogisticRegression(soft_targets=True).fit(X, bad)


class TestWarmStart:
    @pytest.mark.parametrize("n_classes", [3, 12])
    def test_profits(self, n_classes):
        X, y = make_data(n=1000, d=10, n_classes=n_classes)
        model = LogisticRegression(warm_start=True).fit(X, y)
        cold, coef = model.n_passes_, model.coef_
        model.fit(X, y)
        assert model.n_passes_ <= 0.5 * cold
        assert_allclose(model.coef_, coef, atol=1e-4)
        model.sparsify().set_params(C=0.9).fit(X, y)
        assert model.n_passes_ < cold
        assert_allclose(model.coef_, LogisticRegression(C=0.9).fit(X, y).coef_, atol=1e-4)

    @pytest.mark.parametrize("intercept", [50.0, -50.0, 700.0, -700.0, 1e300])
    def test_where_the_hessian_nearly_vanishes(self, intercept):
        X, y = make_data(n_classes=3)
        model = LogisticRegression(warm_start=True).fit(X, y)
        coef = model.coef_
        model.coef_, model.intercept_ = np.zeros_like(coef), np.array([intercept, 0.0, 0.0])
        model.fit(X, y)
        assert_allclose(model.coef_, coef, rtol=0, atol=1e-4)


class TestManyClasses:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_a_thousand(self, dtype, peak_memory):
        """The linear probe: it fits without a warning, in little memory beside X."""
        rng = np.random.default_rng(10)
        centers = rng.normal(size=(1000, 64))
        y = rng.integers(0, 1000, size=100_000)
        X = (centers[y] + 2 * rng.normal(size=(100_000, 64))).astype(dtype)
        model = LogisticRegression(C=1e-3, tol=1e-1)
        assert peak_memory(lambda: model.fit(X, y)) <= 2 * X.nbytes
        assert model.coef_.shape == (1000, 64)
        assert model.score(X[:2000], y[:2000]) > 0.3

    @pytest.mark.parametrize("C", [1.0, 1e4])
    def test_classes_far_apart(self, C):
        """Few rows have curvature in a class, and all of them are looked at to find those."""
        rng = np.random.default_rng(10)
        centers = rng.normal(size=(200, 24))
        y = rng.integers(0, 200, size=20_000)
        X = centers[y] + 1.2 * rng.normal(size=(20_000, 24))
        model = LogisticRegression(C=C).fit(X, y)
        assert model.n_iter_[0] < 60
        assert model.gap_ <= 1e-9


class TestConvergence:
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    @pytest.mark.parametrize("n_classes", [3, 6])
    def test_separable_without_a_penalty(self, n_classes, solver):
        rng = np.random.default_rng(11)
        X = rng.normal(size=(100, 8))
        y = X[:, :n_classes].argmax(axis=1)
        with pytest.warns(ConvergenceWarning, match="separable") as record:
            model = LogisticRegression(C=np.inf, solver=solver, max_iter=10_000).fit(X, y)
        assert len(record) == 1
        assert model.score(X, y) == 1.0
        assert np.all(np.isfinite(model.coef_))
        assert model.gap_ == np.inf

    def test_one_class_is_separable_from_the_others(self):
        """With a penalty that is a problem as any. Without, no optimum exists, but the value comes near its infimum,
        that of the other classes alone.
        """
        X, y = make_data(n_classes=3)
        X[y == 0, 0] += 20.0
        assert LogisticRegression(C=1e6).fit(X, y).gap_ <= 1e-9
        with pytest.warns(ConvergenceWarning, match="separable in part"):
            model = LogisticRegression(C=np.inf).fit(X, y)
        others = LogisticRegression(C=np.inf, tol=1e-7).fit(X[y > 0], y[y > 0])
        infimum = others.loss_curve_[-1] * np.mean(y > 0)
        assert 0.0 <= model.loss_curve_[-1] / infimum - 1.0 <= 1.05 * model.gap_ <= 1.05e-9
        assert np.all(np.isfinite(model.coef_))

    @pytest.mark.parametrize("sparse", [False, True])
    @pytest.mark.parametrize("outliers", [False, True])
    def test_nearly_separable(self, outliers, sparse):
        """Where L-BFGS would take thousands of iterations: columns of all scales, and outliers in all columns."""
        rng = np.random.default_rng(4)
        n, d, n_classes = 150, 80, 6
        X = rng.standard_cauchy((n, d)) if outliers else rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-6, 6, d)
        logits = (X / X.std(axis=0)) @ rng.normal(size=(d, n_classes))
        y = np.argmax(logits + rng.gumbel(size=(n, n_classes)), axis=1)
        model = LogisticRegression(C=100.0).fit(sp.csr_array(X) if sparse else X, y)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_

    @pytest.mark.parametrize("max_iter", [0, 1, 3])
    @pytest.mark.parametrize("n_classes", [3, 15])
    def test_one_warning_says_how_far(self, n_classes, max_iter):
        X, y = make_data(n=500, d=10, n_classes=n_classes)
        with pytest.warns(ConvergenceWarning, match="did not converge") as record:
            model = LogisticRegression(max_iter=max_iter, tol=1e-6).fit(X, y)
        assert len(record) == 1
        assert record[0].filename == __file__
        assert model.n_iter_ == [max_iter]
        assert len(model.loss_curve_) == max_iter + 1
        best = LogisticRegression().fit(X, y).loss_curve_[-1]
        assert model.gap_ >= model.loss_curve_[-1] / best - 1 - 1e-9
        assert model.coef_.any() == (max_iter > 0)

    @pytest.mark.parametrize("C", [1.0, np.inf])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_useless_columns(self, sparse, C):
        X, y = make_data()
        base = LogisticRegression(C=C, tol=1e-7).fit(X, y)
        wider = np.column_stack([np.broadcast_to([0.0, 1.0, -3.7e6], (len(y), 3)), X])
        model = LogisticRegression(C=C, tol=1e-7).fit(sp.csr_array(wider) if sparse else wider, y)
        assert not model.coef_[:, :3].any()
        assert_allclose(model.coef_[:, 3:], base.coef_, rtol=0, atol=1e-7)
        doubled = LogisticRegression(C=C, tol=1e-7).fit(np.column_stack([X, X[:, :2]]), y)
        assert_allclose(doubled.coef_[:, :2], doubled.coef_[:, -2:], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", ["covtype20k", "fashion_mnist"])
    def test_tol_of_real_data(self, name, real_data):
        X, y = real_data(name)
        X, y = X[:3000], y[:3000]
        model = LogisticRegression(C=1e-2).fit(X, y)
        tight = LogisticRegression(C=1e-2, tol=1e-6, max_iter=1000).fit(X, y)
        assert model.gap_ <= 1e-9
        assert model.loss_curve_[-1] / tight.loss_curve_[-1] - 1 <= model.gap_ + 1e-13


class TestErrors:
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_non_finite_x(self, bad, sparse):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        before = vars(model).copy()
        X[17, 3] = bad
        X, message = sp.csr_array(X) if sparse else X, "NaN" if np.isnan(bad) else "infinity"
        weight = np.ones(len(y))
        weight[17] = 0.0  # does not hide it
        for arguments in ((X, y), (X, y, weight)):
            with pytest.raises(ValueError, match=f"Input X contains {message}"):
                model.fit(*arguments)
        for method in METHODS:
            with pytest.raises(ValueError, match=f"Input X contains {message}"):
                getattr(model, method)(X)
        assert vars(model) == before

    def test_a_failed_fit_changes_nothing(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        before = vars(model).copy()
        for arguments in (
            (X, y + 0.5),
            (X, y[:-1]),
            (X, np.eye(4)[y]),
            (X, y, np.zeros(len(y))),
            (X, y, np.full(len(y), 1e307)),
            (X * 1e200, y),
        ):
            with pytest.raises(ValueError, match=r"."):
                model.fit(*arguments)
            assert vars(model).keys() == before.keys()
            assert all(vars(model)[name] is value for name, value in before.items())

    def test_are_scikit_learn_s(self):
        X, y = make_data()
        ours, theirs = LogisticRegression(), SklearnLogisticRegression()
        for bad in (y + 0.5, y[:-1], np.eye(4, dtype=int)[y], np.where(y == 1, np.nan, y), y[:0]):
            messages = []
            for model in (ours, theirs):
                with pytest.raises(ValueError) as info:  # noqa: PT011 the words are compared
                    model.fit(X, bad)
                messages.append(str(info.value).replace("LogisticRegression", ""))
            assert messages[0] == messages[1]

    def test_y_as_a_column(self):
        X, y = make_data()
        with pytest.warns(sklearn.exceptions.DataConversionWarning, match="column-vector"):
            model = LogisticRegression().fit(X, y[:, None])
        assert_array_equal(model.coef_, LogisticRegression().fit(X, y).coef_)


class TestPredictions:
    def test_shapes_and_values(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        logits = twins.softmax_logits(X, model.coef_, model.intercept_)
        assert_allclose(model.decision_function(X), logits, rtol=1e-12, atol=1e-14)
        prob = model.predict_proba(X)
        assert_allclose(prob, twins.softmax(logits), rtol=1e-12)
        assert_allclose(prob.sum(axis=1), 1.0, rtol=1e-14)
        assert_allclose(model.predict_log_proba(X), np.log(prob), rtol=1e-11)
        assert_array_equal(model.predict(X), logits.argmax(axis=1))
        for method in METHODS:
            together = getattr(model, method)(X[:9])
            assert together.shape == ((9,) if method == "predict" else (9, 4))
            assert_allclose(together, [getattr(model, method)(X[i : i + 1])[0] for i in range(9)], rtol=1e-13)

    def test_far_away(self):
        """Logarithms are never infinite, and small probabilities keep their digits."""
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        far = model.predict_log_proba(X * 1e4)
        assert np.all(np.isfinite(far))
        assert far.min() < -1000
        assert_allclose(model.predict_proba(X * 50), np.exp(model.predict_log_proba(X * 50)), rtol=1e-11)

    def test_sparsify_pickle_and_clone(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        expected = model.predict_proba(X)
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
        assert_array_equal(clone(model).fit(X, y).predict_proba(X), expected)
        assert sp.issparse(model.sparsify().coef_)
        for method in METHODS:
            assert_array_equal(getattr(model, method)(X), getattr(pickle.loads(pickle.dumps(model)), method)(X))
        assert_array_equal(model.predict_proba(X), expected)
        assert_array_equal(model.densify().predict_proba(X), expected)


class TestEcosystem:
    def test_grid_search(self):
        X, y = load_wine(return_X_y=True)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        grid = {"logisticregression__C": [0.1, 1.0, 10.0]}
        search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X, y)
        theirs = GridSearchCV(
            make_pipeline(StandardScaler(), SklearnLogisticRegression(tol=1e-10, max_iter=1000)),
            *(grid,),
            cv=3,
            scoring="neg_log_loss",
        ).fit(X, y)
        assert_allclose(search.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-4)

    def test_one_vs_rest(self):
        X, y = make_data()
        ours = OneVsRestClassifier(LogisticRegression(tol=1e-7)).fit(X, y)
        for k, model in enumerate(ours.estimators_):
            assert_same_model(model, sklearn_optimum(X, (y == k).astype(int)))
        assert ours.predict_proba(X).shape == (len(y), 4)

    def test_data_frames(self):
        X, y = make_data()
        frame = pd.DataFrame(X, columns=list("abcdef"))
        model = LogisticRegression().fit(frame, pd.Series(y).astype("category"))
        assert list(model.feature_names_in_) == list("abcdef")
        assert_allclose(model.coef_, LogisticRegression().fit(X, y).coef_, rtol=1e-12)

    @pytest.mark.parametrize("n_classes", [3, 15])
    def test_verbose_prints_ways_and_one_line_an_iteration(self, n_classes, capsys):
        model = LogisticRegression(verbose=1).fit(*make_data(n=500, d=10, n_classes=n_classes))
        printed = capsys.readouterr().out.splitlines()
        lines = [line for line in printed if line.startswith("iteration")]
        assert [int(line.split()[1]) for line in lines] == list(range(model.n_iter_[0] + 1))
        ways = [line.partition(": ")[0] for line in printed if not line.startswith("iteration")]
        assert ways == model.solver_.split("+")

    @pytest.mark.skipif(parse_version("1.9") > SKLEARN_VERSION, reason="callbacks came with scikit-learn 1.9")
    @pytest.mark.parametrize("n_classes", [3, 15])
    def test_callbacks(self, n_classes):
        seen = []

        class Recorder:
            stop_after = 10**9

            def setup(self, estimator, context):
                pass

            def teardown(self, estimator, context):
                pass

            def on_fit_task_begin(self, estimator, context, *, X=None, fitted_estimator=None):
                pass

            def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
                if context.task_name == "iteration" and fitted_estimator is not None:
                    seen.append(mean_objective(fitted_estimator, X, np.eye(n_classes)[y]))
                    assert fitted_estimator.predict_proba(X).shape == (len(X), n_classes)
                return len(seen) > self.stop_after

        X, y = make_data(n=500, d=10, n_classes=n_classes)
        recorder = Recorder()
        model = LogisticRegression().set_callbacks(recorder).fit(X, y)
        assert_allclose(seen, model.loss_curve_[1:], rtol=1e-12)
        seen.clear()
        recorder.stop_after = 1
        stopped = LogisticRegression().set_callbacks(recorder).fit(X, y)
        assert stopped.n_iter_ == [2]
        assert stopped.gap_ > model.gap_
