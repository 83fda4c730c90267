"""Samples: what is cut together, and what they know of their targets and weights."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.data.samples import Samples

N = 30
# Of two classes labels or probabilities, of several their numbers or probabilities.
KINDS = ("bytes", "probabilities", "numbers", "rows of probabilities")
WEIGHTS = ("none", "ones", "any", "some zeros")
OPTIONS = list(itertools.product(KINDS, WEIGHTS, [False, True]))


class Case:
    """Samples, and the probabilities (n, K) that they stand for."""

    def __init__(self, kind, weighted, offset):
        rng = np.random.default_rng(0)
        self.n_classes = K = 2 if kind in KINDS[:2] else 4
        label = rng.integers(0, K, size=N)
        if kind == "bytes":
            self.target, self.prob = label.astype(np.uint8), np.eye(2)[label]
        elif kind == "probabilities":
            self.target = rng.random(N)
            self.prob = np.column_stack([1 - self.target, self.target])
        elif kind == "numbers":
            self.target, self.prob = label.astype(np.intp), np.eye(K)[label]
        else:
            self.target = self.prob = rng.dirichlet(np.ones(K), size=N)
        self.weight = {
            "none": None,
            "ones": np.ones(N),
            "any": rng.exponential(size=N),
            "some zeros": rng.exponential(size=N) * (rng.random(N) < 0.6),
        }[weighted]
        self.weights = np.ones(N) if self.weight is None else self.weight
        self.offset = rng.normal(size=N if K == 2 else (N, K)) if offset else None
        self.samples = Samples(self.target, self.weight, self.offset, K)


@pytest.fixture(params=OPTIONS, ids=lambda options: "-".join(map(str, options)))
def case(request):
    return Case(*request.param)


def assert_same_array(actual, expected):
    if expected is None:
        assert actual is None
    else:
        assert actual.dtype == expected.dtype
        assert_array_equal(actual, expected)


class TestTake:
    @pytest.mark.parametrize("rows", [[0], [4, 9, 17], [20, 3, 3, 29, 0], list(range(N)), []], ids=len)
    def test_cuts_all_together(self, case, rows):
        rows = np.array(rows, dtype=np.intp)
        if case.weight is not None and len(rows) and not case.weight[rows].any():
            rows = np.append(rows, case.weight.argmax())
        part = case.samples.take(rows)
        assert len(part) == len(rows)
        assert part.n_classes == case.n_classes
        assert_same_array(part.target, case.target[rows])
        assert_same_array(part.weight, None if case.weight is None else case.weight[rows])
        assert_same_array(part.offset, None if case.offset is None else case.offset[rows])
        assert_allclose(part.total_weight, case.weights[rows].sum(), rtol=1e-15)

    @pytest.mark.parametrize("block", [slice(7, 20), slice(0, 1), slice(0, N)], ids=str)
    def test_blocks_of_rows(self, case, block):
        part = case.samples.take(block)
        assert part.n_classes == case.n_classes
        assert_same_array(part.target, case.target[block])
        assert_same_array(part.weight, None if case.weight is None else case.weight[block])
        assert_same_array(part.offset, None if case.offset is None else case.offset[block])

    def test_is_a_copy(self, case):
        part = case.samples.take(np.arange(N))
        for ours, theirs in ((part.target, case.target), (part.weight, case.weight), (part.offset, case.offset)):
            assert ours is None or not np.shares_memory(ours, theirs)

    def test_knows_what_its_rows_say(self, case):
        rows = np.flatnonzero(case.weights)[::2]
        part = case.samples.take(rows)
        weight = case.weights[rows]
        mean = np.average(case.prob[rows], axis=0, weights=weight)
        assert_allclose(part.mean_target, mean[1:] if case.n_classes == 2 else mean, rtol=1e-14)
        assert part.least_weight == weight.min()


class TestAttributes:
    def test_are_those_given(self, case):
        samples = case.samples
        assert samples.target is case.target
        assert samples.weight is case.weight
        assert samples.offset is case.offset
        assert len(samples) == N
        assert isinstance(samples.total_weight, float)
        assert_allclose(samples.total_weight, case.weights.sum(), rtol=1e-15)
        assert_array_equal(samples.weight_or_ones, case.weights)

    def test_mean_target(self, case):
        mean = np.average(case.prob, axis=0, weights=case.weights)
        assert case.samples.mean_target.shape == ((1,) if case.n_classes == 2 else (4,))
        assert_allclose(case.samples.mean_target, mean[1:] if case.n_classes == 2 else mean, rtol=1e-14)

    def test_mean_target_of_a_class_without_samples(self):
        of_five = Samples(np.array([0, 2, 2, 1]), n_classes=5)
        assert_array_equal(of_five.mean_target, [0.25, 0.25, 0.5, 0.0, 0.0])
        weighted = Samples(np.array([0, 2, 2, 1]), np.array([0.0, 1.0, 1.0, 2.0]), n_classes=5)
        assert_array_equal(weighted.mean_target, [0.0, 0.5, 0.5, 0.0, 0.0])
        assert_array_equal(Samples(np.zeros(3, dtype=np.uint8)).mean_target, [0.0])

    def test_many_ones_do_not_overflow_their_bytes(self):
        ones = np.ones(1000, dtype=np.uint8)
        assert_array_equal(Samples(ones).mean_target, [1.0])
        assert_array_equal(Samples(ones, np.full(1000, 2.0)).mean_target, [1.0])

    @pytest.mark.parametrize(
        ("target", "n_classes", "expected"),
        [
            (np.array([0, 1, 1], dtype=np.uint8), 2, True),
            (np.array([0.0, 1.0, 1.0]), 2, True),
            (np.array([0.0, 1.0, 1.0 - 1e-16]), 2, False),
            (np.array([0.0, 0.3, 1.0]), 2, False),
            (np.array([0, 2, 1]), 3, True),
            (np.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]), 3, False),
        ],
    )
    def test_has_labels(self, target, n_classes, expected):
        assert Samples(target, n_classes=n_classes).has_labels == expected

    def test_least_weight(self):
        label = np.zeros(4, dtype=np.uint8)
        assert Samples(label).least_weight == 1.0
        least = Samples(label, np.array([3.0, 0.0, 0.25, 1.0])).least_weight
        assert least == 0.25
        assert isinstance(least, float)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float64])
    def test_tells_classes_apart(self, dtype):
        def tells(target, weight=None):
            weight = None if weight is None else np.array(weight, dtype=float)
            return Samples(np.array(target, dtype=dtype), weight).tells_classes_apart

        assert tells([0, 1, 1])
        assert not tells([1, 1, 1])
        assert not tells([0, 0, 0])
        assert tells([0, 1, 1], [1.0, 0.0, 0.1])
        assert not tells([0, 1, 1], [0.0, 1.0, 0.1])
        assert not tells([0, 1, 1], [0.0, 0.0, 0.0])

    def test_probabilities_that_differ_tell_classes_apart(self):
        assert Samples(np.array([0.2, 0.3])).tells_classes_apart
        assert not Samples(np.array([0.3, 0.3])).tells_classes_apart


class TestForKernels:
    """Whatever their strides and their places in memory, arrays are such as kernels read."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda array: np.repeat(array, 2, axis=0)[::2],
            lambda array: array[::-1].copy()[::-1],
            np.asfortranarray,
            lambda array: np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape),
        ],
        ids=["strided", "reversed", "F", "unaligned"],
    )
    def test_layouts(self, change):
        target = np.random.default_rng(0).dirichlet(np.ones(3), 20)
        weight = np.arange(20.0)
        samples = Samples(change(target), change(weight), change(target), n_classes=3)
        for array, same in ((samples.target, target), (samples.weight, weight), (samples.offset, target)):
            assert array.flags.c_contiguous
            assert array.flags.aligned
            assert_array_equal(array, same)

    def test_others_are_not_copied(self):
        target, weight = np.zeros(20, np.uint8), np.arange(20.0)
        weight.flags.writeable = False
        samples = Samples(target, weight)
        assert samples.target is target
        assert samples.weight is weight


