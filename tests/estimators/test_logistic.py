"""The estimator: scikit-learn's contract, parity with its optimum, and what ours promises beyond."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from fastlogreg import LogisticRegression

SKLEARN_VERSION = parse_version(sklearn.__version__)


def make_data(n=300, d=6, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    w = rng.standard_normal(d)
    y = (rng.random(n) < 1 / (1 + np.exp(-(X @ w + 0.3)))).astype(int)
    return X * scale, y


def objective(coef, intercept, X, y, C, weight=None):
    """The mean objective in plain NumPy, for targets y in [0, 1]."""
    weight = np.ones(len(y)) if weight is None else weight
    u = np.asarray(X @ np.asarray(coef, dtype=float).ravel()).ravel() + float(np.ravel(intercept)[0])
    loss = np.logaddexp(0, u) - y * u
    return (weight @ loss + 0.5 * np.sum(np.square(coef, dtype=float)) / C) / weight.sum()


def sklearn_optimum(X, y, C=1.0, **fit):
    model = SklearnLogisticRegression(C=C, solver="newton-cholesky", tol=1e-13, max_iter=1000)
    options = {key: fit.pop(key) for key in ("class_weight", "fit_intercept") if key in fit}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at this tolerance its line search reports rounding
        return model.set_params(**options).fit(X, y, **fit)


def assert_same_model(ours, theirs, rtol=1e-6):
    scale = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol * max(scale, 1))


@parametrize_with_checks([LogisticRegression()])
def test_sklearn_checks(estimator, check):
    name = getattr(getattr(check, "func", check), "__name__", "")
    if "array_api" in name:
        pytest.skip("needs SCIPY_ARRAY_API set before SciPy is imported: test_array_api_dispatch_changes_nothing")
    if "sample_weight_equivalence" in name and parse_version("1.7") > SKLEARN_VERSION:
        pytest.skip("scikit-learn 1.6 makes two different binary y of its weighted and its repeated one")
    check(estimator)


@pytest.mark.skipif(parse_version("1.7") > SKLEARN_VERSION, reason="as above for scikit-learn 1.6")
def test_array_api_dispatch_changes_nothing():
    script = """
        from sklearn.utils.estimator_checks import check_estimator
        from fastlogreg import LogisticRegression
        results = check_estimator(LogisticRegression(), on_skip=None)
        assert {r["status"] for r in results} == {"passed"}, [r for r in results if r["status"] != "passed"]
        print(len(results))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 40


class TestParity:
    @pytest.mark.parametrize("C", [1e-6, 1e-3, 1.0, 1e3, np.inf])
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    def test_penalties(self, C, solver):
        X, y = make_data()
        ours = LogisticRegression(C=C, solver=solver, tol=1e-7, max_iter=20000).fit(X, y)
        assert_same_model(ours, sklearn_optimum(X, y, C))

    @pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 1: 0.5}])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_weights(self, class_weight, fit_intercept):
        X, y = make_data()
        weight = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
        options = {"class_weight": class_weight, "fit_intercept": fit_intercept}
        ours = LogisticRegression(tol=1e-8, **options).fit(X, y, sample_weight=weight)
        if class_weight == "balanced" and parse_version("1.7") > SKLEARN_VERSION:
            # scikit-learn 1.6 counts samples, not weights, when it balances: balance by hand
            share = np.average(y, weights=weight)
            options["class_weight"] = {0: 0.5 / (1 - share), 1: 0.5 / share}
        assert_same_model(ours, sklearn_optimum(X, y, sample_weight=weight, **options))

    def test_string_labels_and_class_weight_by_label(self):
        X, y = make_data()
        labels = np.array(["no", "yes"], dtype=object)[y]
        ours = LogisticRegression(class_weight={"no": 2.0, "yes": 0.5}, tol=1e-8).fit(X, labels)
        assert_same_model(ours, sklearn_optimum(X, y, class_weight={0: 2.0, 1: 0.5}))
        assert list(ours.classes_) == ["no", "yes"]
        np.testing.assert_array_equal(ours.predict(X), np.array(["no", "yes"])[(ours.decision_function(X) > 0) * 1])

    @pytest.mark.parametrize("labels", [(-1, 1), (2, 7), (False, True), (0.0, 1.0)])
    def test_labels_of_other_types(self, labels):
        X, y = make_data()
        ours = LogisticRegression().fit(X, np.array(labels)[y])
        np.testing.assert_array_equal(ours.classes_, labels)
        np.testing.assert_array_equal(ours.coef_, LogisticRegression().fit(X, y).coef_)

    def test_breast_cancer_raw(self):
        X, y = load_breast_cancer(return_X_y=True)
        ours, theirs = LogisticRegression(tol=1e-6).fit(X, y), sklearn_optimum(X, y)
        assert_same_model(ours, theirs)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-7)
        assert ours.score(X, y) == theirs.score(X, y)

    @pytest.mark.parametrize("solver", ["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"])
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize(
        "options",
        [{}, {"C": 100.0, "dual": True}, {"C": np.inf}, {"penalty": "l2", "fit_intercept": False}, {"penalty": None}],
        ids=str,
    )
    def test_sklearn_solver_names_mean_the_same_optimum(self, options, n_classes, solver):
        X, y = make_data()
        y = y if n_classes == 2 else y + (X[:, 1] > X[:, 0])
        named, plain = LogisticRegression(solver=solver, **options), LogisticRegression(**options)
        np.testing.assert_array_equal(named.fit(X, y).coef_, plain.fit(X, y).coef_)
        assert named.solver_ == plain.solver_
        assert named.gap_ <= 1e-9

    @pytest.mark.parametrize(
        ("spelling", "same"),
        [
            ({"penalty": "l2"}, {}),
            ({"penalty": "deprecated"}, {}),
            ({"penalty": "elasticnet", "l1_ratio": 0}, {}),
            ({"l1_ratio": None}, {}),
            ({"dual": True, "intercept_scaling": 3.0, "random_state": 0}, {}),
            ({"penalty": None}, {"C": np.inf}),
            ({"penalty": None, "C": np.inf}, {"C": np.inf}),
            ({"penalty": "l1", "C": np.inf}, {"C": np.inf}),
            ({"l1_ratio": 1.0, "C": np.inf}, {"C": np.inf}),
            *(({"multi_class": name}, {}) for name in ("auto", "deprecated", "multinomial", "ovr")),
        ],
    )
    def test_old_and_new_spellings_are_silent(self, spelling, same):
        X, y = make_data()
        coef = LogisticRegression(**spelling).fit(X, y).coef_
        np.testing.assert_array_equal(coef, LogisticRegression(**same).fit(X, y).coef_)

    @pytest.mark.parametrize(
        ("options", "message", "same"),
        [
            ({"penalty": None, "C": 4.0}, "ignore the C", {"C": np.inf}),
            ({"penalty": None, "l1_ratio": 0.5}, "ignore the C and l1_ratio", {"C": np.inf}),
            ({"penalty": "l2", "l1_ratio": 0.5, "C": 4.0}, "ignores l1_ratio=0.5", {"C": 4.0}),
        ],
    )
    def test_parameters_that_are_ignored_are_named(self, options, message, same):
        X, y = make_data()
        with pytest.warns(UserWarning, match=message) as record:
            coef = LogisticRegression(**options).fit(X, y).coef_
        assert len(record) == 1
        assert record[0].filename == __file__
        np.testing.assert_array_equal(coef, LogisticRegression(**same).fit(X, y).coef_)

    def test_one_class_against_the_rest_is_refused(self):
        X, y = make_data()
        three = y + (X[:, 1] > X[:, 0])
        together = LogisticRegression(multi_class="multinomial").fit(X, three)
        np.testing.assert_array_equal(together.coef_, LogisticRegression().fit(X, three).coef_)
        model = LogisticRegression(multi_class="ovr")
        with pytest.raises(ValueError, match="OneVsRestClassifier"):
            model.fit(X, three)
        assert OneVsRestClassifier(model).fit(X, three).predict(X).max() == 2

    def test_takes_the_parameters_of_scikit_learn(self):
        theirs = SklearnLogisticRegression().get_params()
        ours = LogisticRegression(**theirs)
        X, y = make_data()
        assert ours.fit(X, y).solver_ == "newton"
        defaults = LogisticRegression().get_params()
        common = {"C", "dual", "fit_intercept", "intercept_scaling", "class_weight", "max_iter", "verbose", "n_jobs"}
        assert {k: defaults[k] for k in common} == {k: theirs[k] for k in common}


