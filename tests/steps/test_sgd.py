"""Stochastic steps and SGDLogisticRegression: scikit-learn's coefficients, plain twins, streams, "auto".

What holds for two classes as for several is tested for both here; what only several have, in `test_softmax_sgd`.
"""

import _thread
import copy
import inspect
import itertools
import pickle
import time
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import zoo
from fresh import run_python
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.utils._seq_dataset import ArrayDataset64
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version
from stochastic import (
    KINDS,
    diagonal_twin,
    fitted,
    gradient_twin,
    implicit_slopes,
    make_data,
    objective,
    optimum,
    probabilities,
    settings_of,
    solution_of,
    sparse_data,
)

from fastlogreg import LogisticRegression, SGDLogisticRegression
from fastlogreg.bce import bce_with_logits_grad
from fastlogreg.data.layouts import as_design
from fastlogreg.data.rows import Rows, shuffle
from fastlogreg.steps import DiagonalSteps, GradientSteps, NewtonSteps

SKLEARN_VERSION = parse_version(sklearn.__version__)
# scikit-learn < 1.8 leaves the penalty out of what `tol` compares, and has 0 as the default of eta0.
OTHER_STOPPING = parse_version("1.8") > SKLEARN_VERSION
ETA0_WAS_ZERO = {"eta0"} if OTHER_STOPPING else set()
SCHEDULES = ["constant", "optimal", "invscaling", "adaptive"]


@pytest.fixture(params=[2, 4])
def n_classes(request):
    return request.param


def assert_close(ours, theirs, rtol=1e-6):
    scale = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol * scale)


@parametrize_with_checks([SGDLogisticRegression()])
def test_sklearn_checks(estimator, check):
    name = getattr(getattr(check, "func", check), "__name__", "")
    if "array_api" in name:
        pytest.skip("needs SCIPY_ARRAY_API set before SciPy is imported")
    if "sample_weight_equivalence" in name and parse_version("1.7") > SKLEARN_VERSION:
        pytest.skip("scikit-learn 1.6 makes two different binary y of its weighted and its repeated one")
    check(estimator)


class TestOrder:
    @pytest.mark.parametrize("n", [1, 2, 3, 1000])
    @pytest.mark.parametrize("seed", [0, 1, 12345, 2**31 - 1])
    def test_is_that_of_scikit_learn(self, n, seed):
        data = ArrayDataset64(np.zeros((n, 1)), np.zeros(n), np.ones(n))
        order = np.arange(n, dtype=np.int32)
        for _ in range(2):
            data._shuffle_py(seed)
            shuffle(order, seed)
            np.testing.assert_array_equal(order, [data._next_py()[3] for _ in range(n)])


class TestSchedules:
    """The coefficients are scikit-learn's."""

    @pytest.mark.parametrize("learning_rate", SCHEDULES)
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"penalty": "l1", "alpha": 0.01},
            {"penalty": "elasticnet", "alpha": 0.01, "l1_ratio": 0.4},
            {"penalty": None},
            {"average": True},
            {"average": 700},
            {"average": True, "penalty": "l1", "alpha": 0.01},
            {"average": 700, "penalty": "elasticnet", "alpha": 0.01},
            {"average": 10, "penalty": "elasticnet", "alpha": 0.5, "eta0": 0.5},  # scales are reset
            {"shuffle": False},
            {"fit_intercept": False},
            {"class_weight": {0: 3.0, 1: 0.5}},
            {"power_t": 0.3, "eta0": 0.2},
            {"tol": None, "max_iter": 3},
        ],
        ids=str,
    )
    def test_dense(self, learning_rate, options):
        X, y = make_data()
        options = {"learning_rate": learning_rate, "random_state": 3, "eta0": 0.05, "alpha": 1e-3, **options}
        if OTHER_STOPPING:
            options |= {"tol": None, "max_iter": 7}
        ours, theirs = fitted(X, y, **options), fitted(X, y, SGDClassifier, loss="log_loss", **options)
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.t_ == theirs.t_
        assert_close(ours, theirs)

    @pytest.mark.parametrize("learning_rate", ["constant", "optimal", "invscaling"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"penalty": "l1"},
            {"penalty": "elasticnet"},
            {"average": True},
            {"average": True, "penalty": "l1"},
            {"average": 500, "penalty": "elasticnet"},
            {"alpha": 2.0, "eta0": 0.4},
            {"alpha": 2.0, "eta0": 0.4, "average": 10, "penalty": "elasticnet"},
        ],
        ids=str,
    )
    def test_sparse(self, learning_rate, options):
        X, y = sparse_data()
        # scikit-learn's norm of sparse coefficients, and so its stopping, covers the columns last touched only
        options = {"learning_rate": learning_rate, "eta0": 0.1, "alpha": 1e-3, "tol": None, "max_iter": 4, **options}
        options["random_state"] = 1
        assert_close(fitted(X, y, **options), fitted(X, y, SGDClassifier, loss="log_loss", **options))

    @pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
    @pytest.mark.parametrize("average", [False, True, 10])
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_partial_fit(self, penalty, average, make):
        X, y = make()
        options = {"learning_rate": "constant", "eta0": 0.05, "alpha": 1e-2, "penalty": penalty, "average": average}
        ours, theirs = (
            model(random_state=0, **options).partial_fit(X, y, classes=[0, 1])
            for model in (SGDLogisticRegression, partial(SGDClassifier, "log_loss"))
        )
        assert_close(ours, theirs)

    def test_weights(self):
        X, y = make_data()
        weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
        options = {"learning_rate": "optimal", "random_state": 0}
        ours = SGDLogisticRegression(**options).fit(X, y, sample_weight=weight)
        assert_close(ours, SGDClassifier(loss="log_loss", **options).fit(X, y, sample_weight=weight))

    def test_early_stopping_takes_the_same_samples_and_keeps_the_best_epoch(self):
        X, y = make_data(1000)
        options = {"learning_rate": "constant", "eta0": 1e-3, "early_stopping": True, "random_state": 5}
        ours = SGDLogisticRegression(**options).fit(X, y)
        assert ours.n_iter_ == SGDClassifier(loss="log_loss", **options).fit(X, y).n_iter_
        best = int(np.argmax(ours.validation_curve_)) + 1
        options.update(max_iter=best, tol=None)
        assert_close(ours, SGDClassifier(loss="log_loss", **options).fit(X, y))

    def test_many_tiny_scales(self):
        """The scale of sparse coefficients is brought back before it underflows."""
        X, y = sparse_data()
        options = {"learning_rate": "constant", "eta0": 0.5, "alpha": 1.5, "tol": None, "max_iter": 3}
        options.update(random_state=0, average=True)
        assert_close(fitted(X, y, **options), fitted(X, y, SGDClassifier, loss="log_loss", **options))


