"""Rows of X in any order, gathered in blocks."""

import numpy as np
import scipy.sparse as sp

cimport cython
from libc.math cimport sqrt
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from fastlogreg.data.design cimport Design
from fastlogreg.kernels.dispatch cimport (
    PANEL_ALIGNMENT,
    C_ORDER_F64,
    CSR_F64_I32,
    active_kernels,
    design_view,
    layout_kernels,
    sgd_rows,
    sparse_row,
    target_of,
    targets,
)
from fastlogreg.data.pointwise cimport targets_of

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *) noexcept nogil

cdef extern from "half.h":
    double double_of_half(uint16_t half) noexcept nogil

cdef extern from "prefetch.h":
    void ask_for_bytes(const void *begin, Py_ssize_t size) noexcept nogil

# How far ahead memory is asked for where samples come in random order: rows to be copied, 32 samples ahead; rows that
# stay in place, 8192 bytes ahead, which the first-level cache holds beside the rows at work, but at most 32 samples;
# targets and weights, a block ahead.
cdef Py_ssize_t AHEAD = 32
cdef Py_ssize_t BYTES_AHEAD = 8192

ctypedef fused real:
    float
    double

ctypedef fused whole:
    int8_t
    uint8_t
    int16_t
    uint16_t
    int32_t
    uint32_t
    int64_t
    uint64_t

ctypedef fused index:
    int32_t
    int64_t

_TYPES = {
    "f8": DOUBLE, "f4": SINGLE, "f2": HALF, "b1": UINT8, "i1": INT8, "u1": UINT8, "i2": INT16, "u2": UINT16,
    "i4": INT32, "u4": UINT32, "i8": INT64, "u8": UINT64,
}


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


cpdef Py_ssize_t padded(Py_ssize_t n) noexcept:
    """n, rounded up to fill whole vectors of the kernels."""
    return (n + PANEL_ALIGNMENT - 1) // PANEL_ALIGNMENT * PANEL_ALIGNMENT


