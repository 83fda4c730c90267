"""From what a user calls y, sample_weight and class_weight to the targets and weights of `Samples`."""

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastlogreg.estimators.labels import two_whole_numbers


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
        check_classification_targets(y)
        found = np.unique(y, return_inverse=True)
    classes, numbers = found
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return classes, numbers.astype(np.intp if len(classes) > 2 else np.uint8, copy=False)


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
        return np.arange(2), y, None
    n_classes = y.shape[1]
    if n_classes < 2 or not (y.min() >= 0 and np.isfinite(y.max())):
        raise ValueError(
            "With soft_targets=True, rows of y must be probabilities or counts, not negative, of at least two classes"
        )
    sums = y.sum(axis=1)
    target = np.divide(y, sums[:, None], out=np.full(y.shape, 1.0 / n_classes), where=sums[:, None] > 0)
    weight = None if np.all(sums == 1.0) else sums
    return np.arange(n_classes), target if n_classes > 2 else target[:, 1].copy(), weight


def combined_weight(sample_weight, class_weight, target, classes):
    """Sample weights times class weights (n,), or None where neither are given.

    Raises
    ------
    ValueError
        If all sample weights are zero, or if scikit-learn refuses `class_weight`.
    """
    if sample_weight is not None and not np.any(sample_weight):
        raise ValueError("Sample weights must have at least one non-zero value: all weights are zero.")
    weight = sample_weight
    if class_weight is not None:
        of_class = _class_weights(class_weight, target, classes, sample_weight)
        weight = of_class[target.astype(np.intp)]
        if sample_weight is not None:
            weight *= sample_weight
    return weight


def check_two_classes_weigh(weight, target, classes):
    """Raise ValueError unless samples of at least two classes have weights that are not zero."""
    counted = target[weight > 0]
    if counted.size == 0 or counted.min() == counted.max():
        only = "no class" if counted.size == 0 else f"only one class, {classes[int(counted[0])]!r},"
        raise ValueError(
            f"This solver needs samples of at least 2 classes in the data, but {only} has weights that are not zero"
        )


def _class_weights(class_weight, target, classes, sample_weight):
    """Weights of the classes. "balanced" counts samples by their weight, so that a weight of k remains the same as k
    copies; a class without weight gets none.
    """
    if isinstance(class_weight, str):
        counts = np.bincount(target.astype(np.intp), weights=sample_weight, minlength=len(classes))
        share = counts.sum() / np.count_nonzero(counts)
        return np.divide(share, counts, out=np.zeros(len(classes)), where=counts > 0)
    return compute_class_weight(class_weight, classes=classes, y=classes)
