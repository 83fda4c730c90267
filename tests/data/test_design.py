"""Design matrices: every pass against its plain twin, over the zoo, on every instruction set of this machine.

Tolerances are bounds on rounding errors: see `rounding`.
"""

import functools
import itertools
import math
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import twins
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from rounding import EPS, LONG_SUM, SUM, assert_within

from fastlogreg.data.csr import CSRDesign
from fastlogreg.data.dense import SAMPLED_ROWS, DenseDesign
from fastlogreg.data.design import Design
from fastlogreg.data.layouts import as_design
from fastlogreg.data.softmax_passes import class_scores
from fastlogreg.kernels import dispatch

# Of few enough samples for a matrix (n, n).
SHORT = [name for name in zoo.NAMES if name not in zoo.LARGE]
LAYOUTS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "CSR": sp.csr_matrix}


class Problem:
    """Coefficients that give logits of size one, targets and weights for a dense X.

    `sizes` are the sums of the absolute values of what adds up to X's cells.
    """

    def __init__(self, dense, n_outputs, sizes=None):
        rng = np.random.default_rng(0)
        n, d = dense.shape
        self.X = dense
        self.sizes = np.abs(dense) if sizes is None else sizes
        size = np.sqrt((self.sizes**2).mean(axis=0) * d)
        self.coef = rng.normal(size=(n_outputs, d)) / np.where(size > 0, size, 1.0)
        self.intercept = rng.normal(size=n_outputs)
        self.target = rng.random((n_outputs, n))
        self.target[:, ::3] = np.round(self.target[:, ::3])  # labels among the soft targets
        self.weight = rng.exponential(size=n)
        self.weight[1::5] = 0.0
        self.center = dense.mean(axis=0)

    @property
    def logits(self):
        return twins.logits(self.X, self.coef, self.intercept)

    @property
    def logit_errors(self):
        return SUM * twins.logits(self.sizes, np.abs(self.coef), np.abs(self.intercept))


def all_passes(design, problem):
    """What every pass gives, one array after the other."""
    curvature = problem.weight * twins.curvatures(problem.logits)
    kept = np.empty_like(problem.target)
    fused = (problem.coef, problem.intercept, problem.target)
    return [
        design.logits(problem.coef, problem.intercept),
        *design.loss_gradient(*fused),
        *design.loss_gradient(*fused, problem.weight, kept),
        kept,
        *design.hessian_dot(curvature, problem.coef, problem.intercept),
        *design.moments(problem.weight),
        design.gram(problem.weight, problem.center),
    ]


def centers_and_scales(dense):
    """What `sample_gram` takes: centers off the means, and scales of either sign, some of them zero."""
    rng = np.random.default_rng(0)
    d = dense.shape[1]
    scale = rng.normal(size=d)
    scale[3::5] = 0.0
    return dense.mean(axis=0) + 0.1 * rng.normal(size=d), scale


def assert_is_sample_gram(gram, X, dense, sizes, center, scale):
    """`sizes` as in `Problem`."""
    Z = (dense - center) * scale
    # CSR centres sums about zero, so it loses what they lose.
    terms = np.abs(scale) * (sizes + np.abs(center)) if sp.issparse(X) else np.abs(Z)
    assert gram.shape == (len(dense), len(dense))
    assert_within(gram, Z @ Z.T, SUM * terms @ terms.T)
    if not sp.issparse(X):
        assert_array_equal(gram, gram.T)


def assert_same_bits(first, second):
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one, other)


