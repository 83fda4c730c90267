"""Steps over a stream of samples: stochastic gradients with scikit-learn's schedules, and Newton steps block by block.

Both kinds of steps are fed rows of X in some order, in as many calls as one likes: `feed` copies rows into a small
block, as doubles, and does the steps from there. So what they compute depends on the samples and their order alone, and
not on the layout of X or on where one call ends and the next one begins; and X may be larger than memory.
"""

import copy

import numpy as np

cimport cython
from libc.math cimport fabs, sqrt, tanh
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy, memset
from scipy.linalg.cython_lapack cimport dpotrf, dpotrs

from fastlogreg._design cimport Design
from fastlogreg._kernels.dispatch cimport (
    PANEL_ALIGNMENT,
    C_ORDER_F64,
    CSR_F64_I32,
    SGD_CONSTANT,
    SGD_INVSCALING,
    SGD_OPTIMAL,
    active_kernels,
    block_kernels,
    design_view,
    layout_kernels,
    memory_range,
    sgd_batches,
    sgd_rows,
    sgd_rule,
    sgd_state,
    sparse_row,
)

from fastlogreg._design import as_design

# Rows copied at a time where steps take one each: they stay in the first two levels of cache.
cdef Py_ssize_t BLOCK_ROWS = 128
cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *) noexcept nogil

# Targets and weights in random order are asked for so many samples ahead.
cdef Py_ssize_t AHEAD = 32

ctypedef fused real:
    float
    double

ctypedef fused index:
    int32_t
    int64_t


def shuffle(int32_t[::1] order, uint32_t seed):
    """Fisher and Yates' shuffle in place, with the generator and so the order of scikit-learn's SGD for this seed.

    The generator is Marsaglia's xorshift of 32 bits (2003).
    """
    cdef Py_ssize_t n = order.shape[0]
    cdef uint32_t i, j, state = seed if seed else 1
    cdef int32_t kept
    with nogil:
        for i in range(<uint32_t>max(n - 1, 0)):
            state ^= state << 13
            state ^= state >> 17
            state ^= state << 5
            j = i + (state & 0x7fffffff) % <uint32_t>(n - i)
            kept = order[i]
            order[i] = order[j]
            order[j] = kept


@cython.final
cdef class Rows:
    """The rows of X (n, d), dense with any strides or CSR, float32 or float64, to be copied one by one."""

    def __init__(self, X):
        cdef Design design = as_design(X)
        X = design.X
        self.n_samples, self.n_features = X.shape
        if max(X.shape) >= 2**31:
            raise ValueError(f"X is {self.n_samples} x {self.n_features}: there is room for 2^31 at most")
        self._single = X.dtype == np.float32
        self.sparse = design.is_sparse
        if self.sparse:
            self._keep_alive = design._keep_alive
            data, indices, indptr = self._keep_alive
            self._wide_indices = indices.itemsize == 8
            self._values = <const char *><size_t>data.ctypes.data
            self._columns = <const void *><size_t>indices.ctypes.data
            self._starts = <const void *><size_t>indptr.ctypes.data
        else:
            self._keep_alive = X
            self._values = <const char *><size_t>X.ctypes.data
            self._row_stride, self._column_stride = X.strides

    cdef Py_ssize_t row_entries(self, Py_ssize_t i) noexcept nogil:
        """Stored entries of row i."""
        if self._wide_indices:
            return (<const int64_t *>self._starts)[i + 1] - (<const int64_t *>self._starts)[i]
        return (<const int32_t *>self._starts)[i + 1] - (<const int32_t *>self._starts)[i]

    cdef Py_ssize_t longest_row(self):
        """Stored entries of the fullest row, and room for one more."""
        return 1 + (int(np.diff(self._keep_alive[2]).max()) if self.sparse else self.n_features)

    cdef void copy_dense(self, Py_ssize_t i, double *out) noexcept nogil:
        if self._single:
            _copy_dense(<const float *>(self._values + i * self._row_stride), self.n_features, self._column_stride, out)
        else:
            _copy_dense(<const double *>(self._values + i * self._row_stride), self.n_features, self._column_stride,
                        out)

    cdef void copy_sparse(self, Py_ssize_t i, double *values, int32_t *columns) noexcept nogil:
        if self._wide_indices:
            if self._single:
                _copy_sparse(<const float *>self._values, <const int64_t *>self._columns,
                             <const int64_t *>self._starts, i, values, columns)
            else:
                _copy_sparse(<const double *>self._values, <const int64_t *>self._columns,
                             <const int64_t *>self._starts, i, values, columns)
        elif self._single:
            _copy_sparse(<const float *>self._values, <const int32_t *>self._columns, <const int32_t *>self._starts,
                         i, values, columns)
        else:
            _copy_sparse(<const double *>self._values, <const int32_t *>self._columns, <const int32_t *>self._starts,
                         i, values, columns)

    cdef sparse_row row_in_place(self, Py_ssize_t i) noexcept nogil:
        """Row i of CSR where it lies, or no values where it does not hold doubles and 32-bit columns."""
        cdef sparse_row row
        cdef Py_ssize_t begin
        row.values, row.columns, row.count = NULL, NULL, 0
        if self.sparse and not self._single and not self._wide_indices:
            begin = (<const int32_t *>self._starts)[i]
            row.values = <const double *>self._values + begin
            row.columns = <const int32_t *>self._columns + begin
            row.count = self.row_entries(i)
        return row

    cdef Py_ssize_t ranges(self, Py_ssize_t i, memory_range *out) noexcept nogil:
        """Where dense row i lies in memory, where that is one range; returns the number of ranges."""
        cdef Py_ssize_t size = 4 if self._single else 8
        if self.sparse or self._column_stride != size:
            return 0
        out[0] = _range(self._values + i * self._row_stride, self.n_features * size)
        return 1