@cython.final
cdef class Rows:
    """The rows of X (n, d), to be copied one by one: of a design matrix, or of an array of any real type.

    Made by `fastlogreg.data.layouts.as_rows`.
    """

    def __init__(self, X):
        cdef Design design
        self._keep_alive = X
        if isinstance(X, Design):
            design, X = X, X.X
            self.sparse, self._values = design.is_sparse, <const char *>design.view.values
        else:
            self.sparse, self._values = False, <const char *><size_t>X.ctypes.data
        self.n_samples, self.n_features = X.shape
        if max(X.shape) >= 2**31:
            raise ValueError(f"X is {self.n_samples} x {self.n_features}: there is room for 2^31 at most")
        self._type, self._item_bytes = _TYPES[X.dtype.str[1:]], X.dtype.itemsize
        if self.sparse:
            self._wide_indices = design.index_bytes == 8
            self._columns, self._starts = design.view.columns, design.view.row_starts
        else:
            self._row_stride, self._column_stride = X.strides

    @property
    def X(self):
        """The array of all rows, or their CSR matrix, whose index arrays are as `checked_indices` leaves them."""
        return self._keep_alive.X if isinstance(self._keep_alive, Design) else self._keep_alive

    cdef Py_ssize_t row_entries(self, Py_ssize_t i) noexcept nogil:
        """Stored entries of row i."""
        if self._wide_indices:
            return (<const int64_t *>self._starts)[i + 1] - (<const int64_t *>self._starts)[i]
        return (<const int32_t *>self._starts)[i + 1] - (<const int32_t *>self._starts)[i]

    cdef Py_ssize_t longest_row(self):
        """Stored entries of the fullest row, and room for one more."""
        return 1 + (self._keep_alive.longest_row if self.sparse else self.n_features)

    cdef void copy_dense(self, Py_ssize_t i, double *out) noexcept nogil:
        """Row i, zeros and all."""
        cdef const char *row = self._values + i * self._row_stride
        cdef Py_ssize_t d = self.n_features, stride = self._column_stride
        if self.sparse:
            self._spread(i, out)
        elif self._type == DOUBLE:
            _copy_dense(<const double *>row, d, stride, out)
        elif self._type == SINGLE:
            _copy_dense(<const float *>row, d, stride, out)
        elif self._type == UINT8:
            _copy_whole(<const uint8_t *>row, d, stride, out)
        elif self._type == HALF:
            _copy_half(row, d, stride, out)
        elif self._type == INT8:
            _copy_whole(<const int8_t *>row, d, stride, out)
        elif self._type == INT16:
            _copy_whole(<const int16_t *>row, d, stride, out)
        elif self._type == UINT16:
            _copy_whole(<const uint16_t *>row, d, stride, out)
        elif self._type == INT32:
            _copy_whole(<const int32_t *>row, d, stride, out)
        elif self._type == UINT32:
            _copy_whole(<const uint32_t *>row, d, stride, out)
        elif self._type == INT64:
            _copy_whole(<const int64_t *>row, d, stride, out)
        else:
            _copy_whole(<const uint64_t *>row, d, stride, out)

    cdef void _spread(self, Py_ssize_t i, double *out) noexcept nogil:
        cdef Py_ssize_t k, j, begin = (self.row_begin(i) - self._values) // self._item_bytes
        memset(out, 0, self.n_features * sizeof(double))
        for k in range(begin, begin + self.row_entries(i)):
            j = (<const int64_t *>self._columns)[k] if self._wide_indices else (<const int32_t *>self._columns)[k]
            out[j] += (<const float *>self._values)[k] if self._type == SINGLE else (<const double *>self._values)[k]

    cdef void copy_sparse(self, Py_ssize_t i, double *values, int32_t *columns) noexcept nogil:
        """Row i of CSR."""
        if self._wide_indices:
            if self._type == SINGLE:
                _copy_sparse(<const float *>self._values, <const int64_t *>self._columns,
                             <const int64_t *>self._starts, i, values, columns)
            else:
                _copy_sparse(<const double *>self._values, <const int64_t *>self._columns,
                             <const int64_t *>self._starts, i, values, columns)
        elif self._type == SINGLE:
            _copy_sparse(<const float *>self._values, <const int32_t *>self._columns, <const int32_t *>self._starts,
                         i, values, columns)
        else:
            _copy_sparse(<const double *>self._values, <const int32_t *>self._columns, <const int32_t *>self._starts,
                         i, values, columns)

    cdef bint holds_doubles(self, bint sparse) noexcept nogil:
        """Whether rows lie in memory as kernels read them: contiguous doubles, and for CSR 32-bit columns."""
        if self._type != DOUBLE or self.sparse != sparse:
            return False
        return not self._wide_indices if sparse else self._column_stride == sizeof(double)

    cdef sparse_row row_in_place(self, Py_ssize_t i) noexcept nogil:
        """Row i where it lies, if X `holds_doubles`."""
        cdef sparse_row row
        cdef Py_ssize_t begin
        if self.sparse:
            begin = (<const int32_t *>self._starts)[i]
            row.values = <const double *>self._values + begin
            row.columns = <const int32_t *>self._columns + begin
            row.count = self.row_entries(i)
        else:
            row.values, row.columns = <const double *>(self._values + i * self._row_stride), NULL
            row.count = self.n_features
        return row

    cdef const char *row_begin(self, Py_ssize_t i) noexcept nogil:
        """Where the values of row i begin."""
        cdef Py_ssize_t size = self._item_bytes
        if not self.sparse:
            return self._values + i * self._row_stride
        if self._wide_indices:
            return self._values + size * (<const int64_t *>self._starts)[i]
        return self._values + size * (<const int32_t *>self._starts)[i]

    cdef const char *columns_begin(self, Py_ssize_t i) noexcept nogil:
        """Where the columns of row i of CSR begin."""
        if self._wide_indices:
            return <const char *>self._columns + 8 * (<const int64_t *>self._starts)[i]
        return <const char *>self._columns + 4 * (<const int32_t *>self._starts)[i]

    cdef Py_ssize_t index_bytes(self) noexcept nogil:
        """What a column of CSR takes in memory."""
        return 8 if self._wide_indices else 4

    cdef Py_ssize_t row_bytes(self, Py_ssize_t i) noexcept nogil:
        """What the values of row i take in memory, or 0 where they are not contiguous."""
        cdef Py_ssize_t size = self._item_bytes
        if self.sparse:
            return size * self.row_entries(i)
        return size * self.n_features if self._column_stride == size else 0

    cdef Py_ssize_t mean_row_bytes(self) noexcept nogil:
        """What a row takes in memory, on average: its values and, for CSR, about what its columns take."""
        if not self.sparse:
            return self.row_bytes(0)
        return (self.row_begin(self.n_samples) - self._values) // self.n_samples * 3 // 2


