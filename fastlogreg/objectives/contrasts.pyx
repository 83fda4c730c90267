"""Contrasts of K classes: K - 1 rows that stand for K rows which sum to zero over the classes.

Q (K, K - 1) has orthonormal columns that sum to zero: the first K - 1 columns of the Householder reflection that
exchanges ``(1, ..., 1) / sqrt(K)`` and the last unit vector. Row k < K - 1 of it is ``e_k - 1 / (K - sqrt(K))``, the
last one ``1 / sqrt(K)``.
"""

import functools

import numpy as np

from libc.math cimport sqrt


def contrasts(of_classes):
    """Q' times rows or numbers of the K classes: K - 1 of them."""
    cdef const double[:, :] rows = of_classes.reshape(len(of_classes), -1)
    cdef Py_ssize_t last = rows.shape[0] - 1, k, j
    cdef double root = sqrt(last + 1)
    reduced_array = np.empty((last, rows.shape[1]))
    cdef double[:, ::1] reduced = reduced_array
    cdef double[::1] shift = np.zeros(rows.shape[1])
    for k in range(last + 1):
        for j in range(rows.shape[1]):
            shift[j] += rows[k, j]
    for j in range(rows.shape[1]):
        shift[j] = (shift[j] / root - rows[last, j]) / (root - 1.0)
    for k in range(last):
        for j in range(rows.shape[1]):
            reduced[k, j] = rows[k, j] - shift[j]
    return reduced_array.reshape(last, *of_classes.shape[1:])


def of_contrasts(of_contrasts_):
    """Q times rows or numbers of the K - 1 contrasts: K of them, which sum to zero."""
    cdef const double[:, :] rows = of_contrasts_.reshape(len(of_contrasts_), -1)
    cdef Py_ssize_t last = rows.shape[0], k, j
    cdef double root = sqrt(last + 1)
    whole_array = np.empty((last + 1, rows.shape[1]))
    cdef double[:, ::1] whole = whole_array
    whole[last, :] = 0.0
    for k in range(last):
        for j in range(rows.shape[1]):
            whole[last, j] += rows[k, j] / root
    for k in range(last):
        for j in range(rows.shape[1]):
            whole[k, j] = rows[k, j] - whole[last, j] / (root - 1.0)
    return whole_array.reshape(last + 1, *of_contrasts_.shape[1:])


@functools.lru_cache(maxsize=8)
def _of_pairs(n_classes):
    """``Q' (e_k - e_l)`` for each pair k < l of classes, in lexical order (n_pairs, K - 1)."""
    first, second = np.triu_indices(n_classes, 1)
    q = of_contrasts(np.eye(n_classes - 1))
    return q[first] - q[second]


def of_pair_grams(const double[:, :, :] grams, const double[::1] scale, Py_ssize_t n_classes):
    """The matrix of ``sum over k < l of (q_kl q_kl') kron (D G_kl D)``, with q_kl = Q' (e_k - e_l) and D = diag(scale).

    Parameters
    ----------
    grams : ndarray of shape (n_pairs, m, m)
        G_kl for each pair of classes, in lexical order. Only upper triangles are read, of the first rows and columns
        where there are more than those of `scale`.
    scale : ndarray of shape (w,)
    n_classes : int
        K.

    Returns
    -------
    ndarray of shape ((K - 1) w, (K - 1) w)
    """
    cdef Py_ssize_t n_outputs = n_classes - 1, w = scale.shape[0], a, b, pair, i, j
    cdef const double[:, ::1] of_pairs = _of_pairs(n_classes)
    matrix_array = np.empty((n_outputs, w, n_outputs, w))
    cdef double[:, :, :, ::1] matrix = matrix_array
    cdef double[:, ::1] block = np.empty((w, w))
    cdef double factor
    for a in range(n_outputs):
        for b in range(a, n_outputs):
            block[:, :] = 0.0
            for pair in range(of_pairs.shape[0]):
                factor = of_pairs[pair, a] * of_pairs[pair, b]
                if factor != 0:
                    for i in range(w):
                        _add_multiple(w - i, factor, &grams[pair, i, i], &block[i, i])
            for i in range(w):
                for j in range(i, w):
                    matrix[a, i, b, j] = matrix[a, j, b, i] = scale[i] * scale[j] * block[i, j]
                    matrix[b, j, a, i] = matrix[b, i, a, j] = matrix[a, i, b, j]
    return matrix_array.reshape(n_outputs * w, n_outputs * w)


cdef inline void _add_multiple(Py_ssize_t n, double factor, const double *values, double *sums) noexcept:
    """``sums += factor * values``, n doubles side by side."""
    cdef Py_ssize_t j
    for j in range(n):
        sums[j] += factor * values[j]
