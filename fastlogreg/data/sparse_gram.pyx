"""Gram matrices of sparse data with many columns: dense for the fullest columns, and sparse rows for the others.

On one-hot data few columns hold nearly all entries, and two rare ones meet in few rows. So ``X' diag(weight) X`` has
fewer entries than X, and a product with it, or a sweep over it, takes a part of a pass.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from fastlogreg.data.design cimport Design, pass_job
from fastlogreg.kernels.dispatch cimport (
    LINK_PANEL,
    block_kernels,
    chunk_start,
    run_chunks,
    sparse_pattern,
    sparse_products,
)

from fastlogreg.runtime.threads import usable_threads

# Pairs of rare columns that meet in a row, counted over all rows, as a part of the entries of X: with more pairs the
# columns are not rare.
cdef double MAX_PAIRS = 0.25
# The numbers that are stored are at most this part of the entries of X.
cdef double MAX_STORED = 0.5
# Chunks of a pass at most; there are fewer where their sums would take more memory than X.
cdef Py_ssize_t MAX_CHUNKS = 4


cdef struct gram_job:
    pass_job pass_                  # first, so that a design can run it
    const sparse_pattern *pattern
    Py_ssize_t longest_row


cdef struct sweep_job:
    const block_kernels *kernels
    const sparse_pattern *pattern
    sparse_products products
    const double *diagonal
    double *sweeps                  # n_threads x n_rare x LINK_PANEL
    double *panels                  # n_panels x (n_block + 1) x LINK_PANEL


cdef sparse_products _products(const sparse_pattern *pattern, double *sums) noexcept nogil:
    """Where the sums of a chunk begin."""
    cdef sparse_products products
    products.block = sums
    products.squares = products.block + (pattern.n_block + 1) * (pattern.n_block + 1)
    products.sums = products.squares + pattern.n_rare
    products.links = products.sums + pattern.n_rare
    products.pairs = products.links + pattern.link_starts[pattern.n_rare]
    return products


cdef void _gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef gram_job *job = <gram_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t count = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1) - first
    cdef double *sums = shared.partials + chunk * shared.partial_size
    cdef double *row_values = shared.scratch + thread * shared.scratch_size
    cdef sparse_products products = _products(job.pattern, sums)
    memset(sums, 0, shared.partial_size * sizeof(double))
    shared.kernels.add_sparse_gram(shared.X, first, count, shared.weight + first, job.pattern, row_values,
                                   <int32_t *>(row_values + 2 * (job.longest_row + 1)), &products)


cdef const int32_t *_first(const int32_t[::1] columns) noexcept:
    return &columns[0] if columns.shape[0] else NULL


cdef void _sweep_chunk(void *job_, Py_ssize_t panel, Py_ssize_t thread) noexcept nogil:
    """Leaves the products with a panel of the block's columns."""
    cdef sweep_job *job = <sweep_job *>job_
    cdef Py_ssize_t size = job.pattern.n_block + 1
    job.kernels.sweep_links(job.pattern, &job.products, job.diagonal, panel * LINK_PANEL,
                            job.sweeps + thread * job.pattern.n_rare * LINK_PANEL,
                            job.panels + panel * size * LINK_PANEL)