@pytest.mark.usefixtures("isa")
class TestTwins:
    @pytest.mark.parametrize("n_outputs", [1, 3])
    def test_logits(self, item, n_outputs):
        problem = Problem(item.dense, n_outputs)
        logits = as_design(item.X).logits(problem.coef, problem.intercept)
        assert_within(logits, problem.logits, problem.logit_errors)

    def test_labels_count_as_probabilities(self, item):
        problem = Problem(item.dense, 2)
        labels = (problem.target > 0.5).astype(np.uint8)
        design = as_design(item.X)
        assert_same_bits(
            design.loss_gradient(problem.coef, problem.intercept, labels),
            design.loss_gradient(problem.coef, problem.intercept, labels.astype(float)),
        )

    @pytest.mark.parametrize("n_outputs", [1, 3])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_loss_gradient(self, item, n_outputs, weighted):
        problem = Problem(item.dense, n_outputs)
        weight = problem.weight if weighted else None
        kept = np.full_like(problem.target, np.nan)
        loss, gradient, intercept_gradient = as_design(item.X).loss_gradient(
            problem.coef, problem.intercept, problem.target, weight, kept
        )
        weights = weight if weighted else np.ones(len(item.dense))
        u, u_error = problem.logits, problem.logit_errors
        assert_within(kept, u, u_error)
        losses, residuals = weights * twins.losses(u, problem.target), weights * twins.residuals(u, problem.target)
        # |dL/du| <= 1 and |d^2L/du^2| <= 1/4; the twins' own differences lose units of the larger term.
        loss_errors = weights * (u_error + 4 * EPS * (1 + np.abs(u))) + SUM * losses
        residual_errors = weights * (u_error / 4 + 4 * EPS) + SUM * np.abs(residuals)
        assert_within(loss, losses.sum(axis=1), loss_errors.sum(axis=1))
        assert_within(gradient, residuals @ item.dense, residual_errors @ np.abs(item.dense))
        assert_within(intercept_gradient, residuals.sum(axis=1), residual_errors.sum(axis=1))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_rows_of_every_width(self, dtype):
        """Nothing beyond a row's end is of any effect, and a row's logit does not depend on those around it."""
        rng = np.random.default_rng(0)
        for d in range(1, 80):
            room = np.full((43, d + 9), np.nan, dtype=dtype)
            X = room[:, :d]
            X[...] = zoo.values(rng, 43, d)
            problem, design = Problem(X.astype(float), 1), as_design(X)
            logits = design.logits(problem.coef, problem.intercept)
            assert_within(logits, problem.logits, problem.logit_errors)
            alone = [as_design(row[np.newaxis]).logits(problem.coef, problem.intercept)[0, 0] for row in X]
            assert_array_equal(logits[0], alone)
            _, gradient, _ = design.loss_gradient(problem.coef, problem.intercept, problem.target)
            residuals = twins.residuals(problem.logits, problem.target)
            errors = problem.logit_errors / 4 + 4 * EPS + SUM * np.abs(residuals)
            assert_within(gradient, residuals @ problem.X, errors @ np.abs(problem.X))

    @pytest.mark.parametrize("n", [1, 8, 129, 1003])
    @pytest.mark.parametrize("margin", [0.0, 1e-3, 5.0, 30.0, 300.0, 700.0])
    def test_small_losses_keep_their_digits_in_sums(self, margin, n):
        """Of samples that are all on their right sides."""
        rng = np.random.default_rng(0)
        margins = margin + rng.exponential(size=n)
        target = rng.integers(2, size=n).astype(float)
        X = np.where(target == 1.0, margins, -margins)[:, np.newaxis]
        design = as_design(X)
        loss, *_ = design.loss_gradient(np.ones((1, 1)), np.zeros(1), target[np.newaxis])
        expected = math.fsum(np.log1p(np.exp(-margins)))
        assert_allclose(loss[0], expected, rtol=8 * EPS)
        ones = np.ones(n)
        weighted, *_ = design.loss_gradient(np.ones((1, 1)), np.zeros(1), target[np.newaxis], ones)
        assert_allclose(weighted[0], expected, rtol=8 * EPS)

    @pytest.mark.parametrize("n_outputs", [1, 3])
    def test_hessian_dot(self, item, n_outputs):
        problem = Problem(item.dense, n_outputs)
        curvature = problem.weight * twins.curvatures(problem.logits)
        product, intercept_product = as_design(item.X).hessian_dot(curvature, problem.coef, problem.intercept)
        terms = curvature * problem.logits
        errors = curvature * problem.logit_errors + SUM * np.abs(terms)
        assert_within(product, terms @ item.dense, errors @ np.abs(item.dense))
        assert_within(intercept_product, terms.sum(axis=1), errors.sum(axis=1))

    def test_gram(self, item):
        problem = Problem(item.dense, 1)
        ones = np.ones((len(item.dense), 1))
        centered = np.column_stack([item.dense - problem.center, ones])
        gram = as_design(item.X).gram(problem.weight, problem.center)
        # CSR centres sums about zero, so it loses what they lose.
        about_zero = np.column_stack([np.abs(item.dense) + np.abs(problem.center), ones])
        sizes = about_zero if sp.issparse(item.X) else np.abs(centered)
        error = LONG_SUM * (sizes.T * problem.weight) @ sizes
        assert_within(gram, (centered.T * problem.weight) @ centered, error)

    @pytest.mark.parametrize("order", "CF")
    def test_gram_of_every_width(self, order):
        """Every tail of the tiles that sum it, over several panels."""
        rng = np.random.default_rng(0)
        for d in range(1, 64):
            X = zoo.values(rng, 300, d)
            weight, center = rng.exponential(size=300), X.mean(axis=0)
            Z = np.column_stack([X - center, np.ones(300)])
            gram = as_design(np.array(X, order=order)).gram(weight, center)
            assert_within(gram, (Z.T * weight) @ Z, SUM * (np.abs(Z).T * weight) @ np.abs(Z))
            assert_array_equal(gram, gram.T)

    @pytest.mark.parametrize("name", SHORT)
    def test_sample_gram(self, name):
        item = zoo.item(name)
        center, scale = centers_and_scales(item.dense)
        sizes = np.abs(item.dense)
        if "duplicates" in name:
            sizes = 4 * sizes  # entries are cut into parts 0.5, 2 and -1.5 of them
        gram = as_design(item.X).sample_gram(center, scale)
        assert_is_sample_gram(gram, item.X, item.dense, sizes, center, scale)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("order", "CF")
    def test_sample_gram_of_every_width(self, order, dtype):
        rng = np.random.default_rng(0)
        for n in range(1, 64):
            X = np.array(zoo.values(rng, n, 300), dtype=dtype, order=order)
            dense = X.astype(float)
            center, scale = centers_and_scales(dense)
            gram = as_design(X).sample_gram(center, scale)
            assert_is_sample_gram(gram, X, dense, np.abs(dense), center, scale)

    def test_moments(self, item):
        weight = Problem(item.dense, 1).weight
        share = weight / weight.sum()
        mean, variance = as_design(item.X).moments(weight)
        expected = share @ item.dense
        first = np.zeros(item.dense.shape[1]) if sp.issparse(item.X) else item.dense[np.argmax(weight > 0)]
        sizes = share @ np.abs(item.dense - first)
        squares = share @ (item.dense - first) ** 2
        assert_within(mean, expected, LONG_SUM * (sizes + np.abs(expected)))
        error = LONG_SUM * squares + (LONG_SUM * expected) ** 2  # the twin's, whose mean is rounded
        assert_within(variance, share @ (item.dense - expected) ** 2, error)


def _one_hot(rng, n_features):
    """A numeric column far from zero, a constant one, and two entries a row in the others, sorted by their columns."""
    X = np.zeros((SAMPLED_ROWS * 8 + 11, n_features))
    for _ in range(2):
        X[np.arange(len(X)), np.sort(rng.integers(2, n_features, len(X)))] = rng.normal(size=len(X))
    X[:, rng.integers(2, n_features, 3)] = -0.0
    X[:, 0], X[:, 1] = 2000.0 + rng.normal(size=len(X)), 7.0
    return X[:, rng.permutation(n_features)]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", "CF")
