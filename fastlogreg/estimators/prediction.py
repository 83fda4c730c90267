"""Predictions of fitted estimators for new samples."""

import numpy as np
import scipy.sparse as sp
import scipy.special
from sklearn import config_context
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, validate_data

from fastlogreg.data import pointwise
from fastlogreg.data.layouts import Parts, as_design_or_parts, check_convertible, readable_types
from fastlogreg.data.masks import check_unmasked
from fastlogreg.data.softmax_passes import class_scores
from fastlogreg.runtime.threads import effective_n_threads


def is_plain(X):
    """Whether scikit-learn's validation would return X as it is, apart from its check of the number of columns."""
    if type(X) not in (np.ndarray, sp.csr_matrix, sp.csr_array):
        return False
    return X.ndim == 2 and 0 not in X.shape and (X.dtype == np.float64 or X.dtype == np.float32)


def float_type(X):
    """The type of what is computed from X: float32 for float32, else float64."""
    return np.float32 if X.dtype == np.float32 else np.float64


def validated(estimator, X, y="no_validation", **options):
    """X, or X and y, as scikit-learn's validation returns them: dense or CSR, finite or not."""
    check_unmasked(X=X)
    if sp.issparse(X) and X.ndim == 2:
        check_convertible(X)
    return validate_data(
        estimator,
        X,
        y,
        accept_sparse="csr",
        dtype=readable_types(X),
        ensure_all_finite=False,
        **options,
    )


class PredictionMixin:
    """Logits, classes and probabilities, from `coef_`, `intercept_`, `classes_`, `fit_intercept` and `n_jobs`.

    No fit is needed: the coefficients may come from a file or a server.
    """

    def _check_finite(self, **arrays):
        """Raise scikit-learn's error if one of the arrays, given by name, holds NaN or infinity; called when a sum over
        them is not finite, whatever `assume_finite` promised.
        """
        with config_context(assume_finite=False):
            for name, array in arrays.items():
                values = array.data if sp.issparse(array) else array
                assert_all_finite(values, estimator_name=type(self).__name__, input_name=name)

    def _coefficients(self):
        """Coefficients (1, d) or (K, d) and intercepts (1,) or (K,), as doubles, of a fit or set by hand.

        Raises
        ------
        ValueError
            If they do not fit each other, or the classes.
        """
        coef = self.coef_.toarray() if sp.issparse(self.coef_) else self.coef_
        coef = _as_doubles(np.atleast_2d(coef))
        # without one to be fitted, `intercept_` may be left unset
        intercept = self.intercept_ if self.fit_intercept else vars(self).get("intercept_", 0.0)
        intercept = _as_doubles(intercept)
        if intercept.shape in ((), (1,)):
            intercept = np.full(len(coef), float(intercept.reshape(())))
        classes = vars(self).get("classes_")
        if coef.ndim != 2 or intercept.shape != (len(coef),):
            raise ValueError(
                f"coef_ of shape {np.shape(self.coef_)} and intercept_ of shape {intercept.shape} do not fit each other"
            )
        if classes is not None and len(classes) != max(2, len(coef)):
            raise ValueError(f"coef_ has {len(coef)} rows, which do not fit the {len(classes)} classes of classes_")
        return coef, intercept

    def _design(self, X):
        """The design matrix of validated X, or its `Parts`."""
        fitted = vars(self)
        as_in_fit = "feature_names_in_" not in fitted and "n_features_in_" in fitted and "coef_" in fitted
        if not (as_in_fit and is_plain(X) and X.shape[1] == self.n_features_in_):
            check_is_fitted(self, "coef_")
            X = validated(self, X, reset=False)
        return as_design_or_parts(X, effective_n_threads(self.n_jobs))

    def _prediction_dtype(self, design):
        return float_type(design.X)

    def _logits(self, design, probabilities=False):
        """Logits (n,) of two classes, else logits or probabilities (n, K); float64."""
        if isinstance(design, Parts):
            return np.concatenate([self._logits(design.part(i), probabilities) for i in range(design.n_parts)])
        coef, intercept = self._coefficients()
        if design.n_features != coef.shape[1]:
            raise ValueError(
                f"X has {design.n_features} features, but {type(self).__name__} is expecting {coef.shape[1]} features "
                "as input."
            )
        if len(coef) > 1:
            logits = class_scores(design, coef, intercept, probabilities)
        else:
            logits = design.logits(coef, intercept)[0]
        if not np.isfinite(logits).all():
            self._check_finite(X=design.X, coef_=coef, intercept_=intercept)
        return logits

    def decision_function(self, X):
        """Logits of the samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        logits : ndarray of shape (n_samples,) or (n_samples, K)
            Of two classes positive for ``classes_[1]``, else one for each class.
        """
        design = self._design(X)
        return self._logits(design).astype(self._prediction_dtype(design), copy=False)

    def predict(self, X):
        """Classes of the samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        classes : ndarray of shape (n_samples,)
        """
        logits = self._logits(self._design(X))
        numbers = (logits > 0).astype(np.intp) if logits.ndim == 1 else logits.argmax(axis=1)
        return np.asarray(self.classes_)[numbers]

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, K)
            In the order of `classes_`. All columns are accurate, however small.
        """
        design = self._design(X)
        logits = self._logits(design, probabilities=True)
        if logits.ndim == 2:
            return logits.astype(self._prediction_dtype(design), copy=False)
        columns = np.empty((2, len(logits)))
        pointwise.sigmoid(logits, prob_out=columns[1], complement_out=columns[0], n_threads=design.n_threads)
        return columns.T.astype(self._prediction_dtype(design), copy=False)

    def predict_log_proba(self, X):
        """Logarithms of the probabilities of the classes, never -inf for finite logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, K)
            In the order of `classes_`.
        """
        design = self._design(X)
        logits = self._logits(design)
        if logits.ndim == 2:
            return scipy.special.log_softmax(logits, axis=1).astype(self._prediction_dtype(design), copy=False)
        columns = np.empty((2, len(logits)))
        for target, column in enumerate(columns):
            # log sigma(u) is minus the cross-entropy of u against 1, log sigma(-u) minus that against 0
            targets = np.full(len(logits), float(target))
            pointwise.cross_entropy(logits, targets, loss_out=column, n_threads=design.n_threads)
        return np.negative(columns, out=columns).T.astype(self._prediction_dtype(design), copy=False)


def _as_doubles(values):
    """Coefficients of any type, with strides or anywhere in memory, as kernels read them."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    return values if values.flags.aligned else values.copy()
