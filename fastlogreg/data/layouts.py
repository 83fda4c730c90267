"""Which design matrix serves an X."""

import numpy as np
import scipy.sparse as sp

from fastlogreg.data.csr import CSRDesign
from fastlogreg.data.dense import DenseDesign


def as_design(X, n_threads=1):
    """The design matrix of X (n, d), float32 or float64: a 2-D ndarray, or sparse in any format.

    Arrays whose rows or columns are contiguous are used where they lie, whatever the other stride; other views are
    copied. CSR is used where it lies, other sparse formats are converted to CSR once.
    """
    if X.dtype != np.float64 and X.dtype != np.float32:
        raise ValueError(f"X is {X.dtype}, not float32 or float64")
    if 0 in X.shape:
        raise ValueError(f"X is empty: {X.shape[0]} x {X.shape[1]}")
    if sp.issparse(X):
        return CSRDesign(X if X.format == "csr" else X.tocsr(), n_threads)
    whole_elements = X.flags.aligned and all(stride % X.itemsize == 0 for stride in X.strides)
    if not (whole_elements and (X.itemsize in X.strides or 1 in X.shape)):
        X = np.ascontiguousarray(X)
    return DenseDesign(X, n_threads)
