"""What the estimators share: validation of parameters and data, and fits that leave no trace where they fail."""

import functools

import numpy as np
from sklearn.utils._param_validation import validate_parameter_constraints

from fastlogreg.estimators.prediction import is_plain


def unchanged_by_failure(fit):
    """Decorate a fit so that any exception in it leaves the estimator as it was."""

    @functools.wraps(fit)
    def guarded(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before  # in one go: a second interrupt finds the one state or the other
            raise

    return guarded


def coefficients_to_start_from(model, classes, n_features, what):
    """The coefficients and intercepts of a model that goes on from them; `what` it does then.

    Raises
    ------
    ValueError
        If they are not those of these classes and of as many features, or not finite.
    """
    coef, intercept = model._coefficients()
    known = vars(model).get("classes_")
    if known is not None and not np.array_equal(known, classes):
        raise ValueError(
            f"{what}: the coefficients are those of the classes {np.asarray(known)}, y has {classes}; choose "
            "warm_start=False to start anew"
        )
    if coef.shape[1] != n_features:
        raise ValueError(f"{what}: the coefficients are those of {coef.shape[1]} features, X has {n_features}")
    if len(coef) != (len(classes) if len(classes) > 2 else 1):
        raise ValueError(f"{what}: coef_ has {len(coef)} rows, which do not fit the {len(classes)} classes")
    model._check_finite(coef_=coef, intercept_=intercept)
    return coef, intercept


@functools.lru_cache(maxsize=256)
def _check_parameters(estimator_class, values):
    """scikit-learn's errors for the parameters, given as names, types and values."""
    parameters = {name: value for name, _, value in values}
    validate_parameter_constraints(
        estimator_class._parameter_constraints, parameters, caller_name=estimator_class.__name__
    )


class ValidationMixin:
    """scikit-learn's validation, skipped where its outcome is known."""

    def _validate_params(self):
        """Validate the parameters, once for each combination of their values."""
        values = tuple((name, type(value := getattr(self, name)), value) for name in self._parameter_constraints)
        try:
            hash(values)
        except TypeError:
            super()._validate_params()
            return
        _check_parameters(type(self), values)

    def _check_objective(self, objective, X):
        if not objective.finite:
            self._check_finite(X=X)
            raise ValueError("Input X contains values so large that their squares overflow float64: scale them.")

    def _takes_plain(self, X, y):
        """Whether validation for a fit would return X and labels y as they are; then its attributes are set."""
        plain = is_plain(X) and type(y) is np.ndarray and y.dtype.kind in "biu" and y.shape == X.shape[:1]
        if plain:
            self.n_features_in_ = X.shape[1]
            vars(self).pop("feature_names_in_", None)
        return plain
