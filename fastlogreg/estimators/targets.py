"""From what a user calls y, sample_weight and class_weight to the targets and weights of `Samples`."""

import functools
import math

import numpy as np
from sklearn import config_context
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from fastlogreg.data.masks import check_unmasked
from fastlogreg.estimators.labels import two_whole_numbers

# Weights whose largest is this, or one over this, have squares and sums that float64 holds.
MODERATE = 1e-100


def encode_labels(y):
    """The K classes, sorted, and the target (n,): for two classes 1 where y is the second one (uint8), for more the
    numbers of the classes (intp).

    Raises
    ------
    ValueError
        In scikit-learn's words, if y does not hold labels of two classes or more.
    """
    found = two_whole_numbers(y)
    if found is not None:
        return found
    found = _close_integers(y)
    if found is None:
        check_labels(y)
        found = np.unique(y, return_inverse=True)
    classes, numbers = found
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return classes, numbers.astype(np.intp if len(classes) > 2 else np.uint8, copy=False)


def check_labels(y, name="y"):
    """Raise scikit-learn's errors if y holds no labels, or NaN among them, whatever `assume_finite` is."""
    if y.dtype.kind in "fcmM" and np.any(y != y):
        raise ValueError(f"Input {name} contains NaN.")
    check_classification_targets(y)


def _close_integers(y):
    """The values of y (n,), sorted, and their numbers (n,), as np.unique gives them but without sorting; None where y
    does not hold integers within a range of n.
    """
    if not (np.can_cast(y.dtype, np.intp) and y.dtype.isnative):
        return None
    low, high = int(y.min()), int(y.max())
    if high - low >= y.size:
        return None
    places = y.astype(np.intp)
    places -= low
    present = np.bincount(places) > 0
    classes = (np.flatnonzero(present) + low).astype(y.dtype)
    return classes, places if len(classes) == len(present) else (np.cumsum(present) - 1)[places]


def encode_probabilities(y):
    """The classes, the target and the samples' own weights (n,) or None, of soft targets y.

    Probabilities (n,) of the second of two classes are the target. Rows (n, K) of probabilities or counts are divided
    by their sums, which become weights; for K = 2 the target is the second column.

    Raises
    ------
    ValueError
        If y holds neither numbers in [0, 1] nor rows of at least two finite numbers that are not negative.
    """
    y = np.asarray(y, dtype=np.float64)
    if y.ndim == 1:
        if not (y.min() >= 0 and y.max() <= 1):
            raise ValueError("With soft_targets=True, y must hold probabilities in [0, 1]")
        return np.arange(2), np.ascontiguousarray(y), None
    n_classes = y.shape[1]
    if n_classes < 2 or not (y.min() >= 0 and np.isfinite(y.max())):
        raise ValueError(
            "With soft_targets=True, rows of y must be probabilities or counts, not negative, of at least two classes"
        )
    with np.errstate(over="ignore"):  # found in the sum of the weights
        sums = y.sum(axis=1)
    target = np.divide(y, sums[:, None], out=np.full(y.shape, 1.0 / n_classes), where=sums[:, None] > 0)
    weight = None if np.all(sums == 1.0) else sums
    return np.arange(n_classes), target if n_classes > 2 else target[:, 1].copy(), weight


def check_two_classes_have_mass(target, weight):
    """Raise ValueError unless soft targets of samples with weight give probability to at least two classes."""
    if weight is not None:
        target = target[weight > 0]
    mass = target.sum(axis=0) if target.ndim == 2 else (np.sum(1.0 - target), np.sum(target))
    present = np.flatnonzero(mass)
    if len(present) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the probabilities in y belong only "
            f"to one class, {present[0]} (where samples have weight)"
        )


def checked_sample_weight(sample_weight, X):
    """The weights (n,) of the samples of X, or None where None are given.

    Raises
    ------
    ValueError
        In scikit-learn's words, if they are not numbers that are finite and not negative, one for each sample.
    """
    if sample_weight is None:
        return None
    check_unmasked(sample_weight=sample_weight)
    with config_context(assume_finite=False):  # a NaN in the weights would be taken for one in X
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)


def combined_weight(sample_weight, class_weight, target, classes, own_weight=None):
    """Sample weights, class weights and the samples' own weights, multiplied (n,); None where none are given.

    Raises
    ------
    ValueError
        If their sum overflows, or if class weights are not numbers that are finite and not negative.
    """
    factors = {}
    if own_weight is not None:
        factors["the sums of y's rows"] = own_weight
    if class_weight is not None:
        factors["class_weight"] = _class_weights(class_weight, target, classes, sample_weight)[target.astype(np.intp)]
    if sample_weight is not None:
        factors["sample_weight"] = sample_weight
    if not factors:
        return None
    with np.errstate(over="ignore"):
        weight = functools.reduce(np.multiply, factors.values())
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError(f"The sum of the weights overflows float64: scale {' or '.join(factors)}")
    return weight


def check_any_weight(weight):
    """Raise ValueError if no sample has a weight; a class may have none."""
    if weight is not None and not np.any(weight):
        raise ValueError(
            "No sample has a weight that is not zero: check sample_weight and class_weight, or the rows of soft targets"
        )


def in_moderate_units(weight):
    """The weights in units in which no sum or square of theirs overflows or vanishes, and the unit, a power of two."""
    largest = 1.0 if weight is None else float(weight.max())
    if MODERATE <= largest <= 1.0 / MODERATE:
        return weight, 1.0
    exponent = math.frexp(largest)[1] - 1
    return np.ldexp(weight, -exponent), math.ldexp(1.0, exponent)


def _class_weights(class_weight, target, classes, sample_weight):
    """Weights of the classes. "balanced" counts samples by their weight, so that a weight of k remains the same as k
    copies; a class without weight gets none.
    """
    if isinstance(class_weight, str):
        counts = np.bincount(target.astype(np.intp), weights=sample_weight, minlength=len(classes))
        share = counts.sum() / max(np.count_nonzero(counts), 1)
        return np.divide(share, counts, out=np.zeros(len(classes)), where=counts > 0)
    for label, value in class_weight.items():
        if not _is_weight(value):
            raise ValueError(f"class_weight must be finite and not negative, got {value!r} for the class {label!r}")
    return compute_class_weight(class_weight, classes=classes, y=classes)


def _is_weight(value):
    try:
        return 0 <= float(value) < np.inf
    except (TypeError, ValueError):
        return False