class TestTwin:
    @pytest.mark.parametrize("schedule", ["constant", "optimal", "invscaling"])
    @pytest.mark.parametrize("batch_size", [1, 7, 32])
    @pytest.mark.parametrize(("l1_ratio", "average"), [(0.0, 0), (0.0, 10), (0.3, 0), (1.0, 0), (0.3, 10), (1.0, 1)])
    def test_gradient_steps(self, isa, schedule, batch_size, l1_ratio, average):
        X, y = make_data(300, 13)
        weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
        order = np.random.default_rng(1).permutation(len(y)).astype(np.int32)
        settings = settings_of(schedule=schedule, l1_ratio=l1_ratio, average=average, batch_size=batch_size)
        steps = GradientSteps(np.zeros(13), 0.0, False, settings)
        coef, intercept = solution_of(steps, X, y, weight, order)
        expected = gradient_twin(X, y[:, None], settings, order, weight)
        np.testing.assert_allclose([coef], expected[0], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose([intercept], expected[1], rtol=1e-10)

    @pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
    @pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
    def test_slopes_of_all_logits(self, isa, make, target):
        settings = settings_of(eta0=0.5, alpha=0.0, penalised=False, fit_intercept=False)
        for u in (-1e100, -750.0, -301.0, -299.0, -40.0, -1.0, -1e-9, 0.0, 0.5, 5.0, 37.0, 299.0, 301.0, 750.0, 1e100):
            steps = GradientSteps(np.array([u, 0.0]), 0.0, make is not np.asarray, settings)
            coef, _ = solution_of(steps, make(np.ones((1, 2))), [target])
            expected = -0.5 * float(bce_with_logits_grad(target, u))
            assert coef[1] == pytest.approx(expected, rel=1e-14, abs=1e-300)

    # With little L2 a step may move a logit by thousands: the slopes must be exact.
    @pytest.mark.parametrize("alpha", [0.0, 1e-4, 1e-2, 0.1])
    @pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("single", [False, True])
    def test_diagonal_steps(self, isa, alpha, l1_ratio, single):
        X, y = sparse_data(n=300)
        weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
        if single:
            X = X.astype(np.float32)
        steps = DiagonalSteps(np.zeros(X.shape[1]), 0.0, alpha, l1_ratio, True)
        coef, intercept = solution_of(steps, X, y, weight)
        expected = diagonal_twin(X.toarray().astype(float), y[:, None], weight, alpha, l1_ratio)
        np.testing.assert_allclose([coef], expected[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose([intercept], expected[1], rtol=1e-9)

    @pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
    @pytest.mark.parametrize("reach", 10.0 ** np.arange(-4, 7, 2))
    def test_diagonal_steps_do_not_overshoot(self, isa, target, reach):
        """One sample of one column from an intercept: its slope is that at the logit it moves to."""
        for u in (-750.0, -40.0, -8.0, -2.0, -0.1, 0.0, 1e-6, 0.7, 3.0, 15.0, 301.0):
            steps = DiagonalSteps(np.zeros(1), u, 1.0, 0.0, False)
            coef, _ = solution_of(steps, sp.csr_matrix([[np.sqrt(reach)]]), [target])
            p = probabilities(np.array([[u]]))[0, 0]
            slope = coef[0] * (1 + 0.5 * p * (1 - p) * reach) / np.sqrt(reach)
            expected = implicit_slopes(np.array([u]), reach, target, 1.0)
            assert slope == pytest.approx(expected, rel=1e-10, abs=1e-14)


def far_stream(how, n_classes):
    """A stream (X, y) with its columns about zero, the same with an origin far off, and the rows of its first call."""
    X, y = make_data(3000, 4, n_classes)
    first = 1 if how == "a row first" else 100
    if how == "a constant first":
        X[:first, 0] = 0.3
    elif how == "drift":
        X[first:, 0] += 30.0
    units, origin = {"years": (10.0, 2000.0)}.get(how, (2e3, 1.7e9))
    far = X.copy()
    far[:, 0] = origin + units * X[:, 0]
    X[:, 0] -= X[:, 0].mean()
    return (X, y), (far, y), first


@pytest.fixture(params=["newton"])
def origin_free_kind(request):
    return KINDS[request.param]


class TestStreams:
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_chunks_are_one_call_bit_for_bit(self, kind, make, n_classes):
        X, y = make(n=1801, n_classes=n_classes)
        whole = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X, y, classes=range(n_classes))
        parts = SGDLogisticRegression(shuffle=False, **kind)
        for a, b in itertools.pairwise([0, 1, 2, 40, 300, 301, 1113, 1801]):
            parts.partial_fit(X[a:b], y[a:b], classes=range(n_classes))
        np.testing.assert_array_equal(parts.coef_, whole.coef_)
        np.testing.assert_array_equal(parts.intercept_, whole.intercept_)
        assert parts.t_ == whole.t_ == 1802

    def test_rows_that_wait_are_the_streams_own(self, kind, n_classes):
        X, y = make_data(n=900, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False, **kind)
        whole = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X, y, classes=range(n_classes))
        for part in np.array_split(np.arange(900), [70, 145, 500]):
            chunk = X[part].copy()
            model.partial_fit(chunk, y[part], classes=range(n_classes))
            chunk[:] = np.nan
        np.testing.assert_array_equal(model.coef_, whole.coef_)

    @pytest.mark.parametrize("plain", [np.asarray, sp.csr_matrix])
    @pytest.mark.parametrize("index", [np.int32, np.int64])
    def test_chunks_of_all_layouts(self, kind, plain, index, n_classes):
        X, y = sparse_data(n=900, n_classes=n_classes)
        X.data = X.data.astype(np.float32).astype(float)
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        dense = X.toarray()
        layouts = [plain(dense), dense.astype(np.float32), X, X.astype(np.float32), dense, np.asfortranarray(dense)]
        model = SGDLogisticRegression(shuffle=False, **kind)
        for Z, part in zip(layouts, np.array_split(np.arange(900), [130, 290, 355, 500, 700]), strict=True):
            model.partial_fit(Z[part], y[part], classes=range(n_classes))
        whole = SGDLogisticRegression(shuffle=False, **kind).partial_fit(plain(dense), y, classes=range(n_classes))
        np.testing.assert_array_equal(model.coef_, whole.coef_)

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_survives_copying(self, kind, n_classes, copied):
        X, y = make_data(n=1500, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X[:900], y[:900], classes=range(n_classes))
        other = copied(model)
        model.partial_fit(X[900:], y[900:])
        np.testing.assert_array_equal(other.partial_fit(X[900:], y[900:]).coef_, model.coef_)

    def test_goes_on_after_a_fit(self, kind, n_classes):
        X, y = make_data(n=1500, n_classes=n_classes)
        model = fitted(X[:900], y[:900], random_state=0, max_iter=4, **kind)
        other = copy.deepcopy(model)
        np.testing.assert_array_equal(
            model.partial_fit(X[900:], y[900:]).coef_, other.partial_fit(X[900:], y[900:]).coef_
        )
        if kind == KINDS["newton"]:
            assert objective(model, X, y, 0.0) < 1.02 * optimum(X, y, 1e-4)

    def test_a_failed_call_changes_nothing(self, kind, n_classes):
        X, y = make_data(n=1500, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X[:700], y[:700], classes=range(n_classes))
        before = copy.deepcopy(model)
        for value in (np.nan, np.inf):
            bad = X[700:].copy()
            bad[-1, 2] = value
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                model.partial_fit(bad, y[700:])
        np.testing.assert_array_equal(model.coef_, before.coef_)
        np.testing.assert_array_equal(
            model.partial_fit(X[700:], y[700:]).coef_, before.partial_fit(X[700:], y[700:]).coef_
        )

    @pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix, np.float32])
    def test_narrow_calls_of_many_columns(self, make, n_classes):
        """How the stream is cut changes no bit of what is handed out, at the end of a block or within it."""
        X, y = make_data(n=1200, d=90, n_classes=n_classes)
        X = make(X)
        parts = SGDLogisticRegression(shuffle=False)
        for a, b in itertools.pairwise([0, 1, 32, 200, 255, 256, 257, 512, 520, 1024, 1100, 1200]):
            parts.partial_fit(X[a:b], y[a:b], classes=range(n_classes))
            whole = SGDLogisticRegression(shuffle=False).partial_fit(X[:b], y[:b], classes=range(n_classes))
            np.testing.assert_array_equal(parts.coef_, whole.coef_)
            np.testing.assert_array_equal(parts.intercept_, whole.intercept_)
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(parts)).coef_, whole.coef_)

    def test_a_narrow_call_copies_no_curvature(self, n_classes):
        X, y = make_data(n=1100, d=90, n_classes=n_classes)
        model = SGDLogisticRegression(shuffle=False).partial_fit(X[:1030], y[:1030], classes=range(n_classes))
        before = model._steps
        model.partial_fit(X[1030:], y[1030:])
        assert model._steps is not before
        assert model._steps.curvature is before.curvature
        assert model._steps.factor is before.factor

    def test_a_failed_call_of_many_columns_changes_nothing(self, n_classes):
        X, y = make_data(n=1500, d=90, n_classes=n_classes)
        for seen, bad in ((100, 130), (400, 700), (1100, 1500)):  # within the first block, over its end, in a later one
            model = SGDLogisticRegression(shuffle=False).partial_fit(X[:seen], y[:seen], classes=range(n_classes))
            before = copy.deepcopy(model)
            wrong = X[seen:bad].copy()
            wrong[-1, 2] = np.nan
            with pytest.raises(ValueError, match="NaN"):
                model.partial_fit(wrong, y[seen:bad])
            np.testing.assert_array_equal(model.coef_, before.coef_)
            for one in (model, before):
                one.partial_fit(X[seen:], y[seen:])
            np.testing.assert_array_equal(model.coef_, before.coef_)

    def test_few_rows_of_many_columns_are_not_learnt_by_heart(self, n_classes):
        X, y = make_data(n=3000, d=400, n_classes=n_classes)
        X /= 10
        model = SGDLogisticRegression(shuffle=False)
        for a in range(0, 800, 32):
            model.partial_fit(X[a : a + 32], y[a : a + 32], classes=range(n_classes))
            assert objective(model, X[1000:], y[1000:], 0.0) < 1.1 * np.log(n_classes)
        assert objective(model, X[1000:], y[1000:], 0.0) < 0.9 * np.log(n_classes)

    def test_goes_on_from_where_iterations_led(self, n_classes):
        """A fit from a start takes no stochastic steps: nothing is known of the curvature."""
        X, y = make_data(n=3000, n_classes=n_classes)
        model = SGDLogisticRegression(warm_start=True, random_state=0).fit(X[:2000], y[:2000]).fit(X[:2000], y[:2000])
        best = optimum(X, y, 1e-4)
        for a in range(2000, 3000, 100):
            model.partial_fit(X[a : a + 100], y[a : a + 100])
            assert objective(model, X, y, 1e-4) < 1.01 * best

    def test_a_chunk_of_one_class(self, kind, n_classes):
        X, y = make_data(n_classes=n_classes)
        model = SGDLogisticRegression(**kind)
        for k in range(n_classes):
            model.partial_fit(X[y == k], y[y == k], classes=range(n_classes))
        assert np.isfinite(model.coef_).all()

    @pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
    @pytest.mark.parametrize("how", ["hours", "years", "a row first", "a constant first", "drift"])
    def test_origins_of_columns_do_not_matter(self, origin_free_kind, how, make, n_classes):
        centred, far, first = far_stream(how, n_classes)
        excess = []
        for X, y in (centred, far):
            model = SGDLogisticRegression(shuffle=False, **origin_free_kind)
            for a, b in itertools.pairwise([0, first, 700, 701, 2000, 3000]):
                model.partial_fit(make(X[a:b]), y[a:b], classes=range(n_classes))
            excess.append(objective(model, X, y, 0.0) / optimum(*centred, 0.0) - 1)
        assert excess[1] < excess[0] + 0.005

    def test_sparse_rows_that_lack_an_entry_of_a_far_column(self, origin_free_kind, n_classes):
        (_, (X, y)), options = far_stream("hours", n_classes)[:2], {"shuffle": False, **origin_free_kind}
        X[[5, 700, 702], 0] = 1.7e9 - 9e4  # stored as a difference from a column that is nearly everywhere
        lacking = sp.csr_matrix(X - [1.7e9 - 9e4, 0, 0, 0])
        models = [
            SGDLogisticRegression(**options).partial_fit(Z, y, classes=range(n_classes))
            for Z in (lacking, lacking.toarray())
        ]
        np.testing.assert_allclose(models[0].coef_, models[1].coef_, rtol=1e-9)

    def test_wrong_calls(self):
        X, y = make_data()
        with pytest.raises(ValueError, match="classes must be passed"):
            SGDLogisticRegression().partial_fit(X, y)
        with pytest.raises(ValueError, match="early_stopping should be False"):
            SGDLogisticRegression(early_stopping=True).partial_fit(X, y, classes=[0, 1])
        with pytest.raises(ValueError, match="balanced"):
            SGDLogisticRegression(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
        with pytest.raises(ValueError, match="not in classes"):
            SGDLogisticRegression().partial_fit(X, y, classes=[0, 2])
        with pytest.raises(ValueError, match="two classes at least"):
            SGDLogisticRegression().partial_fit(X[y == 0], y[y == 0], classes=[0])
        model = SGDLogisticRegression().partial_fit(X, y, classes=[0, 1])
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, y, classes=[0, 2])
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, y, classes=range(3))


