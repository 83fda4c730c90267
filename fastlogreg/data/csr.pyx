"""Sparse design matrices, as compressed rows: see `fastlogreg.data.design`."""

import numpy as np
import scipy.sparse as sp

from libc.string cimport memset

from fastlogreg.data.design cimport Design, pass_job, recentered, rows_of_block, symmetric
from fastlogreg.kernels.dispatch cimport (
    CSR_F32_I32,
    CSR_F32_I64,
    CSR_F64_I32,
    CSR_F64_I64,
    CSR_ONES_I32,
    CSR_ONES_I64,
    chunk_start,
)

# Bytes of a block of rows, which is read twice, the second time from cache: with the coefficients beside it, it uses a
# part of the second-level cache.
cdef Py_ssize_t CSR_BLOCK_BYTES = 64 * 1024
# Values that are compared with one in one go: they stay in the first-level cache.
ONES_AT_ONCE = 4096
MAX_INT32 = np.iinfo(np.int32).max
# A column lies far from zero if its variance is this part of its squared mean at most.
FAR = 1e-6


cdef inline double _sum(const double *values, Py_ssize_t count) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(count):
        total += values[i]
    return total


cdef void _csr_gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the upper triangle of X' diag(weight) X (d x d), X' weight (d) and the sum of the weights."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples, d = job.X.n_features
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk)
    cdef Py_ssize_t count = chunk_start(n, job.n_chunks, chunk + 1) - first
    cdef double *gram = job.partials + chunk * job.partial_size
    memset(gram, 0, job.partial_size * sizeof(double))
    job.kernels.add_gram(job.X, first, count, job.weight + first, gram)
    job.kernels.add_gradient(job.X, first, count, 1, job.weight + first, n, gram + d * d)
    gram[d * d + d] = _sum(job.weight + first, count)


cdef class CSRDesign(Design):
    """X as a SciPy CSR matrix or array, float32 or float64, integer indices in any order, repeats adding up.

    Where all entries are one, passes do not read them.
    """

    cdef object _near   # the same matrix with columns far from zero counted from near their means; None: not known yet
    cdef object _shift

    def __init__(self, X, Py_ssize_t n_threads=1):
        super().__init__(X, n_threads)
        self._keep_alive = data, indices, indptr = csr_arrays(X)
        if not X.indices.dtype == X.indptr.dtype == indices.dtype:  # SciPy would not take it everywhere
            self.X = type(X)((data[:indptr[-1]], indices[:indptr[-1]], indptr), shape=X.shape)
        self.view.values = <const void *><size_t>data.ctypes.data
        self.view.columns = <const void *><size_t>indices.ctypes.data
        self.view.row_starts = <const void *><size_t>indptr.ctypes.data
        if _are_ones(data):
            self.kernels = self.pointwise.of_layout[CSR_ONES_I32 if indices.itemsize == 4 else CSR_ONES_I64]
        elif X.dtype == np.float64:
            self.kernels = self.pointwise.of_layout[CSR_F64_I32 if indices.itemsize == 4 else CSR_F64_I64]
        else:
            self.kernels = self.pointwise.of_layout[CSR_F32_I32 if indices.itemsize == 4 else CSR_F32_I64]

    def moments(self, const double[::1] weight=None):
        """Weighted means (d,) and mean squares about them (d,) of the columns: see `Design.moments`.

        Sums about zero lose the digits of a column far from zero. Such a column has no zeros, so that its entries are
        counted from a value near its mean from then on, here and in Gram matrices, in a copy of all entries.
        """
        mean, variance = Design.moments(self, weight)
        if self._near is None:
            with np.errstate(over="ignore", invalid="ignore"):
                far = np.flatnonzero((mean != 0) & (variance <= FAR * mean * mean) & (np.abs(mean) < np.inf))
            origin = np.zeros(self.n_features)
            origin[far] = mean[far]
            self._near, self._shift = self.counted_from(origin) if len(far) else (self, origin)
            (<CSRDesign>self._near)._near = self._near
        if self._near is not self:
            near_mean, near_variance = self._near.moments(weight)
            moved = self._shift != 0
            mean[moved], variance[moved] = (self._shift + near_mean)[moved], near_variance[moved]
        return mean, variance

    def in_units(self, unit):
        """A design of a copy of X times `unit` (d,), in float64."""
        matrix = self._matrix()
        values = matrix.data * np.asarray(unit)[matrix.indices]
        matrix = sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)
        return CSRDesign(matrix, self.n_threads)

    def counted_from(self, origin):
        """A design of a copy of X whose full columns are less `origin` (d,), and what they are less; with zeros, and
        without a copy, where none of those is full.
        """
        matrix = self._matrix().copy()
        matrix.sum_duplicates()
        is_full = np.bincount(matrix.indices, minlength=self.n_features) == self.n_samples
        origin = np.where(is_full, origin, 0.0)
        if not origin.any():
            return self, origin
        values = matrix.data.astype(np.float64) - origin[matrix.indices]
        near = sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)
        return CSRDesign(near, self.n_threads), origin

    def gram(self, const double[::1] weight, const double[::1] center):
        """``Z' diag(weight) Z`` (d + 1, d + 1) with Z = [X - center, 1]. One pass over the stored entries."""
        self.check_gram(weight, center)
        if self._near is None:
            self.moments()
        if self._near is not self:
            self.n_passes += 1
            return self._near.gram(weight, center - self._shift)
        cdef Py_ssize_t d = self.n_features, n_entries = self.count_entries()
        cdef Py_ssize_t work = n_entries + n_entries // self.n_samples * n_entries // 3
        cdef Py_ssize_t chunk_limit = max(work // (16 * d * d), min(4, n_entries // (d * d)))
        cdef pass_job job = self.pass_job_of(1, chunk_limit, d * d + d + 1)
        job.weight, job.work = &weight[0], work
        sums = self.run(&_csr_gram_chunk, &job)
        gram = np.empty((d + 1, d + 1))
        gram[:d, :d] = symmetric(sums[:d * d], d, d)
        gram[d, :d] = gram[:d, d] = sums[d * d:-1]
        gram[d, d] = sums[-1]
        return recentered(gram, center)

    def sample_gram(self, const double[::1] center, const double[::1] scale):
        """``Z Z'`` (n, n) with Z = (X - center) * scale. Two passes over the stored entries."""
        self.check_columns(center)
        self.check_columns(scale)
        self.n_passes += 2
        matrix = self._matrix()
        values = matrix.data * np.asarray(scale)[matrix.indices]
        scaled = sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)
        shift = np.asarray(center) * scale
        of_shift = scaled @ shift
        return (scaled @ scaled.T).toarray() - of_shift[:, None] - of_shift + shift @ shift

    def take(self, rows):
        """A design of a copy of the rows (m,) of X."""
        return CSRDesign(self._matrix()[rows], self.n_threads)

    @property
    def is_sparse(self):
        return True

    @property
    def index_bytes(self):
        """What a column's number takes in memory: 4 or 8 bytes."""
        return self._keep_alive[1].itemsize

    @property
    def longest_row(self):
        """Stored entries of the fullest row."""
        return int(np.diff(self._keep_alive[2]).max())

    def fullest_columns(self, Py_ssize_t count, Py_ssize_t least=0):
        """The columns (count,) with the most stored entries, in rising order, and a design of a copy of them.

        There are fewer where fewer columns hold at least `least` entries.
        """
        matrix = self._matrix()
        entries = np.bincount(matrix.indices, minlength=self.n_features)
        fullest = np.argsort(-entries, kind="stable")[:count]
        columns = np.sort(fullest[entries[fullest] >= least])
        return columns, CSRDesign(matrix[:, columns], self.n_threads)

    def _matrix(self):
        """X with index arrays of one type and no spare room, as all versions of SciPy take it."""
        data, indices, indptr = self._keep_alive
        n_entries = indptr[-1]
        return sp.csr_matrix((data[:n_entries], indices[:n_entries], indptr), shape=self.X.shape)

    cdef Py_ssize_t count_entries(self):
        return self.X.data.shape[0]

    cdef Py_ssize_t bytes_a_row(self):
        return self.count_entries() * (self.X.data.itemsize + self.index_bytes) // self.n_samples

    cdef Py_ssize_t block_rows(self):
        return rows_of_block(CSR_BLOCK_BYTES, self.bytes_a_row())

    cdef Py_ssize_t chunk_limit_of(self, Py_ssize_t n_outputs=1):
        return self.count_entries() // ((7 + n_outputs) * self.n_features)

    def _row(self, Py_ssize_t i):
        return np.zeros(self.n_features)


