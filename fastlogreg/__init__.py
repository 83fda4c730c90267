"""Logistic regression with scikit-learn's objective and API, near the speed of memory, and proven optimal."""

from fastlogreg import bce
from fastlogreg.estimators.logistic import LogisticRegression
from fastlogreg.estimators.stochastic import SGDLogisticRegression
from fastlogreg.runtime.versions import __version__, show_versions

__all__ = ["LogisticRegression", "SGDLogisticRegression", "__version__", "bce", "show_versions"]