class TestLayouts:
    def test_layouts_agree(self):
        X, y = make_data(n=2000, d=9)
        X[np.abs(X) < 0.5] = 0.0
        base = LogisticRegression(tol=1e-9).fit(X, y)
        wide = sp.csr_array(X)
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
        read_only = X.copy()
        read_only.flags.writeable = False
        for other in (
            *(np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], read_only),
            *(sp.csr_matrix(X), wide, sp.csc_array(X), sp.coo_matrix(X)),
        ):
            model = LogisticRegression(tol=1e-9).fit(other, y)
            np.testing.assert_allclose(model.coef_, base.coef_, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(model.gap_, base.gap_, atol=1e-12)
            np.testing.assert_allclose(model.loss_curve_, base.loss_curve_, rtol=1e-12)
            assert model.n_passes_ == base.n_passes_
            np.testing.assert_allclose(model.predict_proba(other), base.predict_proba(X), atol=1e-12)

    def test_float32(self):
        X, y = make_data(n=2000, d=9)
        X = X.astype(np.float32)
        narrow, wide = LogisticRegression().fit(X, y), LogisticRegression().fit(X.astype(np.float64), y)
        assert narrow.coef_.dtype == narrow.intercept_.dtype == np.float32
        assert narrow.predict_proba(X).dtype == narrow.decision_function(X).dtype == np.float32
        np.testing.assert_allclose(narrow.coef_, wide.coef_, rtol=1e-6)
        assert narrow.gap_ == pytest.approx(wide.gap_, abs=1e-9)

    @pytest.mark.parametrize("sparse", [False, True])
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    def test_same_bits_for_any_number_of_threads(self, solver, sparse):
        X, y = make_data(n=20000, d=20, scale=10.0 ** np.arange(-5, 5).repeat(2))
        X = sp.csr_array(np.where(np.abs(X) > np.abs(X).mean(0), X, 0.0)) if sparse else X
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fits = [LogisticRegression(solver=solver, n_jobs=k).fit(X, y) for k in (1, 2, 3, 4, 1)]
        for other in fits[1:]:
            np.testing.assert_array_equal(other.coef_, fits[0].coef_)
            np.testing.assert_array_equal(other.loss_curve_, fits[0].loss_curve_)
            assert other.gap_ == fits[0].gap_

    def test_one_hot_columns_in_any_layout(self):
        """Dense ones are solved with Hessians of their entries."""
        rng = np.random.default_rng(0)
        categories = rng.zipf(1.5, (10_000, 3)) % 30 + [0, 30, 60]
        X = np.zeros((10_000, 91))
        np.put_along_axis(X, categories, 1.0, axis=1)
        X[:, 90] = 2000.0 + rng.normal(size=len(X))
        y = X @ rng.normal(size=91) + rng.logistic(size=len(X))
        y = y > np.median(y)
        expected = LogisticRegression(C=10.0, tol=1e-7).fit(sp.csr_array(X), y)
        for dense in (X, np.asfortranarray(X), X.astype(np.float32)):
            model = LogisticRegression(C=10.0, tol=1e-7).fit(dense, y)
            np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4, atol=1e-5)
            assert model.gap_ <= 1e-13

    def test_x_and_y_stay_as_they_were(self):
        X, y = make_data()
        weight = np.linspace(0, 2, len(y))
        before = X.copy(), y.copy(), weight.copy()
        LogisticRegression(class_weight="balanced").fit(X, y, weight).predict_proba(X)
        for now, then in zip((X, y, weight), before, strict=True):
            np.testing.assert_array_equal(now, then)


