"""The passes of two classes over a design matrix in memory: see `fastlogreg.data.passes`."""

import numpy as np

from fastlogreg.data.design cimport Design
from fastlogreg.data.local_passes cimport LocalPasses
from fastlogreg.data.pointwise cimport targets_of
from fastlogreg.kernels.dispatch cimport targets

from fastlogreg.data.dual import Dual
from fastlogreg.data.pointwise import cross_entropy, cross_entropy_on_line, largest_change


cdef class BinaryHandle:
    """A point: its coefficients, and its logits (n,); where they were not kept, their first use takes a pass."""

    cdef readonly object coef
    cdef readonly object intercept
    cdef BinaryPasses _passes
    cdef object _logits

    @property
    def logits(self):
        if self._logits is None:
            self._logits = self._passes.logits(self.coef, self.intercept)
        return self._logits

    def forget(self):
        """Free the memory of the logits."""
        self._logits = None


cdef class BinaryHessian:
    """The Hessian of the summed cross-entropy at a handle.

    Attributes
    ----------
    curvature : ndarray of shape (n,)
        Of each sample's loss in its logit, times its weight.
    """

    cdef readonly object curvature
    cdef BinaryPasses _passes

    def __init__(self, BinaryPasses passes, handle):
        self._passes = passes
        logits, samples = handle.logits, passes.samples
        self.curvature = np.empty_like(logits)
        cross_entropy(
            logits, samples.target, samples.weight, curvature_out=self.curvature, n_threads=passes.design.n_threads)

    def dot(self, coef, intercept):
        return self._passes.design.hessian_dot(self.curvature[np.newaxis], coef, intercept)

    def pair_grams(self, center):
        return self._passes.design.gram(self.curvature, center)[np.newaxis]

    def intercept_block(self):
        return np.full((1, 1), self.curvature.sum())

    def mean_curvature(self):
        return float(self.curvature.sum()) / self._passes.total_weight


cdef class BinaryPasses(LocalPasses):
    """A design matrix and samples of two classes, in memory: see `LocalPasses`."""

    cdef targets _target
    cdef const double[::1] _weight
    cdef const double[::1] _offset
    lines_are_free = True

    def __init__(self, Design design, samples):
        super().__init__(design, samples)
        self._target = targets_of(samples.target, design.n_samples)
        self._weight, self._offset = samples.weight, samples.offset

    def evaluate(self, coef, intercept, bint keep=True, BinaryHandle recycle=None):
        cdef const double[:, ::1] coef_ = coef
        cdef const double[::1] intercept_ = intercept
        cdef Py_ssize_t n = self.design.n_samples, d = self.design.n_features
        cdef BinaryHandle handle = BinaryHandle.__new__(BinaryHandle)
        cdef double[::1] logits = None
        sums = np.empty(d + 2)
        cdef double[::1] sums_ = sums
        if coef_.shape[0] != 1 or coef_.shape[1] != d or intercept_.shape[0] != 1:
            raise ValueError(f"coef {coef.shape} and intercept {intercept.shape} do not fit {d} features, two classes")
        if keep:
            reused = recycle is not None and recycle._logits is not None and len(recycle._logits) == n
            handle._logits = recycle._logits if reused else np.empty(n)
            logits = handle._logits
        handle._passes, handle.coef, handle.intercept = self, coef, intercept
        self.design.sum_loss_gradient(
            1, &coef_[0, 0], &intercept_[0], self._target,
            &self._weight[0] if self._weight is not None else NULL,
            &self._offset[0] if self._offset is not None else NULL,
            &logits[0] if logits is not None else NULL, &sums_[0])
        return sums_[0], sums[2:].reshape(1, d), sums[1:2], handle

    def logits(self, coef, intercept):
        """The logits (n,). One pass."""
        logits = self.design.logits(coef, intercept)[0]
        if self.samples.offset is not None:
            logits += self.samples.offset
        return logits

    def line(self, start, end, double t):
        samples = self.samples
        return cross_entropy_on_line(
            start.logits, end.logits, t, samples.target, samples.weight, self.design.n_threads)

    def largest_logit_change(self, start, end):
        return largest_change(start.logits[np.newaxis], end.logits[np.newaxis])

    def beyond(self, start, end, Py_ssize_t most):
        """``sum_i s_i h_i (t_i - c_i) x_i`` over the samples whose logits change by t_i, more than one, between two
        handles, with c_i = 1 or -1 of the same sign and h_i the curvature at the start: for the coefficients (1, d) and
        the intercept (1,). None for more than `most` such samples.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            change = end.logits - start.logits
        rows = np.flatnonzero(~(np.abs(change) <= 1.0))
        if len(rows) > most or not np.isfinite(change[rows]).all():
            return None
        taken, logits, change = self.take(rows), start.logits[rows], change[rows]
        weighted = np.empty_like(logits)
        cross_entropy(logits, taken.samples.target, taken.samples.weight, curvature_out=weighted)
        weighted *= change - np.sign(change)
        return taken.design.hessian_dot(weighted[np.newaxis], np.zeros((1, self.n_features)), np.ones(1))

    def hessian(self, handle):
        return BinaryHessian(self, handle)

    def dual(self, double cost, center=None, double spread=0.0, double intercept=0.0):
        """The `Dual` problem, of CSR X and without offsets: see its parameters."""
        return Dual(self.design, self.samples.target, self.samples.weight, cost, center, spread, intercept)
