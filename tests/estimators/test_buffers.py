"""Arrays from outside, wherever they lie in memory and whatever their types: read for what they hold, or refused."""

import copy
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastlogreg import LogisticRegression, SGDLogisticRegression, bce
from fastlogreg.estimators.shared import unchanged_by_failure

N, D = 90, 7


def unaligned(array):
    return np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


CHANGES = {
    "read-only": read_only,
    "unaligned": unaligned,
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "reversed": lambda array: array[::-1].copy()[::-1],
    "F": np.asfortranarray,
    "swapped bytes": lambda array: array.astype(array.dtype.newbyteorder()),
}
INDICES = ["i1 i2", "u1 u8", "i2 i8", "u2 u2", "u4 u4", "i4 i8", ">i4 >i4", "u8 >i8"]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) * (rng.random((N, D)) < 0.6)
    noisy = X @ rng.normal(size=D) + rng.normal(size=N)
    return {
        "X": X,
        "y": (noisy > 0).astype(int),
        "y3": np.digitize(noisy, [-1.0, 1.0]),
        "prob": 1.0 / (1.0 + np.exp(-noisy)),
        "rows": rng.dirichlet(np.ones(3), N),
        "weight": rng.random(N) + 0.1,
    }


FITS = {
    "binary": lambda a: LogisticRegression().fit(a["X"], a["y"], a["weight"]),
    "softmax": lambda a: LogisticRegression().fit(a["X"], a["y3"], a["weight"]),
    "probabilities": lambda a: LogisticRegression(soft_targets=True).fit(a["X"], a["prob"], a["weight"]),
    "rows of probabilities": lambda a: LogisticRegression(soft_targets=True).fit(a["X"], a["rows"], a["weight"]),
    "stream": lambda a: stream().fit(a["X"], a["y"], sample_weight=a["weight"]),
    "stream of three": lambda a: stream().fit(a["X"], a["y3"], X_val=a["X"], y_val=a["y3"]),
    "stream by a rate": lambda a: stream(learning_rate="optimal").fit(a["X"], a["y3"], sample_weight=a["weight"]),
    "stream with L1": lambda a: stream(penalty="l1", early_stopping=True).fit(a["X"], a["y"]),
    "parts of a stream": lambda a: (
        stream().partial_fit(a["X"], a["y3"], classes=range(3)).partial_fit(a["X"], a["y3"], sample_weight=a["weight"])
    ),
}
PREDICTIONS = ("predict", "decision_function", "predict_proba", "predict_log_proba")


def stream(**options):
    return SGDLogisticRegression(random_state=0, max_iter=3, tol=None, **options)


def assert_same_model(model, other):
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fit", FITS)
def test_fits(arrays, fit, change):
    expected = FITS[fit](arrays)
    for name in arrays:
        assert_same_model(FITS[fit](arrays | {name: CHANGES[change](arrays[name])}), expected)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fit", ["binary", "softmax", "stream", "stream of three"])
def test_predictions(arrays, fit, change):
    model = FITS[fit](arrays)
    other = copy.copy(model)
    other.coef_, other.intercept_ = CHANGES[change](model.coef_), CHANGES[change](model.intercept_)
    for name in PREDICTIONS:
        expected = getattr(model, name)(arrays["X"])
        np.testing.assert_allclose(getattr(other, name)(CHANGES[change](arrays["X"])), expected, rtol=1e-12)
    other.set_params(warm_start=True).fit(arrays["X"], arrays["y" if len(model.classes_) == 2 else "y3"])
    assert other.coef_.shape == model.coef_.shape


@pytest.mark.parametrize("types", INDICES)
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_index_arrays(arrays, types, kind):
    X, (indices, indptr) = kind(arrays["X"]), types.split()
    for fit in FITS:
        model = FITS[fit](arrays | {"X": X})
        changed = X.copy()
        changed.indices, changed.indptr = X.indices.astype(indices), X.indptr.astype(indptr)
        assert_same_model(FITS[fit](arrays | {"X": changed}), model)
        for name in PREDICTIONS:
            np.testing.assert_array_equal(getattr(model, name)(changed), getattr(model, name)(X))
    coef = np.linspace(-1, 1, D)
    for reduction in ("mean", "none"):
        gradient = bce.coef_grad(changed, arrays["prob"], coef, reduction=reduction)[0]
        expected = bce.coef_grad(X, arrays["prob"], coef, reduction=reduction)[0]
        assert abs(gradient - expected).max() == 0.0


def out_of_range(X):
    for name in ("indices", "row", "offsets"):
        if hasattr(X, name):
            changed = getattr(X, name).copy()
            changed[3] = 10**6
            setattr(X, name, changed)
    return X


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.bsr_matrix, sp.dia_matrix])
@pytest.mark.parametrize("make", [LogisticRegression, stream])
def test_indices_out_of_range(arrays, kind, make):
    X, wrong, y = arrays["X"], out_of_range(kind(arrays["X"])), arrays["y"]
    model = make().fit(X, y)
    uses = [make().fit, lambda X, _: model.predict(X), lambda X, y: bce.coef_grad(X, y, model.coef_)]
    if make is stream:
        uses += [model.partial_fit, lambda wrong, y: make().fit(X, y, X_val=wrong, y_val=y)]
    for use in uses:
        with pytest.raises(ValueError, match="must lie in"):
            use(wrong, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_row_starts_out_of_order(arrays, early_stopping):
    X = sp.csr_matrix(arrays["X"])
    X.indptr[1:-1] = 10**9
    with pytest.raises(ValueError, match=r"X\.indptr must"):
        stream(early_stopping=early_stopping).fit(X, arrays["y"])


@pytest.mark.parametrize(("coef", "intercept"), [((3, D), 4), ((1, D), 0), ((2, D), 3), ((3, D), 2)])
def test_coefficients_of_other_shapes(arrays, coef, intercept):
    """None is read beyond its end."""
    model = LogisticRegression(warm_start=True)
    model.coef_, model.intercept_, model.n_features_in_ = np.zeros(coef), np.zeros(intercept), D
    for classes, y in ((2, "y"), (3, "y3")):
        model.classes_ = np.arange(classes)
        with pytest.raises(ValueError, match="fit"):
            model.predict_proba(arrays["X"])
        with pytest.raises(ValueError, match=r"fit|expected|reshape"):
            model.fit(arrays["X"], arrays[y])


def test_a_second_interrupt_leaves_a_model_whole():
    class Model:
        @unchanged_by_failure
        def fit(self):
            self.state = "half"
            sys.setprofile(interrupt_again)
            raise ValueError

    def interrupt_again(frame, event, _):
        if event == "c_return" and frame.f_code.co_name == "guarded":
            raise KeyboardInterrupt

    model = Model()
    model.state = "whole"
    try:
        with pytest.raises((ValueError, KeyboardInterrupt)):
            model.fit()
    finally:
        sys.setprofile(None)
    assert vars(model) == {"state": "whole"}
