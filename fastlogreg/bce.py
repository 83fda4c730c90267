"""Binary cross-entropy and its derivatives on arrays: the formulae of logistic regression, on the kernels of the fit.

For one sample with target p in [0, 1] (a label 0 or 1, or a soft target), logit u = x.w + b and prediction ŷ = σ(u)::

    sigmoid               σ(u)   = 1 / (1 + e^-u)                          [3] (2)
    sigmoid_grad          dŷ/du  = ŷ (1 - ŷ)                               [3] (6)-(10)
    bce                   L(ŷ)   = -(p log ŷ + (1 - p) log(1 - ŷ))         [1], [3] (1)
    bce_grad              dL/dŷ  = (ŷ - p) / (ŷ (1 - ŷ))                   [1], [3] (5)
    bce_with_logits       L(u)   = log(1 + e^u) - p u                      [2]
    bce_with_logits_grad  L'(u)  = ŷ - p                                   [2]
    bce_with_logits_hess  L''(u) = ŷ (1 - ŷ)                               [2], [3] (10)
    coef_grad             dL/dw  = (ŷ - p) x,  dL/db = ŷ - p               [1], [3] (12)
    input_grad            dL/dx  = (ŷ - p) w                               [1], chain rule

What holds for all of them:

* Losses are in nats. `sample_weight` multiplies a sample's loss, and so every derivative of it. A sample of weight 0
  counts for nothing, even where its loss is infinite.
* ``reduction="none"`` gives the (weighted) loss of each sample, ``"sum"`` their sum, ``"mean"`` the sum divided by the
  total weight, which is the number of samples where there are no weights. A gradient is that of the reduced loss in
  each element: one value per element, which ``"mean"`` divides by the total weight and ``"sum"`` does not; ``"none"``
  is the gradient of each sample's own loss. So they differ in shape only for `coef_grad`, which sums over samples.
* Results are float32 where logits, prob or X are float32, whatever targets and weights are, and float64 otherwise.
  They are computed in float64 and rounded at the end; what float32 cannot hold is infinite. 0-d arguments give scalars.
* Target, prediction and weights of the pointwise functions broadcast as in NumPy, and each element of the broadcast
  shape is one sample. A column (n, 1) beside a row (n,) is refused: n samples are meant, and n² would be the result.
* NaN in logits, X or coef gives NaN. ValueError is raised for targets or probabilities outside [0, 1] or NaN, for
  weights that are negative, infinite or NaN, for a mean without any weight, for masked values, for arguments that are
  not real numbers and for shapes that do not fit.
* All threads are used that joblib, threadpoolctl and OMP_NUM_THREADS allow; their number changes no bit of a result.

References
----------
.. [1] "Derivative of Binary Cross Entropy - why are my signs not right?", Mathematics Stack Exchange.
.. [2] The derivative of binary cross-entropy with respect to the input of the sigmoid, Mathematics Stack Exchange; the
   answer that begins with L(u) = log(1 + e^u) - p u.
.. [3] "Derivation of the Binary Cross Entropy Loss Gradient", equations (1)-(12).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import xlog1py, xlogy

from fastlogreg.data import pointwise
from fastlogreg.data.layouts import as_design
from fastlogreg.data.masks import check_unmasked
from fastlogreg.runtime.threads import effective_n_threads

__all__ = [
    "bce",
    "bce_grad",
    "bce_with_logits",
    "bce_with_logits_grad",
    "bce_with_logits_hess",
    "coef_grad",
    "input_grad",
    "sigmoid",
    "sigmoid_grad",
]

# Up to 30 000 samples or entries of X, asking how many threads there are costs as much as one thread needs for all.
_SERIAL_TERMS = 30_000


def sigmoid(logits):
    """Logistic function ``σ(u) = 1 / (1 + e^-u)``, the prediction for a logit; equation (2) of [3].

    Evaluated from ``e^-|u|``, so that no logit overflows and neither tail loses a digit.

    Parameters
    ----------
    logits : array_like

    Returns
    -------
    prob : ndarray or scalar
        Of the shape of `logits`.

    Examples
    --------
    >>> from fastlogreg.bce import sigmoid
    >>> print(sigmoid([-1000.0, 0.0, 1000.0]))
    [0.  0.5 1. ]
    """
    logits, dtype = _real("logits", logits)
    prob = np.empty(logits.size)
    pointwise.sigmoid(logits.ravel(), prob_out=prob, n_threads=_n_threads(logits.size))
    return _result(prob, logits.shape, dtype)


def sigmoid_grad(logits):
    """Slope of the sigmoid, ``σ'(u) = e^-u / (1 + e^-u)^2 = σ(u) (1 - σ(u))``; equations (6)-(10) of [3].

    It is also the curvature of the cross-entropy, whatever the target. Evaluated from ``e^-|u|``: the difference
    ``1 - σ(u)`` would have no digit left from u = 37 on.

    Parameters
    ----------
    logits : array_like

    Returns
    -------
    slope : ndarray or scalar
        Of the shape of `logits`.

    Examples
    --------
    >>> from fastlogreg.bce import sigmoid_grad
    >>> float(sigmoid_grad(0.0))
    0.25
    """
    return bce_with_logits_hess(0.0, logits, reduction="none")


def bce(target, prob, *, sample_weight=None, reduction="mean"):
    """Cross-entropy of predicted probabilities, ``L = -(p log ŷ + (1 - p) log(1 - ŷ))``; [1] and equation (1) of [3].

    Nothing is clipped. At ŷ = 0 and ŷ = 1 the loss is the limit: 0 where the target equals the prediction, and infinite
    otherwise. Where the logits are known, `bce_with_logits` is exact where ŷ would round to 1.

    Parameters
    ----------
    target : array_like
        Probabilities p in [0, 1].
    prob : array_like
        Predictions ŷ in [0, 1].
    sample_weight : array_like, optional
    reduction : {"mean", "sum", "none"}, default="mean"

    Returns
    -------
    loss : scalar or ndarray
        Of the broadcast shape for ``reduction="none"``.

    Examples
    --------
    >>> from fastlogreg.bce import bce
    >>> print(bce([0, 1, 0, 1], [0.0, 1.0, 1.0, 0.0], reduction="none"))
    [ 0.  0. inf inf]
    >>> round(float(bce([0, 1], [0.5, 0.25])), 6)  # (log 2 + log 4) / 2
    1.039721
    """
    samples = _Samples.of(target, "prob", prob, sample_weight)
    p, prob = samples.target, _in_unit_interval("prob", samples.prediction)
    loss = 0.0 - xlogy(p, prob) - xlog1py(1.0 - p, -prob)  # a loss of zero has no sign
    return samples.reduced(samples.weighted(loss), reduction)


def bce_grad(target, prob, *, sample_weight=None, reduction="mean"):
    """Slope of `bce` in the prediction, ``dL/dŷ = -(p / ŷ - (1 - p) / (1 - ŷ)) = (ŷ - p) / (ŷ (1 - ŷ))``.

    The minus between the terms is the inner derivative of log(1 - ŷ), which is -1; [1] and equation (5) of [3].
    At ŷ = 0 and ŷ = 1 the slope is the limit from within:

    ======  ================  ================
    ŷ       target equals ŷ   any other target
    ======  ================  ================
    0       1                 -inf
    1       -1                inf
    ======  ================  ================

    Parameters
    ----------
    target : array_like
        Probabilities p in [0, 1].
    prob : array_like
        Predictions ŷ in [0, 1].
    sample_weight : array_like, optional
    reduction : {"mean", "sum", "none"}, default="mean"
        The loss whose slope this is.

    Returns
    -------
    slope : ndarray or scalar
        Of the broadcast shape.

    Examples
    --------
    >>> from fastlogreg.bce import bce_grad
    >>> print(bce_grad([1, 0, 0.5], [0.25, 0.75, 0.5], reduction="sum"))
    [-4.  4.  0.]
    """
    samples = _Samples.of(target, "prob", prob, sample_weight)
    p, prob = samples.target, _in_unit_interval("prob", samples.prediction)
    variance = prob * (1.0 - prob)
    # 0 / 0 where p = ŷ is 0 or 1: L' is 1 / (1 - ŷ) for p = 0 and -1 / ŷ for p = 1.
    indefinite = (variance == 0.0) & (prob == p)
    with np.errstate(divide="ignore", over="ignore"):
        slope = np.divide(prob - p, variance, out=1.0 - 2.0 * p, where=~indefinite)
    return samples.gradient(samples.weighted(slope), reduction)


def bce_with_logits(target, logits, *, sample_weight=None, reduction="mean"):
    """Cross-entropy of the sigmoid of logits, ``L(u) = -p log σ(u) - (1 - p) log(1 - σ(u)) = log(1 + e^u) - p u``; [2].

    Evaluated as ``log1p(e^-|u|) + |u| (1 - p, or p where u < 0)``, terms that neither overflow nor cancel. Infinite
    logits give the limit: 0 where the target is what they predict, and infinity otherwise.

    Parameters
    ----------
    target : array_like
        Probabilities p in [0, 1].
    logits : array_like
    sample_weight : array_like, optional
    reduction : {"mean", "sum", "none"}, default="mean"

    Returns
    -------
    loss : scalar or ndarray
        Of the broadcast shape for ``reduction="none"``.

    Examples
    --------
    >>> from fastlogreg.bce import bce_with_logits
    >>> print(bce_with_logits([1, 1, 0.25], [-1000.0, 1000.0, -1000.0], reduction="none"))
    [1000.    0.  250.]
    """
    samples = _Samples.of(target, "logits", logits, sample_weight)
    loss = samples.cross_entropy("loss_out")
    loss[np.isnan(loss) & np.isinf(samples.prediction)] = 0.0  # infinity times a target, or a weight, of 0
    return samples.reduced(loss, reduction)


def bce_with_logits_grad(target, logits, *, sample_weight=None, reduction="mean"):
    """Slope of `bce_with_logits` in the logits, ``L'(u) = e^u / (1 + e^u) - p = σ(u) - p``; [2].

    Evaluated without taking p from a rounded σ(u), so that for labels a residual keeps its digits however small it is.

    Parameters
    ----------
    target : array_like
        Probabilities p in [0, 1].
    logits : array_like
    sample_weight : array_like, optional
    reduction : {"mean", "sum", "none"}, default="mean"
        The loss whose slope this is.

    Returns
    -------
    slope : ndarray or scalar
        Of the broadcast shape.

    Examples
    --------
    >>> from fastlogreg.bce import bce_with_logits_grad
    >>> print(bce_with_logits_grad([0, 1, 0.5], [0.0, 0.0, 0.0], reduction="sum"))
    [ 0.5 -0.5  0. ]
    >>> print(f"{bce_with_logits_grad(1, 40.0):.6e}")  # σ(40) rounds to 1
    -4.248354e-18
    """
    samples = _Samples.of(target, "logits", logits, sample_weight)
    return samples.gradient(samples.cross_entropy("residual_out"), reduction)


def bce_with_logits_hess(target, logits, *, sample_weight=None, reduction="mean"):
    """Curvature of `bce_with_logits` in the logits, ``L''(u) = σ'(u) = σ(u) (1 - σ(u))``; [2] and (10) of [3].

    The Hessian of the reduced loss is diagonal; this is its diagonal. The target does not enter, but is checked.

    Parameters
    ----------
    target : array_like
        Probabilities p in [0, 1].
    logits : array_like
    sample_weight : array_like, optional
    reduction : {"mean", "sum", "none"}, default="mean"
        The loss whose curvature this is.

    Returns
    -------
    curvature : ndarray or scalar
        Of the broadcast shape.

    Examples
    --------
    >>> from fastlogreg.bce import bce_with_logits_hess
    >>> print(bce_with_logits_hess([0, 1], [0.0, 0.0]))
    [0.125 0.125]
    """
    samples = _Samples.of(target, "logits", logits, sample_weight)
    return samples.gradient(samples.cross_entropy("curvature_out"), reduction)


def coef_grad(X, target, coef, intercept=0.0, *, sample_weight=None, reduction="mean"):
    """Gradient of the cross-entropy of the logits ``X w + b`` in the coefficients w and in the intercept b.

    The chain rule ``dL/dŷ dŷ/du du/dw = (ŷ - p) / (ŷ (1 - ŷ)) · ŷ (1 - ŷ) · x = (ŷ - p) x`` sums over the samples to
    ``Xᵀ(ŷ - p)``; [1] and equations (4), (11), (12) of [3]. X is read once.

    Parameters
    ----------
    X : array_like or sparse array of shape (n, d)
    target : array_like of shape (n,)
        Probabilities p in [0, 1].
    coef : array_like of shape (d,) or (1, d)
    intercept : float or array_like of shape (1,), default=0.0
    sample_weight : array_like of shape (n,), optional
    reduction : {"mean", "sum", "none"}, default="mean"
        The loss whose gradient this is; "none" gives each sample's own gradients.

    Returns
    -------
    coef_gradient : ndarray of shape (d,), or for ``reduction="none"`` of shape (n, d), in CSR format where X is sparse
    intercept_gradient : scalar, or for ``reduction="none"`` ndarray of shape (n,)

    Examples
    --------
    >>> from fastlogreg.bce import coef_grad
    >>> coef_gradient, intercept_gradient = coef_grad([[1.0, 2.0], [3.0, 4.0]], [0, 1], [0.0, 0.0])
    >>> print(coef_gradient, intercept_gradient)
    [-0.5 -0.5] 0.0
    """
    model = _LinearModel.of(X, target, coef, intercept, sample_weight)
    divisor = _divisor(reduction, model.weight, len(model.target))
    if reduction == "none":
        residual = model.residual()
        return model.scaled_rows(residual), _result(residual, residual.shape, model.dtype)
    _, coef_gradient, intercept_gradient = model.design.loss_gradient(
        model.coef[np.newaxis], model.intercept, model.target[np.newaxis], model.weight
    )
    return (
        _result(coef_gradient / divisor, model.coef.shape, model.dtype),
        _result(intercept_gradient / divisor, (), model.dtype),
    )


def input_grad(X, target, coef, intercept=0.0, *, sample_weight=None, reduction="mean"):
    """Gradient of the cross-entropy of the logits ``X w + b`` in X.

    Row i is ``dL/dx_i = dL/du_i du_i/dx_i = (ŷ_i - p_i) wᵀ``. In a network whose last layer is logistic, this is what
    backpropagation hands on to the layer that made X; see the comments on the first answer of [1].

    Parameters
    ----------
    X : array_like or sparse array of shape (n, d)
    target : array_like of shape (n,)
        Probabilities p in [0, 1].
    coef : array_like of shape (d,) or (1, d)
    intercept : float or array_like of shape (1,), default=0.0
    sample_weight : array_like of shape (n,), optional
    reduction : {"mean", "sum", "none"}, default="mean"
        The loss whose gradient this is.

    Returns
    -------
    gradient : ndarray of shape (n, d)
        Dense, also where X is sparse.

    Examples
    --------
    >>> from fastlogreg.bce import input_grad
    >>> print(input_grad([[1.0, 1.0], [0.0, 0.0]], [0, 1], [2.0, -2.0], reduction="sum"))
    [[ 1. -1.]
     [-1.  1.]]
    """
    model = _LinearModel.of(X, target, coef, intercept, sample_weight)
    divisor = _divisor(reduction, model.weight, len(model.target))
    return _result(np.multiply.outer(model.residual() / divisor, model.coef), model.design.X.shape, model.dtype)


@dataclass(frozen=True, slots=True)
class _Samples:
    """The samples of a pointwise function, checked and broadcast.

    Attributes
    ----------
    target, prediction : ndarray of shape (n,), float64
        The prediction is a logit or a probability.
    weight : ndarray of shape (n,), float64, or None
    shape : tuple
        The broadcast shape, of n elements.
    dtype : type
        Of the results.
    """

    target: np.ndarray
    prediction: np.ndarray
    weight: np.ndarray | None
    shape: tuple
    dtype: type

    @classmethod
    def of(cls, target, name, prediction, sample_weight):
        target = _in_unit_interval("target", _real("target", target)[0])
        prediction, dtype = _real(name, prediction)
        arrays = [target, prediction]
        if sample_weight is not None:
            arrays.append(_checked_weight(sample_weight))
        names = ["target", name, "sample_weight"][: len(arrays)]
        shape = _broadcast_shape(names, [array.shape for array in arrays])
        target, prediction, *weight = (np.broadcast_to(array, shape).ravel() for array in arrays)
        return cls(target, prediction, weight[0] if weight else None, shape, dtype)

    def cross_entropy(self, quantity):
        """Weighted values (n,) of the kernel's "loss_out", "residual_out" or "curvature_out" at the logits."""
        values = np.empty(self.target.size)
        pointwise.cross_entropy(
            self.prediction, self.target, self.weight, n_threads=_n_threads(values.size), **{quantity: values}
        )
        return values

    def weighted(self, values):
        if self.weight is None:
            return values
        with np.errstate(over="ignore"):
            return np.multiply(values, self.weight, out=np.zeros_like(values), where=self.weight > 0)

    def reduced(self, losses, reduction):
        """The reduced loss, given the weighted losses."""
        divisor = _divisor(reduction, self.weight, losses.size)
        if reduction == "none":
            return _result(losses, self.shape, self.dtype)
        with np.errstate(over="ignore"):
            return _result(losses.sum() / divisor, (), self.dtype)

    def gradient(self, derivatives, reduction):
        """The reduced loss's derivatives, given those of the weighted losses."""
        return _result(derivatives / _divisor(reduction, self.weight, derivatives.size), self.shape, self.dtype)


