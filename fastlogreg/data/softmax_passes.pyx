"""The passes of K >= 3 classes over a design matrix in memory: see `fastlogreg.data.passes`.

Logits, probabilities and their sums are fused, block by block.

Nothing of the size n x K is kept. Inside, coefficients and gradients have a row for each feature and a column for each
class, up to whole vectors of padding classes whose logits are -infinity.
"""

import numpy as np

from libc.math cimport INFINITY, log, sqrt
from libc.string cimport memcpy, memset

from fastlogreg.data.design cimport Design, add_to, pass_job
from fastlogreg.data.local_passes cimport LocalPasses
from fastlogreg.kernels.dispatch cimport PANEL_ALIGNMENT, chunk_function, chunk_start


cdef struct softmax_job:
    pass_job pass_                  # first, so that a design can run it
    Py_ssize_t width                # classes, and padding up to whole vectors
    const Py_ssize_t *label         # n, or NULL
    const double *target            # n x K, where there are no labels
    const double *offset            # n x K, added to the logits, or NULL
    const double *direction         # n_features x width, where a pass has one
    const double *direction_intercept
    double *scores                  # n x K, or n of the samples, where a pass leaves them
    bint probabilities              # whether these are probabilities instead of logits


cdef inline Py_ssize_t _padded(Py_ssize_t n_classes) noexcept nogil:
    return (n_classes + PANEL_ALIGNMENT - 1) // PANEL_ALIGNMENT * PANEL_ALIGNMENT


cdef inline const double *_weight_of(const softmax_job *job, Py_ssize_t first) noexcept nogil:
    return job.pass_.weight + first if job.pass_.weight != NULL else NULL


cdef inline void _logits(const softmax_job *job, Py_ssize_t first, Py_ssize_t count, double *out) noexcept nogil:
    cdef Py_ssize_t K = job.pass_.n_outputs, i
    job.pass_.kernels.class_logits(job.pass_.X, first, count, job.width, job.pass_.coef, job.pass_.intercept, out)
    if job.offset != NULL:
        for i in range(count):
            add_to(K, job.offset + (first + i) * K, out + i * job.width)


cdef inline void _direction(const softmax_job *job, Py_ssize_t first, Py_ssize_t count, double *out) noexcept nogil:
    job.pass_.kernels.class_logits(job.pass_.X, first, count, job.width, job.direction, job.direction_intercept, out)


cdef inline double _loss(const softmax_job *job, Py_ssize_t first, Py_ssize_t count, double *values) noexcept nogil:
    """The block's loss; residuals take the place of the logits."""
    cdef Py_ssize_t K = job.pass_.n_outputs
    return job.pass_.pointwise.softmax_loss(
        count, job.width, K, job.label + first if job.label != NULL else NULL,
        job.target + first * K if job.label == NULL else NULL, _weight_of(job, first), values)


cdef void _loss_gradient_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the loss (1, padded), the intercepts' gradient (width) and the coefficients' (d x width)."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count
    cdef double *loss = shared.partials + chunk * shared.partial_size
    cdef double *of_intercept = loss + 1
    cdef double *gradient = of_intercept + job.width
    cdef double *values = shared.scratch + thread * shared.scratch_size
    memset(loss, 0, shared.partial_size * sizeof(double))
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, values)
        loss[0] += _loss(job, first, count, values)
        shared.pointwise.add_rows(count, job.width, values, of_intercept)
        shared.kernels.add_class_gradient(shared.X, first, count, job.width, values, gradient)
        first += count


cdef void _hessian_dot_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the intercepts' product (width) and the coefficients' (d x width)."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count
    cdef double *of_intercept = shared.partials + chunk * shared.partial_size
    cdef double *product = of_intercept + job.width
    cdef double *prob = shared.scratch + thread * shared.scratch_size
    cdef double *values = prob + shared.block_rows * job.width
    memset(of_intercept, 0, shared.partial_size * sizeof(double))
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, prob)
        shared.pointwise.softmax(count, job.width, prob)
        _direction(job, first, count, values)
        shared.pointwise.softmax_product(count, job.width, prob, _weight_of(job, first), values)
        shared.pointwise.add_rows(count, job.width, values, of_intercept)
        shared.kernels.add_class_gradient(shared.X, first, count, job.width, values, product)
        first += count