class TestLayouts:
    @pytest.mark.parametrize("name", [*zoo.SHARED_VIEWS, *zoo.COPIED_VIEWS])
    @pytest.mark.parametrize("short", zoo.FLOATS)
    def test_dense_layouts_give_the_same_bits(self, name, short, n_classes):
        item = zoo.item(f"{name} {short}")
        y = np.arange(len(item.dense)) % n_classes
        if len(y) < n_classes:
            pytest.skip("too few samples")
        for kind in (*KINDS.values(), {"learning_rate": "constant", "batch_size": 8}):
            # the iterations on all samples, which follow the first epoch of "auto", round as the layout lets them
            max_iter = 1 if kind == KINDS["newton"] else 3
            options = {"random_state": 0, "max_iter": max_iter, "tol": None, "alpha": 0.1, **kind}
            ours, plain = fitted(item.X, y, **options), fitted(item.dense, y, **options)
            np.testing.assert_array_equal(ours.coef_, plain.coef_.astype(item.X.dtype))

    @pytest.mark.parametrize("name", [*zoo.CSR_KINDS, *zoo.CONVERTED_KINDS])
    @pytest.mark.parametrize("short", zoo.FLOATS)
    def test_sparse_layouts_agree_with_dense(self, name, short):
        item = zoo.item(f"{name} {short}")
        y = np.arange(len(item.dense)) % 2
        for options in ({"max_iter": 100}, {"learning_rate": "constant", "eta0": 1e-4, "fit_intercept": False}):
            options = {"random_state": 0, "tol": 1e-5, "alpha": 0.1, "max_iter": 3, **options}
            ours, plain = fitted(item.X, y, **options), fitted(item.dense, y, **options)
            rtol = 1e-6 if short == "f64" else 1e-4
            np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=rtol, atol=rtol * np.abs(plain.coef_).max())

    @pytest.mark.parametrize("kind", [KINDS["newton"], KINDS["scheduled"]])
    def test_memmap_is_read_in_parts(self, tmp_path, monkeypatch, kind, n_classes):
        X, y = make_data(n=2000, n_classes=n_classes)
        file = tmp_path / "X.dat"
        X.tofile(file)
        mapped = np.memmap(file, dtype=float, mode="r", shape=X.shape)
        monkeypatch.setattr("fastlogreg.steps.feed.MAPPED_BYTES", 100 * 7 * 8)
        options = {"random_state": 0, "max_iter": 2, **kind}
        np.testing.assert_array_equal(fitted(mapped, y, **options).coef_, fitted(mapped, y, **options).coef_)
        options["shuffle"] = False
        a, b = (fitted(mapped, y, **options) for _ in range(2))
        np.testing.assert_array_equal(a.coef_, b.coef_)
        np.testing.assert_array_equal(a.coef_, fitted(X, y, **options).coef_)


