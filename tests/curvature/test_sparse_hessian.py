"""The Hessian of sparse data as a matrix: its products, and the sweep that nearly inverts it."""

import functools

import numpy as np
import posing
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg.curvature.sparse import SparseHessian
from fastlogreg.data.layouts import as_design
from fastlogreg.data.sparse_gram import SparseGram

N = 20_000
SIZES = (3, 8, 70, 400)


@functools.cache
def one_hot(sizes=SIZES, n_samples=N):
    """A numeric column far from zero, groups of categories, and a column that is never used."""
    rng = np.random.default_rng(0)
    firsts = np.cumsum([1, *sizes[:-1]])
    groups = [
        first + (size * rng.random(n_samples) ** 2).astype(int) for first, size in zip(firsts, sizes, strict=True)
    ]
    indices = np.column_stack([np.zeros(n_samples, dtype=int), *groups]).astype(np.int32)
    values = np.ones(indices.shape)
    values[:, 0] = 1e3 + rng.standard_normal(n_samples)
    indptr = np.arange(0, indices.size + 1, indices.shape[1], dtype=np.int32)
    return sp.csr_matrix((values.ravel(), indices.ravel(), indptr), shape=(n_samples, 2 + sum(sizes)))


def block_columns(X, count):
    entries = np.bincount(X.indices, minlength=X.shape[1])
    return np.sort(np.argsort(-entries, kind="stable")[:count])


def summed(X, n_block=20, n_threads=1):
    """A `SparseGram`, the weights it was summed with and the centers of its block."""
    columns = block_columns(X, n_block)
    gram = SparseGram.of(as_design(X, n_threads), columns)
    rng = np.random.default_rng(1)
    weight, center = rng.exponential(size=X.shape[0]), rng.standard_normal(len(columns))
    gram.sum(weight, center)
    return gram, weight, center


def dense_gram(X, weight):
    Z = np.column_stack([X.toarray(), np.ones(X.shape[0])]).astype(float)
    return Z.T @ (weight[:, None] * Z)


