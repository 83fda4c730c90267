"""Logits of the last steps of a fit, and sums of the cross-entropy over combinations of them: no pass over X.

The steps are kept in 16 bits, ten of them digits, as multiples of the largest change. A block of samples is widened,
taken through logits, loss, residual, gradient and Hessian, and left: nothing else is as long as n.
"""

import numpy as np

from libc.float cimport DBL_MIN
from libc.math cimport fabs, fmax
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset

from fastlogreg._kernels.dispatch cimport (
    F_ORDER_F64,
    PANEL_ALIGNMENT,
    active_kernels,
    block_kernels,
    block_sums,
    chunk_start,
    design_view,
    run_chunks,
)

from fastlogreg._threads import usable_threads

cdef enum:
    BLOCK_ROWS = 256  # some ten columns of a block share the first-level cache with what is made of them

# What the largest change is kept as.
cdef double LARGEST = 2.0**-97
# Some 50 microseconds a chunk, and as many a thread, as in _design.pyx.
cdef Py_ssize_t MIN_CHUNK_SAMPLES = 4 * 1024
cdef Py_ssize_t MIN_THREAD_SAMPLES = 8 * 1024
cdef Py_ssize_t MAX_CHUNKS = 64


cdef struct span_job:
    const block_kernels *kernels
    Py_ssize_t n, n_chunks, n_steps
    Py_ssize_t width              # columns: the start, the step from there, the steps before
    Py_ssize_t panel_width        # with a one, and zeros up to whole vectors
    const double *start
    const double *end
    const uint16_t *steps
    const double *units           # of each step
    const double *target
    const double *weight
    const double *coef
    double intercept
    const double *zeros           # width
    Py_ssize_t partial_size
    double *partials              # a chunk's loss, its slope in the intercept and the columns, and their Gram matrix
    Py_ssize_t scratch_size
    double *scratch


cdef inline uint16_t _narrowed(float value) noexcept nogil:
    """Of a value below 2^-96: the first three bits of its exponent are zero, and the last 13 digits are rounded."""
    cdef uint32_t bits
    memcpy(&bits, &value, sizeof(bits))
    return <uint16_t>(bits >> 16 & 0x8000 | ((bits & 0x7FFFFFFF) + 0x1000) >> 13)


cdef inline float _widened(uint16_t value) noexcept nogil:
    cdef uint32_t bits = (<uint32_t>value & 0x8000) << 16 | (<uint32_t>value & 0x7FFF) << 13
    cdef float widened
    memcpy(&widened, &bits, sizeof(widened))
    return widened


cdef void _fill_columns(const span_job *job, Py_ssize_t first, Py_ssize_t count, double *columns) noexcept nogil:
    cdef const uint16_t *step
    cdef double *column = columns + BLOCK_ROWS
    cdef Py_ssize_t i, k
    for i in range(count):
        columns[i] = job.start[first + i]
        column[i] = job.end[first + i] - job.start[first + i]
    for k in range(job.n_steps):
        column += BLOCK_ROWS
        step = job.steps + k * job.n + first
        for i in range(count):
            column[i] = _widened(step[i]) * job.units[k]


cdef void _sums_chunk(void *job_, Py_ssize_t chunk, Py_ssize_t thread) noexcept nogil:
    cdef span_job *job = <span_job *>job_
    cdef Py_ssize_t first = chunk_start(job.n, job.n_chunks, chunk), end = chunk_start(job.n, job.n_chunks, chunk + 1)
    cdef double *loss = job.partials + chunk * job.partial_size
    cdef double *slope = loss + 1
    cdef double *gram = slope + 1 + job.width
    cdef double *logits = job.scratch + thread * job.scratch_size
    cdef double *residual = logits + BLOCK_ROWS
    cdef double *curvature = residual + BLOCK_ROWS
    cdef double *columns = curvature + BLOCK_ROWS
    cdef double *panel = columns + job.width * BLOCK_ROWS
    cdef design_view block
    cdef block_sums sums
    cdef Py_ssize_t count
    memset(&block, 0, sizeof(block))
    block.values, block.n_features, block.stride = columns, job.width, BLOCK_ROWS
    memset(loss, 0, job.partial_size * sizeof(double))
    while first < end:
        block.n_samples = count = min(<Py_ssize_t>BLOCK_ROWS, end - first)
        _fill_columns(job, first, count, columns)
        rows = job.kernels.of_layout[F_ORDER_F64]
        rows.logits(&block, 0, count, 1, job.coef, &job.intercept, logits, BLOCK_ROWS)
        sums = job.kernels.bce(
            count, logits, job.target + first, job.weight + first if job.weight != NULL else NULL, 1, NULL, residual,
            curvature)
        loss[0] += sums.loss
        slope[0] += sums.residual
        rows.add_gradient(&block, 0, count, 1, residual, BLOCK_ROWS, slope + 1)
        rows.fill_panel(&block, 0, count, curvature, job.zeros, job.panel_width, panel)
        job.kernels.add_rank_update(count, job.panel_width, panel, gram)
        first += count