cdef inline memory_range _range(const char *begin, Py_ssize_t size) noexcept nogil:
    """From the beginning of its first cache line."""
    cdef memory_range found
    found.begin, found.end = begin - <size_t>begin % 64, begin + size
    return found


cdef inline void _copy_dense(const real *row, Py_ssize_t n_features, Py_ssize_t stride, double *out) noexcept nogil:
    cdef Py_ssize_t j
    if stride == sizeof(real):
        if real is double:
            memcpy(out, row, n_features * sizeof(double))
        else:
            for j in range(n_features):
                out[j] = row[j]
    else:
        for j in range(n_features):
            out[j] = (<const real *>(<const char *>row + j * stride))[0]


cdef inline void _copy_sparse(const real *values, const index *columns, const index *starts, Py_ssize_t i,
                              double *values_out, int32_t *columns_out) noexcept nogil:
    cdef Py_ssize_t k, begin = starts[i], count = starts[i + 1] - starts[i]
    if real is double:
        memcpy(values_out, values + begin, count * sizeof(double))
    else:
        for k in range(count):
            values_out[k] = values[begin + k]
    if index is int32_t:
        memcpy(columns_out, columns + begin, count * sizeof(int32_t))
    else:
        for k in range(count):
            columns_out[k] = <int32_t>columns[begin + k]