@cython.final
cdef class FedSamples:
    """Some samples of X in their order: those of one call of `Steps.feed`."""

    def __init__(self, Rows rows, target, const double[::1] weight, const int32_t[::1] order):
        self.rows, self._weight, self._order = rows, weight, order
        self._target, self._keep_alive = targets_of(target, rows.n_samples), target
        if weight is not None and weight.shape[0] != rows.n_samples:
            raise ValueError(f"{weight.shape[0]} weights for {rows.n_samples} samples")
        self.count = rows.n_samples if order is None else order.shape[0]

    cdef Py_ssize_t sample(self, Py_ssize_t k) noexcept nogil:
        """The row of X that comes k-th."""
        return k if self._order is None else self._order[k]

    cdef Py_ssize_t bytes(self):
        """What the samples' rows take in X, about."""
        return self.count * (self.rows.mean_row_bytes() if self.rows.sparse else self.rows.n_features * sizeof(double))

    cdef Py_ssize_t entries(self, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
        """Stored entries of the n samples from `first` on; of dense rows, all columns."""
        cdef Py_ssize_t k, entries = 0
        if not self.rows.sparse:
            return n * self.rows.n_features
        for k in range(first, first + n):
            entries += self.rows.row_entries(self.sample(k))
        return entries


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


cdef inline void _copy_whole(const whole *row, Py_ssize_t n_features, Py_ssize_t stride, double *out) noexcept nogil:
    cdef Py_ssize_t j
    if stride == sizeof(whole):
        for j in range(n_features):
            out[j] = <double>row[j]
    else:
        for j in range(n_features):
            out[j] = <double>(<const whole *>(<const char *>row + j * stride))[0]


cdef inline void _copy_half(const char *row, Py_ssize_t n_features, Py_ssize_t stride, double *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n_features):
        out[j] = double_of_half((<const uint16_t *>(row + j * stride))[0])


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
    """Some rows as doubles, with their targets and weights; copies of dense rows are padded with zeros.

    With `ones`, each row ends with a one in column n_features. With `in_place`, rows that hold doubles stay where they
    are until `own` copies them; then `rows` has the rows, and `view` has not.
    """

    def __init__(self, Py_ssize_t capacity, Py_ssize_t n_features, bint sparse, bint ones, bint in_place):
        self.capacity, self.n_features, self.sparse, self.ones = capacity, n_features, sparse, ones
        self.in_place = in_place
        self.width = padded(n_features + ones)
        self.values = np.zeros(capacity if sparse else capacity * self.width)
        self.columns = np.zeros(capacity if sparse else 1, dtype=np.int32)
        self.starts = np.zeros(capacity + 1, dtype=np.int32)
        self.target, self.weight, self.logits = np.zeros((3, capacity))
        self._places = np.zeros((capacity + AHEAD) * sizeof(sparse_row), dtype=np.uint8)
        self._rows = <sparse_row *><size_t>self._places.ctypes.data
        self._bind()

    cdef void _bind(self):
        cdef Py_ssize_t at
        self._values, self._columns, self._starts = self.values, self.columns, self.starts
        self._target, self._weight, self._logits = self.target, self.weight, self.logits
        self._residual = np.empty(self.capacity)
        for at in range(self._n_copied):
            self._point_to_copy(at)

    def __reduce__(self):
        if not self.count:  # what is left of rows before is nobody's
            return RowBlock, (self.capacity, self.n_features, self.sparse, self.ones, self.in_place)
        arrays = self.values, self.columns, self.starts, self.target, self.weight, self.logits
        return _restored_block, (
            self.capacity, self.n_features, self.sparse, self.ones, self.in_place, self.count, arrays)

    cdef Py_ssize_t append(self, FedSamples fed, Py_ssize_t first):
        """Take the fed's samples from `first` on until the block is full; returns how many were taken."""
        cdef Py_ssize_t n = min(self.capacity - self.count, fed.count - first)
        cdef bint stay = not self.copies(fed.rows)
        if not stay:
            self.make_room(self.room_for(fed, first, n))
        with nogil:
            if stay:
                self._point_to_rows(fed, first, n)
            else:
                self.copy(fed, first, n)
        return n

    cdef bint copies(self, Rows rows) noexcept nogil:
        """Whether rows of this X are copied, and do not stay in place."""
        return not (self.in_place and rows.holds_doubles(self.sparse))

    cdef void copy(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
        """Take n samples as copies, for whose entries there is room."""
        self._copy_rows(fed, fed.rows, first, n)
        self._gather(fed, first, n)
        self._ahead = self._n_ahead = 0
        self.count += n

    cdef void _point_to_rows(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t k
        self._gather(fed, first, n)
        self._ahead = max(1, min(AHEAD, BYTES_AHEAD // (fed.rows.mean_row_bytes() + 1)))
        self._n_ahead = min(self._ahead, fed.count - first - n)
        for k in range(n + self._n_ahead):
            self._rows[self.count + k] = fed.rows.row_in_place(fed.sample(first + k))
        self.count += n

    cdef void _gather(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
        """The samples' targets and weights."""
        cdef Py_ssize_t k, i, later
        cdef targets target = fed._target
        cdef const double *weight = &fed._weight[0] if fed._weight is not None else NULL
        cdef const int32_t *order = &fed._order[0] if fed._order is not None else NULL
        cdef double *target_out = &self._target[0] + self.count - first
        cdef double *weight_out = &self._weight[0] + self.count - first
        for k in range(first, first + n):
            i = fed.sample(k)
            if order != NULL and k + self.capacity < fed.count:
                later = order[k + self.capacity]
                if target.label != NULL:
                    prefetch(target.label + later)
                else:
                    prefetch(target.prob + later)
                if weight != NULL:
                    prefetch(weight + later)
            target_out[k] = target_of(target, i)
            weight_out[k] = weight[i] if weight != NULL else 1.0

    cdef void _copy_rows(self, FedSamples fed, Rows rows, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t k, later, size
        for k in range(first, first + n):
            if fed._order is not None and k + AHEAD < fed.count:
                later = fed._order[k + AHEAD]
                size = rows.row_bytes(later)
                if size:
                    ask_for_bytes(rows.row_begin(later), size)
                    if rows.sparse:
                        ask_for_bytes(rows.columns_begin(later), rows.row_entries(later) * rows.index_bytes())
            self._copy(rows, fed.sample(k))

    cdef void _copy(self, Rows rows, Py_ssize_t i) noexcept nogil:
        """Row i becomes the next copy."""
        cdef Py_ssize_t at = self._n_copied
        if self.sparse:
            self._starts[at + 1] = <int32_t>self._copy_entries(rows, i, self._starts[at])
        else:
            rows.copy_dense(i, &self._values[at * self.width])
            if self.ones:
                self._values[at * self.width + self.n_features] = 1.0
        self._point_to_copy(at)
        self._n_copied = at + 1

    cdef void _point_to_copy(self, Py_ssize_t at) noexcept nogil:
        cdef sparse_row *row = self._rows + at
        if self.sparse:
            row.values, row.columns = &self._values[0] + self._starts[at], &self._columns[0] + self._starts[at]
            row.count = self._starts[at + 1] - self._starts[at]
        else:
            row.values, row.columns, row.count = &self._values[at * self.width], NULL, self.n_features

    cdef Py_ssize_t _copy_entries(self, Rows rows, Py_ssize_t i, Py_ssize_t end) noexcept nogil:
        """Row i as CSR entries from `end` on; returns where they end."""
        cdef Py_ssize_t j
        cdef double *row
        if rows.sparse:
            rows.copy_sparse(i, &self._values[0] + end, &self._columns[0] + end)
            end += rows.row_entries(i)
        else:
            row = &self._values[0] + end
            rows.copy_dense(i, row)
            for j in range(self.n_features):  # those that are not zero move up
                self._values[end], self._columns[end] = row[j], <int32_t>j
                end += row[j] != 0.0
        if self.ones:
            self._values[end], self._columns[end] = 1.0, <int32_t>self.n_features
            end += 1
        return end

    cdef Py_ssize_t room_for(self, FedSamples fed, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
        """Entries that there must be room for when the next n samples are copied."""
        return self._starts[self._n_copied] + fed.entries(first, n) + n if self.sparse else 0

    cdef bint has_room(self, Py_ssize_t n_entries) noexcept nogil:
        return n_entries <= self._values.shape[0]

    cdef void make_room(self, Py_ssize_t n_entries):
        if not self.has_room(n_entries):
            if n_entries >= 2**31:
                raise ValueError("rows of X have too many entries")
            self.values = np.append(self.values, np.zeros(2 * n_entries - len(self.values)))
            self.columns = np.append(self.columns, np.zeros(2 * n_entries - len(self.columns), dtype=np.int32))
            self._bind()

    cdef void own(self):
        """Copy the rows that lie in X, which may be gone after the call that fed them."""
        cdef Py_ssize_t at, begin, needed
        cdef sparse_row row
        if self.sparse:
            needed = self._starts[self._n_copied]
            for at in range(self._n_copied, self.count):
                needed += self._rows[at].count
            self.make_room(needed)
        for at in range(self._n_copied, self.count):
            row = self._rows[at]
            begin = self._starts[at] if self.sparse else at * self.width
            memcpy(&self._values[0] + begin, row.values, row.count * sizeof(double))
            if self.sparse:
                memcpy(&self._columns[0] + begin, row.columns, row.count * sizeof(int32_t))
                self._starts[at + 1] = <int32_t>(begin + row.count)
            self._point_to_copy(at)
        self._n_copied = self.count
        self._n_ahead = 0

    cdef RowBlock empty_copy(self):
        """A block of the same kind with nothing in it."""
        return RowBlock(self.capacity, self.n_features, self.sparse, self.ones, self.in_place)

    cdef RowBlock fork(self):
        """A block with the same copied rows, which takes more of them while this one stays as it is: it shares the
        memory up to `own_arrays`. From then on this block must take no rows unless the fork is given up.
        """
        cdef RowBlock block = RowBlock.__new__(RowBlock)
        block.capacity, block.n_features, block.sparse, block.ones = (
            self.capacity, self.n_features, self.sparse, self.ones)
        block.in_place, block.width, block.count, block._n_copied = (
            self.in_place, self.width, self.count, self._n_copied)
        block.values, block.columns, block.starts = self.values, self.columns, self.starts
        block.target, block.weight, block.logits = self.target, self.weight, self.logits
        block._values, block._columns, block._starts = self._values, self._columns, self._starts
        block._target, block._weight, block._logits = self._target, self._weight, self._logits
        block._residual, block._places, block._rows = self._residual, self._places, self._rows
        block._shared = True
        return block

    cdef own_arrays(self):
        """End sharing memory with another block, before rows that wait are changed or make way to others."""
        cdef Py_ssize_t used
        if not self._shared:
            return
        self._shared = False
        values, columns = self.values, self.columns
        used = self._starts[self._n_copied] if self.sparse else self._n_copied * self.width
        self.values, self.columns = np.zeros_like(values), np.zeros_like(columns)
        self.values[:used] = values[:used]
        if self.sparse:
            self.columns[:used] = columns[:used]
        self.starts, self.target, self.weight = self.starts.copy(), self.target.copy(), self.weight.copy()
        places = self._places.copy()  # with the rows that are not copied
        self._places, self._rows = places, <sparse_row *><size_t>places.ctypes.data
        self._bind()

    def waiting(self, Py_ssize_t first):
        """X (m, d), targets and weights of the copied rows that wait, from number `first` on."""
        d, m = self.n_features, self.count
        if self.sparse:
            begin, end = self.starts[first], self.starts[m]
            shape = m - first, d + self.ones
            entries = self.values[begin:end], self.columns[begin:end]
            X = sp.csr_matrix((*entries, self.starts[first:m + 1] - begin), shape)[:, :d]
        else:
            X = self.values.reshape(self.capacity, self.width)[first:m, :d]
        return X, self.target[first:m], self.weight[first:m]

    cdef void clear(self) noexcept nogil:
        self.count = self._n_copied = 0

    cdef sgd_rows rows(self) noexcept nogil:
        """The rows, and those of X that are known to come next."""
        cdef sgd_rows rows
        rows.count, rows.width, rows.rows = self.count, self.n_features, self._rows
        rows.ahead, rows.n_ahead = self._ahead, self._n_ahead
        rows.target, rows.weight, rows.logits_out = &self._target[0], &self._weight[0], &self._logits[0]
        rows.batch_size, rows.residual = 1, &self._residual[0]
        return rows

    cdef design_view view(self) noexcept nogil:
        cdef design_view view
        view.values, view.row_starts = &self._values[0], &self._starts[0]
        view.columns = &self._columns[0] if self.sparse else NULL
        view.n_samples, view.n_features, view.stride = self.count, self.width, self.width
        return view

    cdef const layout_kernels *kernels(self) noexcept nogil:
        return active_kernels().of_layout[CSR_F64_I32 if self.sparse else C_ORDER_F64]

    cdef moments(self):
        """The copied rows' weight, their columns' weighted means (d,), and the weighted squares about these (d,).

        Sums are of differences from the first row, so that a column that does not vary has exactly its value as mean.
        """
        cdef Py_ssize_t d = self.n_features, m = self.count, i, j, k
        cdef double[::1] pivot = np.zeros(d), mean = np.zeros(d), squares = np.zeros(d), present = np.zeros(d)
        cdef double total = 0.0, weight, value
        for i in range(m):
            total += self._weight[i]
        if self.sparse:
            for k in range(self._starts[0], self._starts[1]):
                if self._columns[k] < d:
                    pivot[self._columns[k]] = self._values[k]
            for i in range(m):
                for k in range(self._starts[i], self._starts[i + 1]):
                    j = self._columns[k]
                    if j < d:
                        present[j] += self._weight[i]
                        mean[j] += self._weight[i] * (self._values[k] - pivot[j])
            for j in range(d):
                mean[j] = pivot[j] + (mean[j] - pivot[j] * (total - present[j])) / total
            for i in range(m):
                for k in range(self._starts[i], self._starts[i + 1]):
                    j = self._columns[k]
                    if j < d:
                        squares[j] += self._weight[i] * (self._values[k] - mean[j])**2
            for j in range(d):
                squares[j] += max(total - present[j], 0.0) * mean[j]**2
        else:
            with nogil:
                for j in range(d):
                    pivot[j] = self._values[j]
                for i in range(m):
                    weight = self._weight[i]
                    for j in range(d):
                        mean[j] += weight * (self._values[i * self.width + j] - pivot[j])
                for j in range(d):
                    mean[j] = pivot[j] + mean[j] / total
                for i in range(m):
                    weight = self._weight[i]
                    for j in range(d):
                        value = self._values[i * self.width + j] - mean[j]
                        squares[j] += weight * value * value
        return total, np.asarray(mean), np.asarray(squares)

    cdef subtract(self, const double[::1] origin):
        """Measure the copied rows from an origin (d,), zero but for columns that are there in nearly all rows."""
        cdef Py_ssize_t i, j
        if self.sparse:
            self._subtract_from_entries(origin)
            return
        with nogil:
            for i in range(self.count):
                for j in range(self.n_features):
                    self._values[i * self.width + j] -= origin[j]

    cdef _subtract_from_entries(self, const double[::1] origin):
        cdef int32_t[::1] met = np.zeros(self.n_features, dtype=np.int32)
        cdef int32_t[::1] missing = np.zeros(self.count, dtype=np.int32)
        cdef Py_ssize_t i, j, k, n_moved = np.count_nonzero(origin), n_missing = 0
        for i in range(self.count):
            missing[i] = <int32_t>n_moved
            for k in range(self._starts[i], self._starts[i + 1]):
                j = self._columns[k]
                if j < self.n_features and origin[j] != 0.0 and met[j] <= i:  # entries of one column add up
                    met[j] = <int32_t>(i + 1)
                    self._values[k] -= origin[j]
                    missing[i] -= 1
            n_missing += missing[i]
        if n_missing:
            self.make_room(self._starts[self.count] + n_missing)
            self._append_missing(origin, missing)

    cdef _append_missing(self, const double[::1] origin, const int32_t[::1] missing):
        """Give each row entries of the columns that it lacks and that have an origin, from the last row to the first,
        as rows move up.
        """
        cdef Py_ssize_t i, j, k, end, start, count, ahead = np.sum(missing)
        cdef int32_t[::1] columns = np.flatnonzero(origin).astype(np.int32)
        for i in range(self.count - 1, -1, -1):
            start, count = self._starts[i], self._starts[i + 1] - self._starts[i]
            self._starts[i + 1] += <int32_t>ahead
            ahead -= missing[i]
            memmove(&self._values[0] + start + ahead, &self._values[0] + start, count * sizeof(double))
            memmove(&self._columns[0] + start + ahead, &self._columns[0] + start, count * sizeof(int32_t))
            end = start + ahead + count
            for k in range(columns.shape[0] if missing[i] else 0):
                j = columns[k]
                if not self._has_entry(start + ahead, count, j):
                    self._values[end], self._columns[end] = -origin[j], <int32_t>j
                    end += 1
        self._bind()

    cdef bint _has_entry(self, Py_ssize_t start, Py_ssize_t count, Py_ssize_t column) noexcept nogil:
        cdef Py_ssize_t k
        for k in range(start, start + count):
            if self._columns[k] == column:
                return True
        return False

    cdef add_gram(self, const Py_ssize_t[::1] drawn, const double[::1] weight, double *gram):
        """``gram += Z' diag(weight) Z`` in the upper triangle, Z the drawn rows, or all of them for None."""
        cdef design_view view = self.view()
        cdef Py_ssize_t m = weight.shape[0], i, j
        cdef const double *row
        cdef double root
        cdef double[::1] panel
        if self.sparse:
            with nogil:
                if drawn is None:
                    self.kernels().add_gram(&view, 0, m, &weight[0], gram)
                else:
                    for i in range(m):
                        self.kernels().add_gram(&view, drawn[i], 1, &weight[i], gram)
            return
        panel = np.empty(m * self.width)
        with nogil:
            for i in range(m):
                root = sqrt(weight[i])
                row = &self._values[(i if drawn is None else drawn[i]) * self.width]
                for j in range(self.width):
                    panel[i * self.width + j] = root * row[j]
            active_kernels().add_rank_update(m, self.width, &panel[0], gram)


def writable(arrays):
    """The arrays, with copies of those that are read-only because a pickle was mapped into memory."""
    return [array if array is None or array.flags.writeable else array.copy() for array in arrays]


def _restored_block(capacity, n_features, sparse, ones, in_place, count, arrays):
    cdef RowBlock block = RowBlock(capacity, n_features, sparse, ones, in_place)
    block.count = block._n_copied = count
    block.values, block.columns, block.starts, block.target, block.weight, block.logits = writable(arrays)
    block._bind()
    return block