class TestMostlyZero:
    """Gram matrices from products of entries."""

    @pytest.mark.parametrize("n_features", [64, 65, 67, 71, 128, 130])
    def test_gram(self, n_features, order, dtype):
        rng = np.random.default_rng(n_features)
        X = np.array(_one_hot(rng, n_features), dtype=dtype, order=order)
        weight, center = rng.exponential(size=len(X)), X.mean(axis=0, dtype=float)
        weight[::7] = 0.0
        design = as_design(X)
        assert design.is_mostly_zero
        gram = design.gram(weight, center)
        Z = np.column_stack([X - center, np.ones(len(X))])
        sizes = np.abs(Z)
        few = np.count_nonzero(X, axis=0) < len(X) / 2
        sizes[:, :-1][:, few] = np.abs(X[:, few]) + np.abs(center[few])
        assert_within(gram, (Z.T * weight) @ Z, LONG_SUM * (sizes.T * weight) @ sizes)
        assert_array_equal(gram, gram.T)

    def test_is_what_a_sample_tells(self, order, dtype):
        """Entries where the sample has none are summed just the same."""
        rng = np.random.default_rng(0)
        X = np.zeros((SAMPLED_ROWS * 9, 40), dtype=dtype, order=order)
        X[1::9] = rng.normal(size=(SAMPLED_ROWS, 40))
        X[:, :2] += 1
        design = as_design(X)
        assert design.is_mostly_zero
        weight, center = np.ones(len(X)), X.mean(axis=0, dtype=float)
        Z = np.column_stack([X - center, np.ones(len(X))])
        assert_within(design.gram(weight, center), Z.T @ Z, LONG_SUM * np.abs(Z).T @ np.abs(Z))

    def test_any_number_of_threads(self, order, dtype):
        rng = np.random.default_rng(0)
        X = np.array(np.vstack([_one_hot(rng, 70)] * 8), dtype=dtype, order=order)
        weight, center = rng.exponential(size=len(X)), X.mean(axis=0, dtype=float)
        serial = as_design(X, 1).gram(weight, center)
        for n_threads in (2, 3):
            assert_array_equal(as_design(X, n_threads).gram(weight, center), serial)

    def test_nan_stays(self, order, dtype):
        X = np.array(_one_hot(np.random.default_rng(0), 70), dtype=dtype, order=order)
        X[5000, 30] = np.nan
        gram = as_design(X).gram(np.ones(len(X)), np.zeros(70))
        assert np.isnan(gram[30, 30])

    def test_what_is_not(self, order, dtype):
        rng = np.random.default_rng(0)
        X = np.array(_one_hot(rng, 70), dtype=dtype, order=order)
        assert not as_design(X[: SAMPLED_ROWS * 8 - 1]).is_mostly_zero  # few rows
        assert not as_design(np.array(X[:, :31], order=order)).is_mostly_zero  # few columns
        X[:, :5] += 1
        assert not as_design(X).is_mostly_zero
        assert not as_design(sp.csr_matrix(X)).is_mostly_zero


@functools.cache
def _work_for_threads(shape, n_outputs):
    dense = zoo.values(np.random.default_rng(0), *shape)
    return dense, Problem(dense, n_outputs)