class TestOtherTypes:
    """Integers and halves are read as the doubles that they are."""

    @staticmethod
    def bytes_of(n=900, n_classes=2):
        X, y = make_data(n=n, n_classes=n_classes)
        return np.clip(40 * X, 0, 120), y

    @pytest.mark.parametrize(
        "dtype",
        ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2"],
    )
    @pytest.mark.parametrize(
        "view",
        [np.ascontiguousarray, np.asfortranarray, lambda X: np.repeat(X, 2, axis=1)[::-1, ::-2]],
        ids=["C", "F", "-"],
    )
    def test_are_read_as_doubles(self, view, dtype, kind, n_classes):
        X, y = self.bytes_of(n_classes=n_classes)
        X = view((X - 60 * (dtype[0] == "i")).astype(dtype))
        doubles = X.astype(float)
        options = {"random_state": 0, "max_iter": 2, **kind, "eta0": 1e-4}
        ours, plain = fitted(X, y, **options), fitted(doubles, y, **options)
        # iterations after the first epoch read small types as float32, whose sums are made in other blocks
        np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=1e-9)
        assert ours.coef_.dtype == float
        np.testing.assert_allclose(ours.predict_proba(X), plain.predict_proba(doubles), rtol=1e-9)
        classes = np.arange(n_classes)
        ours, plain = (SGDLogisticRegression(**options).partial_fit(A, y, classes=classes) for A in (X, doubles))
        np.testing.assert_array_equal(ours.coef_, plain.coef_)

    def test_every_half(self):
        """A column for each exponent, so that the smallest are seen beside the largest."""
        halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, 1024).T
        halves = halves[:, np.isfinite(halves).all(axis=0)]
        y = np.random.default_rng(0).integers(0, 2, 1024)
        options = {"random_state": 0, "penalty": "l1", "alpha": 0.0, "max_iter": 1, "tol": None}
        ours, plain = fitted(halves, y, **options), fitted(halves.astype(float), y, **options)
        np.testing.assert_array_equal(ours.coef_, plain.coef_)
        assert ours.coef_.all()

    @pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
    def test_halves_that_are_not_finite(self, kind, bad, name):
        X, y = self.bytes_of()
        X = X.astype(np.float16)
        model = fitted(X, y, random_state=0, max_iter=1, tol=None, **kind)
        X[-3, 2] = bad
        for call in (
            lambda: fitted(X, y, **kind),
            lambda: SGDLogisticRegression(**kind).partial_fit(X, y, classes=[0, 1]),
            lambda: model.predict(X),
        ):
            with pytest.raises(ValueError, match=f"Input X contains {name}"):
                call()

    def test_predictions_in_parts(self, monkeypatch, n_classes):
        X, y = self.bytes_of(n_classes=n_classes)
        X = X.astype(np.uint8)
        model = fitted(X, y, random_state=0)
        whole = [getattr(model, method)(X) for method in ("predict", "predict_proba", "decision_function")]
        monkeypatch.setattr("fastlogreg.data.layouts.PART_ENTRIES", 100 * X.shape[1])
        for method, expected in zip(("predict", "predict_proba", "decision_function"), whole, strict=True):
            np.testing.assert_allclose(getattr(model, method)(X), expected, rtol=1e-14)

    def test_little_memory_beside_x(self, peak_memory):
        X = np.random.default_rng(0).integers(0, 256, (40_000, 100), dtype=np.uint8)
        y = X[:, 0] > 127
        options = {"random_state": 0, "max_iter": 1, "tol": None}
        models = []
        assert peak_memory(lambda: models.append(fitted(X, y, **options))) < 0.5 * X.nbytes
        X, more = np.tile(X, (4, 1)), np.tile(y, 4)
        assert peak_memory(lambda: models[0].partial_fit(X, more)) < 0.5 * X.nbytes
        part, of_rows = 16 * 2**20, 40 * len(X)
        assert peak_memory(lambda: models[0].predict_proba(X)) < 1.5 * part + of_rows


