"""Logistic regression with scikit-learn's objective and API, near the speed of memory, and proven optimal."""

from fastlogreg import bce
from fastlogreg.estimators.logistic import LogisticRegression
from fastlogreg.estimators.stochastic import SGDLogisticRegression
from fastlogreg.runtime.versions import show_versions

__version__ = "0.1.0"

__all__ = ["LogisticRegression", "SGDLogisticRegression", "__version__", "bce", "show_versions"]
