"""Design matrices: the only place that knows how X lies in memory.

A design makes passes over X: `logits`, `loss_gradient`, `hessian_dot`, `gram`, `moments`. Each reads X once (`n_passes`
counts), never copies it and allocates nothing of the size of X. Shapes, everywhere: n samples, d features, K outputs;
``coef`` and gradients (K, d), ``intercept`` (K,), ``logits`` and ``target`` (K, n), ``sample_weight`` (n,) or None.

Samples are cut into chunks that depend on the shape of X alone. A chunk is one thread's work: it walks over blocks
small enough for the cache, does everything to a block while it is there, and leaves partial sums that are added in the
order of the chunks. So the number of threads changes no bit of any result.

A design keeps scratch memory between passes: one design must not make two passes at the same time.
"""

import numpy as np
import scipy.sparse as sp

from cython cimport floating
from libc.math cimport INFINITY, fabs
from libc.stdint cimport int32_t
from libc.string cimport memset

from fastlogreg.kernels.dispatch cimport (
    ENTRY_ROWS,
    PANEL_ALIGNMENT,
    C_ORDER_F32,
    C_ORDER_F64,
    CSR_F32_I32,
    CSR_F32_I64,
    CSR_F64_I32,
    CSR_F64_I64,
    CSR_ONES_I32,
    CSR_ONES_I64,
    F_ORDER_F32,
    F_ORDER_F64,
    active_kernels,
    block_sums,
    chunk_function,
    chunk_start,
    design_view,
    run_chunks,
    targets,
    targets_from,
)
from fastlogreg.data.pointwise cimport targets_of

from fastlogreg.runtime.threads import usable_threads

# Bytes of a block of rows. A block is read twice, the second time from cache. In C order it shares the first-level
# cache (32 KiB and up) with the next block, which is being prefetched. In Fortran order a block is many short runs,
# each on a page of its own, and a block of CSR needs the coefficients beside it: these two use a part of the
# second-level cache.
cdef Py_ssize_t C_ORDER_BLOCK_BYTES = 16 * 1024
cdef Py_ssize_t F_ORDER_BLOCK_BYTES = 256 * 1024
cdef Py_ssize_t CSR_BLOCK_BYTES = 64 * 1024
# Bytes and least rows of a block with several classes: a row of a tile of coefficients or gradients is worth loading
# only for many samples.
cdef Py_ssize_t CLASS_BLOCK_BYTES = 256 * 1024
cdef Py_ssize_t MIN_CLASS_BLOCK_ROWS = 32
# Bytes and least rows of a panel: some rows of X as doubles, centered and weighted. It is read once for each eight
# columns of the Gram matrix, from the first-level cache or, where its rows are long, from the second-level one. It has
# enough rows to make each tile of the Gram matrix worth loading and storing.
cdef Py_ssize_t PANEL_BYTES = 32 * 1024
cdef Py_ssize_t MIN_PANEL_ROWS = 64
# Rows of a chunk from which on adding up the chunks' Gram matrices takes little beside the products of the rows: 16 for
# each column where all columns are multiplied, 64 where only entries are. Up to four chunks, 512 rows each are enough.
cdef Py_ssize_t MIN_GRAM_ROWS = 512
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
cdef Py_ssize_t MIN_BLOCK_ROWS = 8
cdef Py_ssize_t MAX_BLOCK_ROWS = 512

# Entries of X in a chunk, at least: reading them at 4 bytes a nanosecond takes some 20 microseconds.
cdef Py_ssize_t MIN_CHUNK_ENTRIES = 16 * 1024
# Entries of X for each thread, at least: some 60 microseconds of work. Waking a thread takes 5 to 50 microseconds, and
# waiting for one that the scheduler took away far longer.
cdef Py_ssize_t MIN_THREAD_ENTRIES = 250 * 1000
# Up to four outputs take about the time of one, as long as X is read from memory.
cdef Py_ssize_t OUTPUTS_AT_ONCE = 4
# Multiplying an entry of X with 32 others takes about the time of reading it.
cdef Py_ssize_t PRODUCTS_AT_ONCE = 32
# Values that are compared with one in one go: they stay in the first-level cache.
ONES_AT_ONCE = 4096

# Chunks of a pass at most: few enough that adding their sums costs nothing, and enough for all threads of a machine to
# share evenly.
cdef Py_ssize_t MAX_CHUNKS = 64


