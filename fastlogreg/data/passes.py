"""Passes: what anything that holds samples must be able to do for a fit. The seam between data and objectives.

A holder of rows answers with sums over its samples: scalars, vectors of K d numbers and matrices of (d + 1)^2. Vectors
of n numbers (logits, residuals, curvatures) stay with it: others address the point they belong to by a *handle* that
`Passes.evaluate` gives out. A handle has the point's ``coef`` and ``intercept``, and its ``forget()`` frees what of the
size of n it holds; nothing else of it is known. So an array in memory, a file and the workers of a cluster look the
same to an objective, and how much they send in a pass depends on K and d alone.

Shapes: n samples, d features, K classes. Coefficients ``coef`` are (1, d) for two classes, whose one row belongs to the
second, else (K, d); ``intercept`` is (1,) or (K,). Logits are ``intercept + X coef' + offset``. All sums are weighted,
float64, and of the cross-entropy in nats.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastlogreg.data.binary_passes import BinaryPasses
from fastlogreg.data.samples import Samples
from fastlogreg.data.softmax_passes import SoftmaxPasses

Array = NDArray[np.float64]


class LossHessian(Protocol):
    """The Hessian of the summed cross-entropy at the point of a handle."""

    def dot(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Its product with a direction, in the shapes of coef and intercept. One pass; K (d + 1) numbers each way."""
        ...

    def pair_grams(self, center: Array) -> Array:
        """Its matrix, in parts from which it is put together without cancellation. One pass.

        For each pair k < l of classes, in lexical order, ``sum_i s_i p_ik p_il z_i z_i'`` (d + 1, d + 1) with
        z = (x - center, 1), of which the upper triangle is read. The Hessian in the classes' coefficients is the sum of
        these, each times ``(e_k - e_l)(e_k - e_l)'``; two classes have one pair, and its matrix is the Hessian.
        """
        ...

    def intercept_block(self) -> Array:
        """The Hessian's block of the intercepts, (1, 1) or (K, K). No pass for two classes, else one."""
        ...

    def mean_curvature(self) -> float:
        """The weighted mean over the samples of p (1 - p). For two classes alone; no pass."""
        ...


class Passes(Protocol):
    """What a design matrix and its samples answer. Derive from it for the defaults of what is optional.

    Attributes
    ----------
    n_samples, n_features, n_classes : int
    n_passes : int
        Readings of X so far.
    total_weight : float
    mean_target : ndarray of shape (1,) or (K,)
        The mean probability of the second of two classes, or of each.
    has_labels : bool
        Whether each sample belongs to one class for certain.
    least_weight : float
        The smallest weight that is not zero.
    has_offset : bool
    lines_are_free : bool
        Whether `line` and `largest_logit_change` take no pass.
    is_sparse, is_mostly_zero : bool
        Whether zeros are not stored; whether they are stored and yet make a Gram matrix cheap.
    n_entries : int
        Stored entries of X.
    local : LocalPasses or None
        The passes themselves where X and the samples lie in this process's memory, with attributes ``design`` and
        ``samples``. Ways to the optimum that need rows one by one, or columns, ask for it, and are not taken where it
        is None.
    """

    n_samples: int
    n_features: int
    n_classes: int
    n_passes: int
    total_weight: float
    mean_target: Array
    has_labels: bool
    least_weight: float
    has_offset: bool = False
    lines_are_free: bool = False
    is_sparse: bool = False
    is_mostly_zero: bool = False
    local: Any = None

    def describe(self, samples: Samples, n_features: int) -> None:
        """Set what samples at hand tell: all attributes without a default."""
        self.n_samples, self.n_features, self.n_classes = len(samples), n_features, samples.n_classes
        self.total_weight, self.mean_target, self.n_passes = samples.total_weight, samples.mean_target, 0
        self.has_labels, self.least_weight = samples.has_labels, samples.least_weight
        self.has_offset = samples.offset is not None

    @property
    def n_entries(self) -> int:
        return self.n_samples * self.n_features

    def evaluate(
        self, coef: Array, intercept: Array, keep: bool = True, recycle: Any = None
    ) -> tuple[float, Array, Array, Any]:
        """The summed loss, its gradient in coef and in intercept, and a handle to the point. One pass.

        Without `keep` the handle holds nothing of the size of n until it is needed, which takes another pass.
        `recycle` is a handle no longer needed, whose memory may be used again. coef and intercept belong to the new
        handle from then on, and must not change.
        """
        ...

    def line(self, start: Any, end: Any, t: float) -> tuple[float, float, float]:
        """The summed loss, and its first and second derivative in t, at ``start + t (end - start)``, two handles.

        By default from an evaluation and a product with the Hessian there: two passes or three.
        """
        coef, intercept = end.coef - start.coef, end.intercept - start.intercept
        loss, *slope, handle = self.evaluate(start.coef + t * coef, start.intercept + t * intercept, keep=False)
        curved = self.hessian(handle).dot(coef, intercept)
        return (
            loss,
            float(np.vdot(slope[0], coef) + slope[1] @ intercept),
            float(np.vdot(curved[0], coef) + curved[1] @ intercept),
        )

    def largest_logit_change(self, start: Any, end: Any) -> float:
        """The largest change of a logit between two handles, for several classes of the difference of any two logits of
        a sample; infinite where one is not finite.
        """
        ...

    def hessian(self, handle: Any) -> LossHessian:
        """The `LossHessian` at the point of a handle; no pass over X yet."""
        ...

    def moments(self) -> tuple[Array, Array]:
        """The weighted means of the columns (d,), and their mean squares about these (d,). One pass."""
        ...

    def gram(self, center: Array) -> Array:
        """``sum_i s_i z_i z_i'`` (d + 1, d + 1) with z = (x - center, 1). One pass."""
        ...

    def take(self, rows: NDArray[np.intp]) -> "Passes":
        """Passes over a copy of these rows (m,) and their samples, in this process's memory."""
        ...


def local_passes(design, samples):
    """The passes over a design matrix and samples in memory, of two classes or of several."""
    return (BinaryPasses if samples.n_classes == 2 else SoftmaxPasses)(design, samples)
