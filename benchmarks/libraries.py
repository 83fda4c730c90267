"""One adaptor for each library: how it is told a problem, with its default and with its tight settings.

An adaptor takes a `Task` and returns two functions. `fit()` is what the clock sees, from arrays in the memory layout
that the library's documentation recommends to a fitted model, the library's own validation included; bringing the data
into that layout comes before. `read(model)` returns the coefficients (d,) and the intercept, or those (K, d) and (K,)
of K >= 3 classes.

All minimise ``C sum_i L_i`` and the penalty; most libraries write it as ``mean(L) + alpha * penalty``, with
``alpha = 1 / (C n)``.
"""

import importlib
import importlib.metadata
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import scipy.sparse as sp

SETTINGS = ("default", "tight")
# The value of a constant column that stands for a free intercept, for libraries that penalise the intercept: large
# enough for its coefficient to cost nothing. In float32 a larger one would drown the other columns.
LARGE_CONSTANT, LARGE_CONSTANT_SINGLE = 1e3, 1e2


@dataclass(frozen=True, slots=True)
class Task:
    """A problem as an adaptor sees it; X is C-ordered or csr_matrix, float64, and y holds the classes 0 to K - 1."""

    X: np.ndarray | sp.csr_matrix
    y: np.ndarray
    C: float
    l1_ratio: float
    n_threads: int
    tight: bool

    @property
    def alpha(self):
        return 1.0 / (self.C * len(self.y))

    def columnwise(self):
        """X in Fortran order or CSC."""
        return sp.csc_matrix(self.X) if sp.issparse(self.X) else np.asfortranarray(self.X)

    def with_constant(self, value):
        """X with a constant column at its end."""
        column = np.full((len(self.y), 1), value)
        return sp.csr_matrix(sp.hstack([self.X, column])) if sp.issparse(self.X) else np.hstack([self.X, column])


@dataclass(frozen=True, slots=True)
class Library:
    """An adaptor and what its library can do.

    Attributes
    ----------
    distribution : str or None
        Its name on the package index.
    penalties : tuple of str
        Of "l2", "l1" and "none".
    softmax : bool
        Whether it fits more than two classes by softmax, as one objective.
    most_parameters, most_entries : float
        The most coefficients, and the most numbers in X, that it is tried with; `limit_reason` says why.
    notes : dict
        For a setting, how its objective differs.
    exact : bool
        Whether its tight setting is meant to reach the optimum.
    settings : tuple of str
    """

    distribution: str | None
    prepare: Callable
    penalties: tuple = ("l2",)
    sparse: bool = True
    softmax: bool = False
    most_parameters: float = np.inf
    most_entries: float = np.inf
    limit_reason: str = ""
    notes: dict = field(default_factory=dict)
    exact: bool = True
    settings: tuple = SETTINGS

    def hindrance(self, problem):
        """Status and note of a problem that it cannot race on, or None."""
        if self.version() is None:
            return "missing", f"{self.distribution} is not installed"
        reason = self.refusal(problem)
        return ("not served", reason) if reason else None

    def refusal(self, problem):
        """Why it does not serve a problem, or an empty string."""
        if problem.penalty not in self.penalties:
            return f"no penalty {problem.penalty}" if problem.penalty != "none" else "no fit without penalty"
        if sp.issparse(problem.X) and not self.sparse:
            return "no sparse X"
        if problem.n_classes > 2 and not self.softmax:
            return "no softmax of several classes"
        if problem.n_coef > self.most_parameters or problem.n_entries > self.most_entries:
            return self.limit_reason
        return ""

    def version(self):
        """The installed version, or None."""
        if self.distribution is None:
            return ""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


def zeros(task):
    """The floor: no fit at all."""
    n_classes, d = task.y.max() + 1, task.X.shape[1]
    solution = (np.zeros(d), 0.0) if n_classes == 2 else (np.zeros((n_classes, d)), np.zeros(n_classes))
    return lambda: None, lambda _: solution


def read_sklearn(model):
    coef, intercept = model.coef_, np.atleast_1d(model.intercept_)
    return (np.ravel(coef), float(intercept[0])) if len(intercept) == 1 else (coef, intercept)


def fastlogreg(task, solver):
    from fastlogreg import LogisticRegression

    tight = {"tol": 1e-6, "max_iter": 100_000} if task.tight else {}
    model = LogisticRegression(C=task.C, l1_ratio=task.l1_ratio, solver=solver, n_jobs=task.n_threads, **tight)
    return lambda: model.fit(task.X, task.y), read_sklearn