cdef void _line_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the loss, its slope and its curvature along the direction."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count, size
    cdef double *sums = shared.partials + chunk * shared.partial_size
    cdef double *residual = shared.scratch + thread * shared.scratch_size
    cdef double *prob = residual + shared.block_rows * job.width
    cdef double *direction = prob + shared.block_rows * job.width
    cdef double *product = direction + shared.block_rows * job.width
    memset(sums, 0, shared.partial_size * sizeof(double))
    while first < end:
        count = min(shared.block_rows, end - first)
        size = count * job.width
        _logits(job, first, count, prob)
        memcpy(residual, prob, size * sizeof(double))
        _direction(job, first, count, direction)
        memcpy(product, direction, size * sizeof(double))
        sums[0] += _loss(job, first, count, residual)
        sums[1] += shared.pointwise.multiply(size, direction, residual)
        shared.pointwise.softmax(count, job.width, prob)
        shared.pointwise.softmax_product(count, job.width, prob, _weight_of(job, first), product)
        sums[2] += shared.pointwise.multiply(size, direction, product)
        first += count


cdef void _largest_range_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the largest range over the classes of one sample's logits."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count, i, k
    cdef double *values = shared.scratch + thread * shared.scratch_size
    cdef const double *row
    cdef double low, high, largest = 0.0, not_finite = 0.0  # or NaN
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, values)
        for i in range(count):
            row = values + i * job.width
            low = high = row[0]
            for k in range(shared.n_outputs):
                low = row[k] if row[k] < low else low
                high = row[k] if row[k] > high else high
                not_finite += 0.0 * row[k]
            if high - low > largest:
                largest = high - low
        first += count
    shared.partials[chunk] = largest if not_finite == 0.0 else INFINITY


cdef void _intercept_hessian_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves the upper triangle of sum_i weight_i prob_i prob_i' (width x width)."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count, i, k
    cdef double *gram = shared.partials + chunk * shared.partial_size
    cdef double *prob = shared.scratch + thread * shared.scratch_size
    memset(gram, 0, shared.partial_size * sizeof(double))
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, prob)
        shared.pointwise.softmax(count, job.width, prob)
        if shared.weight != NULL:
            for i in range(count):
                for k in range(job.width):
                    prob[i * job.width + k] *= sqrt(shared.weight[first + i])
        shared.pointwise.add_rank_update(count, job.width, prob, gram)
        first += count


cdef void _pair_grams_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Leaves for each pair k < l of classes the upper triangle of the Gram matrix of [X - shift, 1] with the weights
    weight_i prob_ik prob_il; rows as wide as a panel."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count, i, k, other
    cdef Py_ssize_t width = _padded(shared.X.n_features + 1)
    cdef double *gram
    cdef double *prob = shared.scratch + thread * shared.scratch_size
    cdef double *pair_weight = prob + shared.block_rows * job.width
    cdef double *panel = pair_weight + shared.block_rows
    memset(shared.partials + chunk * shared.partial_size, 0, shared.partial_size * sizeof(double))
    memset(panel, 0, shared.block_rows * width * sizeof(double))
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, prob)
        shared.pointwise.softmax(count, job.width, prob)
        gram = shared.partials + chunk * shared.partial_size
        for k in range(shared.n_outputs):
            for other in range(k + 1, shared.n_outputs):
                for i in range(count):
                    pair_weight[i] = prob[i * job.width + k] * prob[i * job.width + other]
                    if shared.weight != NULL:
                        pair_weight[i] *= shared.weight[first + i]
                shared.kernels.fill_panel(shared.X, first, count, pair_weight, shared.shift, width, panel)
                shared.pointwise.add_rank_update(count, width, panel, gram)
                gram += width * width
        first += count


