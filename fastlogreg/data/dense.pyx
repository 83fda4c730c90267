"""Dense design matrices, in C or Fortran order: see `fastlogreg.data.design`."""

import numpy as np

from cython cimport floating
from libc.math cimport INFINITY, fabs
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastlogreg.data.design cimport Design, panel_width, pass_job, recentered, rows_of_block, symmetric
from fastlogreg.kernels.dispatch cimport (
    ENTRY_ROWS,
    C_ORDER_F32,
    C_ORDER_F64,
    F_ORDER_F32,
    F_ORDER_F64,
    chunk_function,
    chunk_start,
    design_view,
)

# Bytes of a block of rows, which is read twice, the second time from cache. In C order it shares the first-level cache
# (32 KiB and up) with the next block, which is being prefetched. In Fortran order a block is many short runs, each on a
# page of its own, and uses a part of the second-level cache.
cdef Py_ssize_t C_ORDER_BLOCK_BYTES = 16 * 1024
cdef Py_ssize_t F_ORDER_BLOCK_BYTES = 256 * 1024
# Bytes and least rows of a panel: some rows of X as doubles, centered and weighted. It is read once for each eight
# columns of the Gram matrix, from the first-level cache or, where its rows are long, from the second-level one. It has
# enough rows to make each tile of the Gram matrix worth loading and storing.
cdef Py_ssize_t PANEL_BYTES = 32 * 1024
cdef Py_ssize_t MIN_PANEL_ROWS = 64
# Rows of a chunk from which on adding up the chunks' Gram matrices takes little beside the products of the rows: 16 for
# each column where all columns are multiplied, 64 where only entries are.
cdef Py_ssize_t PANEL_ROWS_A_COLUMN = 16
cdef Py_ssize_t ENTRY_ROWS_A_COLUMN = 64
# Dense X of at least 32 columns is multiplied entry by entry, without its zeros, if a row has entries in at most a
# sixteenth of the columns: that takes half the time of multiplying all columns, a third of it with 408 columns. A
# column with entries in at most a quarter of the rows loses no digits if it is centered after it is multiplied. All
# this is told from about 1024 rows.
MIN_ENTRY_COLUMNS = 32
SHARE_OF_ENTRIES = 0.0625
FEW_ENTRIES = 0.25
SAMPLED_ROWS = 1024
# Multiplying an entry of X with 32 others takes about the time of reading it.
cdef Py_ssize_t PRODUCTS_AT_ONCE = 32


cdef void _dense_gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the upper triangle of the gram matrix with a last column of ones. Panels of samples times the square roots
    of their weights stay in cache for one rank-k update each."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk), end = chunk_start(n, job.n_chunks, chunk + 1)
    cdef double *gram = job.partials + chunk * job.partial_size
    cdef double *panel = job.scratch + thread * job.scratch_size
    cdef Py_ssize_t width = panel_width(job.X.n_features), count
    memset(gram, 0, job.partial_size * sizeof(double))
    while first < end:
        count = min(job.block_rows, end - first)
        job.kernels.fill_panel(job.X, first, count, job.weight + first, job.shift, width, panel)
        job.pointwise.add_rank_update(count, width, panel, gram)
        first += count