def scikit_learn(task, solver):
    import sklearn
    from sklearn.linear_model import LogisticRegression

    options = {"C": task.C, "solver": solver}
    if task.l1_ratio == 1.0:
        old = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8)
        options |= {"penalty": "l1"} if old else {"l1_ratio": 1.0}
    if task.tight:
        options |= {"tol": 1e-10, "max_iter": 1_000_000}
        if solver == "liblinear":
            options["intercept_scaling"] = LARGE_CONSTANT
    model = LogisticRegression(**options)
    return lambda: model.fit(task.X, task.y), read_sklearn


def sgd_classifier(task):
    from sklearn.linear_model import SGDClassifier

    tight = {"average": True, "tol": 1e-8, "n_iter_no_change": 20, "max_iter": 1_000_000} if task.tight else {}
    model = SGDClassifier(loss="log_loss", alpha=task.alpha, random_state=0, **tight)
    return lambda: model.fit(task.X, task.y), read_sklearn


def scikit_learn_intelex(task):
    """Dense X with an L2 penalty; everything else it hands to scikit-learn without a word, which has its own rows."""
    from sklearnex.linear_model import LogisticRegression

    tight = {"tol": 1e-10, "max_iter": 1_000_000} if task.tight else {}
    model = LogisticRegression(C=task.C, **tight)
    return lambda: model.fit(task.X, task.y), read_sklearn


def liblinear(task):
    from liblinear.liblinearutil import problem, train

    data = problem(task.y.astype(np.float64), sp.csr_matrix(task.X))
    options = f"-s {6 if task.l1_ratio else 0} -c {task.C!r} -B 1 -R -q"
    options += " -e 1e-10" if task.tight else ""

    def read(model):
        coef, intercept = model.get_decfun(model.get_labels().index(1))
        return np.array(coef), intercept

    return lambda: train(data, options), read


def snap_ml(task):
    from snapml import LogisticRegression

    n, d = task.X.shape
    options = {"regularizer": 1.0 / task.C, "penalty": "l1" if task.l1_ratio else "l2", "n_jobs": task.n_threads}
    # What the documentation recommends; without the dual its intercept would stay zero.
    options["dual"] = n > d and not task.l1_ratio
    if options["dual"] and not task.tight:
        X, constant, options["fit_intercept"] = task.X, 1.0, True
    else:
        X, constant = task.with_constant(LARGE_CONSTANT_SINGLE), LARGE_CONSTANT_SINGLE
    if task.tight:
        options |= {"tol": 1e-8, "max_iter": 1_000_000}
    X, y = X.astype(np.float32), task.y.astype(np.float32)
    model = LogisticRegression(**options)

    def read(model):
        coef = np.ravel(model.coef_).astype(np.float64)
        if model.fit_intercept:
            return coef, float(np.ravel(model.intercept_)[0])
        return coef[:d], float(constant * coef[d])

    return lambda: model.fit(X, y), read


def glum(task):
    from glum import GeneralizedLinearRegressor

    tight = {"gradient_tol": 1e-10, "max_iter": 100_000} if task.tight else {}
    model = GeneralizedLinearRegressor(family="binomial", alpha=task.alpha, l1_ratio=task.l1_ratio, **tight)
    X, y = task.columnwise(), task.y.astype(np.float64)
    return lambda: model.fit(X, y), read_sklearn


def skglm(task):
    from skglm import SparseLogisticRegression

    tight = {"tol": 1e-10, "max_iter": 10_000} if task.tight else {}
    model = SparseLogisticRegression(alpha=task.alpha, l1_ratio=task.l1_ratio, **tight)
    X = task.columnwise()
    return lambda: model.fit(X, task.y), read_sklearn


def celer(task):
    from celer import LogisticRegression

    X = task.with_constant(LARGE_CONSTANT)
    X = sp.csc_matrix(X) if sp.issparse(X) else np.asfortranarray(X)
    model = LogisticRegression(C=task.C, **({"tol": 1e-10, "max_iter": 10_000} if task.tight else {}))

    def read(model):
        coef = np.ravel(model.coef_)
        return coef[:-1], float(LARGE_CONSTANT * coef[-1])

    return lambda: model.fit(X, task.y), read


def statsmodels(task):
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    X = task.with_constant(1.0)
    alpha = np.full(X.shape[1], task.alpha)
    alpha[-1] = 0.0

    def fit():
        model = GLM(task.y, X, family=Binomial())
        if np.isinf(task.C):
            return model.fit(**({"tol": 1e-12, "maxiter": 1000} if task.tight else {}))
        tight = {"cnvrg_tol": 1e-12, "maxiter": 100_000} if task.tight else {}
        return model.fit_regularized(alpha=alpha, L1_wt=task.l1_ratio, **tight)

    return fit, lambda result: (result.params[:-1], float(result.params[-1]))


