"""What a stream goes on from: parameters, coefficients and counts as they are, by whomever, and what a pickle keeps."""

import copy
import io
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from stochastic import KINDS, fitted, make_data, objective, optimum, sparse_data

from fastlogreg import LogisticRegression, SGDLogisticRegression

BOTH = [SGDLogisticRegression, partial(SGDClassifier, "log_loss")]


@pytest.fixture(params=[2, 4])
def n_classes(request):
    return request.param


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request):
    return request.param


def assert_close(ours, theirs, rtol=1e-9):
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol * np.abs(theirs.coef_).max())
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol)


def assert_same_predictions(ours, theirs, X, atol=1e-12):
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=atol)


class TestParameters:
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    @pytest.mark.parametrize(
        "changes",
        [
            {"eta0": 1e-3},
            {"alpha": 1.0},
            {"learning_rate": "optimal"},
            {"learning_rate": "invscaling", "power_t": 0.3},
            {"penalty": None},
            {"penalty": "l1"},
            {"class_weight": {0: 5.0, 1: 0.2}},
            {"fit_intercept": False},
            {"shuffle": False},
            {"random_state": 5},
        ],
        ids=str,
    )
    def test_take_effect_as_scikit_learns(self, changes, make):
        X, y = make(n=900)
        start = {"learning_rate": "constant", "eta0": 0.05, "alpha": 0.01, "random_state": 0}
        models = []
        for estimator in BOTH:
            model = estimator(**start).partial_fit(X[:300], y[:300], classes=[0, 1])
            models.append(model.set_params(**changes).partial_fit(X[300:600], y[300:600]))
            model.set_params(**{name: start.get(name, getattr(SGDClassifier(), name)) for name in changes})
            if changes != {"penalty": "l1"}:  # what L1 has not cut yet is forgotten there with every call
                model.partial_fit(X[600:], y[600:])
        assert_close(*models)
        assert models[0].t_ == models[1].t_

    def test_an_average_that_is_no_longer_wanted(self):
        X, y = make_data(n=900)
        models = []
        for estimator in BOTH:  # without an intercept, as scikit-learn's steps of it begin anew with every average
            model = estimator(learning_rate="constant", eta0=0.05, average=True, fit_intercept=False, random_state=0)
            model.partial_fit(X[:300], y[:300], classes=[0, 1])
            models.append(model.set_params(average=False).partial_fit(X[300:], y[300:]))
        assert_close(*models)

    @pytest.mark.parametrize("penalty", ["l2", "l1"])
    def test_an_average_begins_when_it_is_wanted(self, n_classes, penalty):
        X, y = make_data(n=900, n_classes=n_classes)
        options = {"learning_rate": "constant", "eta0": 0.05, "penalty": penalty, "random_state": 0}
        model = SGDLogisticRegression(**options).partial_fit(X[:300], y[:300], classes=range(n_classes))
        coef, intercept = model.coef_, model.intercept_
        model.set_params(average=10).partial_fit(X[300:], y[300:])
        fresh = SGDLogisticRegression(average=True, tol=None, max_iter=1, **options)
        fresh.fit(X[300:], y[300:], coef_init=coef, intercept_init=intercept)
        assert_close(model, fresh, rtol=1e-9 if penalty == "l2" else 0.05)  # what L1 had not cut before

    @pytest.mark.parametrize("changes", [{"eta0": 0.1}, {"power_t": 0.1}, {"alpha": 0.1}], ids=str)
    def test_an_average_goes_on(self, n_classes, changes):
        """Half of it is of the steps before."""
        X, y = make_data(n=800, n_classes=n_classes)
        options = {"learning_rate": "invscaling", "average": True, "random_state": 0}
        model = SGDLogisticRegression(**options).partial_fit(X[:400], y[:400], classes=range(n_classes))
        half = model.coef_
        model.set_params(eta0=1e-12, alpha=0.0).partial_fit(X[400:], y[400:])
        still = SGDLogisticRegression(**options).partial_fit(X[:400], y[:400], classes=range(n_classes))
        last = still.set_params(average=0, eta0=1e-12, alpha=0.0)._steps.fork()
        last.settle()
        running = np.atleast_2d(last._running()[0])
        np.testing.assert_allclose(model.coef_, 0.5 * (half + running), rtol=1e-6)
        assert np.isfinite(model.set_params(**changes).partial_fit(X, y).coef_).all()

    @pytest.mark.parametrize("alpha", [1e-3, 0.1, 100.0])
    def test_another_penalty_is_one_of_all_samples(self, n_classes, alpha):
        X, y = make_data(n=6000, n_classes=n_classes)
        model = SGDLogisticRegression(alpha=1e-5, random_state=0).partial_fit(
            X[:5000], y[:5000], classes=range(n_classes)
        )
        model.set_params(alpha=alpha).partial_fit(X[5000:], y[5000:])
        best = optimum(X, y, alpha)
        assert objective(model, X, y, alpha) < 1.01 * best

    def test_another_l1_is_one_of_all_samples(self, n_classes):
        X, y = make_data(n=3000, d=12, n_classes=n_classes)
        options = {"penalty": "l1", "shuffle": False}
        model = SGDLogisticRegression(alpha=1e-4, **options).partial_fit(X[:2900], y[:2900], classes=range(n_classes))
        assert np.count_nonzero(model.coef_) == model.coef_.size
        model.set_params(alpha=0.2).partial_fit(X[2900:], y[2900:])
        assert np.count_nonzero(model.coef_) < 0.7 * model.coef_.size

    def test_other_kinds_of_steps_go_on_from_the_coefficients(self, kind, n_classes):
        X, y = make_data(n=700, n_classes=n_classes)
        model = SGDLogisticRegression(random_state=0, **kind).partial_fit(X, y, classes=range(n_classes))
        before = copy.deepcopy(model)
        model.set_params(learning_rate="constant", eta0=1e-12, average=False, penalty="l2", batch_size=1)
        assert_same_predictions(model.partial_fit(X, y), before, X, atol=1e-6)
        model.set_params(learning_rate="auto", alpha=1e-4)
        for _ in range(4):
            model.partial_fit(X, y)
        excess, at_first = (objective(m, X, y, 1e-4) - optimum(X, y, 1e-4) for m in (model, before))
        assert excess < max(0.5 * at_first, 0.01)

    def test_batches_of_another_size(self, n_classes):
        """The rate goes on where it was, by the samples seen."""
        X, y = make_data(n=640, n_classes=n_classes)
        options = {"learning_rate": "invscaling", "eta0": 0.1, "shuffle": False}
        model = SGDLogisticRegression(batch_size=1, **options).partial_fit(X, y, classes=range(n_classes))
        other = SGDLogisticRegression(batch_size=32, **options)
        other.coef_, other.intercept_, other.classes_, other.t_ = model.coef_, model.intercept_, model.classes_, 641.0
        assert_close(model.set_params(batch_size=32).partial_fit(X, y), other.partial_fit(X, y))

    def test_an_intercept_that_is_no_longer_fitted_stays(self, kind, n_classes):
        X, y = make_data(n=700, n_classes=n_classes)
        model = SGDLogisticRegression(**kind).partial_fit(X, y, classes=range(n_classes))
        intercept = model.intercept_ - model.intercept_.mean() * (n_classes > 2)
        model.set_params(fit_intercept=False)
        for rows in (slice(100), slice(100, 700)):
            model.partial_fit(X[rows], y[rows])
            after = model.intercept_ - model.intercept_.mean() * (n_classes > 2)
            if "average" not in kind:  # whose average still nears it
                np.testing.assert_allclose(after, intercept, rtol=1e-9, atol=1e-12)
        model.set_params(fit_intercept=True).partial_fit(X, y)
        again = model.intercept_ - model.intercept_.mean() * (n_classes > 2)
        assert np.abs(again - after).max() > 1e-9

    def test_what_steps_do_not_heed_changes_no_bit(self, n_classes):
        X, y = make_data(n=700, n_classes=n_classes)
        a, b = (SGDLogisticRegression(shuffle=False) for _ in range(2))
        for part in np.array_split(np.arange(700), 5):
            a.partial_fit(X[part], y[part], classes=range(n_classes))
            b.set_params(eta0=0.5 / (1 + part[0]), max_iter=3, l1_ratio=0.9, average=7, verbose=0, tol=0.1)
            b.partial_fit(X[part], y[part], classes=range(n_classes))
        np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_a_refused_value_changes_nothing(self, kind, n_classes):
        X, y = make_data(n=700, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X[:500], y[:500], classes=range(n_classes))
        other = copy.deepcopy(model)
        with pytest.raises(ValueError, match="'alpha' parameter"):
            model.set_params(alpha=-1.0).partial_fit(X, y)
        bad = X.copy()
        bad[-1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            model.set_params(alpha=0.5).partial_fit(bad, y)
        model.set_params(alpha=other.alpha).partial_fit(X[500:], y[500:])
        np.testing.assert_array_equal(model.coef_, other.partial_fit(X[500:], y[500:]).coef_)

    def test_a_rate_that_adapted_begins_anew(self):
        X, y = make_data()
        models = [
            estimator(learning_rate="adaptive", eta0=0.05, random_state=0).fit(X, y).partial_fit(X, y)
            for estimator in BOTH
        ]
        assert_close(*models, rtol=1e-6)


class TestCoefficients:
    def given(self, n_classes, d=7):
        rng = np.random.default_rng(3)
        n_outputs = n_classes if n_classes > 2 else 1
        return rng.standard_normal((n_outputs, d)), rng.standard_normal(n_outputs)

    @pytest.mark.parametrize("first", [0, 200])
    @pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "optimal"])
    def test_set_by_hand_are_gone_on_from_as_in_scikit_learn(self, first, learning_rate):
        X, y = make_data()
        models = []
        for estimator in BOTH:
            model = estimator(learning_rate=learning_rate, eta0=0.05, alpha=0.01, random_state=0)
            if first:
                model.partial_fit(X[:first], y[:first], classes=[0, 1])
            (model.coef_, model.intercept_), model.classes_ = self.given(2), np.array([0, 1])
            models.append(model.partial_fit(X[first:], y[first:]))
        assert_close(*models)

    def test_counts_set_by_hand_are_scikit_learns(self):
        X, y = make_data()
        models = [
            estimator(learning_rate="invscaling", eta0=0.05, random_state=0).partial_fit(X, y, classes=[0, 1])
            for estimator in BOTH
        ]
        for model in models:
            model.t_ = 1.0
            model.partial_fit(X, y)
        assert_close(*models)

    @pytest.mark.parametrize("kind", [KINDS["newton"], KINDS["diagonal"]])
    @pytest.mark.parametrize("d", [7, 90])  # with many columns, a part of a block is a step of its own
    @pytest.mark.parametrize("in_place", [False, True])
    def test_are_gone_on_from_without_a_rate(self, kind, n_classes, in_place, d):
        X, y = make_data(n=1200, n_classes=n_classes, d=d)
        model = SGDLogisticRegression(**kind).partial_fit(X, y, classes=range(n_classes))
        start = copy.deepcopy(model).partial_fit(X[:3], y[:3])
        coef, intercept = self.given(n_classes, d)
        assert np.abs(start.coef_ - coef).max() > 0.5
        if in_place:
            model.coef_[:], model.intercept_[:] = coef, intercept
        else:
            model.coef_, model.intercept_ = coef.tolist(), intercept.tolist()
        given = copy.deepcopy(model)
        assert_same_predictions(model.partial_fit(X[:1], y[:1]), given, X, atol=0.3)

    def test_without_a_fit_are_moved_a_little(self, n_classes):
        """They count as what a block of samples led to."""
        X, y = make_data(n=5000, n_classes=n_classes, d=80)
        best = LogisticRegression(tol=1e-8).fit(X, y)
        model = SGDLogisticRegression(random_state=0)
        model.coef_, model.intercept_, model.classes_ = best.coef_, best.intercept_, best.classes_
        for part in np.array_split(np.arange(150), 5):
            before = model.coef_
            model.partial_fit(X[part], y[part])
            assert np.abs(model.coef_ - before).max() > 0
        anew = SGDLogisticRegression(random_state=0).partial_fit(X[:150], y[:150], classes=range(n_classes))
        excess, of_anew = (objective(m, X, y, 1e-4) - objective(best, X, y, 1e-4) for m in (model, anew))
        assert excess < 0.3 * of_anew

    def test_an_average_begins_anew(self, n_classes):
        X, y = make_data(n=600, n_classes=n_classes)
        options = {"learning_rate": "constant", "eta0": 0.05, "average": True, "random_state": 0}
        model = SGDLogisticRegression(**options).partial_fit(X[:300], y[:300], classes=range(n_classes))
        model.coef_, model.intercept_ = self.given(n_classes)
        model.partial_fit(X[300:], y[300:])
        fresh = SGDLogisticRegression(**options)
        (fresh.coef_, fresh.intercept_), fresh.classes_ = self.given(n_classes), np.arange(n_classes)
        assert_close(model, fresh.partial_fit(X[300:], y[300:]))

    def test_of_the_best_epoch_are_gone_on_from(self, n_classes):
        X, y = make_data(n=600, n_classes=n_classes)
        options = {"learning_rate": "constant", "eta0": 0.3, "random_state": 0, "n_iter_no_change": 8}
        model = SGDLogisticRegression(**options).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
        assert np.argmin(model.validation_curve_) < model.n_iter_ - 1
        best = model.coef_
        moved = np.abs(model.set_params(eta0=1e-12, alpha=0.0).partial_fit(X, y).coef_ - best).max()
        assert moved < 1e-6

    @pytest.mark.parametrize("options", [{}, {"learning_rate": "constant", "eta0": 0.01}], ids=str)
    def test_averaged_over_clients(self, n_classes, options):
        """A server averages what its clients learn from their own samples."""
        X, y = make_data(n=3000, n_classes=n_classes)
        clients = [SGDLogisticRegression(random_state=0, **options) for _ in range(3)]
        for _ in range(8):
            for client, rows in zip(clients, np.array_split(np.arange(3000), 3), strict=True):
                client.partial_fit(X[rows], y[rows], classes=range(n_classes))
            coef = np.mean([client.coef_ for client in clients], axis=0)
            intercept = np.mean([client.intercept_ for client in clients], axis=0)
            for client in clients:
                client.coef_, client.intercept_ = coef.copy(), intercept.copy()
        assert objective(clients[0], X, y, 1e-4) < 1.01 * optimum(X, y, 1e-4)

    def test_classes_in_any_order(self, n_classes):
        X, y = make_data(n_classes=n_classes)
        labels = np.array(["a", "b", "c", "d"][:n_classes])
        model, turned = (SGDLogisticRegression(learning_rate="constant", random_state=0) for _ in range(2))
        coef, intercept = self.given(n_classes)
        model.coef_, model.intercept_, model.classes_ = coef, intercept, labels
        flip = -1 if n_classes == 2 else 1
        turned.coef_, turned.intercept_ = flip * coef[::-1], flip * intercept[::-1]
        turned.classes_ = labels[::-1].tolist()
        for one in (model, turned):
            one.partial_fit(X, labels[y], classes=labels)
        np.testing.assert_allclose(turned.coef_, flip * model.coef_[::-1], rtol=1e-9)
        np.testing.assert_array_equal(turned.predict(X), model.predict(X))

    def test_mistakes_are_told(self, kind, n_classes):
        X, y = make_data(n_classes=n_classes)
        model = SGDLogisticRegression(**kind)
        (model.coef_, model.intercept_), model.classes_ = self.given(n_classes), np.arange(n_classes)
        with pytest.raises(ValueError, match="partial_fit: the coefficients are those of 7 features, X has 3"):
            model.partial_fit(X[:, :3], y)
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, y, classes=range(n_classes + 1))
        model.coef_ = np.full_like(model.coef_, np.inf)
        with pytest.raises(ValueError, match="coef_ contains infinity"):
            model.partial_fit(X, y)
        model.coef_ = np.zeros((6, 7))
        with pytest.raises(ValueError, match=r"do not fit each other|6 rows"):
            model.partial_fit(X, y)