class TestErrors:
    @pytest.mark.parametrize("n_classes", [2, 4])
    def test_weights(self, n_classes):
        with pytest.raises(ValueError, match=r"weight is \(9,\), for 10 samples"):
            Samples(np.zeros(10, dtype=np.intp), np.ones(9), n_classes=n_classes)
        with pytest.raises(ValueError, match=r"weight is \(10, 1\), for 10 samples"):
            Samples(np.zeros(10, dtype=np.intp), np.ones((10, 1)), n_classes=n_classes)

    @pytest.mark.parametrize(("n_classes", "expected"), [(2, r"\(10,\)"), (4, r"\(10, 4\)")])
    @pytest.mark.parametrize("shape", [(9,), (10, 1), (10, 2), (4, 10), (10, 3)])
    def test_offsets(self, shape, n_classes, expected):
        with pytest.raises(ValueError, match=r"offset is \(" + ".*expected " + expected):
            Samples(np.zeros(10, dtype=np.intp), offset=np.zeros(shape), n_classes=n_classes)

    def test_offsets_of_the_other_number_of_classes(self):
        with pytest.raises(ValueError, match=r"offset is \(10, 4\), expected \(10,\)"):
            Samples(np.zeros(10, dtype=np.uint8), offset=np.zeros((10, 4)))
        with pytest.raises(ValueError, match=r"offset is \(10,\), expected \(10, 4\)"):
            Samples(np.zeros(10, dtype=np.intp), offset=np.zeros(10), n_classes=4)

    @pytest.mark.parametrize(
        ("shape", "n_classes"), [((10, 2), 2), ((10, 1), 2), ((10, 3), 4), ((10, 5), 4), ((10, 4, 1), 4)]
    )
    def test_targets(self, shape, n_classes):
        with pytest.raises(ValueError, match=f"target is .* for 10 samples and {n_classes} classes"):
            Samples(np.zeros(shape), n_classes=n_classes)
