"""Which samples an epoch takes, and in which order."""

import mmap

import numpy as np

from fastlogreg.data.rows import shuffle

# Bytes of a memory-mapped file that are read before their pages are given back.
MAPPED_BYTES = 64 * 2**20


class Feed:
    """The samples that an epoch takes, and their order.

    Parameters
    ----------
    rows : Rows
    target, weight : ndarray of shape (n,); weight may be None
        Of two classes the target is 0 or 1 (uint8), of more the number of the class.
    kept : ndarray of bool of shape (n,), or None for all
    seed : int, or None for the order as it is
    mapped : mmap.mmap or None
        The file under X, read in parts whose pages are given back.
    """

    def __init__(self, rows, target, weight, kept, seed, mapped):
        self.rows, self.target, self.weight, self._kept = rows, target, weight, kept
        self._fed_target = target if target.dtype == np.uint8 else target.astype(np.float64, copy=False)
        self._seed, self._mapped, self._random = seed, mapped, None
        self.n_samples = len(target)
        plain = mapped is not None or (seed is None and kept is None)
        self._order = None if plain else np.arange(self.n_samples, dtype=np.int32)

    def kept_weight(self):
        """The weights, zero for samples that no epoch takes; None stands for ones."""
        if self._kept is None:
            return self.weight
        return self._kept.astype(np.float64) if self.weight is None else np.where(self._kept, self.weight, 0.0)

    def epoch(self, steps, n_threads):
        """One epoch; with more than one thread, rows are read ahead."""
        if self._mapped is not None:
            self._feed_parts(steps, n_threads)
            return
        if self._seed is not None:
            shuffle(self._order, self._seed)
        order = self._order if self._kept is None else self._order[self._kept[self._order]]
        steps.feed(self.rows, self._fed_target, self.weight, order, n_threads)

    def _feed_parts(self, steps, n_threads):
        """Parts of a mapped file in random order, each shuffled."""
        length = max(1, MAPPED_BYTES // (8 * self.rows.n_features))
        starts = np.arange(0, self.n_samples, length)
        if self._seed is not None:
            self._random = self._random or np.random.default_rng(self._seed)
            self._random.shuffle(starts)
        for start in starts:
            order = np.arange(start, min(start + length, self.n_samples), dtype=np.int32)
            if self._kept is not None:
                order = order[self._kept[order]]
            if self._seed is not None:
                self._random.shuffle(order)
            steps.feed(self.rows, self._fed_target, self.weight, order, n_threads)
            self._mapped.madvise(mmap.MADV_DONTNEED)


def memory_map(X):
    """The map under a large array that reads a file, where its pages may be given back, else None."""
    if getattr(X, "nbytes", 0) <= MAPPED_BYTES:
        return None
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap) and X.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
            return X._mmap
        X = X.base
    return None
