"""Which design matrix serves an X, and which rows."""

import numpy as np
import scipy.sparse as sp

from fastlogreg.data.csr import CSRDesign, checked_indices
from fastlogreg.data.dense import DenseDesign
from fastlogreg.data.rows import Rows

FLOATS = [np.dtype(kind) for kind in (np.float64, np.float32)]
# What float32 holds without rounding, in half the memory of float64.
EXACT_IN_SINGLE = [np.dtype(kind) for kind in (np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.float16)]
WIDE_INTEGERS = [np.dtype(kind) for kind in (np.int32, np.uint32, np.int64, np.uint64)]
# Entries of a part of X that is converted for itself: 16 MiB of float32.
PART_ENTRIES = 4 * 2**20


def readable_types(X):
    """The types of values that X may have, the one to convert others to first: those of floats, and that of dense X if
    its rows can be read as they lie.
    """
    return [*FLOATS, X.dtype] if _is_convertible(X) else FLOATS


def _is_convertible(X):
    """Whether X is dense, of another type than floats, and can be read a row at a time."""
    return isinstance(X, np.ndarray) and X.dtype in EXACT_IN_SINGLE + WIDE_INTEGERS and X.flags.aligned


def as_design(X, n_threads=1):
    """The design matrix of X (n, d): a 2-D ndarray, or sparse in any format and of float32 or float64.

    Arrays of float32 or float64 whose rows or columns are contiguous are used where they lie, whatever the other
    stride; other views are copied. Arrays of small integers and halves are copied to float32, which holds them exactly,
    those of larger integers to float64. CSR is used where it lies, other sparse formats are converted to CSR once.
    """
    if _is_convertible(X):
        X = X.astype(np.float32 if X.dtype in EXACT_IN_SINGLE else np.float64)
    if X.dtype != np.float64 and X.dtype != np.float32:
        raise ValueError(f"X is {X.dtype}, not float32 or float64")
    if 0 in X.shape:
        raise ValueError(f"X is empty: {X.shape[0]} x {X.shape[1]}")
    if sp.issparse(X):
        check_convertible(X)
        return CSRDesign(X.tocsr(), n_threads)
    whole_elements = X.flags.aligned and all(stride % X.itemsize == 0 for stride in X.strides)
    if not (whole_elements and (X.itemsize in X.strides or 1 in X.shape)):
        X = np.ascontiguousarray(X)
    return DenseDesign(X, n_threads)


def as_rows(X):
    """The `Rows` of X, which is read where it lies also if it is dense and of integers or halves."""
    if not _is_convertible(X):
        return Rows(as_design(X))
    if 0 in X.shape:
        raise ValueError(f"X is empty: {X.shape[0]} x {X.shape[1]}")
    return Rows(X)


class Parts:
    """Dense X (n, d) of integers or halves as designs of some rows after others, each converted while it is needed."""

    def __init__(self, X, n_threads=1):
        self.X, self.n_threads = X, n_threads
        self._length = max(1, PART_ENTRIES // X.shape[1])
        self.n_parts = -(-len(X) // self._length)

    def part(self, number):
        """The design of a part, from 0 on; none of the others is held."""
        start = number * self._length
        return as_design(self.X[start : start + self._length], self.n_threads)


def as_design_or_parts(X, n_threads=1):
    """The design matrix of X, or its `Parts` where it would have to be copied."""
    return Parts(X, n_threads) if _is_convertible(X) else as_design(X, n_threads)


def check_convertible(X):
    """Raise ValueError where sparse X is not what its indices say: SciPy's conversions to CSR would leave its memory.

    CSR is left to its design; the remaining formats are lists, and sets of entries that SciPy has checked.
    """
    if X.format == "csc":
        checked_indices(X.indices, X.indptr, X.data, *X.shape[::-1])
    elif X.format == "bsr":
        checked_indices(X.indices, X.indptr, X.data, *np.floor_divide(X.shape, X.blocksize))
    elif X.format == "coo":
        _check_coordinates("X.row", X.row, len(X.data), 0, X.shape[0])
        _check_coordinates("X.col", X.col, len(X.data), 0, X.shape[1])
    elif X.format == "dia":
        _check_coordinates("X.offsets", X.offsets, len(X.data), 1 - X.shape[0], X.shape[1])


def _check_coordinates(name, coordinates, count, begin, end):
    if coordinates.dtype.kind not in "iu" or coordinates.shape != (count,):
        raise ValueError(f"{name} must hold as many integers as X.data has parts, {count}")
    if count and not begin <= coordinates.min() <= coordinates.max() < end:
        raise ValueError(f"{name} must lie in [{begin}, {end})")