class TestBits:
    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("n_outputs", [1, 3])
    @pytest.mark.parametrize("shape", [(620_011, 1), (70_001, 13), (9_003, 70)])
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_any_number_of_threads(self, dtype, layout, shape, n_outputs):
        """Each starts for 300 thousand entries."""
        dense, problem = _work_for_threads(shape, n_outputs)
        X = LAYOUTS[layout](dense.astype(dtype))
        serial = all_passes(as_design(X, 1), problem)
        for n_threads in (2, 3):
            assert_same_bits(all_passes(as_design(X, n_threads), problem), serial)

    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_sample_gram_with_any_number_of_threads(self, dtype, layout):
        X = LAYOUTS[layout](zoo.values(np.random.default_rng(0), 20, 50_001).astype(dtype))
        dense = X.toarray().astype(float) if layout == "CSR" else X.astype(float)
        center, scale = centers_and_scales(dense)
        serial = as_design(X, 1).sample_gram(center, scale)
        assert_is_sample_gram(serial, X, dense, np.abs(dense), center, scale)
        for n_threads in (2, 3):
            assert_array_equal(as_design(X, n_threads).sample_gram(center, scale), serial)

    @pytest.mark.parametrize("name", SHORT)
    def test_sample_gram_between_other_passes(self, name):
        """Passes share their scratch memory."""
        item = zoo.item(name)
        problem = Problem(item.dense, 1)
        center, scale = centers_and_scales(item.dense)
        design = as_design(item.X)
        gram = design.sample_gram(center, scale)
        passes = all_passes(design, problem)
        assert_array_equal(design.sample_gram(center, scale), gram)
        assert_same_bits(all_passes(design, problem), passes)
        assert_same_bits(all_passes(as_design(item.X), problem), passes)

    def test_repetition(self, item):
        problem = Problem(item.dense, 3)
        design = as_design(item.X)
        first = all_passes(design, problem)
        assert_same_bits(all_passes(design, problem), first)
        assert_same_bits(all_passes(as_design(item.X), problem), first)

    def test_kept_logits_change_nothing(self, item):
        problem = Problem(item.dense, 3)
        fused = (problem.coef, problem.intercept, problem.target, problem.weight)
        design = as_design(item.X)
        assert_same_bits(design.loss_gradient(*fused), design.loss_gradient(*fused, np.empty_like(problem.target)))

    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_any_place_in_memory(self, dtype, order):
        """A copy of X, or of the coefficients, may start anywhere between two cache lines."""
        rng = np.random.default_rng(0)
        X = zoo.values(rng, 203, 13).astype(dtype)
        problem = Problem(X.astype(float), 1)
        moved = Problem(X.astype(float), 1)
        expected = all_passes(as_design(np.array(X, order=order)), problem)
        for offset in range(0, 64, X.itemsize):
            for name in ("coef", "intercept", "target", "weight", "center"):
                setattr(moved, name, _moved(getattr(problem, name), offset // 8 * 8, "C"))
            assert_same_bits(all_passes(as_design(_moved(X, offset, order)), moved), expected)

    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_sample_gram_of_any_place_in_memory(self, dtype, order):
        X = zoo.values(np.random.default_rng(0), 21, 203).astype(dtype)
        arguments = centers_and_scales(X)
        expected = as_design(np.array(X, order=order)).sample_gram(*arguments)
        for offset in range(0, 64, X.itemsize):
            moved = (_moved(values, offset // 8 * 8, "C") for values in arguments)
            assert_array_equal(as_design(_moved(X, offset, order)).sample_gram(*moved), expected)

    def test_instruction_sets_stay_with_their_design(self, isa):
        item = zoo.item("C-f64-1003x13")
        problem = Problem(item.dense, 1)
        design = as_design(item.X)
        before = design.logits(problem.coef, problem.intercept)
        for other in dispatch.available_isas():
            dispatch.use_isa(other)
            assert_array_equal(design.logits(problem.coef, problem.intercept), before, isa)


def _moved(values, offset, order):
    """A copy whose first element lies `offset` bytes past a multiple of 64."""
    room = np.zeros(values.nbytes + 128, dtype=np.uint8)
    begin = -room.ctypes.data % 64 + offset
    copy = room[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape, order=order)
    copy[...] = values
    return copy


class TestViews:
    """Any view, not only the zoo's."""

    @staticmethod
    def assert_matches(X, dense, sizes):
        problem = Problem(dense, 2, sizes)
        design = as_design(X)
        assert_within(design.logits(problem.coef, problem.intercept), problem.logits, problem.logit_errors)
        curvature = np.ones_like(problem.target)
        product, _ = design.hessian_dot(curvature, problem.coef, problem.intercept)
        errors = problem.logit_errors + SUM * np.abs(problem.logits)
        assert_within(product, problem.logits @ dense, errors @ sizes)
        center, scale = centers_and_scales(dense)
        assert_is_sample_gram(design.sample_gram(center, scale), X, dense, sizes, center, scale)
        rows = np.arange(len(dense))[::-2]
        logits = design.take(rows).logits(problem.coef, problem.intercept)
        assert_within(logits, problem.logits[:, rows], problem.logit_errors[:, rows])

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_dense(self, data):
        order = data.draw(st.sampled_from("CF"))
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
        base = np.array(zoo.values(np.random.default_rng(0), *shape), dtype=dtype, order=order)
        rows, columns = (data.draw(st.slices(size).filter(lambda s, m=size: len(range(m)[s]))) for size in shape)
        X = base[rows, columns]
        if data.draw(st.booleans()):
            X = X.T
        dense = np.array(X, dtype=float, order="C")
        self.assert_matches(X, dense, np.abs(dense))

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_csr(self, data):
        n, d = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
        entry = st.tuples(st.integers(0, n - 1), st.integers(0, d - 1), st.integers(-8, 8))
        entries = sorted(data.draw(st.lists(entry, max_size=60)), key=lambda e: e[0])  # by row, columns in any order
        rows, columns, values = np.array(entries, dtype=int).reshape(-1, 3).T
        dtype, index_dtype = data.draw(
            st.tuples(st.sampled_from([np.float32, np.float64]), st.sampled_from([np.int32, np.int64]))
        )
        X = sp.csr_matrix((n, d), dtype=dtype)
        X.data, X.indices = values.astype(dtype), columns.astype(index_dtype)
        X.indptr = np.searchsorted(rows, np.arange(n + 1)).astype(index_dtype)
        dense, sizes = np.zeros((n, d)), np.zeros((n, d))
        np.add.at(dense, (rows, columns), values)
        np.add.at(sizes, (rows, columns), np.abs(values))
        self.assert_matches(X, dense, sizes)
        weight = np.ones(n)
        mean, variance = as_design(X).moments(weight)
        np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=SUM, atol=SUM)
        np.testing.assert_allclose(variance, dense.var(axis=0), atol=SUM * np.square(dense).max())
        gram = as_design(X).gram(weight, np.zeros(d))
        np.testing.assert_allclose(gram[:d, :d], dense.T @ dense, atol=SUM)  # whole numbers: exact


class TestFullestColumns:
    @pytest.mark.parametrize("count", [1, 3, 13])
    @pytest.mark.parametrize("index", [np.int32, np.int64])
    def test_columns_and_their_copy(self, count, index):
        X = zoo.csr(np.random.default_rng(0), 50, 13)
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        columns, design = as_design(X, 2).fullest_columns(count)
        stored = np.bincount(X.indices, minlength=13)
        assert_array_equal(np.sort(stored[columns]), np.sort(stored)[-count:])
        assert np.all(np.diff(columns) > 0)
        assert design.n_threads == 2
        assert_array_equal(design.X.toarray(), X.toarray()[:, columns])


class TestTake:
    @staticmethod
    def rows(n):
        """Some more than once, in no order."""
        return np.random.default_rng(0).integers(0, n, size=n // 2 + 1)

    @staticmethod
    def parts(X):
        return [X] if isinstance(X, np.ndarray) else [X.data, X.indices, X.indptr]

    def test_rows(self, item):
        design = as_design(item.X, 2)
        rows = self.rows(len(item.dense))
        taken = design.take(rows)
        assert type(taken) is type(design)
        assert taken.X.dtype == item.X.dtype
        dense = taken.X.astype(float).toarray() if sp.issparse(item.X) else taken.X
        assert_array_equal(dense, item.dense[rows])
        assert (taken.n_samples, taken.n_features) == (len(rows), item.dense.shape[1])
        assert (taken.n_threads, taken.n_passes, design.n_passes) == (2, 0, 0)

    def test_it_is_a_copy(self, item):
        design = as_design(item.X)
        taken = design.take(np.arange(len(item.dense)))
        for own, other in zip(self.parts(taken.X), self.parts(design.X), strict=True):
            assert not np.shares_memory(own, other)

    @pytest.mark.parametrize("name", SHORT)
    def test_passes(self, name):
        """Those of a design of the same rows in the same layout."""
        item = zoo.item(name)
        rows = self.rows(len(item.dense))
        design = as_design(item.X)
        if sp.issparse(design.X):  # made anew: old SciPy takes no rows where the types of the index arrays differ
            X = sp.csr_matrix((design.X.data, design.X.indices, design.X.indptr), shape=design.X.shape)[rows]
        else:
            X = design.X[rows]
            by_rows = design.X.strides[1] == X.itemsize or X.shape[1] == 1
            X = np.array(X, order="C" if by_rows else "F")
        problem = Problem(item.dense[rows], 2)
        assert_same_bits(all_passes(design.take(rows), problem), all_passes(as_design(X), problem))

    @pytest.mark.parametrize("dtype", zoo.FLOATS)
    @pytest.mark.parametrize(
        ("name", "order"),
        [
            ("awkward columns", "C"),
            ("strided reversed rows", "C"),
            ("column slice", "C"),
            ("awkward columns of F", "F"),
            ("row slice of F", "F"),
            ("reversed columns of F", "F"),
            ("transpose", "F"),
        ],
    )
    def test_order_is_kept(self, name, order, dtype):
        taken = as_design(zoo.item(f"{name} {dtype}").X).take(np.array([5, 1, 1, 8])).X
        assert taken.flags[f"{order}_CONTIGUOUS"]

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_no_such_row(self, layout):
        design = as_design(LAYOUTS[layout](np.ones((9, 3))))
        with pytest.raises(IndexError):
            design.take(np.array([0, 9]))


class TestMemory:
    def test_x_is_not_modified(self, item):
        parts = [getattr(item.X, name) for name in ("data", "indices", "indptr") if hasattr(item.X, name)]
        if isinstance(item.X, np.ndarray):
            parts = [item.X]
        before = [part.tobytes() for part in parts]
        design = as_design(item.X)
        all_passes(design, Problem(item.dense, 1))
        if item.name in SHORT:
            design.sample_gram(*centers_and_scales(item.dense))
        assert [part.tobytes() for part in parts] == before
        dense = item.X.astype(float).toarray() if sp.issparse(item.X) else item.X
        assert_array_equal(dense, item.dense)

    @pytest.mark.parametrize("dtype", zoo.FLOATS)
    @pytest.mark.parametrize("name", zoo.SHARED_VIEWS)
    def test_views_are_shared(self, name, dtype):
        X = zoo.item(f"{name} {dtype}").X
        design = as_design(X)
        assert isinstance(design, DenseDesign)
        assert design.X is X

    @pytest.mark.parametrize("dtype", zoo.FLOATS)
    @pytest.mark.parametrize("name", zoo.COPIED_VIEWS)
    def test_other_views_are_copied(self, name, dtype):
        X = zoo.item(f"{name} {dtype}").X
        assert not np.shares_memory(as_design(X).X, X)

    @pytest.mark.parametrize("dtype", zoo.FLOATS)
    @pytest.mark.parametrize("name", zoo.CSR_KINDS)
    def test_csr_is_shared(self, name, dtype):
        X = zoo.item(f"{name} {dtype}").X
        design = as_design(X)
        assert isinstance(design, CSRDesign)
        assert design.X is X

    @pytest.mark.parametrize("name", ["C-f64-1003x70", "F-f64-1003x70", "CSR-f64-4001x33", "CSR-f32-4001x33"])
    def test_passes_allocate_nothing_of_the_size_of_x(self, name, peak_memory):
        item = zoo.item(name)
        problem = Problem(item.dense, 1)
        curvature = np.ones_like(problem.target)
        size = item.X.data.nbytes if sp.issparse(item.X) else item.X.nbytes

        def passes():
            design = as_design(item.X)
            design.loss_gradient(problem.coef, problem.intercept, problem.target, problem.weight)
            design.hessian_dot(curvature, problem.coef, problem.intercept)
            design.moments(problem.weight)

        peak = peak_memory(passes)
        assert peak < size / 4  # partial sums of 64 chunks at most, and the check of CSR's indices: a byte an entry

    def test_design_keeps_its_buffers_alive(self):
        X = zoo.item("CSR mixed indices f64").X
        problem = Problem(zoo.item("CSR mixed indices f64").dense, 1)
        copy = X.copy()
        design = as_design(copy)
        copy.data, copy.indices, copy.indptr = copy.data[:0].copy(), copy.indices[:0].copy(), copy.indptr[:1].copy()
        logits = design.logits(problem.coef, problem.intercept)
        assert_within(logits, problem.logits, problem.logit_errors)


def test_passes_are_counted():
    item = zoo.item("C-f64-100x13")
    problem = Problem(item.dense, 3)
    design = as_design(item.X)
    assert design.n_passes == 0
    passes = [
        lambda: design.logits(problem.coef, problem.intercept),
        lambda: design.loss_gradient(problem.coef, problem.intercept, problem.target),
        lambda: design.hessian_dot(problem.target, problem.coef, problem.intercept),
        lambda: design.moments(problem.weight),
        lambda: design.gram(problem.weight, problem.center),
    ]
    for count, make_pass in enumerate(passes, start=1):
        make_pass()
        assert design.n_passes == count


@pytest.mark.parametrize(("layout", "n_passes"), [("C", 1), ("F", 1), ("CSR", 2)])
def test_passes_of_a_sample_gram_are_counted(layout, n_passes):
    design = as_design(LAYOUTS[layout](np.ones((9, 3))))
    design.sample_gram(np.zeros(3), np.ones(3))
    assert design.n_passes == n_passes


class TestErrors:
    n, d = 203, 13

    def call(self, method, **changed):
        K, n, d = 2, self.n, self.d
        arguments = {
            "logits": {"coef": np.zeros((K, d)), "intercept": np.zeros(K)},
            "loss_gradient": {
                "coef": np.zeros((K, d)),
                "intercept": np.zeros(K),
                "target": np.zeros((K, n)),
                "sample_weight": np.ones(n),
                "logits_out": np.zeros((K, n)),
            },
            "hessian_dot": {"curvature": np.ones((K, n)), "coef": np.zeros((K, d)), "intercept": np.zeros(K)},
            "moments": {"weight": np.ones(n)},
            "gram": {"weight": np.ones(n), "center": np.zeros(d)},
            "sample_gram": {"center": np.zeros(d), "scale": np.ones(d)},
        }[method]
        assert changed.keys() <= arguments.keys()
        for name in ("awkward columns f64", "awkward columns of F f32", "CSR int64 f64"):
            design = as_design(zoo.item(name).X)
            getattr(design, method)(**arguments)
            with pytest.raises(ValueError):  # noqa: PT011 - some of the words are Cython's
                getattr(design, method)(**(arguments | changed))

    @pytest.mark.parametrize("method", ["logits", "loss_gradient", "hessian_dot"])
    @pytest.mark.parametrize("shape", [(2, 12), (2, 14), (1, 13), (3, 13)])
    def test_coef(self, method, shape):
        self.call(method, coef=np.zeros(shape))

    @pytest.mark.parametrize("method", ["logits", "loss_gradient", "hessian_dot"])
    @pytest.mark.parametrize("size", [1, 3])
    def test_intercept(self, method, size):
        self.call(method, intercept=np.zeros(size))

    @pytest.mark.parametrize("shape", [(2, 202), (2, 204), (1, 203), (3, 203)])
    def test_arrays_of_outputs(self, shape):
        self.call("loss_gradient", target=np.zeros(shape))
        self.call("loss_gradient", logits_out=np.zeros(shape))
        self.call("hessian_dot", curvature=np.zeros(shape))

    @pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8])
    def test_targets_of_other_types(self, dtype):
        self.call("loss_gradient", target=np.zeros((2, self.n), dtype=dtype))

    def test_targets_apart(self):
        self.call("loss_gradient", target=np.zeros((2, 2 * self.n))[:, ::2])

    @pytest.mark.parametrize("size", [0, 1, 202, 204])
    def test_weights(self, size):
        self.call("loss_gradient", sample_weight=np.ones(size))
        self.call("moments", weight=np.ones(size))
        self.call("gram", weight=np.ones(size))

    @pytest.mark.parametrize("size", [0, 1, 12, 14, 203])
    def test_center_and_scale(self, size):
        self.call("gram", center=np.zeros(size))
        self.call("sample_gram", center=np.zeros(size))
        self.call("sample_gram", scale=np.ones(size))

    @pytest.mark.parametrize("method", ["logits", "loss_gradient", "hessian_dot"])
    def test_other_memory_than_promised(self, method):
        self.call(method, coef=np.zeros((2, 13), dtype=np.float32))
        self.call(method, coef=np.zeros((13, 2)).T)
        self.call(method, intercept=np.zeros(4)[::2])
        self.call("gram", center=np.zeros(26)[::2])
        self.call("sample_gram", center=np.zeros(26)[::2])
        self.call("sample_gram", scale=np.ones(13, dtype=np.float32))

    @pytest.mark.parametrize("make", [np.zeros, sp.csr_matrix])
    @pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
    def test_empty_x(self, shape, make):
        with pytest.raises(ValueError, match="empty"):
            as_design(make(shape))

    @pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.uint16, np.float16, np.int32, np.uint64])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_integers_and_halves_are_copied_exactly(self, order, dtype):
        extremes = [0, 1] if dtype is bool else [np.finfo(dtype).max] if dtype is np.float16 else []
        extremes = extremes or [np.iinfo(dtype).min, np.iinfo(dtype).max]
        X = np.resize(np.array([*extremes, 0, 1], dtype=dtype), (4, 3)).copy(order=order)
        design = as_design(X)
        assert design.X.dtype == (np.float32 if X.itemsize <= 2 else np.float64)
        assert design.X.flags[f"{order}_CONTIGUOUS"]
        np.testing.assert_array_equal(design.X, X.astype(float))

    @pytest.mark.parametrize("dtype", [np.longdouble, ">f8", ">i2"])
    def test_other_dtypes(self, dtype):
        with pytest.raises(ValueError, match="not float32 or float64"):
            as_design(np.ones((3, 2), dtype=dtype))

    def test_other_sparse_dtypes(self):
        with pytest.raises(ValueError, match="not float32 or float64"):
            as_design(sp.csr_matrix(np.ones((3, 2), dtype=np.int64)))

    def test_read_only_arguments_are_welcome(self):
        item = zoo.item("C-f64-100x13")
        problem = Problem(item.dense, 1)
        for name in ("coef", "intercept", "target", "weight", "center"):
            getattr(problem, name).flags.writeable = False
        design = as_design(item.X)
        all_passes(design, problem)
        design.sample_gram(problem.center, problem.center)


