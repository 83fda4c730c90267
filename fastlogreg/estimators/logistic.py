"""The estimator: scikit-learn's contract around an objective and a solver. No arithmetic on X here.

In: parameters, validation, classes, weights. Out: coef_, intercept_, n_iter_, gap_ and what else a user reads.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions

from fastlogreg.data.layouts import as_design
from fastlogreg.data.masks import check_unmasked
from fastlogreg.data.passes import local_passes
from fastlogreg.data.samples import Samples
from fastlogreg.estimators.callbacks import CallbackSupportMixin, begin_callbacks
from fastlogreg.estimators.prediction import PredictionMixin, float_type, validated
from fastlogreg.estimators.shared import ValidationMixin, coefficients_to_start_from, unchanged_by_failure
from fastlogreg.estimators.targets import (
    check_any_weight,
    check_two_classes_have_mass,
    checked_sample_weight,
    combined_weight,
    encode_labels,
    encode_probabilities,
    in_moderate_units,
)
from fastlogreg.penalties import Quadratic
from fastlogreg.runtime.blas_threads import single_threaded_blas
from fastlogreg.runtime.threads import effective_n_threads
from fastlogreg.solvers import SOLVERS, Solution, Stop, accuracy_asked, as_stored, early_end, judged, problem

# The solver that serves every problem at its best, and the names of scikit-learn's that ask for it.
AUTO_SOLVER = "newton"
SKLEARN_SOLVERS = {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}
# The C of a mean objective below which its inverse, the strength of the penalty, may overflow.
SMALLEST_C = 1e-300


class _StopRequested(Exception):  # noqa: N818
    """A callback asked the fit to stop."""

    def __init__(self, n_iter, point):
        super().__init__(n_iter)
        self.n_iter = n_iter
        self.point = point


class LogisticRegression(
    CallbackSupportMixin, ValidationMixin, PredictionMixin, SparseCoefMixin, ClassifierMixin, BaseEstimator
):
    """Logistic regression, binary or by softmax: scikit-learn's objective and API, proven optimal.

    Minimises ``C sum_i s_i L_i + 1/2 |w|^2`` over the coefficients w and the intercepts, which are never penalised; s_i
    are the weights of the samples and L_i their cross-entropy. Two classes share one row of coefficients; of K >= 3
    each has its own, and they sum to zero over the classes, as the intercepts do. The columns' units and origins affect
    neither convergence nor speed: the fit works in standardised coordinates and keeps the objective.

    Parameters
    ----------
    penalty : {"auto", "l2", "elasticnet", None}, default="auto"
        "auto" (also spelled "deprecated", scikit-learn's placeholder) is what `C` and `l1_ratio` say: L2, or none with
        ``C=np.inf``. "elasticnet" needs an `l1_ratio`, "l2" ignores it, None ignores it and `C`.
    C : float, default=1.0
        Inverse strength of the penalty, in (0, inf].
    l1_ratio : float or None, default=0.0
        Share of L1 in the penalty; only 0 (or None) for now, unless it is ignored.
    dual : bool, default=False
        Accepted and without effect: the optimum is the same.
    tol : float, default=1e-4
        The fit ends when the objective is within ``tol^2 / 10`` of its minimum, relatively: 1e-9 by default. That is
        proven, or estimated to be less than a third of it: see `gap_proven_`.
    fit_intercept : bool, default=True
    intercept_scaling : float, default=1
        Accepted and without effect: the intercept is free.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into `sample_weight`. "balanced" counts samples by their weight.
    random_state : int, RandomState instance or None, default=None
        Accepted and without effect: every solver is deterministic.
    solver : str, default="auto"
        "auto" chooses the way by the data. "newton" is another name for it, and so are scikit-learn's names ("lbfgs",
        "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"), whatever the penalty and the number of classes.
        "gd" (accelerated full-batch gradient descent) and "sgd" (stochastic steps, see `SGDLogisticRegression`) are
        what they say. The optimum is the same.
    max_iter : int, default=100
        Iterations of the solver at most.
    verbose : int, default=0
        Whether to print one line an iteration, and before them each way that "auto" takes and why.
    warm_start : bool, default=False
        Whether to start from `coef_` and `intercept_`: those of the fit before, or set by hand. The classes, and the
        number of features, must be the same.
    multi_class : {"auto", "ovr", "multinomial"}, default="auto"
        For code that was written for scikit-learn up to 1.7 (also spelled "deprecated", its placeholder). Several
        classes are always fitted together (multinomial): "ovr", which fits each against the rest, is for two classes
        only. Two classes are always one binary problem, as in scikit-learn from 1.8 on.
    n_jobs : int or None, default=None
        Threads. None and -1 mean all that are available (cores, container limits, OMP_NUM_THREADS, threadpoolctl).
        The result does not depend on it, bit for bit.
    soft_targets : bool, default=False
        Whether y holds probabilities in [0, 1] of the second class, or a row of K probabilities or counts for each
        sample; a row weighs as much as its sum. The classes are then 0 to K - 1, and `score`, which a grid search
        goes by, is minus the mean cross-entropy.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    coef_ : ndarray of shape (1, n_features) or (K, n_features)
        One row for two classes, else one for each. Float32 for X of float32, unless rounding to that would cost more
        than `tol` allows, else float64, as `intercept_`.
    intercept_ : ndarray of shape (1,) or (K,)
    n_iter_ : ndarray of shape (1,)
        0 where the start was the optimum, as it may be if a part of the samples or the span of few rows gave it.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has feature names that are all strings.
    gap_ : float
        ``(objective - minimum) / minimum`` at the coefficients, rounded as they are: a proven bound (a duality gap), or
        an estimate from the Newton decrement, as `gap_proven_` says. Infinite where nothing is known, and where the
        minimum is 0: for separable classes without a penalty, and where all samples that have a weight are of one
        class, which an intercept of some 20 then predicts.
    gap_proven_ : bool
        Whether `gap_` is a bound. It is an estimate where there are so many samples that the Hessian of a part of them
        was good enough, and without a penalty where classes are all but separable or conjugate gradients had to solve:
        beyond 1500 parameters, or beyond 300 with fewer samples than that.
    n_passes_ : float
        Readings of X; a product with the sparse matrix of a Hessian counts as the part of X's entries that it has.
        Those of a sample of the rows, and preconditioners, are not counted.
    loss_curve_ : ndarray of shape (n_iter_ + 1,)
        The mean objective, ``sum_i s_i L_i / sum_i s_i + |w|^2 / (2 C sum_i s_i)``, in nats per sample, at the start
        and after each iteration. Where a part of the samples or the span of few rows gives the start, it is close to
        the minimum already.
    solver_ : str
        What did the work: `solver`, or where it is "auto" the ways that led to the optimum, in turn and joined by "+",
        as "pilot", "pilot+newton" or "dual". ``verbose=1`` says why each was chosen.

    Warns
    -----
    UserWarning
        If the penalty ignores a `C` or an `l1_ratio` that was chosen.
    ConvergenceWarning
        Once, if the gap asked for was not reached, saying how far the fit is; or if the classes are separable, wholly
        or in part, and nothing bounds the coefficients.

    Notes
    -----
    Dense X is used where it lies, in C or Fortran order and with strides, float32 or float64; CSR likewise, with 32-
    or 64-bit indices; other index types are converted, and other sparse formats to CSR once. Dense integers and halves
    of at most 16 bits are copied to float32, which holds them exactly, and give float64 coefficients, as they do in
    scikit-learn; other types are copied to float64. Predictions convert a part of X at a time. Sums are float64
    throughout.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastlogreg import LogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> bool(model.gap_ < 1e-8)
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "penalty": [StrOptions({"auto", "deprecated", "l1", "l2", "elasticnet"}), None],
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "dual": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "random_state": ["random_state"],
        "solver": [StrOptions({"auto", *SOLVERS, *SKLEARN_SOLVERS})],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "multi_class": [StrOptions({"auto", "deprecated", "ovr", "multinomial"})],
        "n_jobs": [None, Integral],
        "soft_targets": ["boolean"],
    }

    def __init__(
        self,
        penalty="auto",
        *,
        C=1.0,
        l1_ratio=0.0,
        dual=False,
        tol=1e-4,
        fit_intercept=True,
        intercept_scaling=1,
        class_weight=None,
        random_state=None,
        solver="auto",
        max_iter=100,
        verbose=0,
        warm_start=False,
        multi_class="auto",
        n_jobs=None,
        soft_targets=False,
    ):
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.multi_class = multi_class
        self.n_jobs = n_jobs
        self.soft_targets = soft_targets

    @unchanged_by_failure
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, K)
            Labels, or with ``soft_targets=True`` probabilities of the second of two classes, or rows of probabilities
            or counts of K classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative. A weight of k is the same as k copies of the sample. A class whose samples have none keeps its
            place in `classes_`; with an intercept, its probability comes near zero.

        Returns
        -------
        self : LogisticRegression

        Raises
        ------
        ValueError
            For input that scikit-learn refuses: NaN or infinite values, shapes that do not fit, a single class (of soft
            targets, a single one with probability), weights that are all zero. Also for masked values, for values of
            X whose squares overflow and weights whose sum does, for negative weights, for `class_weight` with soft
            targets, for a `warm_start` from coefficients of other classes or of another number of features, and for
            three classes or more with ``multi_class="ovr"``.
        NotImplementedError
            For a penalty with L1.
        """
        self._check_penalty()
        if self.soft_targets and self.class_weight is not None:
            raise ValueError("class_weight is for labels: with soft_targets=True, weigh the samples")
        n_threads = effective_n_threads(self.n_jobs)
        X, y = self._validated(X, y)
        classes, target, own_weight = encode_probabilities(y) if self.soft_targets else (*encode_labels(y), None)
        self._check_multi_class(len(classes))
        sample_weight = checked_sample_weight(sample_weight, X)
        weight = combined_weight(sample_weight, self.class_weight, target, classes, own_weight)
        check_any_weight(weight)
        if self.soft_targets:
            check_two_classes_have_mass(target, weight)
        weight, unit = in_moderate_units(weight)
        design, samples = as_design(X, n_threads), Samples(target, weight, n_classes=len(classes))
        callbacks, objective, stored, loss_curve, ways = self._minimize(
            design, samples, unit, classes, X, y, sample_weight
        )
        coef, intercept, solution = stored
        self._report(solution)
        self.classes_ = classes
        self.coef_, self.intercept_ = coef, intercept
        self.n_iter_ = np.array([solution.n_iter], dtype=np.int32)
        self.gap_ = _relative_gap(solution)
        self.gap_proven_ = solution.proven
        self.n_passes_ = objective.n_passes
        self.loss_curve_ = np.array(loss_curve)
        self.solver_ = "+".join(ways)
        callbacks.end(self)
        return self

    @single_threaded_blas  # threads of two pools would fight for the cores
    def _minimize(self, design, samples, unit, classes, X, y, sample_weight):
        """The callbacks, which have begun, the objective, and what `_solve` returns, the solution as it is stored."""
        objective = self._objective(design, samples, unit)
        self._check_objective(objective, X)
        callbacks = begin_callbacks(self, X, y, sample_weight)
        is_labelled = not self.soft_targets and samples.weight is not None
        if self.fit_intercept and is_labelled and not samples.tells_classes_apart:
            solution, loss_curve, ways = _intercept_alone(objective)
        else:
            solution, loss_curve, ways = self._solve(objective, classes, callbacks)
        self._check_objective(objective, X)  # once more, for a pilot has not seen all of X
        return callbacks, objective, as_stored(objective, solution, self.tol, float_type(X)), loss_curve, ways

    def score(self, X, y, sample_weight=None):
        """Accuracy, or of soft targets minus their mean cross-entropy: better the higher it is, as searches need it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, K)
            Labels, or with ``soft_targets=True`` what `fit` takes then.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            With ``soft_targets=True`` in nats per sample, rows of counts weighing as much as their sums.
        """
        if not self.soft_targets:
            return super().score(X, y, sample_weight)
        log_prob = self.predict_log_proba(X)
        check_unmasked(y=y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(log_prob, y)
        classes, target, own_weight = encode_probabilities(y)
        if len(classes) != log_prob.shape[1]:
            raise ValueError(f"y has probabilities of {len(classes)} classes, the model has {log_prob.shape[1]}")
        if target.ndim == 1:
            target = np.column_stack([1.0 - target, target])
        weight = combined_weight(checked_sample_weight(sample_weight, log_prob), None, target, classes, own_weight)
        check_any_weight(weight)
        return float(np.average(np.einsum("ik,ik->i", target, log_prob), weights=weight))

    def _validated(self, X, y):
        """X and y as scikit-learn's validation returns them."""
        if self._takes_plain(X, y):
            return X, y
        check_unmasked(y=y)
        return validated(self, X, y, y_numeric=self.soft_targets, multi_output=self.soft_targets)

    def _check_penalty(self):
        """Raise scikit-learn's errors and warnings for what does not go together, and one for penalties with L1."""
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError("l1_ratio must be specified when penalty is elasticnet.")
        if self.penalty is None and (self.C not in (1.0, np.inf) or self.l1_ratio):
            self._warn_ignored("Setting penalty=None will ignore the C and l1_ratio parameters")
        if self.penalty == "l2" and self.l1_ratio:
            self._warn_ignored(f"penalty='l2' ignores l1_ratio={self.l1_ratio!r}, a share of L1")
        if self.penalty in (None, "l2") or np.isinf(self.C):
            return
        if self.penalty == "l1" or self.l1_ratio:
            raise NotImplementedError(
                f"penalty={self.penalty!r} with l1_ratio={self.l1_ratio!r}: penalties with L1 are not implemented"
            )

    @staticmethod
    def _warn_ignored(message):
        warnings.warn(message, UserWarning, stacklevel=6)

    def _check_multi_class(self, n_classes):
        if self.multi_class == "ovr" and n_classes > 2:
            raise ValueError(
                f"multi_class='ovr' fits each of {n_classes} classes against the rest: another model than this one, "
                "which fits them together. Wrap it in sklearn.multiclass.OneVsRestClassifier."
            )

    def _objective(self, design, samples, unit_of_weight):
        """What is minimised, with a pilot for the solver that uses one."""
        C = np.inf if self.penalty is None else self.C * unit_of_weight * samples.total_weight
        strength = 1.0 / max(C, SMALLEST_C)
        return problem(
            local_passes(design, samples),
            Quadratic(strength),
            fit_intercept=self.fit_intercept,
            with_pilot=self._solver_name() == AUTO_SOLVER and self.max_iter > 0,
        )

    def _solver_name(self):
        return self.solver if self.solver in SOLVERS else AUTO_SOLVER

    def _start(self, objective, classes):
        if not (self.warm_start and hasattr(self, "coef_")):
            return objective.start()
        start = objective.parameters_of(*coefficients_to_start_from(self, classes, objective.n_features, "warm_start"))
        # With several classes a start can be too far off: rounding then leaves no curvature to go by.
        if objective.n_classes > 2 and not objective.evaluate(start).value <= objective.value_without_coefficients():
            return objective.start()
        return start

    def _solve(self, objective, classes, callbacks):
        """The solution, the value after each iteration, and the ways that led there."""
        loss_curve, ways = [], []

        def on_iteration(n_iter, point):
            loss_curve.append(point.value)
            if self.verbose:
                steepest = np.max(np.abs(point.gradient), initial=0.0)
                print(f"iteration {n_iter:4d}  objective {point.value:.12g}  largest slope {steepest:.2e}", flush=True)
            if callbacks.iteration(self, n_iter, objective, point, classes):
                raise _StopRequested(n_iter, point)

        def on_way(way):
            ways.append(way.name)
            if self.verbose:
                print(f"{way.name}: {way.reason}", flush=True)

        name = self._solver_name()
        options = {"on_way": on_way} if name == AUTO_SOLVER else {}
        start = self._start(objective, classes)
        limits = {"tol": self.tol, "max_iter": self.max_iter, "on_iteration": on_iteration}
        try:
            solution = judged(objective, SOLVERS[name](objective, start, **limits, **options), **limits)
        except _StopRequested as request:
            solution = early_end(objective, request.point, self.tol, request.n_iter, Stop.REQUESTED)
        return solution, loss_curve, solution.ways or ways or [name]

    def _report(self, solution):
        """One warning, if the fit did not arrive."""
        if solution.stop in (Stop.SEPARABLE, Stop.PARTLY_SEPARABLE):
            message = _no_optimum(solution)
        elif solution.stop in (Stop.MAX_ITER, Stop.STALLED, Stop.EXHAUSTED, Stop.ROUNDED):
            message = self._shortfall(solution)
        else:
            return
        warnings.warn(message, ConvergenceWarning, stacklevel=5)

    def _shortfall(self, solution):
        """How far from the minimum a solution is, and what to do."""
        advice = {
            Stop.MAX_ITER: "Increase max_iter or tol, or choose solver='auto'.",
            Stop.STALLED: "Rounding allows no further descent: increase tol or, for coefficients better determined, "
            "lower C.",
            Stop.ROUNDED: "Columns of X lie too far from zero beside their spread: subtract their means.",
            Stop.EXHAUSTED: "Increase tol, lower C, or scale the columns of X to units alike.",
        }[solution.stop]
        asked = accuracy_asked(solution.point, self.tol) / solution.point.value
        gap = _relative_gap(solution)
        reached = f"{'proven' if solution.proven else 'estimated'} to be within {gap:.1e} of its minimum, relatively"
        return (
            f"{type(self).__name__} did not converge ({solution.stop.value}): after {solution.n_iter} iterations "
            f"the objective is {reached if np.isfinite(gap) else 'an unknown distance from its minimum'}; "
            f"tol={self.tol:g} asks for {asked:.1e}. {advice}"
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _intercept_alone(objective):
    """The solution, its value and its way where all samples that have a weight are of one class: the infimum, zero, is
    that of an intercept without end, and the start's is within 1e-9 of it.
    """
    point = objective.evaluate(objective.start())
    return Solution(point, point.value, 0, Stop.CONVERGED), [point.value], ["intercept"]


def _no_optimum(solution):
    """What a fit without an optimum has reached."""
    if solution.stop is Stop.SEPARABLE:
        part, reached = "", "all training samples on their right sides"
    else:
        gap = _relative_gap(solution)
        within = f"within {gap:.1e} of" if np.isfinite(gap) else "an unknown distance from"
        part, reached = " in part", f"the objective {within} its infimum, relatively"
    return (
        f"The classes are separable{part}: without a penalty the coefficients are unbounded and no optimum exists. "
        f"The fit stopped after {solution.n_iter} iterations with {reached}. "
        "Choose a finite C for an optimum that exists."
    )


def _relative_gap(solution):
    """Bound on ``(value - minimum) / minimum``, no less than the rounding of the value."""
    value, gap = solution.point.value, solution.gap
    if solution.stop is Stop.SEPARABLE or not gap < value:
        return float("inf")
    return max(gap / (value - gap), float(np.finfo(float).eps))