# Where Vowpal Wabbit keeps the intercept, modulo the size of its table.
VW_CONSTANT = 11650396


def vowpal_wabbit(task):
    """Online for the default; tight, its batch solver. Weights are hashed: enough bits keep them all apart."""
    from vowpalwabbit import Workspace

    n, d = task.X.shape
    bits = 18  # the default table
    while 2**bits < d or VW_CONSTANT % 2**bits < d:
        bits += 1
    folder = tempfile.mkdtemp()
    text = os.path.join(folder, "data.vw")
    with open(text, "w") as file:
        X = sp.csr_matrix(task.X)
        for i in range(n):
            row = slice(X.indptr[i], X.indptr[i + 1])
            pairs = " ".join(f"{j}:{x:.9g}" for j, x in zip(X.indices[row], X.data[row], strict=True))
            file.write(f"{2 * task.y[i] - 1} | {pairs}\n")
    how = f"--bfgs --passes 200 --termination 1e-10 --l2 {1 / task.C!r}" if task.tight else f"--l2 {task.alpha!r}"
    data = f"-d {text} --cache_file {text}.cache -b {bits} --quiet"

    def fit():
        return Workspace(f"{data} --loss_function logistic --no_bias_regularization --holdout_off {how}")

    def read(model):
        solution = np.array([model.get_weight(j) for j in range(d)]), model.get_weight(VW_CONSTANT % 2**bits)
        model.finish()
        return solution

    Workspace(f"{data} --noop").finish()  # writes the binary cache that the fits read
    return fit, read


PENALISED = "intercept penalised"
NEARLY_FREE = "intercept penalised, on a column of {:g}"
_HESSIAN = {"most_parameters": 8000, "limit_reason": "its Hessian is too large"}
_SKLEARN_PENALTIES = {
    "lbfgs": ("l2", "none"),
    "newton-cg": ("l2", "none"),
    "newton-cholesky": ("l2", "none"),
    "liblinear": ("l2", "l1"),
    "sag": ("l2", "none"),
    "saga": ("l2", "none", "l1"),
}


def _scikit_learn_libraries():
    for solver, penalties in _SKLEARN_PENALTIES.items():
        limits = _HESSIAN if solver == "newton-cholesky" else {}
        notes = {"default": PENALISED, "tight": NEARLY_FREE.format(LARGE_CONSTANT)} if solver == "liblinear" else {}
        prepare = partial(scikit_learn, solver=solver)
        options = {"softmax": solver != "liblinear", "notes": notes, **limits}
        yield f"scikit-learn {solver}", Library("scikit-learn", prepare, penalties, **options)


OURS = "fastlogreg"
LIBRARIES = {
    "zeros": Library(None, zeros, ("l2", "l1", "none"), softmax=True, exact=False, settings=("default",)),
    OURS: Library("fastlogreg", partial(fastlogreg, solver="auto"), ("l2", "none"), softmax=True),
    **dict(_scikit_learn_libraries()),
    "SGDClassifier": Library("scikit-learn", sgd_classifier, exact=False),
    "scikit-learn-intelex": Library("scikit-learn-intelex", scikit_learn_intelex, sparse=False, softmax=True),
    "LIBLINEAR": Library("liblinear-official", liblinear, ("l2", "l1")),
    "Snap ML": Library(
        "snapml",
        snap_ml,
        ("l2", "l1"),
        notes={
            "default": f"{PENALISED}; float32",
            "tight": NEARLY_FREE.format(LARGE_CONSTANT_SINGLE) + "; float32",
        },
    ),
    "glum": Library("glum", glum, ("l2", "l1", "none"), **_HESSIAN),
    "skglm": Library("skglm", skglm, ("l2", "l1")),
    "celer": Library("celer", celer, ("l1",), notes=dict.fromkeys(SETTINGS, NEARLY_FREE.format(LARGE_CONSTANT))),
    "statsmodels": Library("statsmodels", statsmodels, ("l2", "l1", "none"), sparse=False),
    "Vowpal Wabbit": Library(
        "vowpalwabbit",
        vowpal_wabbit,
        most_entries=2e6,
        limit_reason="too large for its text format",
        notes={"default": "one pass online; float32", "tight": "L-BFGS; float32"},
    ),
}
