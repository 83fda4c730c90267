"""Contrasts of K classes: what is left of rows that sum to zero over the classes once that is used.

Q (K, K - 1) has orthonormal columns that sum to zero: the first K - 1 columns of the Householder reflection that
exchanges ``(1, ..., 1) / sqrt(K)`` and the last unit vector. It takes K operations to apply to a number of each class.
"""

import numpy as np


def contrasts(of_classes):
    """Q' times rows or numbers of the K classes: K - 1 of them."""
    reflected = _reflected(of_classes)
    return np.ascontiguousarray(reflected[:-1])


def of_contrasts(of_contrasts_):
    """Q times rows or numbers of the K - 1 contrasts: K of them, which sum to zero."""
    return _reflected(np.concatenate([of_contrasts_, np.zeros_like(of_contrasts_[:1])]))


def of_pairs(n_classes):
    """``Q' (e_k - e_l)`` for each pair k < l of classes, in lexical order (n_pairs, K - 1)."""
    k, l = np.triu_indices(n_classes, 1)  # noqa: E741
    unit = np.eye(n_classes)
    return np.ascontiguousarray(contrasts((unit[k] - unit[l]).T).T)


def _reflected(of_classes):
    """The Householder reflection of K rows or numbers."""
    n_classes = len(of_classes)
    axis = np.full(n_classes, 1.0 / np.sqrt(n_classes))
    axis[-1] -= 1.0
    return of_classes - np.multiply.outer(axis, (axis @ of_classes) * (2.0 / (axis @ axis)))