class TestReadingAhead:
    """A second thread copies rows where X is large; which blocks it is in time with is up to chance."""

    @pytest.mark.parametrize("kind", [KINDS["newton"], KINDS["batches"], KINDS["diagonal"]])
    @pytest.mark.parametrize(
        "of_layout",
        [np.asarray, np.asfortranarray, np.float32, sp.csr_matrix, lambda X: sp.csr_matrix(X, dtype=np.float32)],
        ids=["C", "F", "float32", "CSR", "float32 CSR"],
    )
    def test_gives_the_same_bits(self, of_layout, kind, n_classes):
        X, y = make_data(n=20_011, d=60, n_classes=n_classes)
        X[:15_000, 20:] = 0.0  # of CSR, later blocks need more room
        X = of_layout(X)
        models = []
        for n_threads in (1, 2):
            model = SGDLogisticRegression(random_state=0, **kind)
            model.n_jobs = n_threads
            model.partial_fit(X[:100], y[:100], classes=range(n_classes))
            models.append(model.partial_fit(X[100:], y[100:]))
        np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
        np.testing.assert_array_equal(models[0].intercept_, models[1].intercept_)

    def test_ends_with_its_thread_whatever_the_steps_do(self):
        class Failing(NewtonSteps):
            def flush(self):
                raise RuntimeError("no more steps")

        X, y = make_data(n=20_000, d=60)
        steps = Failing(np.zeros(60), 0.0, False, 1e-4, True)
        before = _thread._count()
        with pytest.raises(RuntimeError, match="no more steps"):
            steps.feed(Rows(as_design(X)), y.astype(float), n_threads=2)
        patience = time.perf_counter() + 20  # for what it does after the last block
        while _thread._count() > before and time.perf_counter() < patience:
            time.sleep(0.001)
        assert _thread._count() == before

    def test_exceptions_of_a_signal_handler(self):
        """They come through as they are, wherever the two threads are, and leave none running."""
        run_python("""
    import _thread, os, signal, sys, time
    import numpy as np
    from fastlogreg import SGDLogisticRegression

    class Alarm(Exception):
        pass

    def interrupt(*_):
        raise Alarm

    def lost(told):
        print(told, file=sys.stderr, flush=True)
        os._exit(1)

    sys.unraisablehook = lost
    signal.signal(signal.SIGALRM, interrupt)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 60)).astype(np.float32), rng.integers(0, 2, 20_000)
    model = SGDLogisticRegression()
    model.n_jobs = 2
    model.partial_fit(X, y, classes=[0, 1])
    before = _thread._count()
    for _ in range(300):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.004 * rng.random())
            while True:
                model.partial_fit(X, y)
        except Alarm:
            pass
    time.sleep(0.1)
    assert _thread._count() == before, _thread._count()
    """)

    def test_samples_that_do_not_fit(self):
        rows = Rows(as_design(np.ones((30, 4))))
        steps = NewtonSteps(np.zeros(3), 0.0, False, 1e-4, True)
        with pytest.raises(ValueError, match="X has 4 features, the steps before had 3"):
            steps.feed(rows, np.ones(30))
        steps = NewtonSteps(np.zeros(4), 0.0, False, 1e-4, True)
        with pytest.raises(ValueError, match="29 weights for 30 samples"):
            steps.feed(rows, np.ones(30), np.ones(29))

    def test_samples_that_lie_in_memory_mapped_files(self, tmp_path):
        X, y = make_data(n=20_000, d=60)
        X.tofile(tmp_path / "X.dat")
        mapped = np.memmap(tmp_path / "X.dat", dtype=float, mode="r", shape=X.shape)
        options = {"random_state": 0, "max_iter": 2, "tol": None}
        np.testing.assert_array_equal(fitted(mapped, y, **options).coef_, fitted(X, y, **options).coef_)


