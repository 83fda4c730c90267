"""Data sets that the benchmarks share: real ones where they are at hand, and made ones."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp

REPOSITORY = Path(__file__).parent.parent


def real_data(name):
    """``load(name)`` of the `load.py` in the folder FASTLOGREG_DATA or ../shared/data, or None where there is none."""
    folder = Path(os.environ.get("FASTLOGREG_DATA", REPOSITORY.parent / "shared" / "data"))
    script = folder / "load.py"
    if not script.exists():
        return None
    spec = importlib.util.spec_from_file_location("fastlogreg_data", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(name)


def text_matrix(n_samples=25_000, n_features=66_000, words=150, seed=0):
    """CSR shaped like a bag of words: few features carry most entries, and rows have unit length."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(n_samples), rng.poisson(words, n_samples))
    columns = (n_features * rng.random(len(rows)) ** 4).astype(np.int32)
    X = sp.csr_matrix((rng.random(len(rows)) + 0.1, (rows, columns)), shape=(n_samples, n_features))
    lengths = np.sqrt(X.multiply(X).sum(axis=1)).A1
    return sp.csr_matrix(sp.diags(1.0 / np.maximum(lengths, 1e-12)) @ X)


def tall_problem(n_samples, n_features, seed=0):
    """A dense problem of the common kind: three fifths of the columns are independent, the others mix them.

    Labels are drawn from the model itself, so no separating plane exists.
    """
    rng = np.random.default_rng(seed)
    n_informative = 3 * n_features // 5
    X = np.empty((n_samples, n_features))
    X[:, :n_informative] = rng.standard_normal((n_samples, n_informative))
    mixing = rng.standard_normal((n_informative, n_features - n_informative)) / np.sqrt(n_informative)
    X[:, n_informative:] = X[:, :n_informative] @ mixing
    X[:, n_informative:] += 0.1 * rng.standard_normal((n_samples, n_features - n_informative))
    coef = rng.standard_normal(n_features) / np.sqrt(n_features)
    y = (rng.random(n_samples) < 1.0 / (1.0 + np.exp(-(X @ coef + 0.5)))).astype(np.int64)
    return X, y
