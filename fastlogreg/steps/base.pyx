"""What all kinds of steps share."""

import copy

import numpy as np

from libc.stdint cimport int32_t

from fastlogreg.data.read_ahead cimport ReadAhead
from fastlogreg.data.rows cimport FedSamples, RowBlock, Rows


# A second thread that reads rows ahead pays from 4 MiB of rows on, with blocks of at most 131 072 numbers.
cdef Py_ssize_t READ_AHEAD_FROM = 4 * 2**20
cdef Py_ssize_t MOST_READ_AHEAD = 2**17


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

    def begin_epoch(self):
        self.loss_sum = self.penalty_sum = self.count = 0.0

    def feed(self, Rows rows, target, const double[::1] weight=None,
             const int32_t[::1] order=None, Py_ssize_t n_threads=1):
        """Take the samples in `order`, or in theirs for None; `weight` None stands for ones.

        With more than one thread, a second one reads rows ahead where that is worth it.
        """
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
            reader.end()
        return first + reader.n_blocks * own.capacity

    def flush(self):
        """Do the steps that the waiting samples allow."""
        if self.block.count:
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
        if self.block.count:
            ended = copy.deepcopy(self)
            ended.flush()
            return ended.solution()
        return self._solution()

    cdef _take_steps(self):
        raise NotImplementedError

    def _solution(self):
        raise NotImplementedError
