"""What the steps of several classes share: coefficients and targets as the kernels take them.

Targets are the numbers of the classes, as doubles. Coefficients have a row for each feature and a column for each
class, up to whole vectors of padding classes whose intercepts are -infinity.
"""

import numpy as np

from fastlogreg.data.rows import padded


def rows_of_features(coef, n_rows):
    """Coefficients (K, d) as rows of features (n_rows, padded K), zeros beyond."""
    rows = np.zeros((n_rows, padded(len(coef))))
    rows[: coef.shape[1], : len(coef)] = coef.T
    return rows


def coef_of_rows(rows, n_classes):
    """Coefficients (K, d) from the rows of features."""
    return np.ascontiguousarray(rows[:, :n_classes].T)


def centred(rows, n_classes):
    """The rows less their means over the classes: what all classes share changes no probability, and is penalised."""
    centred = np.zeros_like(rows)
    means = rows[:, :n_classes] @ np.full(n_classes, 1 / n_classes)  # far faster than np.mean on short rows
    np.subtract(rows[:, :n_classes], means[:, np.newaxis], out=centred[:, :n_classes])
    return centred


def padded_intercept(intercept):
    """Intercepts (K,) with those of the padding."""
    filled = np.full(padded(len(intercept)), -np.inf)
    filled[: len(intercept)] = intercept
    return filled


def labels(block):
    """The numbers of the classes of the samples in a `RowBlock`."""
    return block.target[: block.count].astype(np.intp)