# A variance is the difference of a mean square and a squared mean. If it is at most this part of the latter, it is zero
# up to rounding.
cdef double VARIANCE_ROUNDING = 1e-13

# The weights of a block of samples where none are given.
cdef double[::1] _ONES = np.ones(MAX_BLOCK_ROWS)


cdef inline const double *_pointer(const double[::1] values) noexcept:
    return &values[0] if values is not None else NULL


cdef inline Py_ssize_t _panel_width(Py_ssize_t n_features) noexcept nogil:
    """Columns of a panel: the features and a one, and zeros up to whole vectors."""
    return (n_features // PANEL_ALIGNMENT + 1) * PANEL_ALIGNMENT


cdef inline double _sum(const double *values, Py_ssize_t count) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(count):
        total += values[i]
    return total


cdef void _logits_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk)
    cdef Py_ssize_t count = chunk_start(n, job.n_chunks, chunk + 1) - first
    job.kernels.logits(job.X, first, count, job.n_outputs, job.coef, job.intercept, job.logits + first, n)


cdef void _loss_gradient_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the loss (K), the intercept's gradient (K) and the coefficients' (K x d)."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples, K = job.n_outputs
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk), end = chunk_start(n, job.n_chunks, chunk + 1)
    cdef double *loss = job.partials + chunk * job.partial_size
    cdef double *intercept_gradient = loss + K
    cdef double *gradient = loss + 2 * K
    cdef double *residual = job.scratch + thread * job.scratch_size
    cdef double *logits = residual + K * job.block_rows
    cdef Py_ssize_t logits_stride = n if job.logits != NULL else job.block_rows
    cdef block_sums sums
    cdef Py_ssize_t count, k
    memset(loss, 0, job.partial_size * sizeof(double))
    while first < end:
        count = min(job.block_rows, end - first)
        if job.logits != NULL:
            logits = job.logits + first
        job.kernels.logits(job.X, first, count, K, job.coef, job.intercept, logits, logits_stride)
        for k in range(K):
            if job.offset != NULL:
                add_to(count, job.offset + k * n + first, logits + k * logits_stride)
            sums = job.pointwise.bce(
                count, logits + k * logits_stride, targets_from(job.target, k * n + first),
                job.weight + first if job.weight != NULL else NULL, 1, NULL, residual + k * job.block_rows, NULL)
            loss[k] += sums.loss
            intercept_gradient[k] += sums.residual
        job.kernels.add_gradient(job.X, first, count, K, residual, job.block_rows, gradient)
        first += count


cdef void _hessian_dot_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the intercept's product (K) and the coefficients' (K x d); `of_samples` are the curvatures."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples, K = job.n_outputs
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk), end = chunk_start(n, job.n_chunks, chunk + 1)
    cdef double *intercept_product = job.partials + chunk * job.partial_size
    cdef double *product = intercept_product + K
    cdef double *direction = job.scratch + thread * job.scratch_size
    cdef Py_ssize_t count, k
    memset(intercept_product, 0, job.partial_size * sizeof(double))
    while first < end:
        count = min(job.block_rows, end - first)
        job.kernels.logits(job.X, first, count, K, job.coef, job.intercept, direction, job.block_rows)
        for k in range(K):
            intercept_product[k] += job.pointwise.multiply(
                count, job.of_samples + k * n + first, direction + k * job.block_rows)
        job.kernels.add_gradient(job.X, first, count, K, direction, job.block_rows, product)
        first += count


cdef void _moments_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the sums (d) and the sums of squares (d). Without weights, `of_samples` is a block of ones."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples, d = job.X.n_features
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk), end = chunk_start(n, job.n_chunks, chunk + 1)
    cdef double *sums = job.partials + chunk * job.partial_size
    cdef double *scratch = job.scratch + thread * job.scratch_size
    cdef const double *weight = job.of_samples
    cdef Py_ssize_t count
    memset(sums, 0, job.partial_size * sizeof(double))
    while first < end:
        count = min(job.block_rows, end - first)
        if job.weight != NULL:
            weight = job.weight + first
        job.kernels.add_moments(job.X, first, count, weight, job.shift, scratch, sums, sums + d)
        first += count


