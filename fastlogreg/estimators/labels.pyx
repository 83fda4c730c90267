"""Labels that are two whole numbers, told apart in one reading."""

import numpy as np

from libc.math cimport floor
from libc.stdint cimport int64_t, uint8_t

from fastlogreg.kernels.dispatch cimport active_kernels

ctypedef long long longlong

ctypedef fused label:
    signed char
    short
    int
    long
    longlong
    unsigned char
    unsigned short
    unsigned int
    unsigned long
    unsigned long long
    float
    double


def two_whole_numbers(y):
    """The two values of y (n,), sorted, and the target (n,), uint8: 1 where y is the second; None for other labels."""
    if y.dtype.kind not in "biuf" or not y.dtype.isnative or y.dtype.itemsize > 8 or y.dtype == np.float16:
        return None
    target = np.empty(y.shape[0], dtype=np.uint8)
    other = _tell_apart(np.require(y.view(np.uint8) if y.dtype.kind == "b" else y, requirements="CA"), target)
    if not other:
        return None
    return y[[0, other] if target[other] else [other, 0]], target


def _tell_apart(const label[::1] y, uint8_t[::1] target):
    """Write the target, and return the first place of a label that is not y[0]; 0 where there are not two labels, or
    they are not whole."""
    cdef Py_ssize_t n = y.shape[0], i, other = 0, n_known = 0
    cdef label lower = y[0], upper
    cdef bint is_upper
    while other < n and y[other] == lower:
        other += 1
    if other == n:
        return 0
    upper = y[other]
    if label is float or label is double:
        if not (floor(lower) == lower and floor(upper) == upper):  # NaN neither
            return 0
    if upper < lower:
        lower, upper = upper, lower
    if label is long or label is longlong:
        if sizeof(label) == 8:
            return other if active_kernels().tell_apart(n, <const int64_t *>&y[0], lower, upper, &target[0]) else 0
    with nogil:
        for i in range(n):
            is_upper = y[i] == upper
            n_known += is_upper + (y[i] == lower)
            target[i] = is_upper
    return other if n_known == n else 0
