"""Sigmoid cross-entropy over arrays of logits, in parallel chunks, on the block primitives that the passes use."""

from libc.math cimport INFINITY, fabs
from libc.stdint cimport uint8_t

from fastlogreg.kernels.dispatch cimport (
    active_kernels, block_kernels, chunk_start, run_chunks, targets, targets_from,
)

from fastlogreg.runtime.threads import usable_threads

# At least some 20 microseconds for a chunk and 75 for a thread, for the reasons given in `fastlogreg.data.design`.
cdef Py_ssize_t MIN_CHUNK_SAMPLES = 8 * 1024
cdef Py_ssize_t MIN_THREAD_SAMPLES = 50 * 1000
cdef enum:
    MAX_CHUNKS = 64
# A sample whose logit is larger than this has a curvature below 1e-217, which no sum can hold beside others, and which
# way it goes on from there makes no difference.
cdef double SATURATED = 500.0


cdef struct pointwise_job:
    const block_kernels *kernels
    Py_ssize_t n
    Py_ssize_t n_chunks
    Py_ssize_t n_threads
    const double *logits
    const double *end
    double t
    targets target
    const double *weight
    double *partials
    double *loss
    double *residual
    double *curvature
    double *prob
    double *complement


cdef targets targets_of(values, Py_ssize_t size) except *:
    """Pointers to labels 0 and 1 (uint8) or probabilities (float64), of any shape, in an array that outlives them."""
    cdef const uint8_t[::1] label
    cdef const double[::1] prob
    cdef targets pointers
    if values.size != size or not values.flags.c_contiguous:
        raise ValueError(f"{values.size} targets, expected {size} one after the other")
    pointers.prob, pointers.label = NULL, NULL
    values = values.reshape(-1)
    if values.itemsize == 1:
        label = values
        pointers.label = &label[0]
    else:
        prob = values
        pointers.prob = &prob[0]
    return pointers


cdef inline double *_at(double *values, Py_ssize_t i) noexcept nogil:
    return values + i if values != NULL else NULL


cdef inline double *_pointer(double[::1] values) noexcept:
    return &values[0] if values is not None else NULL


cdef void _bce_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef pointwise_job *job = <pointwise_job *>job_
    cdef Py_ssize_t i = chunk_start(job.n, job.n_chunks, chunk)
    job.kernels.bce(chunk_start(job.n, job.n_chunks, chunk + 1) - i, job.logits + i, targets_from(job.target, i),
                    _at(<double *>job.weight, i), job.loss != NULL, _at(job.loss, i), _at(job.residual, i),
                    _at(job.curvature, i))


cdef void _line_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef pointwise_job *job = <pointwise_job *>job_
    cdef Py_ssize_t i = chunk_start(job.n, job.n_chunks, chunk)
    job.kernels.bce_line(chunk_start(job.n, job.n_chunks, chunk + 1) - i, job.logits + i, job.end + i, job.t,
                         targets_from(job.target, i), _at(<double *>job.weight, i), job.partials + 3 * chunk)


cdef void _sigmoid_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef pointwise_job *job = <pointwise_job *>job_
    cdef Py_ssize_t i = chunk_start(job.n, job.n_chunks, chunk)
    job.kernels.sigmoid(chunk_start(job.n, job.n_chunks, chunk + 1) - i, job.logits + i, _at(job.prob, i),
                        _at(job.complement, i))


cdef pointwise_job _job(const double[::1] logits, Py_ssize_t n_threads) except *:
    cdef pointwise_job job
    job.kernels = active_kernels()
    job.n = logits.shape[0]
    job.n_chunks = max(1, min(MAX_CHUNKS, job.n // MIN_CHUNK_SAMPLES))
    job.n_threads = max(1, min(usable_threads(n_threads), job.n_chunks, job.n // MIN_THREAD_SAMPLES))
    job.logits = &logits[0] if job.n else NULL
    job.weight = job.end = NULL
    job.partials = job.loss = job.residual = job.curvature = job.prob = job.complement = NULL
    job.t = 0.0
    return job


cdef void _check_length(Py_ssize_t n, const double[::1] values) except *:
    if values is not None and values.shape[0] != n:
        raise ValueError(f"arrays of {n} and {values.shape[0]} samples")


def cross_entropy(const double[::1] logits, target, const double[::1] sample_weight=None, *,
                  double[::1] loss_out=None, double[::1] residual_out=None, double[::1] curvature_out=None,
                  Py_ssize_t n_threads=1):
    """Write each sample's loss, residual L' and curvature L'' (all (n,), times the weight) to the outputs given."""
    cdef pointwise_job job = _job(logits, n_threads)
    _check_length(job.n, sample_weight)
    _check_length(job.n, loss_out)
    _check_length(job.n, residual_out)
    _check_length(job.n, curvature_out)
    if job.n == 0:
        return
    job.target, job.weight = targets_of(target, job.n), &sample_weight[0] if sample_weight is not None else NULL
    job.loss, job.residual, job.curvature = _pointer(loss_out), _pointer(residual_out), _pointer(curvature_out)
    with nogil:
        run_chunks(&_bce_chunk, &job, job.n_chunks, job.n_threads)


def cross_entropy_on_line(const double[::1] start, const double[::1] end, double t, target,
                          const double[::1] sample_weight=None, Py_ssize_t n_threads=1):
    """Summed loss at the logits ``start + t (end - start)`` and its first and second derivative in t."""
    cdef pointwise_job job = _job(start, n_threads)
    cdef double[3 * MAX_CHUNKS] partials
    cdef double[3] sums
    cdef Py_ssize_t i
    _check_length(job.n, end)
    _check_length(job.n, sample_weight)
    job.end, job.t, job.target, job.partials = &end[0], t, targets_of(target, job.n), partials
    job.weight = &sample_weight[0] if sample_weight is not None else NULL
    sums[:] = [0.0, 0.0, 0.0]
    with nogil:
        run_chunks(&_line_chunk, &job, job.n_chunks, job.n_threads)
        for i in range(3 * job.n_chunks):
            sums[i % 3] += partials[i]
    return sums[0], sums[1], sums[2]


def sigmoid(const double[::1] logits, *, double[::1] prob_out=None, double[::1] complement_out=None,
            Py_ssize_t n_threads=1):
    """Write sigma(u) to `prob_out` and sigma(-u) to `complement_out`, where given."""
    cdef pointwise_job job = _job(logits, n_threads)
    _check_length(job.n, prob_out)
    _check_length(job.n, complement_out)
    if job.n == 0:
        return
    job.prob, job.complement = _pointer(prob_out), _pointer(complement_out)
    with nogil:
        run_chunks(&_sigmoid_chunk, &job, job.n_chunks, job.n_threads)


def largest_change(const double[:, ::1] start, const double[:, ::1] end):
    """The largest |end - start| of two arrays of logits, without what lies beyond SATURATED; infinite where one is not
    finite.
    """
    cdef Py_ssize_t k, i
    cdef double largest = 0.0, change, not_finite = 0.0
    if start.shape[0] != end.shape[0] or start.shape[1] != end.shape[1]:
        raise ValueError("start and end differ in shape")
    with nogil:
        for k in range(start.shape[0]):
            for i in range(start.shape[1]):
                not_finite += 0.0 * (end[k, i] - start[k, i])  # NaN where it is not
                change = fabs(_unsaturated(end[k, i]) - _unsaturated(start[k, i]))
                if change > largest:
                    largest = change
    return largest if not_finite == 0 else INFINITY


cdef inline double _unsaturated(double logit) noexcept nogil:
    return min(max(logit, -SATURATED), SATURATED)
