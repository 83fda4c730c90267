"""Rows drawn in proportion to their curvature: a few of them tell a Hessian."""

import numpy as np


def drawn_rows(curvature, n_drawn):
    """Rows at equal distances of the running sum of the curvature (n,), and their weights, whose sum is the same.

    All rows where there are no more than `n_drawn`; a single one of weight zero where none has curvature.
    """
    if n_drawn >= len(curvature):
        return np.arange(len(curvature)), curvature
    running = np.cumsum(curvature)
    step = running[-1] / n_drawn
    if not step > 0:
        return np.zeros(1, dtype=np.intp), np.zeros(1)
    times = np.diff(np.floor(running / step + 0.5), prepend=0.0)
    rows = np.flatnonzero(times)
    return rows, step * times[rows]