class TestMalformedCSR:
    """The kernels trust the indices, so none that is wrong may reach them."""

    @staticmethod
    def matrix(dtype):
        X = zoo.csr(np.random.default_rng(0), 20, 5)
        X.indices, X.indptr = X.indices.astype(dtype), X.indptr.astype(dtype)
        return X

    @pytest.mark.parametrize("dtype", [np.int32, np.int64])
    @pytest.mark.parametrize("wrong", [-1, -(2**31), 5, 6, 2**31 - 1])
    @pytest.mark.parametrize("place", [0, 7, -1])
    def test_index_out_of_range(self, dtype, wrong, place):
        X = self.matrix(dtype)
        X.indices[place] = wrong
        with pytest.raises(ValueError, match=r"X\.indices must lie in \[0, 5\)"):
            as_design(X)

    @pytest.mark.parametrize("dtype", [np.int32, np.int64])
    @pytest.mark.parametrize(("place", "wrong"), [(0, 1), (0, -1), (7, 0), (7, 10**6), (7, -3), (20, 0), (20, -1)])
    def test_row_starts_out_of_order(self, dtype, place, wrong):
        X = self.matrix(dtype)
        X.indptr[place] = wrong
        with pytest.raises(ValueError, match=r"X\.indptr must"):
            as_design(X)

    @pytest.mark.parametrize("length", [0, 1, 20, 22])
    def test_row_starts_of_wrong_length(self, length):
        X = self.matrix(np.int32)
        X.indptr = np.resize(X.indptr, length) if length < 21 else np.append(X.indptr, X.indptr[-1])
        with pytest.raises(ValueError, match=r"X\.indptr must"):
            as_design(X)

    @pytest.mark.parametrize("part", ["data", "indices"])
    def test_buffers_too_short(self, part):
        X = self.matrix(np.int32)
        setattr(X, part, getattr(X, part)[:-1].copy())
        with pytest.raises(ValueError, match=r"shorter than X\.indptr says"):
            as_design(X)

    def test_row_starts_that_fit_only_their_own_type(self):
        X = self.matrix(np.int32)
        X.indptr = X.indptr.astype(np.int64)
        X.indptr[-1] += 2**32  # would be right again in 32 bits
        with pytest.raises(ValueError, match=r"X\.indptr|shorter"):
            as_design(X)


