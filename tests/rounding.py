"""Bounds on rounding errors, which tests compare results within.

A sum is in error by at most `SUM` times the sum of its terms' sizes, errors of the terms are carried to the result by
the derivative, and what cancels (a variance from sums about a far point) is bounded by what it cancels from.
"""

import numpy as np

EPS = np.finfo(float).eps
# A sum's longest chain of additions has some 500 links (samples of a block, then blocks, then chunks), each of which
# may round by EPS / 2; the plain twin's chains are no longer.
SUM = 500 * EPS
# A chain over all samples of the largest chunk has up to 35000, but their roundings do not conspire.
LONG_SUM = 5000 * EPS


def assert_within(actual, expected, error):
    """Elementwise; a result that is NaN fails."""
    excess = np.abs(actual - expected) - error
    assert np.all(excess <= 0), f"error {np.max(np.abs(actual - expected))} beyond its bound by {np.nanmax(excess)}"
