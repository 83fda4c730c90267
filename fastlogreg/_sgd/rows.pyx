"""Rows of X in any order, copied into blocks, and what takes steps from there."""

import copy

import numpy as np

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

from fastlogreg._design cimport Design
from fastlogreg._kernels.dispatch cimport (
    PANEL_ALIGNMENT,
    C_ORDER_F64,
    CSR_F64_I32,
    active_kernels,
    design_view,
    layout_kernels,
    memory_range,
    sparse_row,
)

from fastlogreg._design import as_design

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


def writable(arrays):
    """The arrays, or copies of those that a pickle was mapped into."""
    return [array if array is None or array.flags.writeable else array.copy() for array in arrays]


def _restored_block(capacity, n_features, sparse, ones, in_place, count, arrays):
    cdef RowBlock block = RowBlock(1, n_features, sparse, ones, in_place)
    block.capacity, block.count = capacity, count
    block.values, block.columns, block.starts, block.target, block.weight, block.logits = writable(arrays)
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
        self.penalty_sum = self.count * (0.5 * l2 * float(coef @ coef) + l1 * norm)

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