class TestMalformedIndices:
    """Other index arrays than SciPy makes, which the kernels or SciPy's conversions would read as these."""

    WRONG: ClassVar = {
        "narrow": lambda indices: np.where(indices == 4, 100, indices).astype(np.int8),
        "unsigned": lambda indices: np.where(indices == 4, 2**32 - 1, indices).astype(np.uint32),
        "unsigned and wide": lambda indices: np.where(indices == 4, 2**64 - 1, indices.astype(np.uint64)),
        "swapped": lambda indices: np.where(indices == 4, 5, indices).astype(">i4"),
        "real": lambda indices: indices.astype(float),
        "in a matrix": lambda indices: indices.reshape(1, -1),
    }

    @pytest.mark.parametrize("wrong", WRONG)
    def test_of_csr(self, wrong):
        X = TestMalformedCSR.matrix(np.int32)
        X.indices = self.WRONG[wrong](X.indices)
        with pytest.raises(ValueError, match=r"X\.indices"):
            as_design(X)

    @pytest.mark.parametrize("kind", [sp.csc_matrix, sp.csc_array, lambda X: sp.bsr_matrix(X, blocksize=(2, 5))])
    @pytest.mark.parametrize("part", ["indices", "indptr"])
    @pytest.mark.parametrize("wrong", [-1, 10**6])
    def test_of_other_compressed_formats(self, kind, part, wrong):
        X = kind(TestMalformedCSR.matrix(np.int32))
        getattr(X, part)[2] = wrong
        with pytest.raises(ValueError, match=rf"X\.{part}"):
            as_design(X)

    @pytest.mark.parametrize(("part", "wrong"), [("row", 20), ("row", -1), ("col", 5), ("col", 10**6)])
    def test_of_coordinates(self, part, wrong):
        X = sp.coo_matrix(TestMalformedCSR.matrix(np.int32))
        setattr(X, part, np.where(np.arange(X.nnz) == 3, wrong, getattr(X, part)))
        with pytest.raises(ValueError, match=rf"X\.{part} must lie"):
            as_design(X)
        setattr(X, part, np.zeros(X.nnz - 1, dtype=np.int32))
        with pytest.raises(ValueError, match=rf"X\.{part} must hold"):
            as_design(X)

    @pytest.mark.parametrize("wrong", [-20, 5, 10**6])
    def test_of_diagonals(self, wrong):
        X = sp.dia_matrix(TestMalformedCSR.matrix(np.int32))
        X.offsets = np.where(np.arange(len(X.offsets)) == 1, wrong, X.offsets)
        with pytest.raises(ValueError, match=r"X\.offsets must lie"):
            as_design(X)

    def test_data_in_a_matrix(self):
        X = TestMalformedCSR.matrix(np.int32)
        X.data = X.data.reshape(1, -1)
        with pytest.raises(ValueError, match=r"X\.data must have one dimension"):
            as_design(X)