@cython.final
cdef class RowBlock:
    """Copies of some rows as doubles, with their targets and weights; dense rows are padded with zeros.

    With `ones`, each row ends with a one in column n_features. With `in_place`, CSR rows of doubles stay where they
    are, for steps that are done with them before a call returns.
    """

    def __init__(self, Py_ssize_t capacity, Py_ssize_t n_features, bint sparse, bint ones, bint in_place):
        self.capacity, self.n_features, self.sparse, self.ones = capacity, n_features, sparse, ones
        self.in_place = in_place
        self.width = (n_features + ones + PANEL_ALIGNMENT - 1) // PANEL_ALIGNMENT * PANEL_ALIGNMENT
        self.values = np.zeros(capacity if sparse else capacity * self.width)
        self.columns = np.zeros(capacity if sparse else 1, dtype=np.int32)
        self.starts = np.zeros(capacity + 1, dtype=np.int32)
        self.target, self.weight, self.logits = np.zeros((3, capacity))
        self._bind()

    cdef void _bind(self):
        self._values, self._columns, self._starts = self.values, self.columns, self.starts
        self._target, self._weight, self._logits = self.target, self.weight, self.logits
        self._residual = np.empty(self.capacity)
        self._places = np.zeros((2, self.capacity * sizeof(sparse_row)), dtype=np.uint8)
        self._ahead = <memory_range *><size_t>self._places[0].ctypes.data
        self._rows = <sparse_row *><size_t>self._places[1].ctypes.data
        self.n_ahead = 0

    def __reduce__(self):
        arrays = self.values, self.columns, self.starts, self.target, self.weight, self.logits
        return _restored_block, (
            self.capacity, self.n_features, self.sparse, self.ones, self.in_place, self.count, arrays)

    cdef Py_ssize_t append(self, Rows rows, const double[::1] target, const double[::1] weight,
                           const int32_t[::1] order, Py_ssize_t first):
        """Copy the rows `first` and on of the order until the block is full; returns how many."""
        cdef Py_ssize_t end = target.shape[0] if order is None else order.shape[0]
        cdef Py_ssize_t n = min(self.capacity - self.count, end - first)
        if self.sparse and not (self.in_place and rows.row_in_place(0).values != NULL):
            self._reserve(rows, order, first, n)
        cdef const int32_t *places = &order[0] if order is not None else NULL
        cdef const double *weights = &weight[0] if weight is not None else NULL
        with nogil:
            self._append(rows, &target[0], weights, places, first, n, end)
            self._look_ahead(rows, places, first + n, min(end, first + n + self.capacity))
        return n

    cdef void _append(self, Rows rows, const double *target, const double *weight, const int32_t *order,
                      Py_ssize_t first, Py_ssize_t n, Py_ssize_t end) noexcept nogil:
        cdef Py_ssize_t k, i, at
        for k in range(first, first + n):
            i = k
            if order != NULL:
                i = order[k]
                if k + AHEAD < end:
                    prefetch(target + order[k + AHEAD])
                    if weight != NULL:
                        prefetch(weight + order[k + AHEAD])
            at = self.count
            if self.sparse:
                self._append_sparse(rows, i, at)
            else:
                rows.copy_dense(i, &self._values[at * self.width])
                if self.ones:
                    self._values[at * self.width + self.n_features] = 1.0
            self._target[at] = target[i]
            self._weight[at] = weight[i] if weight != NULL else 1.0
            self.count = at + 1

    cdef void _look_ahead(self, Rows rows, const int32_t *order, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
        """Note where the rows of the next block lie."""
        cdef Py_ssize_t k
        self.n_ahead = 0
        for k in range(first, end):
            self.n_ahead += rows.ranges(order[k] if order != NULL else k, &self._ahead[self.n_ahead])

    cdef void _append_sparse(self, Rows rows, Py_ssize_t i, Py_ssize_t at) noexcept nogil:
        cdef Py_ssize_t begin = self._starts[at]
        cdef sparse_row *row = self._rows + at
        row.values = NULL
        if self.in_place:
            row[0] = rows.row_in_place(i)
        if row.values == NULL:
            self._starts[at + 1] = <int32_t>self._append_entries(rows, i, begin)
            row.values, row.columns = &self._values[0] + begin, &self._columns[0] + begin
            row.count = self._starts[at + 1] - begin
        else:
            self._starts[at + 1] = self._starts[at]

    cdef Py_ssize_t _append_entries(self, Rows rows, Py_ssize_t i, Py_ssize_t end) noexcept nogil:
        """Row i as CSR entries from `end` on; returns where they end."""
        cdef Py_ssize_t j
        if rows.sparse:
            rows.copy_sparse(i, &self._values[0] + end, &self._columns[0] + end)
            end += rows.row_entries(i)
        else:
            rows.copy_dense(i, &self._values[0] + end)
            for j in range(self.n_features):
                self._columns[end + j] = <int32_t>j
            end += self.n_features
        if self.ones:
            self._values[end], self._columns[end] = 1.0, <int32_t>self.n_features
            end += 1
        return end

    cdef void _reserve(self, Rows rows, const int32_t[::1] order, Py_ssize_t first, Py_ssize_t n):
        """Room for the entries of the next n rows."""
        cdef Py_ssize_t k, needed = self._starts[self.count] + n
        for k in range(first, first + n):
            needed += rows.row_entries(order[k] if order is not None else k) if rows.sparse else self.n_features
        if needed > self._values.shape[0]:
            if needed >= 2**31:
                raise ValueError("rows of X have too many entries")
            self.values = np.append(self.values, np.zeros(2 * needed - len(self.values)))
            self.columns = np.append(self.columns, np.zeros(2 * needed - len(self.columns), dtype=np.int32))
            self._bind()

    cdef design_view view(self) noexcept nogil:
        cdef design_view view
        view.values, view.row_starts = &self._values[0], &self._starts[0]
        view.columns = &self._columns[0] if self.sparse else NULL
        view.n_samples, view.n_features, view.stride = self.count, self.width, self.width
        return view

    cdef const layout_kernels *kernels(self) noexcept nogil:
        return active_kernels().of_layout[CSR_F64_I32 if self.sparse else C_ORDER_F64]


def _writable(arrays):
    """The arrays, or copies of those that a pickle was mapped into."""
    return [array if array is None or array.flags.writeable else array.copy() for array in arrays]


def _restored_block(capacity, n_features, sparse, ones, in_place, count, arrays):
    cdef RowBlock block = RowBlock(1, n_features, sparse, ones, in_place)
    block.capacity, block.count = capacity, count
    block.values, block.columns, block.starts, block.target, block.weight, block.logits = _writable(arrays)
    block._bind()
    return block


cdef class Steps:
    """What all kinds of steps share: rows are fed, steps are done whenever enough of them are there.

    Attributes
    ----------
    loss_sum, penalty_sum, count : float
        Sums over the samples since `begin_epoch`: the cross-entropy of each before its step, and the penalty then or,
        where that would take long, at the end of the epoch.
    """

    def begin_epoch(self):
        self.loss_sum = self.penalty_sum = self.count = 0.0

    def feed(self, Rows rows, const double[::1] target, const double[::1] weight=None,
             const int32_t[::1] order=None):
        """Take the samples in that order; weight None is all ones."""
        cdef Py_ssize_t done = 0, n = target.shape[0] if order is None else order.shape[0]
        while done < n:
            done += self.block.append(rows, target, weight, order, done)
            if self.block.count == self.block.capacity:
                self.flush()

    def flush(self):
        """Do the steps that the waiting samples allow."""
        if self.block.count:
            self._take_steps()
            self.block.count = 0

    def end_epoch(self):
        """Do what waits, and complete the sums."""
        self.flush()

    cdef _charge(self, double l1, double l2):
        """The penalty of all samples at the coefficients that the epoch ends with."""
        coef, _ = self._solution()
        norm = float(np.abs(coef).sum()) if l1 else 0.0
        self.penalty_sum = self.count * (0.5 * l2 * float(np.vdot(coef, coef)) + l1 * norm)

    def solution(self):
        """Coefficients (d,) and the intercept, as they were if the stream ended here."""
        if self.block.count:
            ended = copy.deepcopy(self)
            ended.flush()
            return ended.solution()
        return self._solution()

    cdef _take_steps(self):
        raise NotImplementedError

    def _solution(self):
        raise NotImplementedError


_SCHEDULES = {
    "constant": SGD_CONSTANT, "adaptive": SGD_CONSTANT, "optimal": SGD_OPTIMAL, "invscaling": SGD_INVSCALING,
}


cdef class GradientSteps(Steps):
    """Stochastic gradient descent with scikit-learn's schedules, for single samples or batches.

    A batch takes one step along the mean of its samples' gradients.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    sparse : bool
        Whether rows are kept as CSR.
    settings : dict
        schedule, eta0, power_t, alpha, penalised (whether alpha is more than the schedule's), l1_ratio, fit_intercept,
        average (the first step averaged, or 0), batch_size.
    """

    def __init__(self, coef, double intercept, bint sparse, settings):
        self.settings = settings
        n_features = len(coef)
        self._batch_size = settings["batch_size"]
        single = self._batch_size == 1
        # Whole batches, so that how many fit does not matter.
        capacity = max(1, BLOCK_ROWS // self._batch_size) * self._batch_size
        self.block = RowBlock(capacity, n_features, sparse, False, single)
        self.coef = np.zeros(self.block.width)
        self.coef[:n_features] = coef
        self.average_coef = np.zeros(self.block.width) if settings["average"] else None
        self.had_l1, self.pending_row = np.zeros(self.block.width), np.zeros(self.block.width)
        self._set_rule()
        memset(&self._state, 0, sizeof(sgd_state))
        self._state.intercept, self._state.t = intercept, 1.0
        self._state.scale = self._state.shrink = self._state.average_b = 1.0
        self._state.square, self._state.absolute = coef @ coef, np.abs(coef).sum()
        self._bind()

    def _set_rule(self):
        settings = self.settings
        alpha, l1_ratio = settings["alpha"], settings["l1_ratio"]
        self._rule.schedule = _SCHEDULES[settings["schedule"]]
        self._rule.eta0, self._rule.power_t, self._rule.alpha = settings["eta0"], settings["power_t"], alpha
        strength = alpha if settings["penalised"] else 0.0
        self._rule.l1, self._rule.l2 = strength * l1_ratio, strength * (1.0 - l1_ratio)
        # Sparse columns leave the intercept alone to move at every sample: scikit-learn slows it down.
        self._rule.intercept_rate = (0.01 if self.block.sparse else 1.0) * settings["fit_intercept"]
        self._rule.average = settings["average"]
        if self._rule.schedule == SGD_OPTIMAL:
            # Bottou's choice: the first step is that of a coefficient of the size expected, 1 / alpha^(1/4)
            typical = 1.0 / sqrt(sqrt(alpha))
            self._rule.optimal_start = max(1.0, 1.0 / (1.0 + np.exp(-typical))) / (typical * alpha)

    cdef void _bind(self):
        self._coef = self.coef
        cdef double[::1] average = self.average_coef, had = self.had_l1, row = self.pending_row
        self._state.coef, self._state.had_l1, self._state.pending_row = &self._coef[0], &had[0], &row[0]
        self._state.average_coef = &average[0] if average is not None else NULL

    def __reduce__(self):
        scalars = _scalars(self._state)
        arrays = self.coef, self.average_coef, self.had_l1, self.pending_row
        sums = self.loss_sum, self.penalty_sum, self.count
        return _restored_steps, (self.settings, self.block, arrays, scalars, sums)

    @property
    def eta0(self):
        """The step length of the constant schedules."""
        return self._rule.eta0

    @eta0.setter
    def eta0(self, double value):
        self._rule.eta0 = self.settings["eta0"] = value

    @property
    def t(self):
        """One more than the steps done."""
        return self._state.t

    def feed(self, Rows rows, const double[::1] target, const double[::1] weight=None,
             const int32_t[::1] order=None):
        Steps.feed(self, rows, target, weight, order)
        if self._batch_size == 1:
            self.flush()

    def end_epoch(self):
        Steps.end_epoch(self)
        if self._batch_size > 1 or self.block.sparse:
            self._charge(self._rule.l1, self._rule.l2)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef sgd_batches batches
        cdef sgd_rows *rows = &batches.rows
        rows.count, rows.values, rows.rows = block.count, &block._values[0], block._rows
        rows.width = block.n_features if block.sparse else block.width
        rows.target, rows.weight, rows.logits_out = &block._target[0], &block._weight[0], &block._logits[0]
        rows.n_ahead, rows.ahead = block.n_ahead, block._ahead
        if self._batch_size > 1:
            batches.X, batches.layout, batches.batch_size = block.view(), block.kernels(), self._batch_size
            batches.residual = &block._residual[0]
            with nogil:
                self.loss_sum += kernels.sgd_by_batches(&batches, &self._rule, &self._state)
        else:
            with nogil:
                if block.sparse:
                    kernels.sgd_csr(rows, &self._rule, &self._state)
                else:
                    kernels.sgd_dense(rows, &self._rule, &self._state)
            self.loss_sum += kernels.bce(block.count, rows.logits_out, rows.target, NULL, 1, NULL, NULL, NULL).loss
            self.penalty_sum += self._state.penalty_sum
            self._state.penalty_sum = 0.0
        self.count += block.count

    def _solution(self):
        cdef sgd_state *state = &self._state
        # Dense single rows leave the last step pending; elsewhere the coefficients have it, and the average its share.
        cdef bint pending = self._batch_size == 1 and not self.block.sparse
        coef, intercept = state.scale * self.coef, state.intercept
        if pending:
            coef = state.shrink * coef + state.move * self.pending_row
        if 0 < self._rule.average < state.t:
            average = (self.average_coef + state.average_a * self.coef) / state.average_b
            share = state.share if pending and not self._rule.l1 else 0.0
            coef, intercept = average + share * (coef - average), state.average_intercept
        return coef[:self.block.n_features], intercept


_SCALARS = ("scale", "average_a", "average_b", "shrink", "move", "share", "intercept", "average_intercept", "square",
            "absolute", "accrued_l1", "penalty_sum", "t")


cdef dict _scalars(sgd_state s):
    return dict(zip(_SCALARS, (s.scale, s.average_a, s.average_b, s.shrink, s.move, s.share, s.intercept,
                               s.average_intercept, s.square, s.absolute, s.accrued_l1, s.penalty_sum, s.t)))


def _restored_steps(settings, block, arrays, scalars, sums):
    cdef GradientSteps steps = GradientSteps(np.zeros(block.n_features), 0.0, block.sparse, settings)
    cdef sgd_state *s = &steps._state
    steps.block = block
    steps.coef, steps.average_coef, steps.had_l1, steps.pending_row = _writable(arrays)
    (s.scale, s.average_a, s.average_b, s.shrink, s.move, s.share, s.intercept, s.average_intercept, s.square,
     s.absolute, s.accrued_l1, s.penalty_sum, s.t) = (scalars[name] for name in _SCALARS)
    steps.loss_sum, steps.penalty_sum, steps.count = sums
    steps._bind()
    return steps


# Above so many parameters the curvature's factor takes too long.
MAX_NEWTON_FEATURES = 2000
# A block is taken with the coefficients before it, so it is small beside the samples that determine them; and large
# enough that its rank update runs near the speed of the machine.
cdef Py_ssize_t MIN_NEWTON_ROWS = 256
# Curvature is summed over so many samples a parameter, from when on one block in eight is enough: its relative error
# is about the inverse square root.
cdef Py_ssize_t ROWS_A_PARAMETER = 256
cdef Py_ssize_t SPARSE_CURVATURE = 8
# The factor is that of the curvature when the stream was at most this much shorter.
cdef double STALE = 1.5
# A stale factor may move no logit of the block at hand by more than that, and no step by more than this.
cdef double TRUSTED_MOVE = 1.0
cdef double LARGEST_MOVE = 16.0
# Logits that far on the wrong side take the bound's curvature.
cdef double FAR = 4.0
# An exact step that promises less than this share of the objective is in the quadratic region.
cdef double TRUSTED_GAP = 0.01
# What is left on the diagonal, relatively, where columns depend on one another.
cdef double LOADING = 1e-9


cdef class NewtonSteps(Steps):
    """Newton steps on a stream, a block at a time: the mean curvature so far, and the gradient of the block.

    With H_k the curvature of all samples so far (each at the coefficients of its time), alpha times their weight on its
    diagonal, and g_k the gradient of block k at the coefficients before it,

        w <- w - H_k^-1 g_k

    is the recursion that minimises the sum of the blocks' quadratic models, exactly so where H_k holds them all; it is
    as efficient as the minimiser over all samples at once (Bercu, Godichon and Portier 2020). Units and origins of the
    columns do not matter. Far on the wrong side of the separating plane the curvature vanishes and a step would jump;
    there that of the quadratic bound is taken (Jaakkola and Jordan 2000), (sigma(|u|) - 1/2) / |u|.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    sparse : bool
    alpha : float
        L2 penalty of the mean objective.
    fit_intercept : bool
    """

    cdef readonly double alpha
    cdef readonly bint fit_intercept
    cdef public object coef
    cdef public object curvature
    cdef public object factor
    cdef public object scale
    cdef public object gradient
    cdef public object best
    cdef readonly bint exact
    cdef readonly bint warm
    cdef readonly double gap
    cdef public double weight
    cdef public double curvature_weight
    cdef public double factor_weight
    cdef public Py_ssize_t n_blocks

    def __init__(self, coef, double intercept, bint sparse, double alpha, bint fit_intercept):
        n_features = len(coef)
        capacity = max(MIN_NEWTON_ROWS, n_features)
        self.alpha, self.fit_intercept = alpha, fit_intercept
        self.block = RowBlock(capacity, n_features, sparse, fit_intercept, False)
        self.coef = np.zeros(self.block.width)
        self.coef[:n_features] = coef
        self.warm = np.any(coef)
        if fit_intercept:
            self.coef[n_features] = intercept
        self.curvature, self.factor = np.zeros((2, self.block.width, self.block.width))
        self.scale = np.ones(self.block.width)

    def __reduce__(self):
        arrays = self.coef, self.curvature, self.factor, self.scale
        numbers = (self.weight, self.curvature_weight, self.factor_weight, self.n_blocks, self.loss_sum,
                   self.penalty_sum, self.count, self.gap, self.best)
        return _restored_newton, (self.alpha, self.fit_intercept, self.block, arrays, numbers)

    cdef _take_steps(self):
        cdef RowBlock block = self.block
        cdef double block_weight = 0.0
        cdef Py_ssize_t i
        for i in range(block.count):
            block_weight += block._weight[i]
        if block_weight == 0.0:
            return
        self.count += block_weight
        self.penalty_sum += block_weight * 0.5 * self.alpha * self._square()
        self.weight += block_weight
        if self.exact:
            loss, curvature = self._pass(self.gradient, bound=not self._is_near())
            self.loss_sum += loss
            self._add_curvature(curvature)
        elif self.n_blocks == 0:
            self._first_block(block_weight)
        else:
            self._next_block(block_weight)
        self.n_blocks += 1

    cdef bint _is_near(self):
        """Whether the last exact step was short enough for its quadratic model to be trusted."""
        return self.best is not None and self.gap <= TRUSTED_GAP * self.best[0]

    def begin_epoch(self):
        Steps.begin_epoch(self)
        if not self.exact and self.best is not None:  # the stream goes on from where an exact step led
            self._settle()

    cdef _settle(self):
        if not self._is_near():
            self.coef = self.best[1]
        self.best = None

    def begin_exact(self):
        """Begin an epoch at whose end there is one step, with the gradient and curvature of all its samples."""
        self.exact = True
        self.begin_epoch()
        self.gradient = np.zeros_like(self.coef)
        self.curvature[:] = 0.0
        self.weight = 0.0

    def end_exact(self):
        """The step, or half the step before where that did not descend; returns the mean objective before it.

        `gap` is then half the squared Newton decrement: what the objective is above its minimum, nearly.
        """
        self.exact = False
        self.curvature_weight = self.weight
        value = (self.loss_sum + self.penalty_sum) / self.count
        if self.best is not None and not value <= self.best[0] * (1.0 + 1e-12):
            self.coef = 0.5 * (self.coef + self.best[1])
            self.gap = np.inf
            return self.best[0]
        self.best = value, self.coef.copy()
        self.gradient[:self.block.n_features] += self.alpha * self.weight * self.coef[:self.block.n_features]
        self._factorize()
        step = self._step(self.gradient)
        self.gap = 0.5 * float(step @ self.gradient) / self.weight
        self.coef -= step
        return value

    cdef _first_block(self, double block_weight):
        """Newton steps for the block alone, until they are small."""
        gradient = np.zeros_like(self.coef)
        for repeat in range(5):
            gradient[:] = 0.0
            loss, curvature = self._pass(gradient, bound=True)
            if repeat == 0:
                self.loss_sum += loss
            gradient[:self.block.n_features] += self.alpha * block_weight * self.coef[:self.block.n_features]
            self.curvature[:] = 0.0
            self._add_curvature(curvature)
            self.curvature_weight = block_weight
            self._factorize()
            step = self._step(gradient)
            move = self._largest_move(step)
            step *= min(1.0, LARGEST_MOVE / max(move, LARGEST_MOVE))
            self.coef -= step
            if not move > 0.3:
                break
        self.curvature[:] = 0.0
        _, curvature = self._pass(gradient, bound=True)
        self._add_curvature(curvature)
        self._factorize()

    cdef _next_block(self, double block_weight):
        gradient = np.zeros_like(self.coef)
        loss, curvature = self._pass(gradient, bound=True)
        self.loss_sum += loss
        gradient[:self.block.n_features] += self.alpha * block_weight * self.coef[:self.block.n_features]
        known = self.curvature_weight >= ROWS_A_PARAMETER * len(self.coef)
        summed = not known or self.n_blocks % SPARSE_CURVATURE == 0
        if summed:
            self._add_curvature(curvature)
            self.curvature_weight += block_weight
            if self.weight >= STALE * self.factor_weight:
                self._factorize()
        step = self._step(gradient)
        move = self._largest_move(step)
        if not move <= TRUSTED_MOVE and self.factor_weight < self.weight:
            if not summed:
                self._add_curvature(curvature)
                self.curvature_weight += block_weight
            self._factorize()
            step = self._step(gradient)
            move = self._largest_move(step)
        if not move <= LARGEST_MOVE:
            step *= LARGEST_MOVE / move
        self.coef -= step

    cdef _pass(self, double[::1] gradient, bint bound):
        """Adds the block's gradient; returns its loss and its samples' curvatures (m,), with `bound` those of the
        quadratic bound for samples far on the wrong side."""
        cdef RowBlock block = self.block
        cdef const block_kernels *kernels = active_kernels()
        cdef const layout_kernels *of_layout = block.kernels()
        cdef design_view view = block.view()
        cdef Py_ssize_t m = block.count, i
        cdef double zero = 0.0, loss, u
        cdef double[::1] coef = self.coef, residual = np.empty(m), curvature = np.empty(m)
        cdef double *logits = &block._logits[0]
        with nogil:
            of_layout.logits(&view, 0, m, 1, &coef[0], &zero, logits, m)
            loss = kernels.bce(m, logits, &block._target[0], &block._weight[0], 1, NULL, &residual[0],
                               &curvature[0]).loss
            of_layout.add_gradient(&view, 0, m, 1, &residual[0], m, &gradient[0])
            if bound:
                for i in range(m):
                    u = fabs(logits[i])
                    if u > FAR and fabs(residual[i]) > 0.5 * block._weight[i]:
                        curvature[i] = block._weight[i] * 0.5 * tanh(0.5 * u) / u
        return loss, curvature.base

    cdef _add_curvature(self, double[::1] weight):
        """``curvature += Z' diag(weight) Z`` of the block, in the upper triangle."""
        cdef RowBlock block = self.block
        cdef const block_kernels *kernels = active_kernels()
        cdef design_view view = block.view()
        cdef double[:, ::1] gram = self.curvature
        cdef Py_ssize_t m = block.count, width = block.width, i, j
        cdef double root
        cdef double[::1] panel
        if block.sparse:
            block.kernels().add_gram(&view, 0, m, &weight[0], &gram[0, 0])
            return
        panel = np.empty(m * width)
        with nogil:
            for i in range(m):
                root = sqrt(weight[i])
                for j in range(width):
                    panel[i * width + j] = root * block._values[i * width + j]
            kernels.add_rank_update(m, width, &panel[0], &gram[0, 0])

    cdef _factorize(self):
        """Factor the curvature of all samples so far, as those whose curvature was summed tell it."""
        cdef Py_ssize_t p = self.block.n_features + self.fit_intercept
        cdef int size = <int>p, stride = <int>self.block.width, info = 1
        cdef double share = self.weight / self.curvature_weight if self.curvature_weight else 1.0
        cdef double loading = LOADING
        cdef double[:, ::1] factor
        diagonal = share * np.diagonal(self.curvature).copy()
        diagonal[:self.block.n_features] += self.alpha * self.weight
        scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        self.factor_weight, self.scale = self.weight, scale
        while p and info != 0 and loading < 1.0:
            np.multiply(self.curvature, share * scale[:, np.newaxis], out=self.factor)
            self.factor *= scale
            self.factor[np.arange(p), np.arange(p)] = 1.0 + loading
            factor = self.factor
            with nogil:
                dpotrf(b"L", &size, &factor[0, 0], &stride, &info)  # the upper triangle, as LAPACK reads it
            loading *= 100.0
        if info:
            self.factor[:] = np.eye(len(scale))

    cdef _step(self, gradient):
        """``H^-1 gradient`` with the curvature scaled to all samples so far."""
        cdef int size = <int>(self.block.n_features + self.fit_intercept), stride = <int>self.block.width
        cdef int one = 1, info
        cdef double[:, ::1] factor = self.factor
        step = gradient * self.scale
        cdef double[::1] x = step
        if size:
            with nogil:
                dpotrs(b"L", &size, &one, &factor[0, 0], &stride, &x[0], &size, &info)
        step *= self.scale * (self.factor_weight / self.weight)
        return step

    cdef double _largest_move(self, const double[::1] step):
        """The largest change of a logit of the block."""
        cdef RowBlock block = self.block
        cdef design_view view = block.view()
        cdef double zero = 0.0, largest = 0.0
        cdef Py_ssize_t i
        cdef double[::1] moves = np.empty(block.count)
        block.kernels().logits(&view, 0, block.count, 1, &step[0], &zero, &moves[0], block.count)
        for i in range(block.count):
            if not fabs(moves[i]) <= largest:
                largest = fabs(moves[i])
        return largest

    cdef double _square(self):
        coef = self.coef[:self.block.n_features]
        return float(coef @ coef)

    def _solution(self):
        """Where the last step led, or, where that was a long one that nothing has verified, where it came from."""
        coef = self.coef if self.best is None or self._is_near() else self.best[1]
        d = self.block.n_features
        return coef[:d].copy(), float(coef[d]) if self.fit_intercept else 0.0


def _restored_newton(alpha, fit_intercept, block, arrays, numbers):
    cdef NewtonSteps steps = NewtonSteps(np.zeros(block.n_features), 0.0, block.sparse, alpha, fit_intercept)
    steps.block = block
    steps.coef, steps.curvature, steps.factor, steps.scale = _writable(arrays)
    (steps.weight, steps.curvature_weight, steps.factor_weight, steps.n_blocks, steps.loss_sum, steps.penalty_sum,
     steps.count, steps.gap, steps.best) = numbers
    return steps


cdef class DiagonalSteps(Steps):
    """Steps of single samples with a curvature for each column, for X with very many columns, and for L1.

    With h_j the curvature of column j so far, T the weight of the samples and v_j the sum of ``g_i x_ij + h_ij w_j``,
    the coefficients are those that minimise the sum of the samples' quadratic models, taken column by column, and the
    penalty (as in McMahan's FTRL-proximal, 2013):

        w_j = soft(v_j, alpha l1_ratio T) / (alpha (1 - l1_ratio) T + h_j)

    g_i solves ``g = s_i (p_i - sigma(u_i + g r_i))``, with r_i what the step moves the sample's logit by: a step to
    the new residual cannot overshoot. Units of the columns do not matter, and there is no rate to choose.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    alpha, l1_ratio : float
    fit_intercept : bool
    """

    cdef readonly tuple penalty
    cdef public object sums
    cdef public object curvature
    cdef sgd_rule _rule
    cdef sgd_state _state

    def __init__(self, coef, double intercept, double alpha, double l1_ratio, bint fit_intercept):
        self.penalty = alpha, l1_ratio, fit_intercept
        memset(&self._rule, 0, sizeof(sgd_rule))
        memset(&self._state, 0, sizeof(sgd_state))
        self._rule.l1, self._rule.l2 = alpha * l1_ratio, alpha * (1.0 - l1_ratio)
        self._rule.intercept_rate = fit_intercept
        self.block = RowBlock(BLOCK_ROWS, len(coef), True, False, True)
        # One sample's worth of curvature holds what it starts from.
        self.curvature = np.where(coef != 0, 0.25, 0.0)
        self.sums = self.curvature * coef
        self._state.intercept = intercept
        self._bind()

    cdef void _bind(self):
        cdef double[::1] sums = self.sums, curvature = self.curvature
        self._state.coef, self._state.curvature = &sums[0], &curvature[0]

    def __reduce__(self):
        state = self._state.intercept, self._state.intercept_curvature, self._state.t
        return _restored_diagonal, (self.penalty, self.block, self.sums, self.curvature, state,
                                    (self.loss_sum, self.penalty_sum, self.count))

    def feed(self, Rows rows, const double[::1] target, const double[::1] weight=None,
             const int32_t[::1] order=None):
        cdef double[::1] products = np.empty(rows.longest_row())
        self._state.products = &products[0]
        Steps.feed(self, rows, target, weight, order)
        self.flush()

    def end_epoch(self):
        Steps.end_epoch(self)
        self._charge(self._rule.l1, self._rule.l2)

    cdef _take_steps(self):
        cdef const block_kernels *kernels = active_kernels()
        cdef RowBlock block = self.block
        cdef sgd_rows rows
        cdef double before = self._state.t
        rows.count, rows.width, rows.values, rows.rows = block.count, block.n_features, NULL, block._rows
        rows.target, rows.weight, rows.logits_out = &block._target[0], &block._weight[0], &block._logits[0]
        rows.n_ahead, rows.ahead = 0, NULL
        with nogil:
            kernels.sgd_diagonal(&rows, &self._rule, &self._state)
        self.loss_sum += kernels.bce(block.count, rows.logits_out, rows.target, rows.weight, 1, NULL, NULL, NULL).loss
        self.count += self._state.t - before

    def _solution(self):
        total = self._state.t
        shrunk = np.sign(self.sums) * np.maximum(np.abs(self.sums) - self._rule.l1 * total, 0.0)
        scale = self._rule.l2 * total + self.curvature
        coef = np.divide(shrunk, scale, out=np.zeros_like(shrunk), where=scale > 0)
        return coef, self._state.intercept


def _restored_diagonal(penalty, block, sums, curvature, state, epoch):
    cdef DiagonalSteps steps = DiagonalSteps(np.zeros(block.n_features), 0.0, *penalty)
    steps.block = block
    steps.sums, steps.curvature = _writable((sums, curvature))
    steps._state.intercept, steps._state.intercept_curvature, steps._state.t = state
    steps.loss_sum, steps.penalty_sum, steps.count = epoch
    steps._bind()
    return steps


def adaptive_steps(coef, double intercept, bint sparse, double alpha, double l1_ratio, bint fit_intercept):
    """The steps that need no rate: Newton's, or with L1 or many columns those with a curvature for each column."""
    if l1_ratio == 0 and len(coef) <= MAX_NEWTON_FEATURES:
        return NewtonSteps(coef, intercept, sparse, alpha, fit_intercept)
    return DiagonalSteps(coef, intercept, alpha, l1_ratio, fit_intercept)


def take_epoch(steps, Py_ssize_t number, feed):
    """Epoch `number`, counted from one, of the samples that ``feed()`` feeds.

    Where the steps have exact ones, the epoch is one such from the second on, or from coefficients to start with. Then
    its mean objective is returned, else None.
    """
    exact = hasattr(steps, "begin_exact") and (number > 1 or steps.warm)
    if exact:
        steps.begin_exact()
    else:
        steps.begin_epoch()
    feed()
    steps.end_epoch()
    return steps.end_exact() if exact else None