cdef void _scores_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count, i
    cdef Py_ssize_t K = shared.n_outputs
    cdef double *values = shared.scratch + thread * shared.scratch_size
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, values)
        if job.probabilities:
            shared.pointwise.softmax(count, job.width, values)
        for i in range(count):
            memcpy(job.scores + (first + i) * K, values + i * job.width, K * sizeof(double))
        first += count


def class_scores(Design design, coef, intercept, bint probabilities, const double[:, ::1] offset=None):
    """Logits or probabilities (n, K) of the classes with coef (K, d) and intercept (K,). One pass."""
    cdef softmax_job job = _job(design, len(coef), 0, _padded(len(coef)))
    cdef const double[:, ::1] packed = _packed(coef, intercept, -np.inf, design.n_features)
    scores_array = np.empty((design.n_samples, len(coef)))
    cdef double[:, ::1] scores = scores_array
    _set_coef(&job, packed)
    _set_offset(&job, offset)
    job.scores, job.probabilities = &scores[0, 0], probabilities
    design.run(&_scores_chunk, &job.pass_)
    return scores_array


cdef void _log_sums_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    """Writes the largest logit, less the logarithm of its probability."""
    cdef softmax_job *job = <softmax_job *>job_
    cdef pass_job *shared = &job.pass_
    cdef Py_ssize_t first = chunk_start(shared.X.n_samples, shared.n_chunks, chunk)
    cdef Py_ssize_t end = chunk_start(shared.X.n_samples, shared.n_chunks, chunk + 1), count, i
    cdef double *values = shared.scratch + thread * shared.scratch_size
    while first < end:
        count = min(shared.block_rows, end - first)
        _logits(job, first, count, values)
        for i in range(count):
            job.scores[first + i] = _largest(shared.n_outputs, values + i * job.width)
        shared.pointwise.softmax(count, job.width, values)
        for i in range(count):
            job.scores[first + i] -= log(_largest(shared.n_outputs, values + i * job.width))
        first += count


cdef inline double _largest(Py_ssize_t n, const double *values) noexcept nogil:
    cdef double largest = values[0]
    cdef Py_ssize_t i
    for i in range(1, n):
        largest = max(largest, values[i])
    return largest


def class_log_sums(Design design, coef, intercept, const double[:, ::1] offset=None):
    """``log(sum_k exp(u_k))`` of each sample's logits u for the classes with coef (K, d) and intercept (K,): (n,). One
    pass."""
    cdef softmax_job job = _job(design, len(coef), 0, _padded(len(coef)))
    cdef const double[:, ::1] packed = _packed(coef, intercept, -np.inf, design.n_features)
    log_sums_array = np.empty(design.n_samples)
    cdef double[::1] log_sums = log_sums_array
    _set_coef(&job, packed)
    _set_offset(&job, offset)
    job.scores = &log_sums[0]
    design.run(&_log_sums_chunk, &job.pass_)
    return log_sums_array


cdef softmax_job _job(Design design, Py_ssize_t n_classes, Py_ssize_t partial_size, Py_ssize_t scratch_a_row,
                      Py_ssize_t least_chunks=1):
    """A pass whose chunks leave `partial_size` sums, with `scratch_a_row` doubles of memory for each row of a block."""
    cdef softmax_job job
    cdef Py_ssize_t outputs = partial_size // design.n_features + 1
    cdef Py_ssize_t chunk_limit = max(least_chunks, design.chunk_limit_of(outputs))
    memset(&job, 0, sizeof(job))
    job.pass_ = design.pass_job_of(n_classes, chunk_limit, partial_size)
    job.pass_.block_rows = design.class_block_rows(scratch_a_row)
    job.width = _padded(n_classes)
    design.give_scratch(&job.pass_, scratch_a_row * job.pass_.block_rows)
    return job


cdef void _set_coef(softmax_job *job, const double[:, ::1] packed) noexcept:
    job.pass_.coef, job.pass_.intercept = &packed[0, 0], &packed[packed.shape[0] - 1, 0]


