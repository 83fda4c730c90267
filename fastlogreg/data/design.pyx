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

from libc.string cimport memset

from fastlogreg.data.pointwise cimport targets_of
from fastlogreg.kernels.dispatch cimport (
    active_kernels,
    block_sums,
    chunk_function,
    chunk_start,
    run_chunks,
    targets,
    targets_from,
)

from fastlogreg.runtime.threads import usable_threads

# Bytes and least rows of a block with several classes: a row of a tile of coefficients or gradients is worth loading
# only for many samples.
cdef Py_ssize_t CLASS_BLOCK_BYTES = 256 * 1024
cdef Py_ssize_t MIN_CLASS_BLOCK_ROWS = 32
# Rows of a chunk of a Gram matrix that are enough for up to four chunks, whatever memory their sums take.
cdef Py_ssize_t MIN_GRAM_ROWS = 512
cdef Py_ssize_t MIN_BLOCK_ROWS = 8
cdef Py_ssize_t MAX_BLOCK_ROWS = 512

# Entries of X in a chunk, at least: 128 KiB of float64, which a core reads in 4 microseconds from the third-level cache
# and in up to 30 from a slow memory. Handing a chunk to a thread takes less than one.
cdef Py_ssize_t MIN_CHUNK_ENTRIES = 16 * 1024
# Entries of X for each thread, at least: some 60 microseconds of work where X lies in the third-level cache (measured:
# 250 for a million entries of float64). Waking a thread takes 5 to 50 microseconds, and waiting for one that the
# scheduler took away far longer.
cdef Py_ssize_t MIN_THREAD_ENTRIES = 250 * 1000
# Up to four outputs take about the time of one, as long as X is read from memory.
cdef Py_ssize_t OUTPUTS_AT_ONCE = 4
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


cdef class Design:
    """What every layout shares: the passes over chunks and blocks. Made by `fastlogreg.data.layouts.as_design`."""

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
        sums_array = np.empty(K * (d + 2))
        cdef double[::1] sums = sums_array
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
        return sums_array[:K], sums_array[2 * K:].reshape(K, d), sums_array[K:2 * K]

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
        mean_array, variance_array = np.empty(d), np.empty(d)
        cdef double[::1] sums = self.run(&_moments_chunk, &job), mean = mean_array, variance = variance_array
        cdef double total = self.n_samples if weight is None else np.sum(weight), offset
        for j in range(d):
            offset = sums[j] / total
            mean[j] = shift[j] + offset
            variance[j] = sums[d + j] / total - offset * offset
            if variance[j] <= VARIANCE_ROUNDING * offset * offset:
                variance[j] = 0.0
        return mean_array, variance_array

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

    cdef void check_gram(self, const double[::1] weight, const double[::1] center) except *:
        self.check_weight(weight)
        self.check_columns(center)

    cdef void check_columns(self, const double[::1] of_columns) except *:
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
        job.block_rows = self.block_rows()
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

    cdef void run_into(self, chunk_function chunk, pass_job *job, double *sums) except *:
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

    cdef Py_ssize_t block_rows(self):
        raise NotImplementedError

    cdef Py_ssize_t class_block_rows(self, Py_ssize_t width):
        """Rows of a block for `width` classes."""
        return max(MIN_CLASS_BLOCK_ROWS, rows_of_block(CLASS_BLOCK_BYTES, self.bytes_a_row() + 16 * width))

    cdef Py_ssize_t least_gram_chunks(self):
        """Chunks that a Gram matrix may be summed in, whatever memory their partial sums take."""
        return min(4, self.n_samples // MIN_GRAM_ROWS)

    cdef Py_ssize_t chunk_limit_of(self, Py_ssize_t n_outputs=1):
        """The number of chunks up to which their partial sums stay small beside X."""
        raise NotImplementedError

    def _row(self, Py_ssize_t i):
        """What `moments` sums about (d,)."""
        raise NotImplementedError


cdef symmetric(const double[::1] upper, Py_ssize_t width, Py_ssize_t n):
    """The symmetric matrix (n, n) of an upper triangle with rows of `width`."""
    cdef Py_ssize_t i, j
    whole = np.empty((n, n))
    cdef double[:, ::1] whole_ = whole
    for i in range(n):
        for j in range(i, n):
            whole_[i, j] = whole_[j, i] = upper[i * width + j]
    return whole


cdef recentered(gram, shift):
    """``Z' W Z`` of Z = [X - shift, 1] from that of [X, 1], each (d + 1, d + 1)."""
    shift = np.append(shift, 0.0)
    weighted = gram[-1] - 0.5 * gram[-1, -1] * shift
    products = np.outer(weighted, shift)
    return gram - (products + products.T)


cdef Py_ssize_t rows_of_block(Py_ssize_t block_bytes, Py_ssize_t bytes_a_row):
    """The rows of a block that fits block_bytes, in whole vectors."""
    cdef Py_ssize_t rows = block_bytes // max(bytes_a_row, 1) // MIN_BLOCK_ROWS * MIN_BLOCK_ROWS
    return max(MIN_BLOCK_ROWS, min(MAX_BLOCK_ROWS, rows))
