"""Named problems: a design matrix, labels, and the objective to minimise over them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
import sklearn.datasets

from benchmarks.data import real_data, tall_problem, text_matrix


class Unavailable(Exception):  # noqa: N818
    """The data of a problem are not on this machine; the message says in a word why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is minimised: ``C sum_i L_i`` and the penalty, see `benchmarks.reference.mean_objective`.

    Attributes
    ----------
    X : ndarray in C order, or csr_matrix, of shape (n, d)
        float64.
    y : ndarray of shape (n,)
        The classes 0 to K - 1, int64.
    C : float
        ``inf`` for no penalty.
    l1_ratio : float
    limit : float or None
        Seconds that a fit may take, where the race's own limit would end them all.
    """

    name: str
    X: np.ndarray | sp.csr_matrix
    y: np.ndarray
    C: float
    l1_ratio: float
    limit: float | None = None

    @property
    def n_classes(self):
        return int(self.y.max()) + 1

    @property
    def n_coef(self):
        """Coefficients: two classes share a row of them, of more each has its own."""
        return self.X.shape[1] * (self.n_classes if self.n_classes > 2 else 1)

    @property
    def penalty(self):
        if np.isinf(self.C):
            return "none"
        return {0.0: "l2", 1.0: "l1"}.get(self.l1_ratio, "elastic net")

    @property
    def n_entries(self):
        """Numbers that are stored."""
        return self.X.nnz if sp.issparse(self.X) else self.X.size


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a problem, which is not made yet."""

    group: str
    data: Callable
    C: float = 1.0
    l1_ratio: float = 0.0
    limit: float | None = None


def load(name):
    """The `Problem` of that name.

    Raises
    ------
    Unavailable
    """
    recipe = RECIPES[name]
    X, y = recipe.data()
    y = np.ascontiguousarray(y, dtype=np.int64)
    return Problem(name, X, y, recipe.C, recipe.l1_ratio, recipe.limit)


