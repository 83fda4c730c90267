"""Contrasts of K classes: what is left of rows that sum to zero over the classes once that is used.

Q (K, K - 1) has orthonormal columns that sum to zero: the first K - 1 columns of the Householder reflection that
exchanges ``(1, ..., 1) / sqrt(K)`` and the last unit vector.
"""

import functools

import numpy as np


def contrasts(of_classes):
    """Q' times rows or numbers of the K classes: K - 1 of them."""
    return _q(len(of_classes)).T @ of_classes


def of_contrasts(of_contrasts_):
    """Q times rows or numbers of the K - 1 contrasts: K of them, which sum to zero."""
    return _q(len(of_contrasts_) + 1) @ of_contrasts_


@functools.lru_cache(maxsize=8)
def of_pairs(n_classes):
    """``Q' (e_k - e_l) (e_k - e_l)' Q`` for each pair k < l of classes, in lexical order ((K - 1)^2, n_pairs)."""
    k, l = np.triu_indices(n_classes, 1)  # noqa: E741
    differences = _q(n_classes)[k] - _q(n_classes)[l]
    return (differences.T[:, np.newaxis] * differences.T).reshape(-1, len(k))


@functools.lru_cache(maxsize=8)
def _q(n_classes):
    axis = np.full(n_classes, 1.0 / np.sqrt(n_classes))
    axis[-1] -= 1.0
    reflection = np.eye(n_classes) - np.outer(axis, axis * (2.0 / (axis @ axis)))
    return np.ascontiguousarray(reflection[:, :-1])