cdef class SparseGram:
    """Sums of ``weight_i x_ij x_il`` over the rows of a CSR design. Made by `of`, empty until `sum`.

    Attributes
    ----------
    columns, rare : ndarray
        Numbers of the block's columns of X in rising order, and those of the others.
    block : ndarray of shape (n_block + 1, n_block + 1)
        The sums among the block's columns, about their centers, and a last column of ones.
    squares, sums : ndarray of shape (n_rare,)
        Of the rare columns, the diagonal and the products with ones.
    n_stored : int
        How many numbers all sums are.
    """

    cdef readonly object columns
    cdef readonly object rare
    cdef readonly object block
    cdef readonly object squares
    cdef readonly object sums
    cdef object _center
    cdef Design _design
    cdef sparse_pattern _pattern
    cdef object _keep_alive
    cdef Py_ssize_t _longest_row
    cdef const int64_t[::1] _link_starts
    cdef const int64_t[::1] _pair_starts
    cdef const int32_t[::1] _link_columns
    cdef const int32_t[::1] _pair_columns
    cdef double[::1] _all_sums
    cdef const double[::1] _sums
    cdef const double[::1] _links
    cdef const double[::1] _pairs

    @classmethod
    def of(cls, Design design, columns):
        """With a block of `columns`, which are in rising order; None where it would not be small. One pass over the
        indices.
        """
        cdef SparseGram self = cls.__new__(cls)
        rare = np.setdiff1d(np.arange(design.n_features), columns, assume_unique=True)
        self._design, self.columns, self.rare = design, columns, rare
        return self if self._find_pattern() else None

    cdef bint _find_pattern(self):
        cdef Py_ssize_t n_block = len(self.columns), n_rare = len(self.rare), room, n_pairs
        places = np.empty(self._design.n_features, dtype=np.int32)
        places[self.columns] = np.arange(n_block)
        places[self.rare] = n_block + np.arange(n_rare)
        self._longest_row = self._design.longest_row
        words = np.zeros((n_rare, n_block // 64 + 1), dtype=np.uint64)
        room = <Py_ssize_t>(MAX_PAIRS * self._design.count_entries())
        row, pairs = np.empty(self._longest_row + 1, dtype=np.int32), np.empty(room + 1, dtype=np.int64)
        first_pairs = np.empty(self._design.n_samples // 8 + 1, dtype=np.intp)
        cdef const int32_t[::1] places_ = places
        cdef uint64_t[:, ::1] words_ = words
        cdef int32_t[::1] row_ = row
        cdef Py_ssize_t[::1] first_pairs_ = first_pairs
        cdef int64_t[::1] pairs_ = pairs
        cdef sparse_pattern *pattern = &self._pattern
        pattern.n_block, pattern.n_rare, pattern.n_words = n_block, n_rare, words.shape[1]
        pattern.places, pattern.words, pattern.first_pairs = &places_[0], &words_[0, 0], &first_pairs_[0]
        n_pairs = self._design.kernels.mark_pairs(
            &self._design.view, pattern, &row_[0], &first_pairs_[0], &pairs_[0], room)
        self._design.n_passes += 1
        if n_pairs < 0:
            return False
        pairs, pair_places = _distinct(pairs[:n_pairs])
        bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
        self._link_starts, self._link_columns = _starts_and_columns(*np.nonzero(bits), n_rare)
        self._pair_starts, self._pair_columns = _starts_and_columns(*np.divmod(pairs, n_rare), n_rare)
        counts = bits.reshape(n_rare, -1, 64).sum(axis=2, dtype=np.int32)
        ranks = np.cumsum(counts, axis=1, dtype=np.int32) - counts
        cdef const int32_t[:, ::1] ranks_ = ranks
        cdef const int32_t[::1] pair_places_ = np.append(pair_places, np.int32(0))
        pattern.ranks, pattern.pair_places = &ranks_[0, 0], &pair_places_[0]
        pattern.link_starts, pattern.pair_starts = &self._link_starts[0], &self._pair_starts[0]
        pattern.link_columns = _first(self._link_columns)
        pattern.pair_columns = _first(self._pair_columns)
        self._keep_alive = places, words, ranks, first_pairs, pair_places_
        return self.n_stored <= MAX_STORED * self._design.n_entries

    @property
    def n_stored(self):
        n_block, n_rare = len(self.columns), len(self.rare)
        return (n_block + 1) ** 2 + 2 * n_rare + len(self._link_columns) + len(self._pair_columns)

    def sum(self, const double[::1] weight, const double[::1] center):
        """Take the sums of these weights (n,); `center` holds those of the block's columns. One pass."""
        cdef Py_ssize_t n_block = len(self.columns), n_rare = len(self.rare), size = self.n_stored
        cdef Py_ssize_t chunk_limit = min(MAX_CHUNKS, self._design.n_entries // size)
        cdef Py_ssize_t readings = 1 + self._design.n_entries // self._design.n_samples // 3
        cdef gram_job job
        self._design.check_weight(weight)
        job.pass_ = self._design.pass_job_of(1, chunk_limit, size, readings)
        job.pattern, job.longest_row = &self._pattern, self._longest_row
        self._design.give_scratch(&job.pass_, 3 * (self._longest_row + 1))
        job.pass_.weight = &weight[0]
        sums = self._design.run(&_gram_chunk, &job.pass_)
        edges = np.cumsum([(n_block + 1) ** 2, n_rare, n_rare, len(self._link_columns)])
        block, self.squares, self.sums, links, pairs = np.split(sums, edges)
        self._all_sums = sums
        self._sums, self._links, self._pairs = self.sums, links, pairs
        self._center = np.asarray(center)
        self.block = _centered(block.reshape(n_block + 1, n_block + 1), self._center)

    def add_product(self, const double[::1] of_rare, const double[::1] of_block, double[::1] rare_out,
                    double[::1] block_out):
        """Add the product with a vector, except for the block's product with its own part, to `rare_out` and
        `block_out`. The vector is `of_rare` (n_rare,) and `of_block` (n_block + 1,), which ends in that of ones.
        """
        cdef Py_ssize_t r, at, last = of_block.shape[0] - 1
        cdef double x, total
        with nogil:
            for r in range(of_rare.shape[0]):
                x = of_rare[r]
                total = self._sums[r] * of_block[last]
                block_out[last] += self._sums[r] * x
                for at in range(self._link_starts[r], self._link_starts[r + 1]):
                    total += self._links[at] * of_block[self._link_columns[at]]
                    block_out[self._link_columns[at]] += self._links[at] * x
                for at in range(self._pair_starts[r], self._pair_starts[r + 1]):
                    total += self._pairs[at] * of_rare[self._pair_columns[at]]
                    rare_out[self._pair_columns[at]] += self._pairs[at] * x
                rare_out[r] += total

    def swept_links(self, const double[::1] diagonal):
        """What eliminating the rare columns, by a `sweep` with this diagonal (n_rare,), takes from the block about its
        centers and from ones (n_block + 1, n_block + 1).
        """
        cdef Py_ssize_t n_block = self._pattern.n_block, n_panels = n_block // LINK_PANEL + 1
        cdef Py_ssize_t n_threads = usable_threads(min(self._design.n_threads, n_panels))
        cdef double[::1] sweeps = np.empty(n_threads * self._pattern.n_rare * LINK_PANEL)
        panels = np.empty((n_panels, n_block + 1, LINK_PANEL))
        cdef double[:, :, ::1] panels_ = panels
        cdef sweep_job job
        job.kernels, job.pattern, job.diagonal = self._design.pointwise, &self._pattern, &diagonal[0]
        job.products = _products(&self._pattern, &self._all_sums[0])
        job.sweeps, job.panels = &sweeps[0], &panels_[0, 0, 0]
        with nogil:
            run_chunks(&_sweep_chunk, &job, n_panels, n_threads)
        whole = panels.transpose(1, 0, 2).reshape(n_block + 1, -1)[:, : n_block + 1]
        return _centered(whole, self._center)

    def links_of(self, const double[::1] of_rare):
        """The product of the rare columns with the block and ones (n_block + 1,)."""
        cdef Py_ssize_t r, at, n_block = self._pattern.n_block
        result = np.zeros(n_block + 1)
        cdef double[::1] of_block = result
        cdef double x
        with nogil:
            for r in range(of_rare.shape[0]):
                x = of_rare[r]
                of_block[n_block] += self._sums[r] * x
                for at in range(self._link_starts[r], self._link_starts[r + 1]):
                    of_block[self._link_columns[at]] += self._links[at] * x
        return result

    def links_with(self, const double[::1] of_block):
        """The product of the block and ones (n_block + 1,) with the rare columns (n_rare,)."""
        cdef Py_ssize_t r, at, n_block = self._pattern.n_block
        result = np.empty(self._pattern.n_rare)
        cdef double[::1] of_rare = result
        cdef double total
        with nogil:
            for r in range(of_rare.shape[0]):
                total = self._sums[r] * of_block[n_block]
                for at in range(self._link_starts[r], self._link_starts[r + 1]):
                    total += self._links[at] * of_block[self._link_columns[at]]
                of_rare[r] = total
        return result

    def sweep(self, double[::1] values, const double[::1] diagonal):
        """A symmetric Gauss-Seidel sweep over the rare columns with this diagonal (n_rare,), in place."""
        cdef Py_ssize_t r, at
        cdef double x
        with nogil:
            for r in range(values.shape[0]):
                x = values[r]
                for at in range(self._pair_starts[r], self._pair_starts[r + 1]):
                    x -= self._pairs[at] * values[self._pair_columns[at]]
                values[r] = x / diagonal[r]
            for r in range(values.shape[0] - 1, -1, -1):
                x = values[r]
                for at in range(self._pair_starts[r], self._pair_starts[r + 1]):
                    values[self._pair_columns[at]] -= self._pairs[at] * x / diagonal[self._pair_columns[at]]


def _distinct(numbers):
    """The distinct numbers in rising order, and where each of the numbers is among them."""
    order = np.argsort(numbers)
    ordered = numbers[order]
    is_new = np.append(True, ordered[1:] != ordered[:-1])[: len(numbers)]
    places = np.empty(len(numbers), dtype=np.int32)
    places[order] = np.cumsum(is_new) - 1
    return ordered[is_new], places


def _starts_and_columns(rows, columns, n_rows):
    """Rising rows (m,) and the columns beside them, as CSR has them."""
    starts = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows), out=starts[1:])
    return starts, columns.astype(np.int32)


def _centered(upper, center):
    """The products of columns with a last one of ones (d + 1, d + 1), from their upper triangle, about centers (d,)."""
    gram = np.triu(upper) + np.triu(upper, 1).T
    sums, total = gram[-1, :-1].copy(), gram[-1, -1]
    centered = sums - total * center
    gram[:-1, :-1] -= np.outer(center, sums) + np.outer(centered, center)
    gram[-1, :-1] = gram[:-1, -1] = centered
    return gram
