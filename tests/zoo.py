"""The zoo: every kind of X that the package promises to read, each with its plain twin.

``item(name)`` builds one; `NAMES` lists them all, `LARGE` those that a pass cuts into several chunks, `COVERING` one of
each way through the kernels: every layout and type, widths and lengths with and without a rest, chunks. Values are
normal, off centre, and of different scales from column to column.
"""

import functools
import tempfile
import zlib
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.lib.stride_tricks import sliding_window_view

# Below, at and above the lanes of every instruction set and the columns and rows that kernels take at once.
WIDTHS = (1, 2, 3, 5, 8, 13, 33, 70)
LENGTHS = (1, 7, 8, 9, 100, 1003)
FLOATS = {"f64": np.float64, "f32": np.float32}


class Item(NamedTuple):
    """An input and the dense C-ordered float64 array of the same values."""

    name: str
    X: np.ndarray | sp.spmatrix | sp.sparray
    dense: np.ndarray


_BUILDERS = {}
LARGE = []


def item(name):
    """The `Item` of that name, built once."""
    return _item(name)


@functools.cache
def _item(name):
    X = _BUILDERS[name](np.random.default_rng(zlib.crc32(name.encode())))
    # astype first: SciPy adds duplicate entries in the dtype of the values.
    dense = X.astype(np.float64).toarray() if sp.issparse(X) else np.array(X, dtype=np.float64, order="C")
    return Item(name, X, dense)


def values(rng, n, d):
    """Dense values (n, d) of the zoo's kind."""
    return (rng.normal(size=(n, d)) + rng.normal(size=d)) * 10.0 ** rng.uniform(-1.5, 1.5, size=d)


def csr(rng, n, d, dtype=np.float64, density=0.4):
    """A CSR matrix of such values at random places; some rows are empty."""
    kept = rng.random((n, d)) < density
    kept[rng.random(n) < 0.1] = False
    return sp.csr_matrix((values(rng, n, d) * kept).astype(dtype))


def _add(name, build, large=False):
    _BUILDERS[name] = build
    if large:
        LARGE.append(name)


def _add_shapes():
    for short, dtype in FLOATS.items():
        for order in ("C", "F"):
            for n, d in [(9, d) for d in WIDTHS] + [(n, 13) for n in LENGTHS] + [(203, 70)]:
                _add(f"{order}-{short}-{n}x{d}", _dense(n, d, dtype, order))
            # 16 Ki entries make a chunk, and 32 samples at least.
            for n, d in [(40_001, 1), (20_011, 3), (3003, 13), (1003, 70)]:
                _add(f"{order}-{short}-{n}x{d}", _dense(n, d, dtype, order), large=True)
        for n, d in [(1, 1), (9, 1), (9, 3), (100, 8), (1003, 33)]:
            _add(f"CSR-{short}-{n}x{d}", lambda rng, n=n, d=d, dtype=dtype: csr(rng, n, d, dtype))
        for n, d in [(4001, 33), (9001, 7)]:
            _add(
                f"CSR-{short}-{n}x{d}",
                lambda rng, n=n, d=d, dtype=dtype: csr(rng, n, d, dtype, density=0.6),
                large=True,
            )


def _dense(n, d, dtype, order):
    return lambda rng: np.array(values(rng, n, d), dtype=dtype, order=order)


def _view(select, n=203, d=13, order="C"):
    """What `select` cuts from an array, for both dtypes."""

    def build(dtype):
        return lambda rng: select(np.array(values(rng, n, d), dtype=dtype, order=order))

    return build


def _column_of_records(X):
    records = np.zeros(len(X), dtype=[("id", np.int64), ("x", X.dtype, X.shape[1])])
    records["x"] = X
    return records["x"]


def _unaligned(X):
    records = np.zeros(len(X), dtype=np.dtype([("id", np.int8), ("x", X.dtype, X.shape[1])], align=False))
    records["x"] = X
    return records["x"]


def _read_only(X):
    X.flags.writeable = False
    return X


def _memmap(X):
    with tempfile.TemporaryFile() as file:
        file.write(X.tobytes())
        file.flush()
        return np.memmap(file, dtype=X.dtype, mode="r", shape=X.shape)


def _awkward_columns(X):
    X[:, 1] = 0.1
    X[:, 4] = 0.0
    X[:, 7] = X[:, 2]
    X[:, 12] = -3.0
    return X


# Views whose rows or columns are contiguous: read where they lie.
SHARED_VIEWS = {
    "strided rows": _view(lambda X: X[::2]),
    "reversed rows": _view(lambda X: X[::-1]),
    "strided reversed rows": _view(lambda X: X[::-3]),
    "column slice": _view(lambda X: X[:, 1:-1]),
    "one column": _view(lambda X: X[:, 3:4]),
    "row slice of F": _view(lambda X: X[5:-3], order="F"),
    "strided columns of F": _view(lambda X: X[:, ::2], order="F"),
    "reversed columns of F": _view(lambda X: X[:, ::-1], order="F"),
    "one strided row": _view(lambda X: X[:1, ::2]),
    "transpose": _view(lambda X: X.T, n=13, d=203),
    "column of records": _view(_column_of_records, d=14),
    "overlapping windows": _view(lambda X: sliding_window_view(X.ravel(), 13), n=20),
    "one row many times": _view(lambda X: np.broadcast_to(X[0], (40, 13))),
    "read-only": _view(_read_only),
    "memmap": _view(_memmap),
    "awkward columns": _view(_awkward_columns),
    "awkward columns of F": _view(_awkward_columns, order="F"),
}
# Other views: copied.
COPIED_VIEWS = {
    "both strides": _view(lambda X: X[::2, ::3]),
    "both strides of F": _view(lambda X: X[::3, ::2], order="F"),
    "reversed columns": _view(lambda X: X[:, ::-1]),
    "reversed rows of F": _view(lambda X: X[::-1], order="F"),
    "unaligned": _view(_unaligned),
}