class TestAuto:
    @pytest.mark.parametrize("alpha", [1e-4, 1e-2])
    @pytest.mark.parametrize("scale", [1.0, 10.0 ** np.arange(-3, 4)])
    def test_reaches_the_optimum(self, alpha, scale, n_classes):
        X, y = make_data(n=1000, scale=scale, n_classes=n_classes)
        model = SGDLogisticRegression(alpha=alpha, random_state=0).fit(X, y)
        rtol = 1e-9 if n_classes == 2 else 1e-6
        assert objective(model, X, y, alpha) == pytest.approx(optimum(X, y, alpha), rel=rtol)

    def test_one_pass_is_near_the_optimum_whatever_the_units(self):
        X, y = make_data(n=20_000, d=20)
        units = 10.0 ** np.random.default_rng(0).uniform(-4, 4, 20)
        excess = []
        for scaled in (X, X * units):
            model = fitted(scaled, y, alpha=0.0, random_state=0, max_iter=1)
            excess.append(objective(model, scaled, y, 0.0) - optimum(scaled, y, 0.0))
        assert excess[0] < 5e-5  # a tenth of what a sample of that size leaves open, d / (2 n)
        assert excess[1] == pytest.approx(excess[0], rel=1e-2, abs=1e-9)

    @pytest.mark.parametrize(("n_classes", "tolerance"), [(2, {"rtol": 1e-7}), (4, {"rtol": 1e-3, "atol": 1e-4})])
    def test_weights_are_repetition(self, n_classes, tolerance):
        X, y = make_data(n_classes=n_classes)
        weight = np.random.default_rng(1).integers(0, 4, len(y))
        a = SGDLogisticRegression(random_state=0, tol=1e-7).fit(X, y, sample_weight=weight)
        b = SGDLogisticRegression(random_state=0, tol=1e-7).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
        np.testing.assert_allclose(a.coef_, b.coef_, **tolerance)

    def test_same_seed_same_bits(self, kind, n_classes):
        X, y = make_data(1500, n_classes=n_classes)
        a, b = (fitted(X, y, random_state=7, max_iter=3, **kind) for _ in range(2))
        np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_l1_gives_zeros(self, n_classes):
        X, y = make_data(n=3000, d=12, n_classes=n_classes)
        model = fitted(X, y, penalty="l1", alpha=0.05, random_state=0, max_iter=20)
        assert 0 < np.count_nonzero(model.coef_) < model.coef_.size

    def test_very_many_columns(self, n_classes):
        X, y = sparse_data(n=3000, d=2500, n_classes=n_classes)
        model = fitted(X, y, alpha=1e-3, random_state=0, max_iter=10)
        best = optimum(X, y, 1e-3)
        assert objective(model, X, y, 1e-3) - best < 0.05 * (np.log(n_classes) - best)

    def test_dense_with_very_many_columns_is_the_same_as_sparse(self, n_classes):
        X, y = sparse_data(n=200, d=2100, n_classes=n_classes)
        a, b = (fitted(Z, y, random_state=0, max_iter=2) for Z in (X, X.toarray()))
        np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("options", [{}, {"penalty": None}, {"alpha": 1e-12}, {"fit_intercept": False}], ids=str)
    @pytest.mark.parametrize(("n", "edges", "seeds", "most"), [(700, [0], 5, 0.8), (1200, [-0.5, 0.5], 3, 1.15)])
    def test_awkward_data_end_finite(self, options, n, edges, seeds, most):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, 6)) * [1e-8, 1e-3, 1, 1e3, 1e8, 0.0]
        X[::50, 3] *= 1e4
        for y in (np.digitize(X[:, 2], edges), rng.integers(0, len(edges) + 1, n)):
            for Z, max_iter, seed in itertools.product((X, sp.csr_matrix(X)), (1, 2, 3, 8), range(seeds)):
                model = fitted(Z, y, max_iter=max_iter, random_state=seed, **options)
                assert np.isfinite(model.coef_).all()
                assert objective(model, X, y, 0.0) < most  # log 2 is 0.69, log 3 is 1.10

    def test_overflow_is_told(self, n_classes):
        X, y = make_data(scale=1e200, n_classes=n_classes)
        with pytest.raises(ValueError, match="overflow occurred at epoch #1"):
            SGDLogisticRegression(learning_rate="constant", eta0=1e200).fit(X, y)

    @pytest.mark.parametrize(("edges", "accuracy"), [([0.0], 0.98), ([-5e3, 5e3], 0.97)])
    def test_separable_raw_columns(self, edges, accuracy):
        X, _ = make_data(n=1000, scale=1e4)
        y = np.digitize(X[:, 0], edges)
        assert fitted(X, y, max_iter=20).score(X, y) > accuracy


def with_outliers(seed):
    """A few samples of 2 to 4 classes with entries far out, alpha, and whether X is sparse."""
    rng = np.random.default_rng(seed)
    n, d, n_classes = rng.choice([40, 100, 300]), rng.choice([1, 3, 8, 20]), rng.choice([2, 3, 4])
    X, y = make_data(n, d, n_classes, seed)
    y[:n_classes] = range(n_classes)
    for _ in range(rng.integers(1, 6)):
        X[rng.integers(n), rng.integers(d)] = 10 ** rng.uniform(2, 8) * rng.choice([-1, 1])
    return X, y, 10 ** rng.uniform(-5, -2), rng.random() < 0.3