class TestWeights:
    def test_weights_are_repetition(self):
        X, y = make_data(n=200)
        repeats = np.random.default_rng(3).integers(0, 5, len(y))
        weighted = LogisticRegression(class_weight="balanced").fit(X, y, sample_weight=repeats)
        repeated = LogisticRegression(class_weight="balanced").fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9)

    @pytest.mark.parametrize("kind", [np.array, sp.csr_array, lambda X: np.tile(X, (1, 80))])
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize(("weight", "C"), [(5e-324, 1.0), (1e-200, 1e-200), (1e-310, 1e300), (1e300, 1e-300)])
    def test_of_any_size(self, weight, C, n_classes, kind):
        """Weights count by C times their sum, however small or large that is."""
        X, y = make_data()
        y = y if n_classes == 2 else y + (X[:, 1] > X[:, 0])
        model = LogisticRegression(C=C).fit(kind(X), y, np.full(len(y), weight))
        strong = LogisticRegression(C=max(C * weight, 1e-300)).fit(kind(X), y)
        np.testing.assert_allclose(model.predict_proba(kind(X)), strong.predict_proba(kind(X)), rtol=0, atol=1e-4)
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("only", [0, 1])
    @pytest.mark.parametrize("options", [{}, {"C": np.inf}, {"solver": "gd"}, {"warm_start": True}], ids=str)
    def test_a_class_without_weight_keeps_its_place(self, options, only):
        X, y = make_data()
        model = LogisticRegression(**options)
        for _ in range(2):
            model.fit(X, y, (y == only) * 2.0)
            np.testing.assert_array_equal(model.classes_, [0, 1])
            assert not model.coef_.any()
            assert model.predict_proba(X)[:, only].min() > 1 - 1e-8
            assert len(model.loss_curve_) == model.n_iter_[0] + 1
            assert 0 < model.loss_curve_[-1] < 1e-8
            assert model.gap_ == np.inf
        by_class = LogisticRegression(class_weight={only: 2.0, 1 - only: 0.0}, **options).fit(X, y)
        np.testing.assert_array_equal(by_class.intercept_, model.intercept_)

    def test_a_class_without_weight_and_no_intercept_is_an_ordinary_problem(self):
        X, y = make_data()
        model = LogisticRegression(fit_intercept=False, tol=1e-8).fit(X, y, y == 1)
        assert_same_model(model, sklearn_optimum(X, y, sample_weight=y * 1.0, fit_intercept=False))

    def test_bagging_of_few_samples(self):
        X, y = make_data(n=12)
        y = np.arange(12) == 5
        bagging = BaggingClassifier(LogisticRegression(), n_estimators=30, random_state=0)
        sampled = [set(y[rows]) for rows in bagging.fit(X, y, sample_weight=np.ones(12)).estimators_samples_]
        assert {False} in sampled
        assert bagging.predict_proba(X).shape == (12, 2)

    def test_soft_targets_are_two_weighted_labels(self):
        X, _ = make_data()
        target = np.random.default_rng(4).random(len(X))
        soft = LogisticRegression(soft_targets=True, tol=1e-9).fit(X, target)
        hard = LogisticRegression(C=1.0, tol=1e-9).fit(
            np.vstack([X, X]), np.repeat([1, 0], len(X)), sample_weight=np.concatenate([target, 1 - target])
        )
        np.testing.assert_allclose(soft.coef_, hard.coef_, rtol=1e-8)
        np.testing.assert_array_equal(soft.classes_, [0, 1])
        assert set(soft.predict(X)) <= {0, 1}

    def test_soft_targets_recover_the_truth(self):
        rng = np.random.default_rng(5)
        X, w, b = rng.standard_normal((500, 4)), np.array([[1.0, -2.0, 0.5, 0.0]]), 0.7
        target = 1 / (1 + np.exp(-(X @ w[0] + b)))
        model = LogisticRegression(C=np.inf, soft_targets=True, tol=1e-7).fit(X, target)
        np.testing.assert_allclose(model.coef_, w, atol=1e-7)
        np.testing.assert_allclose(model.intercept_, b, atol=1e-7)

    def test_mean_prediction_is_mean_label(self):
        X, y = make_data()
        weight = np.random.default_rng(6).random(len(y))
        model = LogisticRegression(C=0.01, tol=1e-7).fit(X, y, weight)
        mean = np.average(model.predict_proba(X)[:, 1], weights=weight)
        assert mean == pytest.approx(np.average(y, weights=weight), abs=1e-8)

    def test_intercept_is_an_unpenalised_column_of_ones(self):
        X, y = make_data()
        ones = np.column_stack([X, np.ones(len(y))])
        with_ones = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9).fit(ones, y)
        free = LogisticRegression(C=np.inf, tol=1e-9).fit(X, y)
        np.testing.assert_allclose(with_ones.coef_[0], [*free.coef_[0], *free.intercept_], rtol=1e-7)