class TestInterrupts:
    """What a signal handler raises between two lines of a pass ends the pass."""

    TWICE = ("loss_gradient", "hessian_dot", "moments", "gram", "class_scores")

    @pytest.mark.parametrize(
        ("name", "calls_before"),
        [
            ("logits", 0),
            *itertools.product(("loss_gradient", "hessian_dot", "moments", "gram", "class_scores"), (0, 1)),
        ],
    )
    def test_an_exception_is_not_lost(self, name, calls_before, monkeypatch):
        n, d = 20_000, 50
        X = np.random.default_rng(0).normal(size=(n, d))
        of_samples, coef, intercept = np.ones((2, n)), np.zeros((2, d)), np.zeros(2)
        run, *arguments = {
            "logits": (Design.logits, coef, intercept),
            "loss_gradient": (Design.loss_gradient, coef, intercept, of_samples),
            "hessian_dot": (Design.hessian_dot, of_samples, coef, intercept),
            "moments": (Design.moments, of_samples[0]),
            "gram": (DenseDesign.gram, of_samples[0], np.zeros(d)),
            "class_scores": (class_scores, coef, intercept, True),
        }[name]
        design, calls = as_design(X, 2), iter([False] * calls_before)

        def interrupted(n_threads):
            if next(calls, True):
                raise KeyboardInterrupt
            return n_threads

        # handlers run when a function in Python begins, and this is the one that a pass calls
        monkeypatch.setattr("fastlogreg.data.design.usable_threads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(design, *arguments)


class TestNonFinite:
    """What lets the estimator look for NaN and infinity only once a sum has shown them."""

    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("layout", ["C", "F", "CSR"])
    def test_any_cell_shows(self, layout, dtype, wrong):
        rng = np.random.default_rng(0)
        for n, d in [(1, 1), (9, 1), (1, 5), (9, 3), (100, 8), (41, 13), (9, 70)]:
            X = zoo.values(rng, n, d).astype(dtype)
            cells = {(0, 0), (n - 1, d - 1), (0, d - 1), (n - 1, 0)}
            cells |= {(int(i), int(j)) for i, j in zip(rng.integers(n, size=8), rng.integers(d, size=8), strict=True)}
            for i, j in cells:
                self.assert_shows(X, layout, i, j, wrong)

    @staticmethod
    def assert_shows(X, layout, i, j, wrong):
        n, d = X.shape
        spoilt = X.copy()
        spoilt[i, j] = wrong
        design = as_design(sp.csr_matrix(spoilt) if layout == "CSR" else np.array(spoilt, order=layout))
        without_row = np.ones(n)
        if n > 1:
            without_row[i] = 0.0
        target = (np.arange(n) % 2).astype(float)[None]
        for weight in (None, without_row):
            loss, gradient, _ = design.loss_gradient(np.zeros((1, d)), np.zeros(1), target, weight)
            assert not (np.isfinite(loss).all() and np.isfinite(gradient).all())
            with np.errstate(invalid="ignore"):
                moments = design.moments(np.ones(n) if weight is None else weight)
            assert not np.isfinite(moments).all()

    def test_large_but_finite_cells_do_not(self):
        X = np.full((9, 3), 1e150)
        loss, gradient, _ = as_design(X).loss_gradient(np.zeros((1, 3)), np.zeros(1), np.ones((1, 9)))
        assert np.isfinite(loss).all()
        assert np.isfinite(gradient).all()


class TestFarFromZero:
    @staticmethod
    def columns(offset, n=20_000):
        return offset + np.random.default_rng(0).normal(size=(n, 2))

    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("offset", [1e4, -1e8, 1e12])
    def test_dense_moments_lose_no_digits(self, order, offset):
        X = np.array(self.columns(offset), order=order)
        near_zero = X - offset  # exact
        mean, variance = as_design(X).moments(np.ones(len(X)))
        np.testing.assert_allclose(mean, offset + near_zero.mean(axis=0), rtol=4 * EPS)
        np.testing.assert_allclose(variance, near_zero.var(axis=0), rtol=LONG_SUM)

    @pytest.mark.parametrize("order", "CF")
    def test_nor_for_a_first_sample_that_hardly_counts(self, order):
        X = np.array(self.columns(1e8), order=order)
        X[0] = 0.0
        weight = np.ones(len(X))
        weight[0] = 1e-30
        _, variance = as_design(X).moments(weight)
        np.testing.assert_allclose(variance, (X[1:] - 1e8).var(axis=0), rtol=LONG_SUM)

    @pytest.mark.parametrize("order", "CF")
    def test_dense_gram_loses_no_digits(self, order):
        X = np.array(self.columns(1e8), order=order)
        center = X.mean(axis=0)
        gram = as_design(X).gram(np.ones(len(X)), center)
        expected = (X - center).T @ (X - center)
        np.testing.assert_allclose(gram[:2, :2], expected, rtol=LONG_SUM, atol=LONG_SUM * expected[0, 0])

    @pytest.mark.parametrize("scale", [1.0, 0.3])
    @pytest.mark.parametrize("order", "CF")
    def test_dense_sample_gram_loses_no_digits(self, order, scale):
        X = np.array(self.columns(1e8, 200).T, order=order)
        center, scales = X.mean(axis=0), np.full(200, scale)
        gram = as_design(X).sample_gram(center, scales)
        Z = (X - center) * scales
        assert_within(gram, Z @ Z.T, SUM * np.abs(Z) @ np.abs(Z).T)

    @pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
    def test_csr_loses_the_digits_of_the_mean_square(self, offset):
        """Sums about zero know a variance to some units of the mean square: the price of not reading zeros."""
        X = self.columns(offset)
        design = as_design(sp.csr_matrix(X))
        mean, variance = design.moments(np.ones(len(X)))
        np.testing.assert_allclose(mean, X.mean(axis=0), rtol=LONG_SUM)
        np.testing.assert_allclose(variance, X.var(axis=0), atol=LONG_SUM * offset**2)
        gram = design.gram(np.ones(len(X)), mean)
        np.testing.assert_allclose(np.diag(gram)[:2] / len(X), X.var(axis=0), atol=4 * LONG_SUM * offset**2)

    @pytest.mark.parametrize("constant", [0.1, -3.0, 1e8, 1e-8])
    def test_constant_columns_have_no_variance(self, constant):
        X = np.full((1003, 2), constant)
        weight = np.random.default_rng(0).exponential(size=1003)
        for layout in (X, np.asfortranarray(X), sp.csr_matrix(X)):
            for weights in (np.ones(1003), weight):
                mean, variance = as_design(layout).moments(weights)
                np.testing.assert_allclose(mean, constant, rtol=LONG_SUM)
                assert_array_equal(variance, 0.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("ones", [True, False])
def test_entries_that_are_all_one(dtype, index, ones):
    rng = np.random.default_rng(0)
    X = sp.random(9000, 30, density=0.2, format="csr", random_state=rng, dtype=dtype)
    X.data[:] = 1.0
    if not ones:
        X.data[-1] = 2.0  # the last value tells
    X = sp.csr_matrix((X.data, X.indices.astype(index), X.indptr.astype(index)), shape=X.shape)
    sparse, dense = as_design(X), as_design(X.toarray())
    coef, intercept = rng.standard_normal((1, 30)), np.array([0.3])
    target, weight = rng.random((1, 9000)), rng.random(9000)
    for ours, theirs in [
        (sparse.logits(coef, intercept), dense.logits(coef, intercept)),
        (sparse.gram(weight, np.zeros(30)), dense.gram(weight, np.zeros(30))),
        *zip(sparse.moments(weight), dense.moments(weight), strict=True),
        *zip(
            sparse.loss_gradient(coef, intercept, target, weight),
            dense.loss_gradient(coef, intercept, target, weight),
            strict=True,
        ),
        *zip(sparse.hessian_dot(target, coef, intercept), dense.hessian_dot(target, coef, intercept), strict=True),
    ]:
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_columns_far_from_zero_keep_their_digits(index, weighted):
    """Five million spreads: moments and Gram matrices are those of the columns counted from their means."""
    rng = np.random.default_rng(0)
    near = rng.integers(-1000, 1000, size=(200, 3)) / 1024
    X = near + np.array([5e6, 0.0, -3e9])
    X[rng.random(200) < 0.5, 1] = 0.0
    sparse = sp.csr_array(X)
    sparse.indices, sparse.indptr = sparse.indices.astype(index), sparse.indptr.astype(index)
    weight = rng.integers(0, 3, 200).astype(float) if weighted else np.ones(200)
    design = as_design(sparse)
    mean, variance = design.moments(weight if weighted else None)
    counted = X - [5e6, 0.0, -3e9]
    expected = np.average(counted, axis=0, weights=weight)
    assert_allclose(mean - [5e6, 0.0, -3e9], expected, rtol=0, atol=1e-6)
    assert_allclose(variance, np.average((counted - expected) ** 2, axis=0, weights=weight), rtol=1e-6)
    Z = np.column_stack([X - mean, np.ones(200)])
    assert_allclose(design.gram(weight, mean), (Z * weight[:, None]).T @ Z, rtol=1e-6, atol=1e-4)
