"""From what a user calls y and weights to what the objective calls target and sample_weight."""

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from fastlogreg._labels import two_whole_numbers


def encode_labels(y):
    """The two classes, sorted, and the target (n,): 1.0 where y is the second.

    Raises
    ------
    ValueError
        With scikit-learn's words, unless y holds exactly two classes.
    """
    found = two_whole_numbers(y)
    if found is not None:
        return found
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) > 2:
        raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return classes, (y == classes[1]).astype(np.float64)


def check_probabilities(y):
    """The target (n,) of soft targets y; ValueError unless they lie in [0, 1]."""
    target = np.asarray(y, dtype=np.float64)
    if not (target.min() >= 0 and target.max() <= 1):
        raise ValueError("With soft_targets=True, y must hold probabilities in [0, 1]")
    return target


def combined_weight(sample_weight, class_weight, target, classes):
    """Sample times class weights (n,), or None where all are one.

    Raises
    ------
    ValueError
        If no weight is positive, or those of one class only.
    """
    if sample_weight is not None and not np.any(sample_weight):
        raise ValueError("Sample weights must have at least one non-zero value: all weights are zero.")
    weight = sample_weight
    if class_weight is not None:
        of_class = _class_weights(class_weight, target, classes, sample_weight)
        weight = np.where(target == 1, of_class[1], of_class[0])
        if sample_weight is not None:
            weight *= sample_weight
    return weight


def check_both_classes_weigh(weight, target, classes):
    """ValueError where one class has no weight at all."""
    counted = target[weight > 0]
    if counted.size == 0 or counted.min() == counted.max():
        only = "no class" if counted.size == 0 else f"only one class, {classes[int(counted[0])]!r},"
        raise ValueError(
            f"This solver needs samples of at least 2 classes in the data, but {only} has weights that are not zero"
        )


def _class_weights(class_weight, target, classes, sample_weight):
    """Weights of the two classes; "balanced" counts samples by their weight, so that weights stay repetition."""
    if isinstance(class_weight, str):
        share = np.average(target, weights=sample_weight)
        return 0.5 / np.clip([1.0 - share, share], np.finfo(float).tiny, None)
    return compute_class_weight(class_weight, classes=classes, y=classes)