cdef void _set_offset(softmax_job *job, const double[:, ::1] offset) noexcept:
    job.offset = &offset[0, 0] if offset is not None else NULL


cdef void _set_direction(softmax_job *job, const double[:, ::1] packed) noexcept:
    job.direction, job.direction_intercept = &packed[0, 0], &packed[packed.shape[0] - 1, 0]


cdef _packed(coef, intercept, double padding, Py_ssize_t n_features):
    """Coefficients (K, d) and intercepts (K,) as rows of features and one of intercepts, padded (d + 1, width)."""
    if coef.ndim != 2 or coef.shape[1] != n_features or intercept.shape != coef.shape[:1]:
        raise ValueError(f"coef {coef.shape} and intercept {intercept.shape} do not fit {n_features} features")
    cdef const double[:, :] of_features = coef
    cdef const double[:] of_intercept = intercept
    cdef Py_ssize_t K = of_features.shape[0], width = _padded(K), j, k
    packed_array = np.zeros((n_features + 1, width))
    cdef double[:, ::1] packed = packed_array
    for k in range(K):
        for j in range(n_features):
            packed[j, k] = of_features[k, j]
        packed[n_features, k] = of_intercept[k]
    packed[n_features, K:] = padding
    return packed_array


class SoftmaxHandle:
    """A point: its coefficients (K, d) and intercepts (K,)."""

    def __init__(self, coef, intercept):
        self.coef, self.intercept = coef, intercept

    def forget(self):
        """Free nothing, as nothing of the size of n is kept."""

    def less(self, other):
        """The difference of two points, in the same shapes."""
        return self.coef - other.coef, self.intercept - other.intercept


class SoftmaxHessian:
    """The Hessian of the summed cross-entropy at a handle."""

    def __init__(self, passes, handle):
        self._passes, self._handle = passes, handle

    def dot(self, coef, intercept):
        return self._passes.hessian_dot(self._handle, coef, intercept)

    def pair_grams(self, center):
        return self._passes.pair_grams(self._handle, center)

    def intercept_block(self):
        return self._passes.intercept_hessian(self._handle)