@pytest.mark.parametrize("seed", range(40))
def test_a_fit_ends_as_near_the_optimum_as_it_says(seed):
    X, y, alpha, is_sparse = with_outliers(seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SGDLogisticRegression(alpha=alpha, random_state=0).fit(sp.csr_matrix(X) if is_sparse else X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = optimum(X, y, alpha)
    assert caught or objective(model, X, y, alpha) <= (1 + 1e-7) * best


@pytest.mark.parametrize("edge", ["alpha", "max_iter"])
def test_what_a_shortfall_says(edge):
    X, _ = make_data()
    y = (X[:, 0] > 0).astype(int)
    options, said = {"alpha": ({"alpha": 0.0}, "separable"), "max_iter": ({"max_iter": 3}, "in max_iter=3")}[edge]
    with pytest.warns(ConvergenceWarning, match=said):
        SGDLogisticRegression(random_state=0, tol=1e-6, **options).fit(X, y)


class TestValidation:
    def test_own_set_restores_the_best_epoch(self, kind, n_classes):
        X, y = make_data(n=1200, n_classes=n_classes)
        of_fit = {"X_val": X[900:], "y_val": y[900:]}
        model = fitted(X[:900], y[:900], random_state=0, max_iter=12, of_fit=of_fit, **kind)
        assert len(model.validation_curve_) == model.n_iter_
        at_end = objective(model, X[900:], y[900:], 0.0)
        assert at_end == pytest.approx(model.validation_curve_.min(), rel=1e-9)

    def test_ends_when_it_no_longer_helps(self):
        X, y = make_data(n=1200)
        model = SGDLogisticRegression(learning_rate="constant", eta0=0.05, random_state=0, n_iter_no_change=3)
        model.fit(X[:900], y[:900], X_val=X[900:], y_val=y[900:])
        assert 4 <= model.n_iter_ < 50

    def test_wrong_sets(self):
        X, y = make_data()
        with pytest.raises(ValueError, match="belong together"):
            SGDLogisticRegression().fit(X, y, X_val=X)
        with pytest.raises(ValueError, match="early_stopping"):
            SGDLogisticRegression(early_stopping=True).fit(X, y, X_val=X, y_val=y)
        with pytest.raises(ValueError, match="7 features"):
            SGDLogisticRegression().fit(X, y, X_val=X[:, :3], y_val=y)
        for name in ("X_val", "y_val"):
            good = {"X_val": X, "y_val": y * 1.0}
            bad = good[name].copy()
            bad[3] = np.nan
            with sklearn.config_context(assume_finite=True), pytest.raises(ValueError, match=f"{name} contains NaN"):
                SGDLogisticRegression().fit(X, y, **(good | {name: bad}))
            with pytest.raises(ValueError, match=f"{name} has masked values"):
                SGDLogisticRegression().fit(X, y, **(good | {name: np.ma.masked_invalid(bad)}))


class TestEstimator:
    def test_warns_once_when_epochs_run_out(self):
        X, y = make_data()
        with pytest.warns(ConvergenceWarning, match="did not converge in max_iter=1") as caught:
            SGDLogisticRegression(max_iter=1).fit(X, y)
        assert len(caught) == 1
        assert caught[0].filename == __file__

    def test_warm_start_continues(self):
        X, y = make_data()
        model = SGDLogisticRegression(warm_start=True, random_state=0, tol=1e-7).fit(X, y)
        coef = model.coef_
        assert model.fit(X, y).n_iter_ == 1
        np.testing.assert_allclose(model.coef_, coef, rtol=1e-6)

    def test_verbose_prints_a_line_an_epoch(self, capsys, n_classes):
        X, y = make_data(n_classes=n_classes)
        model = SGDLogisticRegression(verbose=1).fit(X, y)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == model.n_iter_
        assert lines[-1].startswith(f"epoch {model.n_iter_:4d}  objective")

    def test_labels_of_any_type(self):
        X, y = make_data()
        model = SGDLogisticRegression(random_state=0).fit(X, np.array(["no", "yes"])[y])
        assert list(model.classes_) == ["no", "yes"]
        assert set(model.predict(X)) == {"no", "yes"}

    def test_takes_the_parameters_of_scikit_learn(self):
        theirs, ours = SGDClassifier(loss="log_loss").get_params(), SGDLogisticRegression("log_loss").get_params()
        assert set(theirs) < set(ours)
        assert {k for k in theirs if theirs[k] != ours[k]} - ETA0_WAS_ZERO == {"learning_rate"}
        of_fit = list(inspect.signature(SGDClassifier.fit).parameters)
        assert list(inspect.signature(SGDLogisticRegression.fit).parameters)[: len(of_fit)] == of_fit

    def test_parameters_without_effect(self):
        X, y = make_data()
        plain = SGDLogisticRegression(random_state=0).fit(X, y)
        model = clone(SGDLogisticRegression(loss="log_loss", n_jobs=1, epsilon=0.0, random_state=0)).fit(X, y)
        np.testing.assert_array_equal(model.coef_, plain.coef_)
        with pytest.raises(ValueError, match=r"'loss' parameter .*'log_loss'.* Got 'hinge'"):
            SGDLogisticRegression(loss="hinge").fit(X, y)
        with pytest.raises(ValueError, match="n_jobs"):
            SGDLogisticRegression(n_jobs=0).fit(X, y)

    def test_steps_that_grow(self):
        X, y = make_data()
        options = {"learning_rate": "invscaling", "eta0": 0.01, "power_t": -0.2, "tol": None, "max_iter": 2}
        options["random_state"] = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # scikit-learn will refuse it from 1.10 on
            theirs = SGDClassifier(loss="log_loss", **options).fit(X, y)
        assert_close(SGDLogisticRegression(**options).fit(X, y), theirs)

    @pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_values_that_are_not_finite_get_scikit_learns_message(self, kind, n_classes, value, name, make):
        X, y = make(n_classes=n_classes)
        for row in X[:, [3]].nonzero()[0][[0, -1]]:  # the first sample that shows the column, and the last
            bad = X.copy()
            bad[row, 3] = value
            for assume_finite in (False, True):
                with sklearn.config_context(assume_finite=assume_finite):
                    with pytest.raises(ValueError, match=f"Input X contains {name}"):
                        SGDLogisticRegression(shuffle=False, **kind).fit(bad, y)
                    with pytest.raises(ValueError, match=f"Input X contains {name}"):
                        SGDLogisticRegression(**kind).fit(bad, y, sample_weight=np.arange(len(y)) != row)

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_weights_that_cannot_be(self, kind, method, n_classes):
        X, y = make_data(n_classes=n_classes)
        arguments = {"classes": np.arange(n_classes)} if method == "partial_fit" else {}
        for weight, message in (
            (np.where(y == 1, np.nan, 1.0), "sample_weight contains NaN"),
            (np.full(len(y), 1e307), "overflows float64: scale sample_weight"),
            (np.ma.masked_less(y * 1.0, 1), "sample_weight has masked values"),
        ):
            with sklearn.config_context(assume_finite=True), pytest.raises(ValueError, match=message):
                getattr(SGDLogisticRegression(**kind), method)(X, y, sample_weight=weight, **arguments)
        with pytest.raises(ValueError, match="class_weight must be finite and not negative, got nan for the class 1"):
            getattr(SGDLogisticRegression(class_weight={1: np.nan}, **kind), method)(X, y, **arguments)
        with pytest.raises(ValueError, match="X has masked values"):
            getattr(SGDLogisticRegression(**kind), method)(np.ma.masked_greater(X, 1.0), y, **arguments)

    def test_a_class_without_weight_keeps_its_place(self, kind, n_classes):
        X, y = make_data(n_classes=n_classes)
        model = SGDLogisticRegression(random_state=0, **kind).fit(X, y, sample_weight=y != 1)
        np.testing.assert_array_equal(model.classes_, np.arange(n_classes))
        assert model.predict_proba(X)[:, 1].mean() < 1 / n_classes

    @pytest.mark.skipif(parse_version("1.9") > SKLEARN_VERSION, reason="scikit-learn has callbacks from 1.9 on")
    def test_callbacks_see_every_epoch(self, n_classes):
        X, y = make_data(n_classes=n_classes)
        seen, probabilities = [], []

        class Recorder:
            stop_after = 10**9

            def setup(self, estimator, context): ...

            def teardown(self, estimator, context): ...

            def on_fit_task_begin(self, estimator, context, *, X=None, fitted_estimator=None): ...

            def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
                if context.task_name == "iteration" and fitted_estimator is not None:
                    seen.append(fitted_estimator.coef_)
                    probabilities.append(fitted_estimator.predict_proba(X))
                return len(seen) > self.stop_after

        recorder = Recorder()
        model = SGDLogisticRegression(random_state=0).set_callbacks(recorder).fit(X, y)
        assert len(seen) == model.n_iter_
        np.testing.assert_array_equal(seen[-1], model.coef_)
        np.testing.assert_array_equal(probabilities[-1], model.predict_proba(X))
        seen.clear()
        recorder.stop_after = 1
        assert SGDLogisticRegression(random_state=0).set_callbacks(recorder).fit(X, y).n_iter_ == 2 < model.n_iter_


class TestSolver:
    @pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_reaches_the_proven_optimum(self, C, make, n_classes):
        X, y = make(n_classes=n_classes)
        model = LogisticRegression(C=C, solver="sgd").fit(X, y)
        assert model.solver_ == "sgd"
        assert model.gap_ < 2e-9
        best = LogisticRegression(C=C, tol=1e-8).fit(X, y)
        np.testing.assert_allclose(model.coef_, best.coef_, rtol=1e-3, atol=1e-4)

    def test_is_honest_where_it_does_not_arrive(self, n_classes):
        X, y = make_data(n_classes=n_classes)
        with pytest.warns(ConvergenceWarning, match="did not converge"):
            LogisticRegression(solver="sgd", max_iter=1).fit(X, y)

    @pytest.mark.parametrize("n_labels", [2, 3])
    def test_few_rows_of_many_columns_end_in_time(self, n_labels):
        """At an optimum over the span of the rows, whose gap is an estimate, also with weights over many decades."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_t(2, (60, 700)), np.arange(60) % n_labels
        model = LogisticRegression(solver="sgd", C=10.0).fit(X, y)
        assert model.gap_ <= 1e-9
        assert not model.gap_proven_
        best = LogisticRegression(C=10.0).fit(X, y)
        assert model.loss_curve_[-1] == pytest.approx(best.loss_curve_[-1], rel=1e-8)
        model = fitted(X, y, LogisticRegression, solver="sgd", of_fit={"sample_weight": 10.0 ** rng.uniform(-8, 8, 60)})
        assert model.n_passes_ < 5000

    def test_few_rows_of_many_columns_and_classes_are_given_up_in_time(self):
        """Too many parameters for a matrix: the gap is what some products with the Hessian show."""
        rng = np.random.default_rng(0)
        X, y = rng.standard_t(2, (400, 420)), np.arange(400) % 5
        model = fitted(X, y, LogisticRegression, solver="sgd", C=1e-4)
        assert model.gap_ < 1e-9
        assert fitted(X, y, LogisticRegression, solver="sgd", C=1e4).n_passes_ < 5000

    @pytest.mark.parametrize("edges", [[0.0], [-0.5, 0.5]])
    def test_separable_without_a_penalty(self, edges):
        X, _ = make_data()
        with pytest.warns(ConvergenceWarning, match="separable"):
            LogisticRegression(solver="sgd", C=np.inf).fit(X, np.digitize(X[:, 0], edges))


@pytest.mark.parametrize("name", ["skin_poly", "hflights", "hotel", "a9a"])
def test_one_pass_over_real_data(real_data, name):
    X, y = real_data(name)
    model = fitted(X, y, random_state=0, max_iter=1)
    assert objective(model, X, y, 1e-4) - optimum(X, y, 1e-4) < 5e-4


@pytest.mark.parametrize("batch_size", [1, 4])
def test_sparse_rows_of_all_lengths(isa, batch_size):
    """The next rows are asked for while a row of another length, or an empty one, is at work."""
    rng = np.random.default_rng(0)
    X = np.zeros((300, 45))
    for row in X:
        row[rng.choice(45, rng.choice([0, 1, 7, 8, 9, 15, 16, 17, 40]), replace=False)] = 1.0
    X *= rng.standard_normal(X.shape)
    y = rng.integers(0, 2, 300)
    options = {"learning_rate": "invscaling", "batch_size": batch_size, "fit_intercept": False, "random_state": 0}
    ours, dense = (fitted(Z, y, tol=None, max_iter=2, **options) for Z in (sp.csr_matrix(X), X))
    np.testing.assert_allclose(ours.coef_, dense.coef_, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix, sp.csr_array])
def test_names_of_columns_are_those_of_the_last_fit(make):
    X, y = make_data()
    model = SGDLogisticRegression(max_iter=1, tol=None).fit(X, y)
    model.feature_names_in_ = np.array([f"x{j}" for j in range(7)], dtype=object)
    model.fit(make(X[:, :5]), y)
    assert model.n_features_in_ == 5
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(("n", "d", "density"), [(1000, 5000, 0.05), (100, 20_000, 0.01)])
def test_a_new_column_of_a_sample_far_off_takes_a_short_step(n, d, density, n_classes):
    """Such a sample has next to no curvature, and its first columns no penalty."""
    rng = np.random.default_rng(0)
    X = sp.random(n, d, density, format="csr", random_state=rng, data_rvs=rng.standard_normal)
    y = (X @ rng.standard_normal((d, n_classes))).argmax(axis=1)
    for max_iter, most in ((1, 2.0), (5, 1.0)):
        model = fitted(X, y, penalty=None, fit_intercept=False, max_iter=max_iter, tol=None, random_state=0)
        assert objective(model, X, y, 0.0) < most * np.log(n_classes)
