"""The samples whose losses quadratic models misjudge most, told by their logits at two points."""

import numpy as np

from fastlogreg.data.pointwise import cross_entropy

# Each time that new errors are learned, those remembered shrink to three tenths: a tenth led nearly separable fits to
# their ends in as many iterations, nine tenths took a third more.
DECAY = 0.3
# Samples of a block at least: their losses and curvatures stay in cache.
MIN_BLOCK_ROWS = 8 * 1024


class MisjudgedSamples:
    """The samples whose losses were lately farthest from their quadratic models.

    Parameters
    ----------
    passes : BinaryPasses
    capacity : int
        How many are remembered.

    Attributes
    ----------
    rows : ndarray of shape (m,)
        Numbers of the samples, ascending.
    """

    def __init__(self, passes, capacity):
        self._passes, self._capacity = passes, capacity
        self.rows, self._errors = np.zeros(0, dtype=np.intp), np.zeros(0)

    def learn(self, start, end, t):
        """Remember the samples that their quadratic models at `start` misjudge most at ``start + t (end - start)``, two
        handles. No pass over X.
        """
        n, least = self._passes.n_samples, 0.0
        block_rows = max(MIN_BLOCK_ROWS, self._capacity)
        rows, errors = np.zeros(0, dtype=np.intp), np.zeros(0)
        for first in range(0, n, block_rows):
            block = slice(first, min(first + block_rows, n))
            of_block = self._errors_at(start, end, t, block)
            known = slice(*np.searchsorted(self.rows, (block.start, block.stop)))
            places = self.rows[known] - first
            of_block[places] = np.fmax(of_block[places], DECAY * self._errors[known])
            places = np.flatnonzero(of_block > least)
            rows, errors = np.concatenate([rows, places + first]), np.concatenate([errors, of_block[places]])
            if len(rows) > self._capacity:
                kept = np.sort(np.argpartition(-errors, self._capacity)[: self._capacity])
                rows, errors = rows[kept], errors[kept]
                least = errors.min()
        self.rows, self._errors = rows, errors

    def _errors_at(self, start, end, t, block):
        """How far the losses of a block of samples are from their quadratic models at `start`."""
        samples, logits = self._passes.samples.take(block), start.logits[block]
        target, weight = samples.target, samples.weight
        loss, residual, curvature, loss_there = np.empty((4, len(logits)))
        cross_entropy(logits, target, weight, loss_out=loss, residual_out=residual, curvature_out=curvature)
        with np.errstate(invalid="ignore", over="ignore"):  # a step may be far too long
            change = t * (end.logits[block] - logits)
            cross_entropy(logits + change, target, weight, loss_out=loss_there)
            return np.abs(loss_there - loss - change * (residual + 0.5 * curvature * change))