def _int64_indices(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def _other_indices(indices, indptr):
    def change(X):
        X.indices, X.indptr = X.indices.astype(indices), X.indptr.astype(indptr)
        return X

    return change


def _unsorted(X):
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(X.indptr, X.indptr[1:], strict=False)])
    return sp.csr_matrix((X.data[order], X.indices[order], X.indptr), shape=X.shape)


def _duplicates(X):
    """Each entry twice or thrice, in parts of both signs, not side by side."""
    indptr, indices, data = [0], [], []
    for a, b in zip(X.indptr, X.indptr[1:], strict=False):
        for share in (0.5, 2.0, -1.5)[: 2 + (b - a) % 2]:
            indices.append(X.indices[a:b])
            data.append(X.data[a:b] * X.dtype.type(share))
        indptr.append(indptr[-1] + (2 + (b - a) % 2) * (b - a))
    return sp.csr_matrix((np.concatenate(data), np.concatenate(indices), indptr), shape=X.shape)


def _empty_rows(X):
    return sp.csr_matrix(sp.diags((np.arange(X.shape[0]) % 3 == 1).astype(X.dtype)) @ X)


def _explicit_zeros(X):
    X.data[::3] = 0.0
    return X


def _spare_room(X):
    """Buffers longer than indptr says; what lies past the end must not be read."""
    room = np.full(100, np.nan, dtype=X.dtype)
    X.data, X.indices = np.append(X.data, room), np.append(X.indices, np.full(100, 10**6, dtype=X.indices.dtype))
    return X


def _strided_buffers(X):
    """Buffers that are every second element of others."""
    data, indices = np.repeat(X.data, 2), np.repeat(X.indices, 2)
    data[1::2], indices[1::2] = np.nan, X.shape[1] - 1
    X.data, X.indices = data[::2], indices[::2]
    return X


def _read_only_buffers(X):
    for buffer in (X.data, X.indices, X.indptr):
        buffer.flags.writeable = False
    return X


def _coo_duplicates(X):
    X = sp.coo_matrix(X)
    twice = (np.tile(X.data, 2), (np.tile(X.row, 2), np.tile(X.col, 2)))
    return sp.coo_matrix(twice, shape=X.shape)


def _no_entries(X):
    return sp.csr_matrix(X.shape, dtype=X.dtype)


def _csr_view(change, n=203, d=13):
    def build(dtype):
        return lambda rng: change(csr(rng, n, d, dtype))

    return build


# CSR, read where it lies.
CSR_KINDS = {
    "CSR int64": _csr_view(_int64_indices),
    "CSR unsorted": _csr_view(_unsorted),
    "CSR duplicates": _csr_view(_duplicates),
    "CSR int64 duplicates": _csr_view(lambda X: _int64_indices(_duplicates(X))),
    "CSR empty rows": _csr_view(_empty_rows),
    "CSR explicit zeros": _csr_view(_explicit_zeros),
    "CSR spare room": _csr_view(_spare_room),
    "CSR read-only": _csr_view(_read_only_buffers),
    "CSR no entries": _csr_view(_no_entries),
    "CSR array": _csr_view(sp.csr_array),
    "CSR full": _csr_view(lambda X: sp.csr_matrix(X.toarray() + X.dtype.type(1))),
    "CSR wide": _csr_view(lambda X: X, n=20, d=700),
    "CSR awkward columns": _csr_view(lambda X: sp.csr_matrix(_awkward_columns(X.toarray()))),
}
# Sparse X that is converted, or whose buffers are.
CONVERTED_KINDS = {
    "CSC": _csr_view(sp.csc_matrix),
    "COO": _csr_view(sp.coo_matrix),
    "COO duplicates": _csr_view(_coo_duplicates),
    "LIL": _csr_view(sp.lil_matrix),
    "CSR strided buffers": _csr_view(_strided_buffers),
    "CSR mixed indices": _csr_view(_other_indices("i4", "i8")),
    "CSR int8 indices": _csr_view(_other_indices("i1", "i2")),
    "CSR unsigned indices": _csr_view(_other_indices("u4", "u2")),
    "CSR swapped indices": _csr_view(_other_indices(">i4", ">i8")),
}


def _add_kinds():
    for kinds in (SHARED_VIEWS, COPIED_VIEWS, CSR_KINDS, CONVERTED_KINDS):
        for name, build in kinds.items():
            for short, dtype in FLOATS.items():
                _add(f"{name} {short}", build(dtype))


_add_shapes()
_add_kinds()
NAMES = tuple(_BUILDERS)
COVERING = tuple(
    f"{layout}-{short}-{shape}"
    for short in FLOATS
    for layout, shapes in {
        "C": ("9x5", "100x13", "203x70", "3003x13"),
        "F": ("9x5", "100x13", "203x70", "3003x13"),
        "CSR": ("9x3", "100x8", "1003x33", "4001x33"),
    }.items()
    for shape in shapes
) + tuple(
    f"{kind} {short}" for short in FLOATS for kind in ("CSR int64", "CSR duplicates", "CSR wide", "awkward columns")
)
assert set(COVERING) <= set(NAMES)