class TestConvergence:
    def test_units_and_origins_do_not_matter(self):
        X, y = make_data(n=500, d=8)
        scale = 10.0 ** np.random.default_rng(7).uniform(-6, 6, 8)
        origin = scale * np.random.default_rng(8).uniform(-1e3, 1e3, 8)
        plain = LogisticRegression(C=np.inf).fit(X, y)
        raw = LogisticRegression(C=np.inf).fit(X * scale + origin, y)
        assert raw.n_iter_ == plain.n_iter_
        np.testing.assert_allclose(raw.predict_proba(X * scale + origin), plain.predict_proba(X), atol=1e-6)
        penalised = LogisticRegression().fit(X * scale + origin, y)
        assert penalised.gap_ <= 1e-9

    @pytest.mark.parametrize("spread", [1e-5, 1e-7, 1e-9])
    def test_nearly_constant_columns_without_an_intercept(self, spread):
        """What they differ by decides, and is there to be found."""
        X, y = make_data(n=300, d=4)
        hiding = np.column_stack([1 + spread * X[:, :2], X[:, 2:]])
        plain = np.column_stack([1 + spread * X[:, 0], X[:, 1] - X[:, 0], X[:, 2:]])
        fit, same = (LogisticRegression(C=np.inf, fit_intercept=False).fit(columns, y) for columns in (hiding, plain))
        assert fit.loss_curve_[-1] == pytest.approx(
            same.loss_curve_[-1], rel=1e-9 + 1e-17 / spread
        )  # columns are rounded

    @pytest.mark.parametrize("solver", ["newton", "gd"])
    def test_separable_without_penalty(self, solver):
        X, y = make_data(n=60)
        y = (X[:, 0] > 0).astype(int)
        with pytest.warns(ConvergenceWarning, match="separable") as record:
            model = LogisticRegression(C=np.inf, solver=solver, max_iter=5000).fit(X, y)
        assert len(record) == 1
        assert model.score(X, y) == 1.0
        assert np.all(np.isfinite(model.coef_))
        assert model.gap_ == np.inf

    def test_separable_in_part_without_penalty(self):
        """A rare indicator that only ones have: its coefficient grows without end, and the others have an optimum."""
        X, y = make_data(n=400)
        rare = np.zeros(400)
        rare[np.flatnonzero(y)[:5]] = 1.0
        with pytest.warns(ConvergenceWarning, match="separable in part") as record:
            model = LogisticRegression(C=np.inf).fit(np.column_stack([X, rare]), y)
        assert len(record) == 1
        others = LogisticRegression(C=np.inf, tol=1e-7).fit(X[rare == 0], y[rare == 0])
        infimum = others.loss_curve_[-1] * np.mean(rare == 0)
        assert -1e-15 <= model.loss_curve_[-1] / infimum - 1.0 <= 1.05 * model.gap_ + 1e-15 <= 1.05e-9

    def test_separable_with_penalty_is_an_ordinary_problem(self):
        X, _ = make_data(n=60)
        assert LogisticRegression(C=1e6).fit(X, X[:, 0] > 0).gap_ <= 1e-9

    def test_one_warning_says_how_far(self):
        X, y = load_breast_cancer(return_X_y=True)
        with pytest.warns(ConvergenceWarning, match="did not converge") as record:
            model = LogisticRegression(max_iter=3).fit(X, y)
        assert len(record) == 1
        assert "max_iter" in str(record[0].message)
        assert record[0].filename == __file__
        assert model.n_iter_ == [3]
        assert model.gap_ > 1e-3

    def test_max_iter_0_returns_the_start(self):
        X, y = make_data()
        with pytest.warns(ConvergenceWarning):
            model = LogisticRegression(max_iter=0).fit(X, y)
        assert not model.coef_.any()
        assert len(model.loss_curve_) == 1

    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_useless_columns(self, C):
        X, y = make_data()
        base = LogisticRegression(C=C, tol=1e-8).fit(X, y)
        constants = np.broadcast_to([0.0, 1.0, -3.7e6], (len(y), 3))
        model = LogisticRegression(C=C, tol=1e-8).fit(np.column_stack([constants, X]), y)
        np.testing.assert_array_equal(model.coef_[0, :3], 0.0)
        np.testing.assert_allclose(model.coef_[0, 3:], base.coef_[0], rtol=1e-7)
        doubled = LogisticRegression(C=C, tol=1e-8).fit(np.column_stack([X, X[:, :2]]), y)
        np.testing.assert_allclose(doubled.coef_[0, :2], doubled.coef_[0, -2:], rtol=1e-5)
        sparse = LogisticRegression(C=C, tol=1e-8).fit(sp.csr_array(np.column_stack([constants, X])), y)
        np.testing.assert_allclose(sparse.coef_, model.coef_, rtol=1e-7, atol=1e-9)

    def test_tol_bounds_the_gap(self):
        X, y = make_data(n=1000, d=20, scale=10.0 ** np.linspace(-3, 3, 20))
        best = objective(*_exact(X, y), X, y, 1.0)
        for solver in ("newton", "gd"):
            for tol in (1e-1, 1e-2, 1e-3, 1e-4):
                model = LogisticRegression(solver=solver, tol=tol, max_iter=20000).fit(X, y)
                true_gap = objective(model.coef_, model.intercept_, X, y, 1.0) / best - 1
                assert true_gap <= model.gap_ + 1e-14
                assert model.gap_ <= 0.101 * tol**2

    def test_tol_0_goes_to_rounding(self):
        X, y = make_data()
        model = LogisticRegression(tol=0).fit(X, y)
        assert model.gap_ < 1e-14

    def test_loss_curve(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        assert len(model.loss_curve_) == model.n_iter_[0] + 1
        assert np.all(np.diff(model.loss_curve_) <= 1e-15)
        last = objective(model.coef_, model.intercept_, X, y, 1.0)
        assert model.loss_curve_[-1] == pytest.approx(last, rel=1e-14)

    def test_warm_start(self):
        X, y = load_breast_cancer(return_X_y=True)
        model = LogisticRegression(warm_start=True).fit(X, y)
        cold, coef = model.n_iter_[0], model.coef_
        model.fit(X, y)
        assert model.n_iter_[0] == 1 < cold
        np.testing.assert_allclose(model.coef_, coef, rtol=1e-6)

    @pytest.mark.parametrize("intercept", [50.0, 200.0, 300.0, 700.0, 1000.0, -300.0])
    def test_warm_start_where_the_hessian_vanishes(self, intercept):
        """All logits are so large that their curvatures are 1e-22 to 0."""
        X, y = make_data()
        model = LogisticRegression(warm_start=True).fit(X, y)
        coef = model.coef_
        model.coef_, model.intercept_ = np.zeros_like(coef), np.array([intercept])
        model.fit(X, y)
        np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=1e-4)


def _exact(X, y):
    model = LogisticRegression(tol=0).fit(X, y)
    return model.coef_, model.intercept_


class TestRealData:
    BINARY = ("skin", "skin_poly", "golub", "chowdary", "hflights", "hflights_ids", "hotel", "a9a", "imdb")

    @pytest.mark.parametrize("name", BINARY)
    def test_default_fit_arrives_without_a_warning(self, name, real_data):
        X, y = real_data(name)
        model = LogisticRegression().fit(X, y)
        tight = LogisticRegression(tol=1e-5, max_iter=1000).fit(X, y)  # 100 times tighter
        reached = objective(model.coef_, model.intercept_, X, y, 1.0)
        best = objective(tight.coef_, tight.intercept_, X, y, 1.0)
        assert reached / best - 1 <= 1e-6
        # what the duality gap has proven holds for the recomputed objective; golub's 1.6e-8 knows its own rounding
        assert reached / best - 1 <= model.gap_ + 1e-7
        assert model.gap_ <= 1e-9

    @pytest.mark.parametrize("C", [1e-3, 1e6])
    @pytest.mark.parametrize("standardized", [False, True])
    @pytest.mark.parametrize("name", ["skin", "skin_poly", "golub", "chowdary", "hflights"])
    def test_dense_with_any_penalty(self, name, standardized, C, real_data):
        """The gap is small, and as large as the model says: by the values of the fits, which know more digits."""
        X, y = real_data(name)
        if standardized:
            X = StandardScaler().fit_transform(X)
        model = LogisticRegression(C=C).fit(X, y)
        tight = LogisticRegression(C=C, tol=1e-6, max_iter=1000).fit(X, y)
        gap = model.loss_curve_[-1] / tight.loss_curve_[-1] - 1
        assert model.gap_ <= 1e-9
        assert gap <= (1.0 if model.gap_proven_ else 3.0) * model.gap_ + 1e-13
        if not model.gap_proven_:
            assert model.gap_ <= 3.0 * gap + 1e-12

    @pytest.mark.parametrize("C", [1e9, np.inf])
    @pytest.mark.parametrize("standardized", [False, True])
    @pytest.mark.parametrize("name", ["skin", "skin_poly"])
    def test_dense_with_hardly_any_penalty(self, name, standardized, C, real_data):
        """skin_poly is nearly separable: without a penalty its coefficients are beyond a million."""
        X, y = real_data(name)
        if standardized:
            X = StandardScaler().fit_transform(X)
        model = LogisticRegression(C=C).fit(X, y)
        tight = LogisticRegression(C=C, tol=1e-6).fit(X, y)
        assert model.gap_ <= 1e-9
        # values of terms that large, which cancel in the logits, are known to twelve digits
        assert model.loss_curve_[-1] / tight.loss_curve_[-1] - 1 <= model.gap_ + 1e-12
        assert model.n_iter_[0] <= 60

    @pytest.mark.parametrize("C", [1e-2, 100.0])
    @pytest.mark.parametrize("name", ["a9a", "hotel", "imdb", "hflights_ids"])
    def test_sparse_with_any_penalty(self, name, C, real_data):
        X, y = real_data(name)
        model = LogisticRegression(C=C).fit(X, y)
        assert model.gap_ <= 1e-9
        assert model.gap_proven_

    def test_agrees_with_scikit_learn(self, real_data):
        X, y = real_data("a9a")
        assert_same_model(LogisticRegression(tol=1e-6).fit(X, y), sklearn_optimum(X.toarray(), y), rtol=1e-5)