@dataclass(frozen=True, slots=True)
class _LinearModel:
    """A design matrix, its targets and a linear predictor, checked.

    Attributes
    ----------
    design : Design
    target : ndarray of shape (n,), float64
    weight : ndarray of shape (n,), float64, or None
    coef : ndarray of shape (d,), float64
    intercept : ndarray of shape (1,), float64
    dtype : type
        Of X and of the results.
    """

    design: object
    target: np.ndarray
    weight: np.ndarray | None
    coef: np.ndarray
    intercept: np.ndarray
    dtype: type

    @classmethod
    def of(cls, X, target, coef, intercept, sample_weight):
        check_unmasked(X=X)
        X = X if sp.issparse(X) else np.asarray(X)
        dtype = _result_dtype("X", X.dtype)
        if X.ndim != 2 or 0 in X.shape:
            raise ValueError(f"X must have rows and columns, got the shape {X.shape}")
        n, d = X.shape
        target = _of_shape("target", _in_unit_interval("target", _real("target", target)[0]), (n,))
        weight = None if sample_weight is None else _of_shape("sample_weight", _checked_weight(sample_weight), (n,))
        coef = _of_shape("coef", _real("coef", coef)[0], (d,), (1, d))
        intercept = _of_shape("intercept", _real("intercept", intercept)[0], (), (1,))
        design = as_design(X.astype(dtype, copy=False), _n_threads(n * d))
        return cls(design, target, weight, coef.ravel(), intercept.ravel(), dtype)

    def residual(self):
        """Weighted slopes (n,) of the samples' losses in their logits."""
        logits = self.design.logits(self.coef[np.newaxis], self.intercept)[0]
        samples = _Samples(self.target, logits, self.weight, logits.shape, self.dtype)
        return samples.cross_entropy("residual_out")

    def scaled_rows(self, factors):
        """X with each row multiplied by its factor, sparse as X is."""
        X, column = self.design.X, factors[:, np.newaxis]
        rows = X.multiply(column).tocsr() if sp.issparse(X) else np.multiply(X, column)
        with np.errstate(over="ignore"):
            return rows.astype(self.dtype, copy=False)


