"""Logistic regression with scikit-learn's objective and API, near the speed of memory, and proven optimal."""

from fastlogreg import bce
from fastlogreg._logistic import LogisticRegression
from fastlogreg._stochastic import SGDLogisticRegression
from fastlogreg._version_info import show_versions

__version__ = "0.1.0"

__all__ = ["LogisticRegression", "SGDLogisticRegression", "__version__", "bce", "show_versions"]
