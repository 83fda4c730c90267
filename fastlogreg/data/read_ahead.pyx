"""A second thread that reads rows ahead of the steps."""

import _thread  # whose functions are compiled: an interrupt would find the objects of `threading` half done

from fastlogreg.data.rows cimport FedSamples, RowBlock

cdef extern from "handoff.h":
    void hand_over(Py_ssize_t *counter, Py_ssize_t value) noexcept nogil
    Py_ssize_t handed_over(const Py_ssize_t *counter) noexcept nogil
    void wait_a_moment() noexcept nogil
    void give_way() noexcept nogil

# Looks for a block before its reader is taken to have no core of its own: some tens of microseconds.
cdef Py_ssize_t LOOKS = 2000
# Looks of the reader for a free place before it lets other threads run.
cdef Py_ssize_t LOOKS_IN_TURN = 64


cdef class ReadAhead:
    """Copies the blocks of a fed from the sample `first` on, in a thread of its own, one ahead of the block in use.

    A step has to wait for the step before it, but the rows of the next step can be read meanwhile: while one thread
    computes, the other waits for memory. The steps get the same rows as without it. A block that is not there in time
    is left to the thread that wants it, so a reader without a core costs little.

    Parameters
    ----------
    fed : FedSamples
    first : int
    like : RowBlock
        Blocks are as large as this one.

    Attributes
    ----------
    n_blocks : int
        Whole blocks in the fed.
    """

    def __init__(self, FedSamples fed, Py_ssize_t first, RowBlock like):
        self._fed, self._first = fed, first
        self.n_blocks = (fed.count - first) // like.capacity
        self._even, self._odd = like.empty_copy(), like.empty_copy()
        self._wanted = self._passed = self._ready[0] = self._ready[1] = -1
        self._ended = 0
        _thread.start_new_thread(self._read, ())

    cdef RowBlock take(self, Py_ssize_t b):
        """Block b, after the one before it is done with; None if it is not there in time."""
        cdef bint ready
        with nogil:
            ready = self._await(b)
        if not ready:
            return None
        return self._odd if b % 2 else self._even

    cdef bint _await(self, Py_ssize_t b) noexcept nogil:
        cdef const Py_ssize_t *ready = &self._ready[b % 2]
        cdef Py_ssize_t _look
        hand_over(&self._wanted, b)
        for _look in range(LOOKS if self._patient else 1):
            if handed_over(ready) == b:
                self._patient = True
                return True
            wait_a_moment()
        hand_over(&self._passed, b)
        self._patient = False
        return False

    def _read(self):
        cdef RowBlock even = self._even, odd = self._odd
        with nogil:
            self._run(even, odd)
            hand_over(&self._ended, 1)

    cdef void _run(self, RowBlock even, RowBlock odd) noexcept nogil:
        cdef Py_ssize_t b = 0
        while b < self.n_blocks:
            if not (self._copy(odd, b) if b % 2 else self._copy(even, b)):
                return
            hand_over(&self._ready[b % 2], b)
            b = self._next(b + 1)

    cdef Py_ssize_t _next(self, Py_ssize_t b) noexcept nogil:
        """The block to copy, b or the first that has not been given up, once there is a place for it."""
        cdef Py_ssize_t looks = 0
        while True:
            b = max(b, handed_over(&self._passed) + 1)
            # In the place of b lies the block two before it, which may be in use.
            if b >= self.n_blocks or b <= handed_over(&self._wanted) + 1:
                return b
            looks += 1
            if looks % LOOKS_IN_TURN == 0:
                give_way()
            else:
                wait_a_moment()

    cdef bint _copy(self, RowBlock block, Py_ssize_t b) noexcept nogil:
        cdef Py_ssize_t first = self._first + b * block.capacity
        block.clear()
        cdef Py_ssize_t needed = block.room_for(self._fed, first, block.capacity)
        if not block.has_room(needed):
            with gil:
                try:
                    block.make_room(needed)
                except BaseException:  # the thread that takes the rows instead meets the error, too
                    return False
        block.copy(self._fed, first, block.capacity)
        return True

    cdef void end(self) noexcept nogil:
        """Stop reading, and wait for the thread to end: it may have a block to complete."""
        hand_over(&self._passed, self.n_blocks)
        while not handed_over(&self._ended):
            give_way()
