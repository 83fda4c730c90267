"""What all kinds of steps share."""

import copy

import numpy as np

from libc.stdint cimport int32_t

from fastlogreg.data.read_ahead cimport ReadAhead
from fastlogreg.data.rows cimport FedSamples, RowBlock, Rows


# A second thread that reads rows ahead pays from 4 MiB of rows on, with blocks of at most 131 072 numbers.
cdef Py_ssize_t READ_AHEAD_FROM = 4 * 2**20
cdef Py_ssize_t MOST_READ_AHEAD = 2**17
# Up to 64 columns the steps of the rows that wait take no longer than a call.
cdef Py_ssize_t MAX_EXACT_WIDTH = 64


cdef class Steps:
    """What all kinds of steps share: rows are fed, steps are done whenever enough of them are there.

    Attributes
    ----------
    rows_a_step : int
        The rows that a step waits for.
    loss_sum, penalty_sum, count : float
        Sums over the samples since `begin_epoch`: the cross-entropy of each before its step, and the penalty then or,
        where that would take long, at the end of the epoch.
    """

    def __deepcopy__(self, memo):
        """A copy in all, samples that wait for their step among it."""
        restore, state = self._snapshot()
        return restore(*copy.deepcopy(state, memo))

    def __reduce__(self):
        """What a pickle keeps: see `settle`."""
        settled = self.fork()
        settled.settle()
        return settled._snapshot()

    def settle(self):
        """Take the steps that samples wait for; keep no row, and no more than a few numbers for each coefficient."""
        self.flush()

    def _snapshot(self):
        """What restores the steps as they are: a function, and its arguments."""
        raise NotImplementedError

    def begin_stream(self):
        """Be ready for a stream that asks for a solution after few rows at a time."""

    def begin_epoch(self):
        self.loss_sum = self.penalty_sum = self.count = 0.0

    def feed(self, Rows rows, target, const double[::1] weight=None,
             const int32_t[::1] order=None, Py_ssize_t n_threads=1):
        """Take the samples in `order`, or in theirs for None; `weight` None stands for ones.

        With more than one thread, a second one reads rows ahead where that is worth it.
        """
        if rows.n_features != self.block.n_features:
            raise ValueError(f"X has {rows.n_features} features, the steps before had {self.block.n_features}")
        cdef FedSamples fed = FedSamples(rows, target, weight, order)
        cdef Py_ssize_t done = 0
        if self.block.count and fed.count:
            done = self._append(fed, 0)
        if n_threads > 1 and self._worth_reading_ahead(fed):
            done = self._feed_ahead(fed, done)
        while done < fed.count:
            done += self._append(fed, done)
        if self.block.count % self.rows_a_step == 0:
            self.flush()
        else:
            self.block.own()

    cdef Py_ssize_t _append(self, FedSamples fed, Py_ssize_t first):
        cdef Py_ssize_t n = self.block.append(fed, first)
        if self.block.count == self.block.capacity:
            self.flush()
        return n

    cdef bint _worth_reading_ahead(self, FedSamples fed):
        """Whether a second thread is to read rows ahead. Rows that stay in place are prefetched by the steps."""
        return (self.block.count == 0 and self.block.copies(fed.rows) and fed.bytes() >= READ_AHEAD_FROM
                and self.block.capacity * self.block.width <= MOST_READ_AHEAD)

    cdef Py_ssize_t _feed_ahead(self, FedSamples fed, Py_ssize_t first):
        """Take whole blocks from the sample `first` on; returns the sample after them."""
        cdef RowBlock own = self.block, read
        cdef ReadAhead reader = ReadAhead(fed, first, own)
        cdef Py_ssize_t b
        try:
            for b in range(reader.n_blocks):
                read = reader.take(b)
                if read is None:
                    own.append(fed, first + b * own.capacity)
                else:
                    self.block = read
                self.flush()
                self.block = own
        finally:
            self.block = own
            with nogil:
                reader.end()
        return first + reader.n_blocks * own.capacity

    def flush(self):
        """Do the steps that the waiting samples allow."""
        if self.block.count:
            self.block.own_arrays()
            self._take_steps()
            self.block.clear()

    def end_epoch(self):
        """Do the steps that wait, and complete the sums."""
        self.flush()

    cdef _centre(self, origin):
        """Measure the waiting rows from the stream's `Origin`, which may follow them; returns what was added to it."""
        shift = origin.admit(*self.block.moments())
        if origin.value.any():
            self.block.subtract(origin.value)
        return shift

    cdef _charge(self, double l1, double l2):
        """The penalty of all samples at the coefficients that the epoch ends with."""
        coef, _ = self._solution()
        norm = float(np.abs(coef).sum()) if l1 else 0.0
        self.penalty_sum = self.count * (0.5 * l2 * float(np.vdot(coef, coef)) + l1 * norm)

    def solution(self):
        """The coefficients and intercepts that the steps would lead to if the stream ended here."""
        if self.block.count == 0:
            return self._solution()
        if self.block.width > MAX_EXACT_WIDTH:
            return self._provisional()
        ended = self.fork()
        ended.flush()
        return ended.solution()

    def fork(self):
        """Steps that go on from these, which stay as they are; what is large is shared until it changes."""
        cdef Steps other = self._fork()
        other.block, other.rows_a_step = self.block.fork(), self.rows_a_step
        other.loss_sum, other.penalty_sum, other.count = self.loss_sum, self.penalty_sum, self.count
        return other

    cdef Steps _fork(self):
        """`fork` without what all steps have."""
        raise NotImplementedError

    cdef _provisional(self):
        """A solution at little cost from the rows that wait, where it takes many columns long to do their steps."""
        ended = self.fork()
        ended.flush()
        return ended.solution()

    cdef _take_steps(self):
        raise NotImplementedError

    def _solution(self):
        raise NotImplementedError