cdef void _dense_gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the upper triangle of the gram matrix with a last column of ones. Panels of samples times the square roots
    of their weights stay in cache for one rank-k update each."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples
    cdef Py_ssize_t first = chunk_start(n, job.n_chunks, chunk), end = chunk_start(n, job.n_chunks, chunk + 1)
    cdef double *gram = job.partials + chunk * job.partial_size
    cdef double *panel = job.scratch + thread * job.scratch_size
    cdef Py_ssize_t width = _panel_width(job.X.n_features), count
    memset(gram, 0, job.partial_size * sizeof(double))
    while first < end:
        count = min(job.block_rows, end - first)
        job.kernels.fill_panel(job.X, first, count, job.weight + first, job.shift, width, panel)
        job.pointwise.add_rank_update(count, width, panel, gram)
        first += count


cdef void _entries_gram_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """The same from the products of each row's entries, for rows that are mostly zero."""
    cdef pass_job *job = <pass_job *>job_
    cdef Py_ssize_t n = job.X.n_samples, width = _panel_width(job.X.n_features)
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
    cdef Py_ssize_t width = _panel_width(n), count, i, j
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


cdef class Design:
    """What every layout shares: the passes over chunks and blocks. Made by `as_design`."""

    def __init__(self, X, Py_ssize_t n_threads=1):
        self.X = X
        self.n_samples, self.n_features = X.shape
        self.n_threads = n_threads
        self.view.n_samples = self.n_samples
        self.view.n_features = self.n_features
        self.pointwise = active_kernels()
        self._partials, self._scratch = None, None

    def logits(self, const double[:, ::1] coef, const double[::1] intercept):
        """``intercept + X coef'`` (K, n). One pass."""
        cdef Py_ssize_t K = self._outputs(coef, intercept)
        cdef double[:, ::1] logits = np.empty((K, self.n_samples))
        cdef pass_job job = self.pass_job_of(K, self.chunk_limit_of(), 0)
        job.coef, job.intercept, job.logits = &coef[0, 0], &intercept[0], &logits[0, 0]
        self.run_into(&_logits_chunk, &job, NULL)
        return np.asarray(logits)

    def loss_gradient(self, const double[:, ::1] coef, const double[::1] intercept, target,
                      const double[::1] sample_weight=None, double[:, ::1] logits_out=None,
                      const double[:, ::1] offset=None):
        """Summed cross-entropy (K,), its gradient in coef (K, d) and in intercept (K,). One pass.

        `offset` (K, n) is added to the logits (K, n), which are written to `logits_out` where given.
        """
        cdef Py_ssize_t K = self._outputs(coef, intercept), d = self.n_features
        cdef double[::1] sums = np.empty(K * (d + 2))
        cdef double *logits = NULL
        cdef const double *offsets = NULL
        self.check_weight(sample_weight)
        if offset is not None:
            self.check_shape("offset", offset.shape[0], offset.shape[1], K)
            offsets = &offset[0, 0]
        if logits_out is not None:
            self.check_shape("logits_out", logits_out.shape[0], logits_out.shape[1], K)
            logits = &logits_out[0, 0]
        cdef targets target_pointers = targets_of(target, K * self.n_samples)
        self.sum_loss_gradient(
            K, &coef[0, 0], &intercept[0], target_pointers, _pointer(sample_weight), offsets, logits, &sums[0])
        summed = sums.base
        return summed[:K], summed[2 * K:].reshape(K, d), summed[K:2 * K]

    cdef void sum_loss_gradient(self, Py_ssize_t n_outputs, const double *coef, const double *intercept,
                                targets target, const double *weight, const double *offset, double *logits,
                                double *sums) except *:
        """`loss_gradient` on pointers: the loss (K), the intercept's gradient (K) and the coefficients' (K x d) go to
        `sums`; `weight`, `offset` and `logits` may be NULL."""
        cdef pass_job job = self.pass_job_of(n_outputs, self.chunk_limit_of(), n_outputs * (self.n_features + 2))
        self.give_scratch(&job, 2 * n_outputs * job.block_rows)
        job.coef, job.intercept, job.target, job.weight = coef, intercept, target, weight
        job.offset, job.logits = offset, logits
        self.run_into(&_loss_gradient_chunk, &job, sums)

    def hessian_dot(self, const double[:, ::1] curvature, const double[:, ::1] coef, const double[::1] intercept):
        """``X' diag(curvature) (intercept + X coef')`` (K, d) and its intercept row (K,). One pass."""
        cdef Py_ssize_t K = self._outputs(coef, intercept), d = self.n_features
        self.check_shape("curvature", curvature.shape[0], curvature.shape[1], K)
        cdef pass_job job = self.pass_job_of(K, self.chunk_limit_of(), K * (d + 1))
        self.give_scratch(&job, K * job.block_rows)
        job.coef, job.intercept, job.of_samples = &coef[0, 0], &intercept[0], &curvature[0, 0]
        sums = self.run(&_hessian_dot_chunk, &job)
        return sums[K:].reshape(K, d), sums[:K]

    def moments(self, const double[::1] weight=None):
        """Weighted means (d,) and weighted mean squares about them (d,) of the columns. One pass.

        The squares are summed about a sample with the largest weight. It is within sqrt(n) standard deviations of the
        mean, so the sums lose at most the digits of n, however far the column lies from zero. CSR sums about zero, for
        its zeros are not read. A variance that is zero up to rounding is zero.
        """
        self.check_weight(weight)
        cdef Py_ssize_t d = self.n_features, j
        cdef double[::1] shift = self._row(0 if weight is None else int(np.argmax(weight)))
        cdef pass_job job = self.pass_job_of(1, self.chunk_limit_of(), 2 * d)
        self.give_scratch(&job, d, zeros=True)
        job.weight, job.of_samples, job.shift = _pointer(weight), &_ONES[0], &shift[0]
        cdef double[::1] sums = self.run(&_moments_chunk, &job), mean = np.empty(d), variance = np.empty(d)
        cdef double total = self.n_samples if weight is None else np.sum(weight), offset
        for j in range(d):
            offset = sums[j] / total
            mean[j] = shift[j] + offset
            variance[j] = sums[d + j] / total - offset * offset
            if variance[j] <= VARIANCE_ROUNDING * offset * offset:
                variance[j] = 0.0
        return mean.base, variance.base

    @property
    def n_entries(self):
        """Stored entries of X."""
        return self.count_entries()

    @property
    def is_mostly_zero(self):
        """Whether zeros, though stored, are most of X: a Gram matrix then takes little longer than a pass."""
        return False

    @property
    def is_sparse(self):
        return False

    def fullest_columns(self, Py_ssize_t count, Py_ssize_t least=0):
        """None: a copy of dense columns would be as large a part of X as they are."""

    cdef Py_ssize_t _outputs(self, const double[:, ::1] coef, const double[::1] intercept) except -1:
        if coef.shape[1] != self.n_features or intercept.shape[0] != coef.shape[0]:
            raise ValueError(
                f"coef {coef.shape[0]} x {coef.shape[1]} and intercept {intercept.shape[0]} do not fit "
                f"{self.n_features} features"
            )
        return coef.shape[0]

    cdef void check_shape(self, str name, Py_ssize_t n_rows, Py_ssize_t n_columns, Py_ssize_t n_outputs) except *:
        if n_rows != n_outputs or n_columns != self.n_samples:
            raise ValueError(f"{name} is {n_rows} x {n_columns}, expected {n_outputs} x {self.n_samples}")

    cdef void check_weight(self, const double[::1] weight) except *:
        if weight is not None and weight.shape[0] != self.n_samples:
            raise ValueError(f"{weight.shape[0]} weights for {self.n_samples} samples")

    cdef void _check_gram(self, const double[::1] weight, const double[::1] center) except *:
        self.check_weight(weight)
        self._check_columns(center)

    cdef void _check_columns(self, const double[::1] of_columns) except *:
        if of_columns.shape[0] != self.n_features:
            raise ValueError(f"{of_columns.shape[0]} values for {self.n_features} features")

    cdef pass_job pass_job_of(self, Py_ssize_t n_outputs, Py_ssize_t chunk_limit, Py_ssize_t partial_size,
                              Py_ssize_t readings=1):
        """A pass over at most chunk_limit chunks, each of which leaves partial_size sums, that takes the time of
        `readings` readings of X."""
        cdef pass_job job
        memset(&job, 0, sizeof(job))
        job.X, job.kernels, job.pointwise = &self.view, self.kernels, self.pointwise
        job.n_outputs = n_outputs
        job.work = readings * self.count_entries() * ((n_outputs + OUTPUTS_AT_ONCE - 1) // OUTPUTS_AT_ONCE)
        job.block_rows = self._block_rows()
        chunk_limit = min(chunk_limit, job.work // MIN_CHUNK_ENTRIES)
        job.n_chunks = 1
        while 2 * job.n_chunks <= min(MAX_CHUNKS, chunk_limit):  # a power of two is shared evenly
            job.n_chunks *= 2
        job.partial_size = partial_size
        if partial_size:
            if self._partials is None or self._partials.shape[0] < job.n_chunks * partial_size:
                self._partials = np.empty(job.n_chunks * partial_size)
            job.partials = &self._partials[0]
        return job

    cdef void give_scratch(self, pass_job *job, Py_ssize_t size, bint zeros=False):
        """`size` doubles for each thread."""
        cdef Py_ssize_t size_of_all = self._threads(job) * size
        if self._scratch is None or self._scratch.shape[0] < size_of_all:
            self._scratch = np.empty(size_of_all)
        job.scratch_size, job.scratch = size, &self._scratch[0]
        if zeros:
            memset(job.scratch, 0, size_of_all * sizeof(double))

    cdef Py_ssize_t _threads(self, const pass_job *job):
        cdef Py_ssize_t worthwhile = min(self.n_threads, job.n_chunks, job.work // MIN_THREAD_ENTRIES)
        return usable_threads(worthwhile) if worthwhile > 1 else 1

    cdef run(self, chunk_function chunk, pass_job *job):
        """Run the pass and return the sum of what its chunks left."""
        sums = np.empty(job.partial_size)
        cdef double[::1] sums_ = sums
        self.run_into(chunk, job, &sums_[0] if job.partial_size else NULL)
        return sums

    cdef void run_into(self, chunk_function chunk, pass_job *job, double *sums) noexcept:
        """Run the pass and write the sum of what its chunks left, added in their order."""
        cdef Py_ssize_t n_threads = self._threads(job), size = job.partial_size, c, i
        self.n_passes += 1
        with nogil:
            run_chunks(chunk, job, job.n_chunks, n_threads)
            for i in range(size):
                sums[i] = job.partials[i]
            for c in range(1, job.n_chunks):
                for i in range(size):
                    sums[i] += job.partials[c * size + i]

    cdef Py_ssize_t count_entries(self):
        """Stored entries of X."""
        raise NotImplementedError

    cdef Py_ssize_t bytes_a_row(self):
        raise NotImplementedError

    cdef Py_ssize_t _block_rows(self):
        raise NotImplementedError

    cdef Py_ssize_t class_block_rows(self, Py_ssize_t width):
        """Rows of a block for `width` classes."""
        return max(MIN_CLASS_BLOCK_ROWS, _rows_of_block(CLASS_BLOCK_BYTES, self.bytes_a_row() + 16 * width))

    cdef Py_ssize_t least_gram_chunks(self):
        """Chunks that a Gram matrix may be summed in, whatever memory their partial sums take."""
        return min(4, self.n_samples // MIN_GRAM_ROWS)

    cdef Py_ssize_t chunk_limit_of(self, Py_ssize_t n_outputs=1):
        """The number of chunks up to which their partial sums stay small beside X."""
        raise NotImplementedError

    def _row(self, Py_ssize_t i):
        """What `moments` sums about (d,)."""
        raise NotImplementedError


cdef _symmetric(const double[::1] upper, Py_ssize_t width, Py_ssize_t n):
    """The symmetric matrix (n, n) of an upper triangle with rows of `width`."""
    cdef Py_ssize_t i, j
    whole = np.empty((n, n))
    cdef double[:, ::1] whole_ = whole
    for i in range(n):
        for j in range(i, n):
            whole_[i, j] = whole_[j, i] = upper[i * width + j]
    return whole


cdef _recentered(gram, shift):
    """``Z' W Z`` of Z = [X - shift, 1] from that of [X, 1], each (d + 1, d + 1)."""
    shift = np.append(shift, 0.0)
    weighted = gram[-1] - 0.5 * gram[-1, -1] * shift
    products = np.outer(weighted, shift)
    return gram - (products + products.T)


cdef Py_ssize_t _rows_of_block(Py_ssize_t block_bytes, Py_ssize_t bytes_a_row):
    """The rows of a block that fits block_bytes, in whole vectors."""
    cdef Py_ssize_t rows = block_bytes // max(bytes_a_row, 1) // MIN_BLOCK_ROWS * MIN_BLOCK_ROWS
    return max(MIN_BLOCK_ROWS, min(MAX_BLOCK_ROWS, rows))


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
        self._check_gram(weight, center)
        if not self.is_mostly_zero:
            return self._gram_about(center, weight, &_dense_gram_chunk, PANEL_ROWS_A_COLUMN, 0)
        shift = np.where(self._mostly_zero, 0.0, center)
        gram = self._gram_about(shift, weight, &_entries_gram_chunk, ENTRY_ROWS_A_COLUMN, 2 * ENTRY_ROWS)
        return _recentered(gram, np.subtract(center, shift))

    cdef _gram_about(self, const double[::1] shift, const double[::1] weight, chunk_function chunk,
                     Py_ssize_t rows_a_column, Py_ssize_t scratch_rows):
        """The Gram matrix about `shift`, by chunks of at least `rows_a_column` rows for each column, with scratch
        memory for at least `scratch_rows` rows."""
        cdef Py_ssize_t width = _panel_width(self.n_features)
        cdef Py_ssize_t chunk_limit = max(self.n_samples // (rows_a_column * width), self.least_gram_chunks())
        cdef pass_job job = self._panel_job(chunk_limit, width, scratch_rows)
        job.weight, job.shift = &weight[0], &shift[0]
        return _symmetric(self.run(chunk, &job), width, self.n_features + 1)

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
        self._check_columns(center)
        self._check_columns(scale)
        cdef Py_ssize_t n = self.n_samples, d = self.n_features, width = _panel_width(n)
        cdef design_view transposed = self.view
        transposed.n_samples, transposed.n_features = d, n
        cdef double[::1] ones = np.ones(d), zeros = np.zeros(n)
        cdef pass_job job = self._panel_job(d // (2 * width), width)
        job.X, job.kernels = &transposed, self.pointwise.of_layout[self._transposed_layout]
        job.weight, job.shift, job.of_samples, job.coef = &ones[0], &zeros[0], &center[0], &scale[0]
        return _symmetric(self.run(&_sample_gram_chunk, &job), width, n)

    def farthest(self, const double[::1] center, Py_ssize_t step):
        """The largest ``|x_j - center_j|`` (d,) in each `step`-th row; infinite where there is NaN."""
        self._check_columns(center)
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

    cdef pass_job _panel_job(self, Py_ssize_t chunk_limit, Py_ssize_t width, Py_ssize_t scratch_rows=0):
        """A pass whose chunks sum the Gram matrix (width, width) of panels; the panels' padding is zero."""
        cdef pass_job job = self.pass_job_of(1, chunk_limit, width * width, 1 + width // PRODUCTS_AT_ONCE)
        job.block_rows = max(MIN_PANEL_ROWS, _rows_of_block(PANEL_BYTES, 8 * width))
        self.give_scratch(&job, max(job.block_rows, scratch_rows) * width, zeros=True)
        return job

    cdef Py_ssize_t count_entries(self):
        return self.n_samples * self.n_features

    cdef Py_ssize_t bytes_a_row(self):
        return self.n_features * self.X.itemsize

    cdef Py_ssize_t _block_rows(self):
        return _rows_of_block(self._block_bytes, self.bytes_a_row())

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


cdef class CSRDesign(Design):
    """X as a SciPy CSR matrix or array, float32 or float64, int32 or int64 indices in any order, repeats adding up.

    Where all entries are one, passes do not read them.
    """

    def __init__(self, X, Py_ssize_t n_threads=1):
        super().__init__(X, n_threads)
        self._keep_alive = data, indices, indptr = csr_arrays(X)
        self.view.values = <const void *><size_t>data.ctypes.data
        self.view.columns = <const void *><size_t>indices.ctypes.data
        self.view.row_starts = <const void *><size_t>indptr.ctypes.data
        if _are_ones(data):
            self.kernels = self.pointwise.of_layout[CSR_ONES_I32 if indices.itemsize == 4 else CSR_ONES_I64]
        elif X.dtype == np.float64:
            self.kernels = self.pointwise.of_layout[CSR_F64_I32 if indices.itemsize == 4 else CSR_F64_I64]
        else:
            self.kernels = self.pointwise.of_layout[CSR_F32_I32 if indices.itemsize == 4 else CSR_F32_I64]

    def gram(self, const double[::1] weight, const double[::1] center):
        """``Z' diag(weight) Z`` (d + 1, d + 1) with Z = [X - center, 1]. One pass over the stored entries."""
        self._check_gram(weight, center)
        cdef Py_ssize_t d = self.n_features, n_entries = self.count_entries()
        cdef Py_ssize_t work = n_entries + n_entries // self.n_samples * n_entries // 3
        cdef Py_ssize_t chunk_limit = max(work // (16 * d * d), min(4, n_entries // (d * d)))
        cdef pass_job job = self.pass_job_of(1, chunk_limit, d * d + d + 1)
        job.weight, job.work = &weight[0], work
        sums = self.run(&_csr_gram_chunk, &job)
        gram = np.empty((d + 1, d + 1))
        gram[:d, :d] = _symmetric(sums[:d * d], d, d)
        gram[d, :d] = gram[:d, d] = sums[d * d:-1]
        gram[d, d] = sums[-1]
        return _recentered(gram, center)

    def sample_gram(self, const double[::1] center, const double[::1] scale):
        """``Z Z'`` (n, n) with Z = (X - center) * scale. Two passes over the stored entries."""
        self._check_columns(center)
        self._check_columns(scale)
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
        return self.count_entries() * (self.X.data.itemsize + self.X.indices.itemsize) // self.n_samples

    cdef Py_ssize_t _block_rows(self):
        return _rows_of_block(CSR_BLOCK_BYTES, self.bytes_a_row())

    cdef Py_ssize_t chunk_limit_of(self, Py_ssize_t n_outputs=1):
        return self.count_entries() // ((7 + n_outputs) * self.n_features)

    def _row(self, Py_ssize_t i):
        return np.zeros(self.n_features)


def _are_ones(values):
    """Whether all values are one; the first part that has another ends the search."""
    return all((values[first:first + ONES_AT_ONCE] == 1.0).all() for first in range(0, len(values), ONES_AT_ONCE))


def csr_arrays(X):
    """The values, columns and starts of rows of CSR X as the kernels take them: contiguous, with indices of one type.

    The kernels trust the indices, so they are checked here, where a wrong one can still be reported.
    """
    indices, indptr = X.indices, X.indptr
    n_samples, n_features = X.shape
    n_entries = indptr[-1] if len(indptr) else 0
    if len(indptr) != n_samples + 1 or indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError("X.indptr must hold n_samples + 1 values that start at 0 and do not decrease")
    if len(indices) < n_entries or len(X.data) < n_entries:
        raise ValueError("X.indices and X.data are shorter than X.indptr says")
    unsigned = indices[:n_entries].view(f"u{indices.itemsize}")  # one comparison: negative ones become large
    if n_entries and unsigned.max() >= n_features:
        raise ValueError(f"X.indices must lie in [0, {n_features})")
    # SciPy's three arrays may be views with strides, and its two index arrays may differ in type
    data, indices = np.require(X.data, requirements="CA"), np.require(indices, requirements="CA")
    return data, indices, np.require(indptr, dtype=indices.dtype, requirements="CA")


def as_design(X, n_threads=1):
    """The design matrix of X (n, d), float32 or float64: a 2-D ndarray, or sparse in any format.

    Arrays whose rows or columns are contiguous are used where they lie, whatever the other stride; other views are
    copied. CSR is used where it lies, other sparse formats are converted to CSR once.
    """
    if X.dtype != np.float64 and X.dtype != np.float32:
        raise ValueError(f"X is {X.dtype}, not float32 or float64")
    if 0 in X.shape:
        raise ValueError(f"X is empty: {X.shape[0]} x {X.shape[1]}")
    if sp.issparse(X):
        return CSRDesign(X if X.format == "csr" else X.tocsr(), n_threads)
    whole_elements = X.flags.aligned and all(stride % X.itemsize == 0 for stride in X.strides)
    if not (whole_elements and (X.itemsize in X.strides or 1 in X.shape)):
        X = np.ascontiguousarray(X)
    return DenseDesign(X, n_threads)