class TestGram:
    @pytest.mark.parametrize("n_block", [15, 16, 20, 64, 100])
    def test_products(self, n_block):
        X = one_hot()
        gram, weight, center = summed(X, n_block)
        whole = dense_gram(X, weight)
        block, rare = [*gram.columns, X.shape[1]], gram.rare
        shift = np.eye(n_block + 1)
        shift[-1, :-1] = -center
        assert_allclose(gram.block, shift.T @ whole[np.ix_(block, block)] @ shift, rtol=1e-9, atol=1e-6)
        assert_allclose(gram.squares, whole[rare, rare], rtol=1e-12)
        rng = np.random.default_rng(2)
        of_rare, of_block = rng.standard_normal(len(rare)), rng.standard_normal(n_block + 1)
        rare_out, block_out = gram.squares * of_rare, np.zeros(n_block + 1)
        gram.add_product(of_rare, of_block, rare_out, block_out)
        links = whole[np.ix_(rare, block)]
        assert_allclose(rare_out, whole[np.ix_(rare, rare)] @ of_rare + links @ of_block, rtol=1e-10, atol=1e-8)
        assert_allclose(block_out, links.T @ of_rare, rtol=1e-10, atol=1e-8)
        assert_allclose(gram.links_of(of_rare), links.T @ of_rare, rtol=1e-10, atol=1e-8)
        assert_allclose(gram.links_with(of_block), links @ of_block, rtol=1e-10, atol=1e-8)

    @pytest.mark.parametrize("n_block", [15, 16, 20, 64])
    def test_sweep(self, n_block):
        X = one_hot()
        gram, weight, center = summed(X, n_block)
        whole = dense_gram(X, weight)
        rare, block = gram.rare, [*gram.columns, X.shape[1]]
        diagonal = gram.squares + 1.0
        lower = np.tril(whole[np.ix_(rare, rare)], -1) + np.diag(diagonal)
        inverse = np.linalg.inv(lower @ (lower.T / diagonal[:, None]))
        vector = np.random.default_rng(3).standard_normal(len(rare))
        result = vector.copy()
        gram.sweep(result, diagonal)
        assert_allclose(result, inverse @ vector, rtol=1e-8, atol=1e-12)
        links = whole[np.ix_(rare, block)]
        shift = np.eye(n_block + 1)
        shift[-1, :-1] = -center
        swept = shift.T @ links.T @ inverse @ links @ shift
        assert_allclose(gram.swept_links(diagonal), swept, rtol=1e-8, atol=1e-9 * np.abs(swept).max())

    def test_layouts(self):
        X = one_hot()
        expected, *_ = summed(X)
        wide = sp.csr_matrix((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape)
        assert_array_equal(summed(wide)[0].block, expected.block)
        narrow = X.astype(np.float32)
        assert_allclose(summed(narrow)[0].block, summed(narrow.astype(float))[0].block, rtol=1e-12)
        # entries in any order, some in two parts that add up
        halves = sp.csr_matrix(
            (np.repeat(X.data, 2)[::-1] / 2, np.repeat(X.indices, 2)[::-1], 2 * X.indptr), shape=X.shape
        )[::-1]
        gram, weight, center = summed(halves, 64)
        same, *_ = summed(X, 64)
        same.sum(weight, center)
        vector = np.ones(len(same.rare))
        assert_allclose(gram.squares, same.squares, rtol=1e-12)
        assert_allclose(gram.block, same.block, rtol=1e-9, atol=1e-6)
        assert_allclose(gram.links_of(vector), same.links_of(vector), rtol=1e-12)
        gram.sweep(vector, gram.squares + 1.0)
        other = np.ones(len(same.rare))
        same.sweep(other, same.squares + 1.0)
        assert_allclose(vector, other, rtol=1e-9)

    def test_same_bits_for_any_number_of_threads(self):
        X = one_hot(n_samples=100_000)
        results = []
        for n_threads in (1, 2, 3):
            gram, *_ = summed(X, n_threads=n_threads)
            results.append((gram.block, gram.squares, gram.swept_links(gram.squares + 1.0)))
        for other in results[1:]:
            for ours, theirs in zip(results[0], other, strict=True):
                assert_array_equal(ours, theirs)

    def test_where_it_is_not_small(self):
        rng = np.random.default_rng(0)
        crowded = sp.random(2000, 300, density=0.1, format="csr", random_state=rng)
        assert SparseGram.of(as_design(crowded), block_columns(crowded, 20)) is None
        few_rows = one_hot(n_samples=500)
        assert SparseGram.of(as_design(few_rows), block_columns(few_rows, 20)) is None

    def test_readings_are_counted(self):
        X = one_hot()
        design = as_design(X)
        gram = SparseGram.of(design, block_columns(X, 20))
        assert design.n_passes == 1
        gram.sum(np.ones(N), np.zeros(20))
        assert design.n_passes == 2


def hessians(X, *, fit_intercept=True, l2=1e-3, weighted=False, offset=False, n_block=20):
    """The Hessian at a point, and its matrix."""
    rng = np.random.default_rng(4)
    weight = rng.exponential(size=X.shape[0]) if weighted else None
    y = (rng.random(X.shape[0]) < 0.3).astype(float)
    offset = rng.normal(size=X.shape[0]) if offset else None
    objective = posing.binary(
        as_design(X, 1), y, l2=l2, fit_intercept=fit_intercept, sample_weight=weight, offset=offset
    )
    point = objective.evaluate(objective.start() + 0.1 * rng.standard_normal(objective.n_parameters))
    gram = SparseGram.of(objective.passes.local.design, block_columns(X, n_block))
    return objective.hessian(point), SparseHessian(objective, gram, point)


class TestHessian:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize(("weighted", "offset"), [(True, False), (False, False), (True, True)])
    def test_product(self, fit_intercept, weighted, offset):
        exact, hessian = hessians(one_hot(), fit_intercept=fit_intercept, weighted=weighted, offset=offset)
        direction = np.random.default_rng(5).standard_normal(exact.objective.n_parameters)
        passes = exact.objective.n_passes
        product = hessian.dot(direction)
        assert 0 < exact.objective.n_passes - passes < 0.5
        expected = exact.dot(direction)
        assert_allclose(product, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("l2", [1e-3, 0.0])
    def test_nearly_the_inverse(self, fit_intercept, l2):
        exact, hessian = hessians(one_hot(), fit_intercept=fit_intercept, l2=l2)
        used = exact.objective.inverse_scale > 0
        used = np.append(used, True) if fit_intercept else used
        identity = np.eye(exact.objective.n_parameters)[:, used]
        inverse = np.column_stack([hessian.inverse(unit) for unit in identity.T])[used]
        assert_allclose(inverse, inverse.T, atol=1e-8 * np.abs(inverse).max())
        eigenvalues = np.linalg.eigvals(inverse @ exact.matrix()[np.ix_(used, used)]).real
        # without a penalty the groups, which all sum to one, leave directions without curvature
        assert eigenvalues.min() > (0.1 if l2 > 0 else -1e-6)
        assert eigenvalues.max() < 1.0 + 1e-6  # the sweep's matrix is no smaller than the Hessian

    def test_the_inverse_where_rare_columns_do_not_meet(self):
        exact, hessian = hessians(one_hot((3, 400)), n_block=5)
        gradient = np.random.default_rng(6).standard_normal(exact.objective.n_parameters)
        gradient[exact.objective.inverse_scale.argmin()] = 0.0  # of the unused column
        assert_allclose(exact.dot(hessian.inverse(gradient)), gradient, atol=1e-6)