def _n_threads(n_terms):
    return effective_n_threads() if n_terms > _SERIAL_TERMS else 1


def _result_dtype(name, dtype):
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got {dtype}")
    return np.float32 if dtype.type is np.float32 else np.float64


def _real(name, values):
    """`values` as a float64 array, and the dtype of what is computed from them."""
    check_unmasked(**{name: values})
    values = np.asarray(values)
    dtype = _result_dtype(name, values.dtype)
    return np.require(values, np.float64, "A"), dtype


def _broadcast_shape(names, shapes):
    """The shape that the arguments broadcast to, with one element for each sample."""
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"the shapes of {', '.join(names)} do not broadcast: {shapes}") from None
    if shape not in shapes and any((*row, 1) in shapes for row in shapes if row):
        raise ValueError(f"{', '.join(names)} of the shapes {shapes} would make {shape} samples: flatten the columns")
    return shape


def _in_unit_interval(name, values):
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):  # NaN compares false
        raise ValueError(f"{name} must lie in [0, 1], without NaN")
    return values


def _checked_weight(sample_weight):
    weight, _ = _real("sample_weight", sample_weight)
    if weight.size and not (weight.min() >= 0.0 and weight.max() < np.inf):  # NaN compares false
        raise ValueError("sample_weight must be finite and not negative")
    return weight


def _of_shape(name, values, *shapes):
    if values.shape not in shapes:
        raise ValueError(f"{name} must have the shape {' or '.join(map(str, shapes))}, got {values.shape}")
    return np.ascontiguousarray(values)


def _divisor(reduction, weight, n_samples):
    """What a sum over samples is divided by."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if reduction != "mean":
        return 1.0
    with np.errstate(over="ignore"):
        total = float(n_samples if weight is None else weight.sum())
    if not 0.0 < total < np.inf:
        raise ValueError(f"the mean needs a total weight that is positive and finite, got {total}")
    return total


def _result(values, shape, dtype):
    """`values` as the caller gets them: 0-d as a scalar, and infinite where float32 cannot hold them."""
    with np.errstate(over="ignore"):
        return np.reshape(values, shape).astype(dtype, copy=False)[()]