def _are_ones(values):
    """Whether all values are one; the first part that has another ends the search."""
    return all((values[first:first + ONES_AT_ONCE] == 1.0).all() for first in range(0, len(values), ONES_AT_ONCE))


def csr_arrays(X):
    """The values, columns and starts of rows of CSR X as the kernels take them: contiguous, with indices of one type,
    int32 or int64. SciPy's three arrays may be views with strides, and its two index arrays of any and of two types.
    """
    data = np.asarray(X.data)
    if data.ndim != 1:
        raise ValueError(f"X.data must have one dimension, and has {data.ndim}")
    indices, indptr = checked_indices(X.indices, X.indptr, data, *X.shape)
    return tuple(np.require(array, requirements="CA") for array in (data, indices, indptr))


def checked_indices(indices, indptr, data, n_rows, n_columns):
    """The two index arrays of compressed rows, of the type that the kernels take.

    The kernels trust the indices, and so does SciPy, so they are checked here, where a wrong one can still be reported.

    Raises
    ------
    ValueError
        If there is no matrix that the arrays describe.
    """
    indices, indptr = np.asarray(indices), np.asarray(indptr)
    if not all(array.ndim == 1 and array.dtype.kind in "iu" for array in (indices, indptr)):
        raise ValueError("X.indices and X.indptr must be arrays of integers with one dimension")
    if len(indptr) != n_rows + 1 or indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError("X.indptr must hold n_samples + 1 values that start at 0 and do not decrease")
    n_entries = int(indptr[-1])
    if len(indices) < n_entries or len(data) < n_entries:
        raise ValueError("X.indices and X.data are shorter than X.indptr says")
    if indices.dtype not in (np.int32, np.int64):
        indices = indices.astype(np.int64 if indices.itemsize == 8 or n_columns > MAX_INT32 else np.int32)
    unsigned = indices[:n_entries].view(f"u{indices.itemsize}")  # one comparison: negative ones become large
    if n_entries and unsigned.max() >= n_columns:
        raise ValueError(f"X.indices must lie in [0, {n_columns})")
    if n_entries > MAX_INT32:
        indices = indices.astype(np.int64, copy=False)
    return indices, indptr.astype(indices.dtype, copy=False)