def select(names):
    """Names of problems for names of problems and groups; "full" holds "small", and "all" holds everything."""
    known = [*RECIPES, *GROUPS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no such problem: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = {name for asked in names for name in GROUPS.get(asked, [asked])}
    return [name for name in RECIPES if name in chosen]


def bundled(loader, positive=None):
    """One of scikit-learn's own sets; `positive` makes a two-class problem of its labels."""
    X, y = loader(return_X_y=True)
    return np.ascontiguousarray(X, dtype=np.float64), y if positive is None else positive(y)


def real(name, positive=None):
    loaded = real_data(name)
    if loaded is None:
        raise Unavailable("its files are not here: see FASTLOGREG_DATA in benchmarks/README.md")
    X, y = loaded
    return X, y if positive is None else positive(y)


def fetched(fetch, positive):
    """A set that scikit-learn downloads and keeps."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # it warns that it tries once more
            X, y = fetch()
    except OSError:
        raise Unavailable("offline, and it was not downloaded before") from None
    X = sp.csr_matrix(X, dtype=np.float64) if sp.issparse(X) else np.ascontiguousarray(X, dtype=np.float64)
    return X, positive(y)


def fetch_rcv1():
    X, y = sklearn.datasets.fetch_rcv1(subset="train", return_X_y=True, n_retries=1)
    return X, y[:, 33].toarray().ravel()  # CCAT, the topic of nearly half of the stories


def fetch_higgs():
    return sklearn.datasets.fetch_openml("higgs", version=2, return_X_y=True, as_frame=False, n_retries=1)


def other_units(n_samples, n_features, spread=4):
    """Columns in units from 10^-spread to 10^spread, far from their origins."""
    X, y = tall_problem(n_samples, n_features)
    units = np.logspace(-spread, spread, n_features)
    return (X + 3.0) * units, y


def standardized(data):
    """Columns of mean 0 and variance 1."""
    X, y = data()
    deviation = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), y


def ill_conditioned(n_samples, n_features, condition):
    """Columns whose covariance has a spectrum that spreads over ``condition^2``; labels from the model."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((n_features, n_features)))
    X = rng.standard_normal((n_samples, n_features)) * np.logspace(0, -np.log10(condition), n_features) @ rotation
    logits = 2.0 * X @ rng.standard_normal(n_features)
    return X, rng.random(n_samples) < 1.0 / (1.0 + np.exp(-logits))


def separable(n_samples, n_features):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    return X, X @ rng.standard_normal(n_features) > 0.3


def noisy(X, seed=0):
    """X and labels drawn from a model whose logits have the standard deviation 2."""
    rng = np.random.default_rng(seed)
    logits = X @ rng.standard_normal(X.shape[1])
    logits = 2.0 * (logits - logits.mean()) / logits.std()
    return X, rng.random(X.shape[0]) < 1.0 / (1.0 + np.exp(-logits))


def hflights_carriers():
    """Which of 15 airlines flew, by everything else: the indicators of the airline are the label and leave X."""
    X, _ = real("hflights_ids")
    airline = slice(76, 91)
    others = np.delete(np.arange(X.shape[1]), airline)
    return sp.csr_matrix(X[:, others]), np.asarray(X[:, airline].argmax(axis=1)).ravel()


def linear_probe(n_samples, n_features, n_classes):
    """Features and labels of the model itself, as on top of an embedding: logits of standard deviation 2."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    coef = rng.standard_normal((n_features, n_classes)) * (2.0 / np.sqrt(n_features))
    y = np.empty(n_samples, dtype=np.int64)
    for rows in np.array_split(np.arange(n_samples), 100):
        logits = X[rows] @ coef
        y[rows] = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)  # draws from the softmax
    return X, y


def random_sparse(n_samples, n_features, density):
    """CSR with entries at random places, and labels from a model."""
    rng = np.random.default_rng(0)
    X = sp.random(n_samples, n_features, density, format="csr", random_state=rng, data_rvs=rng.standard_normal)
    return noisy(sp.csr_matrix(X))


def power_law(n_samples, n_features, entries_a_row):
    """CSR with equally many entries in every row, whose columns' frequencies fall with the power 2/3 of their rank.

    A row's k-th entry has its column among ``n_features / entries_a_row^3`` times the numbers from k^3 to (k + 1)^3, so
    that columns rise along the row.
    """
    rng = np.random.default_rng(0)
    places = (np.arange(entries_a_row) + rng.random((n_samples, entries_a_row))) / entries_a_row
    columns = np.minimum(n_features * places**3, n_features - 1).astype(np.int32)
    starts = np.arange(0, columns.size + 1, entries_a_row, dtype=np.int32)
    shape = (n_samples, n_features)
    return noisy(sp.csr_matrix((rng.random(columns.size), columns.ravel(), starts), shape=shape))


def wide(n_samples, n_features):
    return noisy(np.random.default_rng(1).standard_normal((n_samples, n_features)))


def text(n_samples, n_features):
    return noisy(text_matrix(n_samples, n_features))


def odd(y):
    return y % 2 == 1


_breast_cancer = partial(bundled, sklearn.datasets.load_breast_cancer)

RECIPES = {
    "breast_cancer": Recipe("small", _breast_cancer),
    "digits_odd": Recipe("small", partial(bundled, sklearn.datasets.load_digits, odd)),
    "tall_20000x20": Recipe("small", partial(tall_problem, 20_000, 20)),
    "iris_classes": Recipe("small", partial(bundled, sklearn.datasets.load_iris)),
    "digits_classes": Recipe("small", partial(bundled, sklearn.datasets.load_digits)),
    "random_500x30": Recipe("full", lambda: noisy(np.random.default_rng(2).standard_normal((500, 30)))),
    "breast_cancer_l1": Recipe("full", _breast_cancer, l1_ratio=1.0),
    "tall_100000x10": Recipe("full", partial(tall_problem, 100_000, 10)),
    "tall_400000x200": Recipe("full", partial(tall_problem, 400_000, 200)),
    "tall_1000000x50": Recipe("full", partial(tall_problem, 1_000_000, 50)),
    "tall_unpenalised": Recipe("full", partial(tall_problem, 100_000, 20), C=np.inf),
    "units_50000x30": Recipe("full", partial(other_units, 50_000, 30)),
    "units_300000x50": Recipe("full", partial(other_units, 300_000, 50, 3)),
    "condition_50000x30": Recipe("full", partial(ill_conditioned, 50_000, 30, 1e4), C=1e4),
    "separable_5000x50": Recipe("full", partial(separable, 5_000, 50), C=1e4),
    "wide_300x5000": Recipe("full", partial(wide, 300, 5_000)),
    "text_10000x20000": Recipe("full", partial(text, 10_000, 20_000)),
    "power_law_1000000x1000000": Recipe("long", partial(power_law, 1_000_000, 1_000_000, 50), limit=60.0),
    "skin": Recipe("full", partial(real, "skin")),
    "skin_poly": Recipe("full", partial(real, "skin_poly")),
    "covtype20k_spruce": Recipe("full", partial(real, "covtype20k", lambda y: y == 0)),
    "golub": Recipe("full", partial(real, "golub")),
    "golub_standardized": Recipe("full", partial(standardized, partial(real, "golub"))),
    "chowdary": Recipe("full", partial(real, "chowdary")),
    "chowdary_standardized": Recipe("full", partial(standardized, partial(real, "chowdary"))),
    "hflights": Recipe("full", partial(real, "hflights")),
    "hflights_ids": Recipe("full", partial(real, "hflights_ids")),
    "hotel": Recipe("full", partial(real, "hotel")),
    "a9a": Recipe("full", partial(real, "a9a")),
    "imdb": Recipe("full", partial(real, "imdb")),
    "imdb_weak_penalty": Recipe("full", partial(real, "imdb"), C=100.0),
    "fashion_mnist_shoes": Recipe("full", partial(real, "fashion_mnist", lambda y: np.isin(y, [5, 7, 9]))),
    "covtype20k_classes": Recipe("full", partial(real, "covtype20k")),
    "covtype20k_classes_standardized": Recipe("full", partial(standardized, partial(real, "covtype20k"))),
    "hflights_carriers": Recipe("full", hflights_carriers, limit=18.0),
    "fashion_mnist_classes": Recipe("full", partial(real, "fashion_mnist"), limit=16.0),
    "linear_probe_100000x64": Recipe("long", partial(linear_probe, 100_000, 64, 1000), limit=100.0),
    "covtype": Recipe(
        "internet",
        partial(fetched, partial(sklearn.datasets.fetch_covtype, return_X_y=True, n_retries=1), lambda y: y == 2),
    ),
    "higgs": Recipe("internet", partial(fetched, fetch_higgs, lambda y: y.astype(str) == "1")),
    "rcv1": Recipe("internet", partial(fetched, fetch_rcv1, lambda y: y == 1)),
    "newsgroups": Recipe(
        "internet",
        partial(
            fetched,
            partial(sklearn.datasets.fetch_20newsgroups_vectorized, subset="train", return_X_y=True, n_retries=1),
            lambda y: y < 6,
        ),
    ),
}

_BY_GROUP = {
    group: [name for name, recipe in RECIPES.items() if recipe.group == group]
    for group in ("small", "full", "internet", "long")
}
GROUPS = _BY_GROUP | {"full": _BY_GROUP["small"] + _BY_GROUP["full"], "all": list(RECIPES)}
