"""SGDLogisticRegression: scikit-learn's contract around steps over a stream of samples.

The estimator decides which samples there are, with which seed, and when a fit ends; `fastlogreg.steps` orders them and
takes the steps.
"""

import hashlib
import threading
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import unique_labels

from fastlogreg.data.layouts import as_rows
from fastlogreg.data.masks import check_unmasked
from fastlogreg.estimators.callbacks import CallbackSupportMixin, begin_callbacks
from fastlogreg.estimators.epochs import Epochs, unseen_overflow
from fastlogreg.estimators.prediction import PredictionMixin, float_type, validated
from fastlogreg.estimators.shared import ValidationMixin, coefficients_to_start_from, unchanged_by_failure
from fastlogreg.estimators.targets import (
    check_any_weight,
    check_labels,
    checked_sample_weight,
    combined_weight,
    encode_labels,
)
from fastlogreg.estimators.validation_set import Accuracy, CrossEntropy
from fastlogreg.runtime.blas_threads import single_threaded_blas
from fastlogreg.runtime.threads import effective_n_threads
from fastlogreg.steps import Feed, first_steps, memory_map, next_steps

MAX_SEED = np.iinfo(np.int32).max


class SGDLogisticRegression(
    CallbackSupportMixin, ValidationMixin, PredictionMixin, SparseCoefMixin, ClassifierMixin, BaseEstimator
):
    """Logistic regression by steps over a stream of samples, which need no tuning.

    Minimises ``mean_i L_i + alpha ((1 - l1_ratio) / 2 |w|^2 + l1_ratio |w|_1)``, for two classes SGDClassifier's
    objective; L_i is the cross-entropy of sample i, and the intercept is never penalised. For three classes or more,
    L_i is that of the softmax, and all classes are fitted together (multinomial): SGDClassifier fits each of them
    against the rest, which is another model under the same names.

    Parameters
    ----------
    loss : {"log_loss"}, default="log_loss"
        The one loss there is; SGDClassifier's others are refused.
    penalty : {"l2", "l1", "elasticnet", None}, default="l2"
    alpha : float, default=1e-4
        Strength of the penalty. With ``learning_rate="auto"`` the mean is by the samples' weights; with the other rates
        weights multiply the steps, as in SGDClassifier.
    l1_ratio : float, default=0.15
        Share of L1 in "elasticnet".
    fit_intercept : bool, default=True
    max_iter : int, default=1000
        Epochs at most.
    tol : float or None, default=1e-3
        With "auto", where Newton steps serve, the fit ends when the objective is within ``tol^2 / 10`` of its minimum,
        relatively, as `LogisticRegression` bounds or estimates that; elsewhere when `n_iter_no_change` epochs have not
        lowered the objective by `tol`, as in SGDClassifier. None makes `max_iter` epochs, or as many as rounding
        allows.
    shuffle : bool, default=True
        Whether each epoch takes the samples in a random order. Samples of a memory-mapped X are shuffled in runs of 64
        MiB.
    verbose : int, default=0
        Whether to print one line per epoch.
    epsilon : float, default=0.1
        Accepted and without effect: it belongs to losses that there are not.
    n_jobs : int or None, default=None
        Threads for reading ahead and for predictions; None and -1 mean all that are available. The result does not
        depend on it.
    random_state : int, RandomState instance or None, default=None
        Seeds the orders, which are scikit-learn's for the same seed.
    learning_rate : {"auto", "constant", "optimal", "invscaling", "adaptive"}, default="auto"
        "auto" has no rate. Up to 2000 columns (of several classes, up to 16 million products of two columns, summed
        over the classes) it takes Newton steps, a block of samples at a time, with the curvature of all samples so far;
        from the second epoch on, an epoch is an iteration of `LogisticRegression` on all samples. With more columns, or
        L1, it takes steps with a curvature for each coefficient. The others are SGDClassifier's; with several classes,
        a step moves them all along the softmax's gradient, and the intercepts of sparse X as far as those of dense X.
    eta0 : float, default=0.01
        Step length of "constant", "invscaling" and "adaptive".
    power_t : float, default=0.5
        Exponent of "invscaling"; a negative one lets the steps grow.
    early_stopping : bool, default=False
        Whether to keep a part of the samples to score each epoch on, and end when `n_iter_no_change` epochs have not
        raised the accuracy by `tol`. Not for `partial_fit`.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=5
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; "balanced" is not for `partial_fit`.
    warm_start : bool, default=False
        Whether to start from `coef_` and `intercept_`: those of the fit before, or set by hand. The classes, and the
        number of features, must be the same.
    average : bool or int, default=False
        Whether the coefficients are the average over steps, from that step on; of L1, as in SGDClassifier, what it cuts
        off counts as if it had been cut from that step on. "auto" ignores it.
    batch_size : int, default=1
        Samples a step; the step is along their mean gradient. "auto" ignores it.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    coef_ : ndarray of shape (1, n_features) or (K, n_features)
        One row for two classes, else one for each. float32 for X of float32, else float64, as `intercept_`.
    intercept_ : ndarray of shape (1,) or (K,)
    n_iter_ : int
        Epochs.
    t_ : float
        One more than the samples seen.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has feature names that are all strings.
    loss_curve_ : ndarray of shape (n_iter_,)
        The objective of each epoch, in nats per sample, with the loss of each sample before its step.
    validation_curve_ : ndarray of shape (n_iter_,)
        With `early_stopping` the accuracy after each epoch, with `X_val` the mean cross-entropy; the fit keeps the
        coefficients of the best epoch.

    Warns
    -----
    ConvergenceWarning
        If the fit did not get as near the minimum as `tol` asks: `max_iter` epochs were not enough, rounding allows no
        more, or the classes are separable and no penalty bounds the coefficients.

    Notes
    -----
    Samples are gathered in small blocks as doubles, so sparse X of floats and dense X of floats, integers, booleans or
    halves, of any layout, are read where they lie, and a memory-mapped X is read in parts. One thread takes the steps;
    where rows have to be copied for them, and there are megabytes of them, a second thread does that ahead. The result
    is the same with and without it.

    A pickle holds no samples, and a few numbers for each coefficient: those of `partial_fit` that wait for their block
    have taken their step in it, and the curvature of all samples is reduced to its diagonal and its column of the
    intercept, and learnt anew from the samples to come. ``copy.deepcopy`` keeps everything.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastlogreg import SGDLogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> round(SGDLogisticRegression(random_state=0).fit(X, y).score(X, y), 2)
    0.97
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "loss": [StrOptions({"log_loss"})],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "learning_rate": [StrOptions({"auto", "constant", "optimal", "invscaling", "adaptive"})],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, None, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "warm_start": ["boolean"],
        "average": [Interval(Integral, 0, None, closed="left"), "boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        loss="log_loss",
        *,
        penalty="l2",
        alpha=1e-4,
        l1_ratio=0.15,
        fit_intercept=True,
        max_iter=1000,
        tol=1e-3,
        shuffle=True,
        verbose=0,
        epsilon=0.1,
        n_jobs=None,
        random_state=None,
        learning_rate="auto",
        eta0=0.01,
        power_t=0.5,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        class_weight=None,
        warm_start=False,
        average=False,
        batch_size=1,
    ):
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average
        self.batch_size = batch_size

    @unchanged_by_failure
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None, *, X_val=None, y_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A C-ordered ``np.memmap`` may be larger than memory.
        y : array-like of shape (n_samples,)
        coef_init : array-like of shape (1, n_features) or (K, n_features), default=None
            Coefficients to start from, also before those of a `warm_start`; of two classes (n_features,) will do.
        intercept_init : array-like of shape (1,) or (K,), default=None
            Intercepts to start from.
        sample_weight : array-like of shape (n_samples,), default=None
        X_val, y_val : like X and y, default=None
            Samples to validate on after each epoch: the fit ends when `n_iter_no_change` epochs have not lowered their
            mean cross-entropy by `tol`.

        Returns
        -------
        self : SGDLogisticRegression

        Raises
        ------
        ValueError
            For input that scikit-learn refuses, for settings that do not go together, for a `warm_start` from
            coefficients of other classes or of another number of features, and where the steps overflow.
        """
        self._check_settings()
        mapped = memory_map(X)
        X, y = self._validated(X, y, reset=True)
        classes, target = encode_labels(y)
        weight = self._weight(sample_weight, X, target, classes)
        check_any_weight(weight)
        rows = as_rows(X)
        kept, validation = self._validation(rows.X, target, weight, classes, X_val, y_val)
        feed = Feed(rows, target, weight, kept, self._seed(), mapped)
        starts, n_threads = (coef_init, intercept_init), effective_n_threads(self.n_jobs)
        callbacks, run = self._take_epochs(feed, validation, classes, starts, X, y, sample_weight, n_threads)
        self._take_over(run, float_type(X))
        if self.tol is not None and not run.converged:
            warnings.warn(f"{type(self).__name__} {run.shortfall()}", ConvergenceWarning, stacklevel=4)
        callbacks.end(self)
        return self

    @unchanged_by_failure
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Take the samples as the next ones of a stream: one epoch over them.

        The call goes on from `coef_`, `intercept_` and `t_` and with the parameters as they are, whoever has set them:
        a fit or a call before, `set_params`, or a server that averages coefficients. With "auto" another penalty is one
        of all samples so far, and coefficients that were set count as what those led to, or where there were none, or
        steps of another kind, as what one block led to.

        How a stream is cut into calls does not matter, except that `shuffle` shuffles the samples within each call.
        With "auto", Newton steps take the samples in blocks, of 256 or as many as there are columns (of several
        classes, 512 or twice as many). With more than 64 columns, the coefficients after a call within a block are
        those of a step by the samples of the block so far and the curvature of all blocks before it; and as long as
        steps with a curvature for each coefficient predict the samples better, as they do while samples are few, they
        are theirs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (K,), default=None
            All the classes that the stream may hold, needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : SGDLogisticRegression

        Raises
        ------
        ValueError
            As in `fit`, for labels that are not among the classes, and for settings that need all samples at once.
        """
        self._validate_params()  # which scikit-learn does before a first call only
        self._check_settings()
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError("class_weight='balanced' is not for partial_fit, which does not know all samples")
        known = vars(self).get("classes_", classes)
        if known is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        X, y = self._validated(X, y, reset=not hasattr(self, "n_features_in_"))
        known = np.asarray(known) if hasattr(self, "classes_") else unique_labels(known)
        if classes is not None and not np.array_equal(unique_labels(classes), np.sort(known)):
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}")
        target = _encode(y, known)
        weight = self._weight(sample_weight, X, target, known)
        rows = as_rows(X)
        feed = Feed(rows, target, weight, None, self._seed(), None)
        steps, coef, intercept = self._take_next(feed, known, effective_n_threads(self.n_jobs))
        self._check_solution(coef, intercept, steps.loss_sum, X, 1)
        self.classes_ = known
        self.n_iter_ = 1
        self.t_ = getattr(self, "t_", 1.0) + rows.n_samples
        self._set_solution(coef, intercept, float_type(X), steps)
        return self

    @single_threaded_blas
    def _take_epochs(self, feed, validation, classes, starts, X, y, sample_weight, n_threads):
        """The callbacks, which have begun, and the epochs of a fit from `starts`."""
        steps = self._start(classes, feed.rows, *starts)
        callbacks = begin_callbacks(self, X, y, sample_weight)
        run = Epochs(self, steps, feed, validation, X, classes, callbacks, n_threads)
        run.until_done()
        return callbacks, run

    @single_threaded_blas
    def _take_next(self, feed, classes, n_threads):
        """The steps after one epoch more, and their solution."""
        with unseen_overflow():
            steps = self._next_steps(classes, feed.rows)
            steps.begin_stream()
            steps.begin_epoch()
            feed.epoch(steps, n_threads)
            return steps, *steps.solution()

    def _check_settings(self):
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError("l1_ratio must be set when penalty is 'elasticnet'")
        if self.learning_rate == "optimal" and self.alpha == 0:
            raise ValueError("alpha must be > 0 since learning_rate is 'optimal', which is 1 / (alpha t)")

    def _validated(self, X, y, reset):
        if reset and self._takes_plain(X, y):
            return X, y
        check_unmasked(y=y)
        return validated(self, X, y, reset=reset)

    def _weight(self, sample_weight, X, target, classes):
        sample_weight = checked_sample_weight(sample_weight, X)
        weight = combined_weight(sample_weight, self.class_weight, target, classes)
        if weight is not None and not weight.all():
            self._check_finite(X=X)  # steps may not show what is in samples without weight
        return weight

    def _seed(self):
        """The seed of the orders, None where samples keep theirs: the second number that scikit-learn's fit draws."""
        generator = _generator(self.random_state)
        generator.randint(1, MAX_SEED)
        seed = generator.randint(MAX_SEED)
        return seed if self.shuffle else None

    def _penalty(self):
        """alpha and the share of L1 in it."""
        if self.penalty is None:
            return 0.0, 0.0
        return float(self.alpha), {"l2": 0.0, "l1": 1.0}.get(self.penalty, self.l1_ratio)

    def _start(self, classes, rows, coef_init, intercept_init):
        """The steps of a fit, from the coefficients that it begins with."""
        coef, intercept = _zeros(classes, rows)
        given = coef_init is not None and intercept_init is not None
        if self.warm_start and hasattr(self, "coef_") and not given:
            coef, intercept = coefficients_to_start_from(self, classes, rows.n_features, "warm_start")
        if coef_init is not None:
            coef = _initial("coef_init", coef_init, coef.shape)
        if intercept_init is not None:
            intercept = _initial("intercept_init", intercept_init, intercept.shape)
        elif self.learning_rate == "auto" and not self.fit_intercept:
            intercept = np.zeros_like(intercept)
        self._check_finite(coef_init=coef, intercept_init=intercept)
        return first_steps(coef, intercept, rows.sparse, self._settings())

    def _next_steps(self, classes, rows):
        """The steps of the next samples of a stream: from `coef_` and `intercept_`, with parameters as they are now.

        The steps so far serve on as they are where nobody has changed a parameter, a coefficient or `t_`.
        """
        settings = self._settings()
        if not hasattr(self, "coef_"):
            return first_steps(*_zeros(classes, rows), rows.sparse, settings)
        coef, intercept = coefficients_to_start_from(self, classes, rows.n_features, "partial_fit")
        n_seen = vars(self).get("t_", 1.0) - 1.0
        if not hasattr(self, "_steps"):
            return next_steps(None, coef, intercept, rows.sparse, settings, n_seen, moved=True)
        steps = self._steps.fork()  # a call that fails must leave them as they were
        settings_then, state_then = self._left
        moved = self._state_in_short() != state_then
        if moved or settings != settings_then:
            steps = next_steps(steps, coef, intercept, rows.sparse, settings, n_seen, moved=moved)
        return steps

    def _settings(self):
        """What the steps need to know of the parameters."""
        alpha, l1_ratio = self._penalty()
        fit_intercept = bool(self.fit_intercept)
        if self.learning_rate == "auto":
            return {"schedule": "auto", "alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
        return {
            "schedule": self.learning_rate,
            "eta0": float(self.eta0),
            "power_t": float(self.power_t),
            "alpha": float(self.alpha),  # "optimal" needs it without a penalty too
            "penalised": self.penalty is not None,
            "l1_ratio": l1_ratio,
            "fit_intercept": fit_intercept,
            "average": int(self.average),
            "batch_size": self.batch_size,
        }

    def _state_in_short(self):
        """A short proof of what `coef_`, `intercept_` and `t_` are."""
        coef, intercept = self._coefficients()
        digest = hashlib.blake2b(coef.data, digest_size=16)
        digest.update(intercept.data)
        return digest.digest(), self.t_

    def _validation(self, X, target, weight, classes, X_val, y_val):
        """Which samples to learn from, None for all, and what judges the coefficients after each epoch, or None."""
        if X_val is not None or y_val is not None:
            return None, self._validation_set(X_val, y_val, classes)
        if not self.early_stopping:
            return None, None
        kept, held_out = self._split(target, weight)
        return kept, Accuracy(X[held_out], target[held_out], None if weight is None else weight[held_out])

    def _split(self, target, weight):
        """Samples to learn from and to score on, as in SGDClassifier."""
        splitter = StratifiedShuffleSplit(test_size=self.validation_fraction, random_state=self.random_state)
        _, held_out = next(splitter.split(np.zeros((len(target), 1)), target))
        if weight is not None and not np.any(weight[held_out] > 0):
            raise ValueError(
                "The sample weights for validation set are all zero, consider using a different random state."
            )
        # The samples to learn from keep their places in the shuffled order of all samples.
        mask = np.ones(len(target), dtype=bool)
        mask[held_out] = False
        return mask, np.flatnonzero(~mask)

    def _validation_set(self, X_val, y_val, classes):
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val belong together")
        if self.early_stopping:
            raise ValueError("X_val is a validation set: early_stopping=True would take another from X")
        check_unmasked(X_val=X_val, y_val=y_val)
        check_labels(np.asarray(y_val), "y_val")
        X_val, y_val = self._validated(X_val, y_val, reset=False)
        self._check_finite(X_val=X_val)
        return CrossEntropy(X_val, _encode(y_val, classes), None)

    def _check_solution(self, coef, intercept, loss, X, epoch):
        """Raise ValueError if X or the solution is not finite. L1 turns a coefficient that is not finite into zero:
        then only the loss tells.
        """
        finite = np.isfinite(intercept).all() and np.isfinite(coef).all()
        if not (finite and np.isfinite(loss)):
            self._check_finite(X=X)
        if finite:
            return
        raise ValueError(
            f"Floating-point under-/overflow occurred at epoch #{epoch}. Scaling input data with StandardScaler or "
            "MinMaxScaler might help, or learning_rate='auto'."
        )

    def _prediction_dtype(self, design):
        return np.float64

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _take_over(self, run, dtype):
        """Take over what a run led to."""
        self.classes_ = run.classes
        self.n_iter_ = run.n_iter
        self.t_ = 1.0 + run.n_iter * run.feed.n_samples
        self.loss_curve_ = np.array(run.loss_curve)
        vars(self).pop("validation_curve_", None)
        if run.validation is not None:
            self.validation_curve_ = np.array(run.validation_curve)
        self._set_solution(run.coef, run.intercept, dtype, run.steps)
        if self.learning_rate == "adaptive":
            run.steps.eta0 = self.eta0  # a stream goes on with the rate that is asked for
        if run.validation is not None:
            self._left = self._settings(), None  # the best epoch need not be the steps' last one

    def _set_solution(self, coef, intercept, dtype, steps):
        """Set the coefficients, and remember the steps that led to them, and with what."""
        self.coef_ = np.atleast_2d(coef).astype(dtype)
        self.intercept_ = np.atleast_1d(intercept).astype(dtype)
        self._steps, self._left = steps, (self._settings(), self._state_in_short())


_of_thread = threading.local()


def _generator(random_state):
    """scikit-learn's generator for `random_state`.

    For an integer, each thread seeds one generator again and again, as making one takes fifty times as long.
    """
    if not isinstance(random_state, Integral):
        return check_random_state(random_state)
    if not hasattr(_of_thread, "generator"):
        _of_thread.generator = np.random.RandomState()
    _of_thread.generator.seed(random_state)
    return _of_thread.generator


def _zeros(classes, rows):
    """Coefficients and intercepts to start from."""
    n_outputs = len(classes) if len(classes) > 2 else 1
    return np.zeros((n_outputs, rows.n_features)), np.zeros(n_outputs)


def _initial(name, given, shape):
    """Coefficients or intercepts that a user starts from, in the shape that the classes ask for."""
    given = np.array(given, dtype=np.float64)
    if shape[0] == 1 and given.size == np.prod(shape):  # one output: without its dimension, too
        given = given.reshape(shape)
    if given.shape != shape:
        raise ValueError(f"{name} has the shape {given.shape}, which for X and the classes of y must be {shape}")
    return given


def _encode(y, classes):
    """The target (n,) of labels that are among the classes: see `encode_labels`."""
    check_labels(y)
    if len(classes) < 2:
        raise ValueError(f"classes must hold two classes at least, and holds {len(classes)}")
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise ValueError(f"y contains labels that are not in classes: {np.unique(y[unknown])!r}")
    if len(classes) == 2:
        return (y == classes[1]).astype(np.uint8)
    order = np.argsort(classes)  # classes that were set by hand may have any
    return order[np.searchsorted(classes, y, sorter=order)]