def stored(model):
    return pickle.loads(pickle.dumps(model))


def trained(kind, n_classes, X, y, how):
    if how == "partial_fit":
        model = SGDLogisticRegression(**kind)
        for part in np.array_split(np.arange(len(X)), 7):
            model.partial_fit(X[part], y[part], classes=range(n_classes))
        return model
    options = {"max_iter": 3, "tol": None, "early_stopping": how == "early_stopping", **kind}
    train, held, y_train, y_held = train_test_split(X, y, random_state=0)
    return fitted(train, y_train, of_fit={"X_val": held, "y_val": y_held} if how == "X_val" else None, **options)


class TestPickles:
    @pytest.mark.parametrize("how", ["partial_fit", "fit", "early_stopping", "X_val"])
    @pytest.mark.parametrize("d", [5, 80])
    def test_hold_no_rows_and_a_few_numbers_a_coefficient(self, kind, n_classes, how, d):
        X, y = make_data(n=701, d=d, n_classes=n_classes)
        model = trained(kind, n_classes, X, y, how)
        in_file = pickle.dumps(model)
        assert not any(row.tobytes() in in_file for row in X)
        assert not any(row[:3].tobytes() in in_file for row in X)
        assert len(in_file) < 12 * 8 * model.coef_.size + 4000
        again = pickle.loads(in_file)
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert len(pickle.dumps(again)) < len(in_file) + 100

    def test_of_logistic_regression_hold_no_rows(self, n_classes):
        X, y = make_data(n_classes=n_classes)
        in_file = pickle.dumps(LogisticRegression().fit(X, y))
        assert not any(row[:3].tobytes() in in_file for row in X)
        assert len(in_file) < 3000

    def test_are_gone_on_from(self, kind, n_classes):
        X, y = make_data(n=4000, d=12, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X[:2000], y[:2000], classes=range(n_classes))
        again = stored(model)
        halfway = objective(model, X, y, 1e-4)
        model.partial_fit(X[2000:], y[2000:])
        again.partial_fit(X[2000:], y[2000:])
        assert again.t_ == model.t_
        if kind == KINDS["newton"]:
            best = optimum(X, y, 1e-4)
            assert objective(again, X, y, 1e-4) - best < 0.2 * (halfway - best)
        else:
            rtol = 1e-2 if kind == KINDS["batches"] else 1e-6  # rows that waited for their batch took a smaller one
            assert_close(again, model, rtol=rtol)

    @pytest.mark.parametrize("far", [0.0, 1e3])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_of_columns_that_depend_on_one_another(self, n_classes, far, fit_intercept):
        """The curvature that is not kept is learnt anew, also where a model is stored again and again."""
        rng = np.random.default_rng(0)
        X, y = make_data(n=6000, d=20, n_classes=n_classes)
        X = X @ (np.eye(20) + 0.3 * rng.standard_normal((20, 20))) + rng.standard_normal((6000, 1))
        X = (X + far * fit_intercept) * 10.0 ** rng.uniform(-2, 2, 20)
        options = {"shuffle": False, "fit_intercept": fit_intercept, "alpha": 1e-6}
        model = SGDLogisticRegression(**options)
        for part in np.array_split(np.arange(6000), 4):
            model = stored(model.partial_fit(X[part], y[part], classes=range(n_classes)))
        alone = SGDLogisticRegression(**options).partial_fit(X[4500:], y[4500:], classes=range(n_classes))
        best = LogisticRegression(C=1 / (1e-6 * 6000), fit_intercept=fit_intercept).fit(X, y)
        excess = [objective(m, X, y, 1e-6) - objective(best, X, y, 1e-6) for m in (model, alone)]
        assert excess[0] < 0.4 * excess[1]

    @pytest.mark.parametrize("kind", [KINDS["newton"], KINDS["diagonal"]])
    def test_of_coefficients_set_by_hand(self, kind, n_classes):
        X, y = make_data(n=600, n_classes=n_classes)
        model = SGDLogisticRegression(**kind).partial_fit(X, y, classes=range(n_classes))
        model.coef_ = 0.5 * model.coef_
        again = stored(model)
        np.testing.assert_array_equal(again.coef_, model.coef_)
        assert_same_predictions(again.partial_fit(X[:1], y[:1]), model, X, atol=0.3)

    def test_mapped_into_memory(self, kind, n_classes, tmp_path):
        X, y = make_data(n=600, n_classes=n_classes)
        model = SGDLogisticRegression(**kind).partial_fit(X, y, classes=range(n_classes))
        joblib.dump(model, tmp_path / "model")
        mapped = joblib.load(tmp_path / "model", mmap_mode="r").set_params(random_state=0).partial_fit(X, y)
        expected = stored(model).set_params(random_state=0).partial_fit(X, y)
        np.testing.assert_array_equal(mapped.coef_, expected.coef_)

    def test_by_every_protocol(self, kind, n_classes):
        X, y = make_data(n=600, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X, y, classes=range(n_classes))
        coefs = []
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            file = io.BytesIO()
            pickle.dump(model, file, protocol=protocol)
            coefs.append(pickle.loads(file.getvalue()).partial_fit(X, y).coef_)
        for coef in coefs[1:]:
            np.testing.assert_array_equal(coef, coefs[0])

    def test_with_callbacks_hold_no_rows(self):
        X, y = make_data(d=5)
        model = SGDLogisticRegression(random_state=0)
        if not hasattr(model, "set_callbacks"):
            pytest.skip("scikit-learn has callbacks from 1.9 on")
        for one in (model, LogisticRegression()):
            in_file = pickle.dumps(one.set_callbacks(Silent()).fit(X, y))
            assert not any(row[:3].tobytes() in in_file for row in X)


class Silent:
    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context, *, X=None, fitted_estimator=None): ...

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None): ...