cdef class SoftmaxPasses(LocalPasses):
    """A design matrix and samples of K classes, in memory: see `LocalPasses`."""

    cdef Py_ssize_t _width
    cdef const Py_ssize_t[::1] _label
    cdef const double[:, ::1] _target
    cdef const double[::1] _weight
    cdef const double[:, ::1] _offset
    lines_are_free = False

    def __init__(self, Design design, samples):
        super().__init__(design, samples)
        target, K = samples.target, samples.n_classes
        self._width = _padded(K)
        self._label, self._target = (target, None) if target.ndim == 1 else (None, target)
        if target.ndim == 1 and len(target) and not 0 <= np.min(target) <= np.max(target) < K:
            raise ValueError(f"labels must lie in [0, {K})")
        self._weight, self._offset = samples.weight, samples.offset

    def evaluate(self, coef, intercept, bint keep=True, recycle=None):
        cdef softmax_job job = self._job(1 + self._width * (self.design.n_features + 1), self._width)
        packed = self._packed(coef, intercept, -np.inf)
        _set_coef(&job, packed)
        sums = self._run(&_loss_gradient_chunk, &job)
        return float(sums[0]), *self._unpacked(sums[1:]), SoftmaxHandle(coef, intercept)

    def line(self, start, end, double t):
        cdef softmax_job job = self._job(3, 4 * self._width)
        direction, direction_intercept = end.less(start)
        packed = self._packed(start.coef + t * direction, start.intercept + t * direction_intercept, -np.inf)
        packed_direction = self._packed(direction, direction_intercept, 0.0)
        _set_coef(&job, packed)
        _set_direction(&job, packed_direction)
        return tuple(self._run(&_line_chunk, &job).tolist())

    def largest_logit_change(self, start, end):
        cdef softmax_job job = self._job(1, self._width)
        change, intercept_change = end.less(start)
        packed = self._packed(change, intercept_change, 0.0)
        job.offset = NULL  # that of both ends
        _set_coef(&job, packed)
        self._run(&_largest_range_chunk, &job)
        cdef double largest = 0.0
        cdef Py_ssize_t chunk
        for chunk in range(job.pass_.n_chunks):
            largest = max(largest, job.pass_.partials[chunk])
        return largest

    def hessian(self, handle):
        return SoftmaxHessian(self, handle)

    def hessian_dot(self, handle, direction, direction_intercept):
        """See `fastlogreg.data.passes.LossHessian.dot`."""
        cdef softmax_job job = self._job(self._width * (self.design.n_features + 1), 2 * self._width)
        packed = self._packed(handle.coef, handle.intercept, -np.inf)
        packed_direction = self._packed(direction, direction_intercept, 0.0)
        _set_coef(&job, packed)
        _set_direction(&job, packed_direction)
        return self._unpacked(self._run(&_hessian_dot_chunk, &job))

    def intercept_hessian(self, handle):
        """See `fastlogreg.data.passes.LossHessian.intercept_block`."""
        cdef softmax_job job = self._job(self._width * self._width, self._width)
        packed = self._packed(handle.coef, handle.intercept, -np.inf)
        _set_coef(&job, packed)
        cdef double[:, ::1] hessian = self._run(&_intercept_hessian_chunk, &job).reshape(self._width, self._width)
        cdef Py_ssize_t k, other
        for k in range(self.n_classes):
            hessian[k, k] = 0.0
            for other in range(k):
                hessian[k, k] += hessian[other, k]
                hessian[other, other] += hessian[other, k]
                hessian[other, k] = hessian[k, other] = -hessian[other, k]
        return hessian.base[:self.n_classes, :self.n_classes]

    def pair_grams(self, handle, const double[::1] center):
        """See `fastlogreg.data.passes.LossHessian.pair_grams`; each block of X is filled in, also of CSR."""
        cdef Py_ssize_t K = self.n_classes, d = self.design.n_features, width = _padded(d + 1)
        if center.shape[0] != d:
            raise ValueError(f"{center.shape[0]} values for {d} features")
        cdef Py_ssize_t n_pairs = K * (K - 1) // 2, least_chunks = self.design.least_gram_chunks()
        cdef softmax_job job = self._job(n_pairs * width * width, self._width + 1 + width, least_chunks)
        packed = self._packed(handle.coef, handle.intercept, -np.inf)
        _set_coef(&job, packed)
        job.pass_.shift = &center[0]
        return self._run(&_pair_grams_chunk, &job).reshape(-1, width, width)[:, :d + 1, :d + 1]

    cdef softmax_job _job(self, Py_ssize_t partial_size, Py_ssize_t scratch_a_row, Py_ssize_t least_chunks=1):
        cdef softmax_job job = _job(self.design, self.n_classes, partial_size, scratch_a_row, least_chunks)
        job.label = &self._label[0] if self._label is not None else NULL
        job.target = &self._target[0, 0] if self._target is not None else NULL
        job.pass_.weight = &self._weight[0] if self._weight is not None else NULL
        _set_offset(&job, self._offset)
        return job

    cdef _run(self, chunk_function chunk, softmax_job *job):
        return self.design.run(chunk, &job.pass_)

    cdef _packed(self, coef, intercept, double padding):
        if len(coef) != self.n_classes:
            raise ValueError(f"coef {coef.shape} does not fit {self.n_classes} classes")
        return _packed(coef, intercept, padding, self.design.n_features)

    cdef _unpacked(self, const double[::1] sums):
        """Coefficients (K, d) and intercepts (K,) from the intercepts' row and those of the features."""
        cdef Py_ssize_t K = self.n_classes, d = self.design.n_features, j, k
        coef_array = np.empty((K, d))
        cdef double[:, ::1] coef = coef_array
        intercept_array = np.empty(K)
        cdef double[::1] intercept = intercept_array
        for k in range(K):
            intercept[k] = sums[k]
            for j in range(d):
                coef[k, j] = sums[(j + 1) * self._width + k]
        return coef_array, intercept_array