cdef void _entries_gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """The same from the products of each row's entries, for rows that are mostly zero."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples, width = panel_width(job.X.n_features)
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk)
    cdef Py_ssize_t count = chunk_start(n, job.n_chunks, chunk + 1) - first
    cdef double *gram = job.partials + chunk * job.partial_size
    cdef double *values = job.scratch + thread * job.scratch_size
    cdef int32_t *columns = <int32_t *>(values + ENTRY_ROWS * width)
    memset(gram, 0, job.partial_size * sizeof(double))
    job.kernels.add_gram_of_entries(
        job.X, first, count, job.weight + first, job.shift, width, columns, values, gram)


cdef void _sample_gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the upper triangle of Z Z' of the samples Z, from panels of Z's columns. X is the transposed matrix, whose
    "samples" are the features, all of weight one; `coef` are their scales and `of_samples` their centers."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t d = job.X.n_samples, n = job.X.n_features
    cdef Py_ssize_t first = chunk_start(d, job.n_chunks, chunk), end = chunk_start(d, job.n_chunks, chunk + 1)
    cdef double *gram = job.partials + chunk * job.partial_size
    cdef double *panel = job.scratch + thread * job.scratch_size
    cdef Py_ssize_t width = panel_width(n), count, i, j
    cdef double center, scale
    memset(gram, 0, job.partial_size * sizeof(double))
    while first < end:
        count = min(job.block_rows, end - first)
        job.kernels.fill_panel(job.X, first, count, job.weight + first, job.shift, width, panel)
        for j in range(count):
            center, scale = job.of_samples[first + j], job.coef[first + j]
            for i in range(n):
                panel[j * width + i] = (panel[j * width + i] - center) * scale
            panel[j * width + n] = 0.0
        job.pointwise.add_rank_update(count, width, panel, gram)
        first += count


cdef class DenseDesign(Design):
    """X as an ndarray, float32 or float64, whose rows or columns are contiguous; strides and views are welcome."""

    cdef Py_ssize_t _block_bytes
    cdef int _transposed_layout
    cdef bint _is_sampled
    cdef object _mostly_zero  # columns: see `is_mostly_zero`

    def __init__(self, X, Py_ssize_t n_threads=1):
        super().__init__(X, n_threads)
        double_values = X.dtype == np.float64
        rows_contiguous = X.strides[1] == X.itemsize or X.shape[1] == 1
        self.view.values = <const void *><size_t>X.ctypes.data
        self.view.stride = X.strides[0 if rows_contiguous else 1] // X.itemsize
        self._block_bytes = C_ORDER_BLOCK_BYTES if rows_contiguous else F_ORDER_BLOCK_BYTES
        c_order, f_order = (C_ORDER_F64, F_ORDER_F64) if double_values else (C_ORDER_F32, F_ORDER_F32)
        self.kernels = self.pointwise.of_layout[c_order if rows_contiguous else f_order]
        self._transposed_layout = f_order if rows_contiguous else c_order

    def gram(self, const double[::1] weight, const double[::1] center):
        """``Z' diag(weight) Z`` (d + 1, d + 1) with Z = [X - center, 1], weights not negative. One pass."""
        self.check_gram(weight, center)
        if not self.is_mostly_zero:
            return self._gram_about(center, weight, &_dense_gram_chunk, PANEL_ROWS_A_COLUMN, 0)
        shift = np.where(self._mostly_zero, 0.0, center)
        gram = self._gram_about(shift, weight, &_entries_gram_chunk, ENTRY_ROWS_A_COLUMN, 2 * ENTRY_ROWS)
        return recentered(gram, np.subtract(center, shift))

    cdef _gram_about(self, const double[::1] shift, const double[::1] weight, chunk_function chunk,
                     Py_ssize_t rows_a_column, Py_ssize_t scratch_rows):
        """The Gram matrix about `shift`, by chunks of at least `rows_a_column` rows for each column, with scratch
        memory for at least `scratch_rows` rows."""
        cdef Py_ssize_t width = panel_width(self.n_features)
        cdef Py_ssize_t chunk_limit = max(self.n_samples // (rows_a_column * width), self.least_gram_chunks())
        cdef pass_job job = self._panel_job(chunk_limit, width, scratch_rows)
        job.weight, job.shift = &weight[0], &shift[0]
        return symmetric(self.run(chunk, &job), width, self.n_features + 1)

    @property
    def is_mostly_zero(self):
        """Whether most of X is zero, as a sample of the rows tells. A Gram matrix is then centered after its columns
        are multiplied, which spares products."""
        if not self._is_sampled:
            self._is_sampled = True
            self._mostly_zero = self._columns_of_few_entries()
        return self._mostly_zero is not None

    def _columns_of_few_entries(self):
        """A mask (d,) of the columns with few entries, or None where multiplying all columns is the shorter way."""
        if self.n_features < MIN_ENTRY_COLUMNS or self.n_samples < 8 * SAMPLED_ROWS:
            return None
        sample = self.X[::self.n_samples // SAMPLED_ROWS]
        share = np.count_nonzero(sample, axis=0) / len(sample)
        few = share <= FEW_ENTRIES
        n_entries = share[few].sum() + np.count_nonzero(~few)
        return few if n_entries <= SHARE_OF_ENTRIES * self.n_features else None

    def sample_gram(self, const double[::1] center, const double[::1] scale):
        """``Z Z'`` (n, n) with Z = (X - center) * scale. One pass."""
        self.check_columns(center)
        self.check_columns(scale)
        cdef Py_ssize_t n = self.n_samples, d = self.n_features, width = panel_width(n)
        cdef design_view transposed = self.view
        transposed.n_samples, transposed.n_features = d, n
        cdef double[::1] ones = np.ones(d), zeros = np.zeros(n)
        cdef pass_job job = self._panel_job(d // (2 * width), width)
        job.X, job.kernels = &transposed, self.pointwise.of_layout[self._transposed_layout]
        job.weight, job.shift, job.of_samples, job.coef = &ones[0], &zeros[0], &center[0], &scale[0]
        return symmetric(self.run(&_sample_gram_chunk, &job), width, n)

    def farthest(self, const double[::1] center, Py_ssize_t step):
        """The largest ``|x_j - center_j|`` (d,) in each `step`-th row; infinite where there is NaN."""
        self.check_columns(center)
        far = np.zeros(self.n_features)
        rows = self.X[::step]
        if rows.dtype == np.float64:
            _raise_to_farthest[double](rows, center, far)
        else:
            _raise_to_farthest[float](rows, center, far)
        return far

    def take(self, rows):
        """A design of a copy of the rows (m,) of X, in its order."""
        by_rows = self._transposed_layout in (F_ORDER_F64, F_ORDER_F32)
        taken = np.take(self.X, rows, axis=0) if by_rows else np.take(self.X.T, rows, axis=1).T
        return DenseDesign(taken, self.n_threads)

    def in_units(self, unit):
        """A design of a copy of X times `unit` (d,), in float64."""
        return DenseDesign(np.multiply(self.X, unit, dtype=np.float64), self.n_threads)

    def counted_from(self, origin):
        """A design of a copy of X less `origin` (d,), in float64, and the origin."""
        return DenseDesign(np.subtract(self.X, origin, dtype=np.float64), self.n_threads), origin

    cdef pass_job _panel_job(self, Py_ssize_t chunk_limit, Py_ssize_t width, Py_ssize_t scratch_rows=0):
        """A pass whose chunks sum the Gram matrix (width, width) of panels; the panels' padding is zero."""
        cdef pass_job job = self.pass_job_of(1, chunk_limit, width * width, 1 + width // PRODUCTS_AT_ONCE)
        job.block_rows = max(MIN_PANEL_ROWS, rows_of_block(PANEL_BYTES, 8 * width))
        self.give_scratch(&job, max(job.block_rows, scratch_rows) * width, zeros=True)
        return job

    cdef Py_ssize_t count_entries(self):
        return self.n_samples * self.n_features

    cdef Py_ssize_t bytes_a_row(self):
        return self.n_features * self.X.itemsize

    cdef Py_ssize_t block_rows(self):
        return rows_of_block(self._block_bytes, self.bytes_a_row())

    cdef Py_ssize_t chunk_limit_of(self, Py_ssize_t n_outputs=1):
        return self.n_samples // (8 * (3 + n_outputs))

    def _row(self, Py_ssize_t i):
        return np.array(self.X[i], dtype=np.float64)


cdef void _raise_to_farthest(const floating[:, :] X, const double[::1] center, double[::1] far) noexcept:
    cdef Py_ssize_t i, j
    cdef double offset
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            offset = fabs(X[i, j] - center[j])
            if not offset <= far[j]:
                far[j] = offset if offset == offset else INFINITY
