"""What is known of the samples beside X: targets, weights and offsets, which travel and are cut together."""

import numpy as np


class Samples:
    """Targets, weights and offsets of n samples.

    Parameters
    ----------
    target : ndarray
        Of two classes (n,): labels 0 and 1 in a byte each (uint8), or probabilities of the second class (float64). Of
        K >= 3 classes their numbers in [0, K) (n,), intp, or probabilities (n, K), float64, whose rows sum to one.
    weight : ndarray of shape (n,), float64, default=None
        Not negative, not all zero; None stands for ones.
    offset : ndarray of shape (n,) or (n, K), float64, default=None
        What is added to ``x . w + b`` in each sample's logits, in nats; None stands for zeros.
    n_classes : int, default=2

    Attributes
    ----------
    total_weight : float
    """

    def __init__(self, target, weight=None, offset=None, n_classes=2):
        self.target, self.weight, self.offset = (_as_kernels_read(array) for array in (target, weight, offset))
        self.n_classes = n_classes
        self.total_weight = float(len(target) if weight is None else np.sum(weight))
        self._check()

    def _check(self):
        n = len(self.target)
        if self.weight is not None and self.weight.shape != (n,):
            raise ValueError(f"weight is {self.weight.shape}, for {n} samples")
        rows = (n,) if self.n_classes == 2 else (n, self.n_classes)
        if self.offset is not None and self.offset.shape != rows:
            raise ValueError(f"offset is {self.offset.shape}, expected {rows}")
        if self.target.shape not in ((n,), rows):
            raise ValueError(f"target is {self.target.shape}, for {n} samples and {self.n_classes} classes")

    def __len__(self):
        return len(self.target)

    def take(self, rows):
        """The samples of these rows (m,), in their order; of a slice, views."""
        return Samples(
            self.target[rows],
            None if self.weight is None else self.weight[rows],
            None if self.offset is None else self.offset[rows],
            self.n_classes,
        )

    def with_offset(self, offset):
        """The same samples with other offsets."""
        return Samples(self.target, self.weight, offset, self.n_classes)

    @property
    def weight_or_ones(self):
        """The weights (n,)."""
        return np.ones(len(self)) if self.weight is None else self.weight

    @property
    def mean_target(self):
        """The weighted mean probability of the second of two classes (1,), or of each of K (K,)."""
        target, weight = self.target, self.weight
        if self.n_classes > 2 and target.ndim == 1:
            sums = np.bincount(target, weights=weight, minlength=self.n_classes)
        elif weight is not None:
            sums = np.atleast_1d(weight @ target)
        elif target.dtype == np.uint8:
            sums = np.array([np.count_nonzero(target)])
        else:
            sums = np.atleast_1d(np.add.reduce(target, axis=0))
        return sums / self.total_weight

    @property
    def has_labels(self):
        """Whether each sample belongs to one class for certain."""
        if self.n_classes > 2:
            return self.target.ndim == 1
        return self.target.dtype == np.uint8 or not np.any((self.target > 0) & (self.target < 1))

    @property
    def least_weight(self):
        """The smallest weight that is not zero."""
        return 1.0 if self.weight is None else float(self.weight[self.weight > 0].min())

    @property
    def tells_classes_apart(self):
        """Whether two classes both have samples with a weight, or probabilities that differ."""
        counted = self.target if self.weight is None else self.target[self.weight > 0]
        return counted.size > 0 and counted.min() != counted.max()


def _as_kernels_read(array):
    """The array, or a copy where it has strides or its numbers do not lie at multiples of their size."""
    if array is None or (array.flags.c_contiguous and array.flags.aligned):
        return array
    return np.require(array, requirements="CA")