class TestErrors:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_non_finite_x(self, bad, sparse):
        X, y = make_data()
        X[17, 3] = bad
        X = sp.csr_array(X) if sparse else X
        message = "NaN" if np.isnan(bad) else "infinity"
        weight = np.ones(len(y))
        weight[17] = 0.0  # does not hide it
        with pytest.raises(ValueError, match=f"Input X contains {message}"):
            LogisticRegression().fit(X, y)
        with pytest.raises(ValueError, match=f"Input X contains {message}"):
            LogisticRegression().fit(X, y, weight)
        model = LogisticRegression().fit(*make_data())
        for method in (model.predict, model.predict_proba, model.decision_function, model.predict_log_proba):
            with pytest.raises(ValueError, match=f"Input X contains {message}"):
                method(X)

    def test_too_large_to_square(self):
        X, y = make_data()
        X[:, 0] *= 1e200
        with pytest.raises(ValueError, match="overflow"):
            LogisticRegression().fit(X, y)

    @pytest.mark.parametrize(
        ("parameters", "error", "message"),
        [
            ({"C": 0}, ValueError, "'C' parameter"),
            ({"C": -1.0}, ValueError, "'C' parameter"),
            ({"tol": -1.0}, ValueError, "'tol' parameter"),
            ({"solver": "quick"}, ValueError, "'solver' parameter"),
            ({"penalty": "l3"}, ValueError, "'penalty' parameter"),
            ({"l1_ratio": 2.0}, ValueError, "'l1_ratio' parameter"),
            ({"n_jobs": 0}, ValueError, "n_jobs == 0"),
            ({"l1_ratio": 0.5}, NotImplementedError, "L1"),
            ({"penalty": "l1"}, NotImplementedError, "L1"),
            ({"penalty": "elasticnet", "l1_ratio": None}, ValueError, "l1_ratio must be specified"),
            ({"penalty": "elasticnet", "l1_ratio": None, "C": np.inf}, ValueError, "l1_ratio must be specified"),
            ({"multi_class": "crammer_singer"}, ValueError, "'multi_class' parameter"),
            ({"penalty": "elasticnet", "l1_ratio": 0.5}, NotImplementedError, "L1"),
            ({"soft_targets": True, "class_weight": "balanced"}, ValueError, "class_weight"),
        ],
    )
    def test_parameters(self, parameters, error, message):
        with pytest.raises(error, match=message):
            LogisticRegression(**parameters).fit(*make_data())

    def test_targets(self):
        X, y = make_data()
        cases = [
            (np.zeros(len(y)), "only one class"),
            (y + 0.5 * (np.arange(len(y)) % 2), "Unknown label type: continuous"),
            (np.linspace(0, 1, len(y)), "Unknown label type"),
            (y[:-1], "inconsistent numbers of samples"),
            (np.where(y == 1, np.nan, 0.0), "NaN"),
        ]
        for bad, message in cases:
            with pytest.raises(ValueError, match=message):
                LogisticRegression().fit(X, bad)
        for bad in (y - 0.5, np.where(y, 1.1, 0.5)):
            with pytest.raises(ValueError, match=r"probabilities in \[0, 1\]"):
                LogisticRegression(soft_targets=True).fit(X, bad)

    def test_weights(self):
        X, y = make_data()
        cases = [
            (np.zeros(len(y)), "zero"),
            (-np.ones(len(y)), "[Nn]egative"),
            (np.ones(len(y) - 1), "sample_weight.shape"),
            (np.full(len(y), np.nan), "sample_weight contains NaN"),
            (np.where(y == 1, np.inf, 1.0), "sample_weight contains inf"),
            (np.full(len(y), 1e307), "overflows float64: scale sample_weight"),
            (np.ma.masked_greater(np.arange(len(y)) * 1.0, 5), "sample_weight has masked values"),
        ]
        for assume_finite in (False, True):
            for bad, message in cases:
                with sklearn.config_context(assume_finite=assume_finite), pytest.raises(ValueError, match=message):
                    LogisticRegression().fit(X, y, sample_weight=bad)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -2.0, None, "much", 1j])
    @pytest.mark.parametrize("label", [0, 1, 7])
    def test_class_weights(self, label, bad):
        X, y = make_data()
        for labels in (y, y + (X[:, 1] > X[:, 0])):
            with pytest.raises(ValueError, match=f"class_weight must be finite and not negative, got .* class {label}"):
                LogisticRegression(class_weight={0: 1.0, label: bad}).fit(X, labels)

    def test_products_of_weights(self):
        X, y = make_data()
        model = LogisticRegression(class_weight={0: 0.0, 1: 1e308})
        with pytest.raises(ValueError, match="No sample has a weight"):
            model.fit(X, y, sample_weight=y == 0)
        with pytest.raises(ValueError, match="scale class_weight or sample_weight"):
            model.fit(X, y, sample_weight=np.full(len(y), 1e10))
        with pytest.raises(ValueError, match="scale the sums of y's rows"):
            LogisticRegression(soft_targets=True).fit(X, np.full((len(y), 2), 1e308))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("kind", [np.array, sp.csr_array, np.asfortranarray])
    def test_what_is_not_finite_under_assume_finite(self, kind, bad):
        X, y = make_data()
        model, spoilt = LogisticRegression().fit(X, y), X.copy()
        spoilt[3, 1] = bad
        with sklearn.config_context(assume_finite=True):
            for call in (model.fit, lambda X, _: model.predict(X), lambda X, _: model.predict_log_proba(X)):
                with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
                    call(kind(spoilt), y)
            for labels in (np.where(y, np.nan, 1.0), np.where(y, np.datetime64("NaT"), np.datetime64("2020"))):
                with pytest.raises(ValueError, match="Input y contains NaN"):
                    model.fit(kind(X), labels)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("name", ["coef_", "intercept_"])
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_coefficients_that_are_not_finite(self, n_classes, name, bad):
        X, y = make_data()
        y = y if n_classes == 2 else y + (X[:, 1] > X[:, 0])
        model = LogisticRegression(warm_start=True).fit(X, y)
        getattr(model, name).flat[0] = bad
        for call in (model.fit, lambda X, _: model.predict(X), lambda X, _: model.predict_proba(X)):
            with pytest.raises(ValueError, match=f"Input {name} contains (NaN|infinity)"):
                call(X, y)

    def test_masked_values(self):
        X, y = make_data()
        model = LogisticRegression().fit(np.ma.masked_array(X), np.ma.masked_greater(y, 1))  # nothing is masked
        np.testing.assert_array_equal(model.coef_, LogisticRegression().fit(X, y).coef_)
        masked_X, masked_y = np.ma.masked_greater(X, 1.0), np.ma.masked_where(np.arange(len(y)) < 3, y)
        with pytest.raises(ValueError, match="Input X has masked values"):
            model.fit(masked_X, y)
        with pytest.raises(ValueError, match="Input X has masked values"):
            model.predict(masked_X)
        with pytest.raises(ValueError, match="Input y has masked values"):
            model.fit(X, masked_y)

    def test_missing_values_of_pandas(self):
        X, y = make_data()
        table = pd.DataFrame({"a": pd.array([None, *range(1, len(y))], dtype="Int64"), "b": X[:, 0]})
        with pytest.raises(ValueError, match="Input X contains NaN"):
            LogisticRegression().fit(table, y)
        missing = pd.Series(pd.array([None, *y[1:]], dtype="Int64"))
        with pytest.raises(ValueError, match="Input y contains NaN"):
            LogisticRegression().fit(X, missing)
        with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
            LogisticRegression().fit(X, y, sample_weight=missing)
        whole = pd.Series(pd.array(y, dtype="Int64"))
        np.testing.assert_array_equal(LogisticRegression().fit(X, whole).coef_, LogisticRegression().fit(X, y).coef_)

    def test_complex_and_shapes(self):
        X, y = make_data()
        with pytest.raises(ValueError, match="Complex"):
            LogisticRegression().fit(X + 1j, y)
        with pytest.raises(ValueError, match="Expected 2D"):
            LogisticRegression().fit(X[:, 0], y)
        model = LogisticRegression().fit(X, y)
        with pytest.raises(ValueError, match="features"):
            model.predict(X[:, 1:])
        with pytest.raises(NotFittedError):
            LogisticRegression().predict(X)

    def test_a_failed_fit_changes_nothing(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        before = vars(model).copy()
        bad = X[:, :3].copy()
        bad[0, 0] = np.nan
        for args in ((bad, y), (X, np.zeros(len(y))), (X, y, np.zeros(len(y)))):
            with pytest.raises(ValueError, match=r"NaN|only one class|zero"):
                model.fit(*args)
            assert vars(model).keys() == before.keys()
            assert all(vars(model)[name] is value for name, value in before.items())


class TestFastValidation:
    """Input that is spared scikit-learn's validation meets its errors and results all the same."""

    METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")

    @staticmethod
    def error_of(call, *args):
        with pytest.raises(ValueError) as info:  # noqa: PT011 the words are compared
            call(*args)
        return type(info.value), str(info.value)

    @pytest.mark.parametrize(
        ("name", "valid", "invalid"),
        [  # the latter are equal to the former and have their hash
            ("fit_intercept", True, 1.0),
            ("dual", False, 0.0),
            ("warm_start", False, 0.0),
            ("max_iter", 100, 100.0),
            ("n_jobs", 1, 1.0),
            ("soft_targets", False, 0.0),
            ("random_state", 1, 1.0),
        ],
    )
    def test_parameters_equal_to_valid_ones(self, name, valid, invalid):
        X, y = make_data()
        for _ in range(2):
            model = LogisticRegression(**{name: valid}).fit(X, y)
            model.set_params(**{name: invalid})
            for _ in range(2):
                with pytest.raises(ValueError, match=f"The '{name}' parameter of LogisticRegression must be"):
                    model.fit(X, y)
            model.set_params(**{name: valid}).fit(X, y)

    @pytest.mark.parametrize("bad", [{"C": -1.0}, {"C": np.nan}, {"tol": -1}, {"solver": []}, {"class_weight": [1, 2]}])
    def test_invalid_parameters_raise_in_every_fit(self, bad):
        X, y = make_data()
        (name,) = bad
        model = LogisticRegression().fit(X, y).set_params(**bad)
        messages = set()
        for _ in range(3):
            with pytest.raises(ValueError, match=f"The '{name}' parameter of LogisticRegression must be") as info:
                model.fit(X, y)
            messages.add(str(info.value))
        assert len(messages) == 1

    def test_parameters_that_change_in_place(self):
        X, y = make_data()
        weights = {0: 1.0, 1: 2.0}
        model = LogisticRegression(class_weight=weights).fit(X, y)
        before = model.coef_
        weights[1] = 20.0
        assert model.fit(X, y).intercept_ > 1
        assert np.abs(model.coef_ - before).max() > 0.1

    def test_a_subclass_has_its_own_constraints(self):
        class Strict(LogisticRegression):
            _parameter_constraints = {**LogisticRegression._parameter_constraints, "C": [None]}  # noqa: RUF012

        X, y = make_data()
        LogisticRegression().fit(X, y)
        with pytest.raises(ValueError, match="The 'C' parameter of Strict must be None"):
            Strict().fit(X, y)

    @pytest.mark.parametrize("case", ["short", "long", "2-D", "empty", "0-D"])
    def test_y_of_another_shape(self, case):
        X, y = make_data()
        bad = {
            "short": y[:-1],
            "long": np.append(y, 1),
            "2-D": np.column_stack([y, y]),
            "empty": y[:0],
            "0-D": np.array(1),
        }[case]
        ours, theirs = LogisticRegression().fit(X, y), SklearnLogisticRegression()
        before = vars(ours).copy()
        assert self.error_of(ours.fit, X, bad) == self.error_of(theirs.fit, X, bad)
        assert vars(ours) == before

    def test_y_as_a_column(self):
        X, y = make_data()
        with pytest.warns(sklearn.exceptions.DataConversionWarning, match="column-vector"):
            model = LogisticRegression().fit(X, y[:, None])
        np.testing.assert_array_equal(model.coef_, LogisticRegression().fit(X, y).coef_)

    @pytest.mark.parametrize("kind", ["1-D", "0 rows", "0 columns", "3-D", "strings", "complex"])
    def test_x_that_is_refused(self, kind):
        X, y = make_data()
        bad = {
            "1-D": X[:, 0],
            "0 rows": X[:0],
            "0 columns": X[:, :0],
            "3-D": X[None],
            "strings": np.full(X.shape, "a"),
            "complex": X + 1j,
        }[kind]
        ours, theirs = LogisticRegression().fit(X, y), SklearnLogisticRegression().fit(X, y)
        labels = y[: len(bad)]
        assert self.error_of(ours.fit, bad, labels) == self.error_of(theirs.fit, bad, labels)
        for method in self.METHODS if kind != "strings" else ():  # scikit-learn has another message there
            assert self.error_of(getattr(ours, method), bad) == self.error_of(getattr(theirs, method), bad), method

    def test_lists_integers_and_other_classes_of_array(self):
        X, y = make_data()
        X = np.round(10 * X)
        base = LogisticRegression().fit(X, y)
        for other in (
            *(X.tolist(), X.astype(int), X.astype(np.int8), X.astype(object), X.astype(np.float16)),
            *(X.astype(">f8"), X.astype(np.longdouble), pd.DataFrame(X).to_numpy()),
        ):
            model = LogisticRegression().fit(other, y)
            rtol = 1e-6 if model.coef_.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(model.coef_, base.coef_, rtol=rtol)
            assert model.n_features_in_ == X.shape[1]
            for method in self.METHODS[1:]:
                np.testing.assert_allclose(
                    getattr(model, method)(other), getattr(base, method)(X), rtol=10 * rtol, atol=rtol
                )
            np.testing.assert_array_equal(model.predict(other), base.predict(X))
        assert LogisticRegression().fit(X.astype(int), y.tolist()).predict(X.astype(int)).dtype == np.int64
        for labels in (y.tolist(), y.astype(bool), y.astype(float), y.astype(np.uint8), pd.Series(y)):
            np.testing.assert_array_equal(LogisticRegression().fit(X, labels).coef_, base.coef_)

    @pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
    def test_matrix_is_refused(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        with pytest.raises(TypeError, match=r"np\.matrix is not supported"):
            model.fit(np.asmatrix(X), y)
        with pytest.raises(TypeError, match=r"np\.matrix is not supported"):
            model.predict(np.asmatrix(X))

    def test_masked_and_memory_mapped(self, tmp_path):
        X, y = make_data()
        base = LogisticRegression().fit(X, y)
        np.save(tmp_path / "X.npy", X)
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        for other in (mapped, np.ma.masked_array(X)):
            np.testing.assert_array_equal(LogisticRegression().fit(other, y).coef_, base.coef_)
            np.testing.assert_array_equal(base.predict_proba(other), base.predict_proba(X))

    def test_names_come_and_go(self):
        X, y = make_data()
        frame = pd.DataFrame(X, columns=list("abcdef"))
        model = LogisticRegression().fit(X, y)
        assert not hasattr(model, "feature_names_in_")
        with pytest.warns(UserWarning, match="X has feature names, but LogisticRegression was fitted without"):
            model.predict(frame)
        model.fit(frame, y)
        assert list(model.feature_names_in_) == list("abcdef")
        for method in self.METHODS:
            with pytest.warns(UserWarning, match="X does not have valid feature names, but LogisticRegression was"):
                getattr(model, method)(X)
            getattr(model, method)(frame)
        model.fit(X[:, :4], y)
        assert not hasattr(model, "feature_names_in_")
        assert model.n_features_in_ == 4
        model.predict(X[:, :4])

    def test_names_stay_where_the_fit_fails(self):
        X, y = make_data()
        model = LogisticRegression().fit(pd.DataFrame(X, columns=list("abcdef")), y)
        bad = X[:, :4].copy()
        bad[5, 1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            model.fit(bad, y)
        assert list(model.feature_names_in_) == list("abcdef")
        assert model.n_features_in_ == 6

    @pytest.mark.parametrize("n_rows", [1, 300])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_predictions_refuse_what_scikit_learn_does(self, dtype, n_rows):
        X, y = make_data()
        X = X.astype(dtype)
        ours, theirs = LogisticRegression().fit(X, y), SklearnLogisticRegression().fit(X, y)
        X = X[:n_rows].copy()
        wrong = [X[:, :-1], np.column_stack([X, X]), X[0]]
        for bad in (np.nan, np.inf, -np.inf):
            wrong.append(X.copy())
            wrong[-1][-1, 2] = bad
        for method in self.METHODS:
            for bad in wrong:
                assert self.error_of(getattr(ours, method), bad) == self.error_of(getattr(theirs, method), bad)

    def test_nan_where_the_coefficient_is_zero(self):
        X, y = make_data()
        X[:, 2] = 7.0
        model = LogisticRegression().fit(X, y)
        assert model.coef_[0, 2] == 0.0
        for bad, message in ((np.nan, "NaN"), (np.inf, "infinity")):
            row = X[:1].copy()
            row[0, 2] = bad
            with pytest.raises(ValueError, match=message):
                model.predict_proba(row)

    @pytest.mark.parametrize("method", METHODS)
    def test_unfitted(self, method):
        X, y = make_data()
        for bad in (X, X[:1], X.tolist(), sp.csr_array(X), X[:0]):
            with pytest.raises(NotFittedError, match="This LogisticRegression instance is not fitted yet"):
                getattr(LogisticRegression(), method)(bad)
        with pytest.raises(NotFittedError):
            getattr(clone(LogisticRegression().fit(X, y)), method)(X)

    def test_one_row_as_among_many(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        for method in self.METHODS:
            together = getattr(model, method)(X[:20])
            alone = [getattr(model, method)(X[i : i + 1])[0] for i in range(20)]
            np.testing.assert_allclose(alone, together, rtol=1e-14)
            assert getattr(model, method)(X[:1].astype(np.float32)).dtype == (
                y.dtype if method == "predict" else np.float32
            )


class TestInterrupt:
    def test_ctrl_c_stops_within_a_second(self):
        script = """
            import signal
            import numpy as np
            from fastlogreg import LogisticRegression

            signal.signal(signal.SIGINT, signal.default_int_handler)
            rng = np.random.default_rng(0)
            X = np.cumsum(rng.standard_normal((100_000, 50)), axis=1) + 10.0  # ill-conditioned: keeps descent busy
            y = rng.integers(0, 2, len(X))
            model = LogisticRegression(C=np.inf, solver="gd", tol=0, max_iter=10**6)
            print("fitting", flush=True)
            try:
                model.fit(X, y)
            except KeyboardInterrupt:
                print(sorted(set(vars(model)) - set(model.get_params())), flush=True)
            model.set_params(solver="auto", tol=1e-4).fit(X, y)
            print(model.gap_ < 1e-8)
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout.readline() == "fitting\n"
            time.sleep(0.3)
            pressed = time.perf_counter()
            run.send_signal(signal.SIGINT)
            assert run.stdout.readline() == "[]\n"  # it stopped, and left nothing behind
            assert time.perf_counter() - pressed < 1.0
            assert run.stdout.readline() == "True\n"

    def test_two_fits_in_two_threads(self):
        data = [make_data(n=30_000, d=12, seed=seed) for seed in (1, 2)]
        alone = [LogisticRegression().fit(*pair).coef_ for pair in data]
        for _ in range(5):
            together = joblib.Parallel(n_jobs=2, backend="threading")(
                joblib.delayed(LogisticRegression().fit)(*pair) for pair in data
            )
            for model, coef in zip(together, alone, strict=True):
                np.testing.assert_array_equal(model.coef_, coef)


class TestPredictions:
    def test_log_proba_is_never_infinite(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        far = model.predict_log_proba(X * 1e4)
        assert np.all(np.isfinite(far))
        assert far.min() < -1000
        np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), rtol=1e-12)

    def test_small_probabilities_keep_their_digits(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        X = X * 50
        u = model.decision_function(X)
        np.testing.assert_allclose(model.predict_proba(X)[:, 0], np.exp(-np.logaddexp(0, u)), rtol=1e-13)

    def test_sparsify_and_densify(self):
        X, y = make_data()
        model = LogisticRegression().fit(X, y)
        expected = model.predict_proba(X)
        np.testing.assert_array_equal(model.sparsify().predict_proba(X), expected)
        assert sp.issparse(model.coef_)
        np.testing.assert_array_equal(model.densify().predict_proba(X), expected)


class TestEcosystem:
    def test_pipeline_grid_search_and_cross_validation(self):
        X, y = load_breast_cancer(return_X_y=True)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0, 10.0]}, n_jobs=2, cv=3).fit(X, y)
        assert search.best_score_ > 0.95
        theirs = make_pipeline(StandardScaler(), SklearnLogisticRegression(tol=1e-8, max_iter=1000))
        ours = cross_val_score(pipeline, X, y, scoring="neg_log_loss")
        np.testing.assert_allclose(ours, cross_val_score(theirs, X, y, scoring="neg_log_loss"), rtol=1e-4)

    def test_clone_and_pickle(self, tmp_path):
        X, y = make_data()
        model = LogisticRegression(C=3.0, soft_targets=False).fit(X, y)
        assert clone(model).get_params() == model.get_params()
        loaded = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
        joblib.dump(model, tmp_path / "model")
        np.testing.assert_array_equal(joblib.load(tmp_path / "model").coef_, model.coef_)

    def test_data_frames(self):
        X, y = make_data()
        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        model = LogisticRegression().fit(frame, pd.Series(y), sample_weight=pd.Series(np.ones(len(y))))
        assert list(model.feature_names_in_) == list(frame.columns)
        np.testing.assert_allclose(model.coef_, LogisticRegression().fit(X, y).coef_, rtol=1e-9)
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame.rename(columns={"x0": "z"}))

    def test_metadata_routing_knows_sample_weight(self):
        assert LogisticRegression().set_fit_request.__doc__
        with sklearn.config_context(enable_metadata_routing=True):
            request = LogisticRegression().set_fit_request(sample_weight=True).get_metadata_routing()
            assert request.fit.requests == {"sample_weight": True}

    def test_verbose_prints_a_way_and_one_line_an_iteration(self, capsys):
        model = LogisticRegression(verbose=1).fit(*make_data())
        way, *lines = capsys.readouterr().out.splitlines()
        assert way.startswith(f"{model.solver_}: ")
        assert len(lines) == model.n_iter_[0] + 1
        assert all("objective" in line for line in lines)

    @pytest.mark.skipif(parse_version("1.9") > SKLEARN_VERSION, reason="callbacks came with scikit-learn 1.9")
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    def test_callbacks(self, solver):
        seen = []

        class Recorder:
            stop_after = 10**9

            def setup(self, estimator, context):
                seen.append("setup")

            def teardown(self, estimator, context):
                seen.append("teardown")

            def on_fit_task_begin(self, estimator, context, *, X=None, fitted_estimator=None):
                pass

            def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
                if context.task_name == "iteration" and fitted_estimator is not None:
                    seen.append(objective(fitted_estimator.coef_, fitted_estimator.intercept_, X, y, 1.0))
                    fitted_estimator.predict_proba(X)
                return len(seen) > self.stop_after

        X, y = make_data()
        recorder = Recorder()
        model = LogisticRegression(solver=solver).set_callbacks(recorder).fit(X, y)
        assert (seen[0], seen[-1]) == ("setup", "teardown")
        np.testing.assert_allclose(seen[1:-1], model.loss_curve_[1:], rtol=1e-12)
        np.testing.assert_array_equal(model.coef_, LogisticRegression(solver=solver).fit(X, y).coef_)
        seen.clear()
        recorder.stop_after = 2
        stopped = LogisticRegression(solver=solver).set_callbacks(recorder).fit(X, y)
        assert stopped.n_iter_ == [2] < model.n_iter_
        assert stopped.gap_ > model.gap_


def test_fit_needs_little_memory_beside_x(peak_memory):
    X, y = make_data(n=300_000, d=50)
    LogisticRegression().fit(X[:1000], y[:1000])  # imports and pools
    assert peak_memory(lambda: LogisticRegression().fit(X, y)) < 0.1 * X.nbytes