cdef class StepLogits:
    """The logits of up to `capacity` steps.

    Parameters
    ----------
    n_samples, capacity, n_threads : int
    """

    cdef Py_ssize_t _n_threads
    cdef uint16_t[:, ::1] _steps
    cdef double[::1] _units

    def __init__(self, Py_ssize_t n_samples, Py_ssize_t capacity, Py_ssize_t n_threads=1):
        self._n_threads = n_threads
        self._steps = np.empty((capacity, n_samples), dtype=np.uint16)
        self._units = np.empty(capacity)

    def put(self, Py_ssize_t place, const double[::1] start, const double[::1] end):
        """Keep the step between the logits (n,) of two points."""
        if not 0 <= place < self._steps.shape[0]:
            raise IndexError(f"place {place} of {self._steps.shape[0]}")
        cdef uint16_t[::1] step = self._steps[place]
        cdef Py_ssize_t i
        self._check_length(start)
        self._check_length(end)
        cdef double largest = 0.0, unit
        with nogil:
            for i in range(step.shape[0]):
                largest = fmax(largest, fabs(end[i] - start[i]))
            self._units[place] = unit = fmax(largest, DBL_MIN) / LARGEST
            for i in range(step.shape[0]):
                step[i] = _narrowed(<float>((end[i] - start[i]) / unit))

    def sums(self, const double[::1] start, const double[::1] end, Py_ssize_t n_steps, const double[::1] coef,
             double intercept, const double[::1] target, const double[::1] sample_weight=None):
        """Summed cross-entropy, its gradient (m + 1,) and its Hessian (m + 1, m + 1) in `coef` (m,) and `intercept`.

        The logits are ``intercept + columns @ coef``, the columns being the logits `start`, their change up to `end`
        and the first `n_steps` of the steps.
        """
        cdef Py_ssize_t n = self._steps.shape[1], m = 2 + n_steps, i, j
        self._check_length(start)
        self._check_length(end)
        self._check_length(target)
        if sample_weight is not None:
            self._check_length(sample_weight)
        if not (0 <= n_steps <= self._steps.shape[0] and coef.shape[0] == m):
            raise ValueError(f"{coef.shape[0]} coefficients for 2 columns and {n_steps} steps")
        cdef span_job job
        cdef const double[::1] zeros = np.zeros(m)
        job.kernels = active_kernels()
        job.n, job.n_steps, job.width = n, n_steps, m
        job.panel_width = (m // PANEL_ALIGNMENT + 1) * PANEL_ALIGNMENT
        job.start, job.end, job.target = &start[0], &end[0], &target[0]
        job.weight = &sample_weight[0] if sample_weight is not None else NULL
        job.steps, job.units = &self._steps[0, 0], &self._units[0]
        job.coef, job.intercept, job.zeros = &coef[0], intercept, &zeros[0]
        job.n_chunks = max(1, min(MAX_CHUNKS, n // MIN_CHUNK_SAMPLES))
        cdef Py_ssize_t n_threads = max(1, min(self._n_threads, job.n_chunks, n // MIN_THREAD_SAMPLES))
        n_threads = usable_threads(n_threads)
        job.partial_size = 2 + m + job.panel_width * job.panel_width
        job.scratch_size = BLOCK_ROWS * (3 + m + job.panel_width)
        cdef double[:, ::1] partials = np.empty((job.n_chunks, job.partial_size))
        cdef double[::1] scratch = np.zeros(n_threads * job.scratch_size)
        job.partials, job.scratch = &partials[0, 0], &scratch[0]
        with nogil:
            run_chunks(&_sums_chunk, &job, job.n_chunks, n_threads)
            for i in range(1, job.n_chunks):
                for j in range(job.partial_size):
                    partials[0, j] += partials[i, j]
        totals = np.asarray(partials[0])
        gram = np.triu(totals[2 + m:].reshape(job.panel_width, job.panel_width)[:m + 1, :m + 1])
        return totals[0], np.append(totals[2:2 + m], totals[1]), gram + np.triu(gram, 1).T

    cdef void _check_length(self, const double[::1] values) except *:
        if values.shape[0] != self._steps.shape[1]:
            raise ValueError(f"{values.shape[0]} values for {self._steps.shape[1]} samples")
