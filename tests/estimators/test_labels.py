"""Labels told apart in one reading, against numpy.unique, and as the kernels read them, against probabilities."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastlogreg.data.pointwise import cross_entropy, cross_entropy_on_line
from fastlogreg.estimators.labels import two_whole_numbers
from fastlogreg.estimators.targets import encode_labels

DTYPES = [bool, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32, float]
N = 301


def labels(low, high, n_first=1, dtype=np.int64):
    """(N,) of two values; the first `n_first` are the higher one."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(N) < 0.3, high, low)
    y[:n_first], y[n_first] = high, low
    return y.astype(dtype)


def assert_split(y):
    classes, target = two_whole_numbers(y)
    assert_array_equal(classes, np.unique(y))
    assert classes.dtype == y.dtype
    assert target.dtype == np.uint8
    assert_array_equal(target, y == np.unique(y)[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_first", [1, 2, N - 1])
def test_every_type(dtype, n_first):
    y = labels(0, 1, n_first, dtype)
    assert_split(y)
    assert_split(~y if dtype is bool else 1 - y)
    y.flags.writeable = False
    assert_split(y)
    assert_split(np.repeat(y, 2)[::2])
    assert_split(y[::-1])


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-1, 1, np.int8), (-(2**63), 2**63 - 1, np.int64), (0, 2**64 - 1, np.uint64), (2**53, 2**53 + 1, np.int64)],
)
def test_extremes(low, high, dtype):
    y = np.array([high, low, low, high], dtype=dtype)
    classes, target = two_whole_numbers(y)
    assert_array_equal(classes, np.array([low, high], dtype=dtype))
    assert_array_equal(target, [1, 0, 0, 1])


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(9),
        np.array([3]),
        np.array([0, 1, 2]),
        np.array([0, 0, 1, 2, 2]),
        np.array([0.0, 0.5]),
        np.array([0.5, 1.0]),
        np.array([0.0, 1.0, np.nan]),
        np.array([np.nan, 1.0]),
        np.array([1.0, np.nan]),
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        np.array([0, 1], dtype=np.int64).astype(">i8" if np.little_endian else "<i8"),
        np.array([0, 1], dtype=np.float16),
        np.array([0, 1], dtype=np.complex128),
    ],
    ids=str,
)
def test_other_labels(y):
    assert two_whole_numbers(y) is None


class TestSeveralClasses:
    @pytest.mark.parametrize("dtype", [*DTYPES[1:], ">i4", str])
    @pytest.mark.parametrize("values", [range(10), [3, 5, 120], [0, 1, 127]], ids=str)
    def test_as_unique(self, values, dtype):
        y = np.random.default_rng(0).choice(values, size=N).astype(dtype)
        assert_encoded(y)
        assert_encoded(y[::-1])

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([-128, 0, 127], np.int8),
            ([-3, -2, 40], np.int64),
            ([-(2**63), 0, 2**63 - 1], np.int64),
            ([2**63 - 3, 2**63 - 2, 2**63 - 1], np.int64),
            ([-(2**63), -(2**63) + 1, -(2**63) + 2], np.int64),
            ([0, 1, 2**64 - 1], np.uint64),
            ([2**64 - 3, 2**64 - 2, 2**64 - 1], np.uint64),
            ([0, N - 1, N], np.int32),
        ],
    )
    def test_extremes(self, values, dtype):
        assert_encoded(np.random.default_rng(1).permutation(np.resize(np.array(values, dtype=dtype), N)))

    def test_integers_are_not_sorted(self, monkeypatch):
        monkeypatch.setattr(np, "unique", None)
        classes, target = encode_labels(np.array([7, 5, 9, 5, 7]))
        assert_array_equal(classes, [5, 7, 9])
        assert_array_equal(target, [1, 0, 2, 0, 1])


def assert_encoded(y):
    classes, target = encode_labels(y)
    expected, numbers = np.unique(y, return_inverse=True)
    assert_array_equal(classes, expected)
    assert classes.dtype == y.dtype
    assert target.dtype == np.intp
    assert_array_equal(target, numbers)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("weighted", [False, True])
class TestKernels:
    @pytest.mark.parametrize("n", [*range(1, 41), 20_001])
    def test_labels_count_as_probabilities(self, n, weighted):
        rng = np.random.default_rng(n)
        labels = rng.integers(0, 2, n).astype(np.uint8)
        start, end = rng.normal(scale=5.0, size=(2, n))
        weight = rng.exponential(size=n) if weighted else None
        of_labels, of_probabilities = np.empty((2, 3, n))
        for target, out in ((labels, of_labels), (labels.astype(float), of_probabilities)):
            cross_entropy(start, target, weight, loss_out=out[0], residual_out=out[1], curvature_out=out[2])
        assert_array_equal(of_labels, of_probabilities)
        on_line = [cross_entropy_on_line(start, end, 0.3, target, weight) for target in (labels, labels.astype(float))]
        assert on_line[0] == on_line[1]

    @pytest.mark.parametrize("labels", [np.zeros(8, np.uint8), np.zeros(10, np.uint8), np.zeros(18, np.uint8)[::2]])
    def test_errors(self, labels, weighted):
        weight = np.ones(9) if weighted else None
        with pytest.raises(ValueError, match="targets, expected 9 one after the other"):
            cross_entropy(np.zeros(9), labels, weight)
        with pytest.raises(ValueError, match="targets, expected 9 one after the other"):
            cross_entropy_on_line(np.zeros(9), np.ones(9), 0.5, labels, weight)
