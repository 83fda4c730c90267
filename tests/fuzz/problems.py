"""Random problems as users' tables are at their worst: `problem(seed)` builds one.

Columns of all units and origins, copies and sums of others, flags that few rows carry, sentinels, heavy tails; weak,
strong and absent penalties; weights over many decades; few rows and many columns; starts from other problems.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp


@dataclass
class Fit:
    """One problem, and how it is put to the estimator.

    Attributes
    ----------
    dense : ndarray of shape (n, d)
        The values of X, float64 or float32.
    layouts : tuple of str
        How X is handed over: "C", "F", "csr32" or "csr64" (by the width of its indices).
    y : ndarray
        Labels (n,), or probabilities (n,) or (n, K) where `soft`.
    sample_weight : ndarray of shape (n,) or None
    options : dict
        Parameters of the estimator.
    before : tuple or None
        X's dense values and the options of a fit that this one starts from.
    traits : list of str
        What is special, for the report.
    """

    seed: int
    dense: np.ndarray
    layouts: tuple
    y: np.ndarray
    sample_weight: np.ndarray | None
    options: dict
    before: tuple | None = None
    traits: list = field(default_factory=list)

    def __str__(self):
        n, d = self.dense.shape
        what = [f"{n} x {d} {self.dense.dtype}", *self.traits, "with weights" if self.sample_weight is not None else ""]
        return f"problem({self.seed}): {', '.join(filter(None, what))}; {self.options}"

    @property
    def soft(self):
        return self.options.get("soft_targets", False)

    def target(self):
        """Probabilities (n, K), and the samples' weights (n,), those of rows of counts and of classes among them."""
        weight = np.ones(len(self.y)) if self.sample_weight is None else self.sample_weight.astype(np.float64)
        if self.soft:
            if self.y.ndim == 1:
                return np.column_stack([1 - self.y.astype(np.longdouble), self.y]), weight
            sums = self.y.sum(axis=1)
            shares = self.y / np.where(sums > 0, sums, 1)[:, None].astype(np.longdouble)
            return np.where(sums[:, None] > 0, shares, 1 / np.longdouble(self.y.shape[1])), weight * sums
        classes, numbers = np.unique(self.y, return_inverse=True)
        of_class = self.options.get("class_weight")
        if of_class == "balanced":
            counts = np.bincount(numbers, weights=weight)
            weight = weight * (counts.sum() / np.count_nonzero(counts) / np.where(counts > 0, counts, 1))[numbers]
        elif of_class is not None:
            weight = weight * np.array([of_class.get(c, 1.0) for c in classes])[numbers]
        return np.eye(len(classes))[numbers], weight


def laid_out(dense, layout):
    """The values in that layout."""
    if layout in ("C", "F"):
        return np.array(dense, order=layout)
    X = sp.csr_matrix(dense)
    width = np.int32 if layout == "csr32" else np.int64
    X.indices, X.indptr = X.indices.astype(width), X.indptr.astype(width)
    return X


def problem(seed):
    """The `Fit` of a seed."""
    rng = np.random.default_rng([19, seed])
    traits = []
    wide = rng.random() < 0.06
    n, d = _wide_shape(rng) if wide else _shape(rng)
    n_classes = 3 if rng.random() < (0.15 if wide else 0.25) else 2
    float32 = rng.random() < 0.15
    plain = _plain_columns(rng, n, d, traits)
    y = _labels(rng, plain, n_classes)
    X = _scaled(rng, plain, float32, wide, traits)
    X = X.astype(np.float32 if float32 else np.float64)
    options = _options(rng, wide, traits)
    weight = _weights(rng, n, traits)
    y = _made_soft(rng, y, n_classes, options, traits)
    if weight is not None and not options.get("soft_targets"):
        for k in range(n_classes):  # no class without weight
            weight[np.flatnonzero(y == k)[0]] = max(weight[np.flatnonzero(y == k)[0]], weight.max())
    before = _start(rng, X, options, traits)
    layouts = _layouts(rng)
    return Fit(seed, X, layouts, y, weight, options, before, traits)


def _shape(rng):
    d = int(rng.integers(1, 31)) if rng.random() < 0.5 else int(rng.integers(1, 6))
    return int(np.exp(rng.uniform(np.log(8), np.log(600)))), d


def _wide_shape(rng):
    n = int(np.exp(rng.uniform(np.log(8), np.log(120))))
    d = int(np.exp(rng.uniform(np.log(31), np.log(600))))
    if rng.random() < 0.05:
        return int(rng.integers(120, 600)), int(rng.integers(300, 1660))
    return n, d


def _plain_columns(rng, n, d, traits):
    """Columns of ordinary sizes."""
    X = np.empty((n, d))
    skewed, sparse = rng.random() < 0.3, rng.random() < 0.3
    for j in range(d):
        kind = rng.integers(0, 12)
        if kind <= 3 or (j == 0 and kind >= 8):
            X[:, j] = rng.normal(size=n)
        elif kind == 4:
            X[:, j] = rng.random(n) < rng.choice([0.02, 0.1, 0.5])
        elif kind == 5:
            X[:, j] = 0.0
            X[rng.integers(0, n, rng.choice([1, 2, 4])), j] = rng.choice([1.0, 3.0, 9e4])
        elif kind == 6:
            X[:, j] = rng.integers(0, 5, n)
        elif kind == 7:
            X[:, j] = np.exp(rng.choice([1.0, 2.0, 3.0] if skewed else [1.0]) * rng.normal(size=n))
        elif kind == 8:
            X[:, j] = rng.choice([0.0, 1.0, -3.7])
        elif kind == 9:
            X[:, j] = X[:, rng.integers(0, j)] * rng.choice([1.0, 1.0, 2.0, -0.3])
        elif kind == 10:
            X[:, j] = X[:, rng.integers(0, j)]
            if rng.random() < 0.5:
                X[:, j] += 10.0 ** rng.uniform(-9, -1) * rng.normal(size=n)
            else:
                X[rng.integers(0, n, rng.integers(1, 4)), j] += 300.0
        else:
            X[:, j] = X[:, rng.integers(0, j)] + X[:, rng.integers(0, j)]
        if sparse and rng.random() < 0.7:
            X[rng.random(n) < 0.8, j] = 0.0
    traits += ["skewed"] * skewed + ["sparse"] * sparse
    return X


def _labels(rng, plain, n_classes):
    spread = plain.std(axis=0)
    standard = (plain - plain.mean(axis=0)) / np.where(spread > 0, spread, 1)
    slopes = rng.normal(size=(plain.shape[1], n_classes)) * (rng.random(plain.shape[1]) < 0.7)[:, None]
    logits = standard @ slopes * rng.choice([0, 0.3, 1, 3]) / np.sqrt(max(1, plain.shape[1] / 5))
    logits += rng.normal(size=n_classes) * rng.choice([0, 1, 2])
    y = (logits + rng.gumbel(size=logits.shape) * rng.choice([0.2, 1, 1, 2])).argmax(axis=1)
    y[rng.permutation(len(y))[:n_classes]] = np.arange(n_classes)
    return y


def _scaled(rng, plain, float32, wide, traits):
    """The columns in their units, at their origins, with their sentinels."""
    n, d = plain.shape
    X = plain.copy()
    style = str(rng.choice(["plain", "units", "extreme"], p=[0.35, 0.55, 0.1]))
    if style == "units":
        X *= 10.0 ** (rng.uniform(-6, 10, d) * (rng.random(d) < 0.7))
    elif style == "extreme" and not wide:
        bound = 25 if float32 else rng.choice([100, 140, 280])
        X *= 10.0 ** (rng.uniform(-bound, bound, d) * (rng.random(d) < 0.5))
    traits.append(style)
    if rng.random() < 0.25:
        far = rng.random(d) < 0.3
        most = 6 if float32 else 12
        size = np.where(far, 10.0 ** rng.uniform(0, most, d), 0.0) * rng.choice([-1, 1], d)
        spread = np.max(np.abs(X), axis=0)
        X += size * np.where(spread > 0, spread, 1)
        traits.append("far")
    if rng.random() < 0.2:
        for j in np.flatnonzero(rng.random(d) < 0.3):
            X[rng.integers(0, n, rng.choice([1, 1, 2, 5])), j] = rng.choice([9999999999.0, -999999.0, 1e5])
        traits.append("sentinels")
    return X


def _options(rng, wide, traits):
    options = {}
    kind = rng.random()
    if kind < (0.1 if wide else 0.25):
        options["C"] = np.inf
    elif kind < 0.8:
        options["C"] = float(10.0 ** rng.uniform(-10, 10))
    if rng.random() < 0.2:
        options["fit_intercept"] = False
    if rng.random() < 0.15:
        options["tol"] = float(rng.choice([0.1, 1e-2, 1e-6, 1e-12]))
    if rng.random() < 0.06:
        options["solver"] = str(rng.choice(["gd", "sgd"]))
    if rng.random() < 0.06:
        options["class_weight"] = "balanced" if rng.random() < 0.5 else {0: 0.1, 1: 30.0}
    return options


def _weights(rng, n, traits):
    kind = rng.random()
    if kind < 0.65:
        return None
    if kind < 0.8:
        traits.append("weights 0-3")
        return rng.integers(0, 4, n).astype(float)
    if kind < 0.9:
        traits.append("weights 0/1")
        return (rng.random(n) < 0.7).astype(float)
    traits.append("weights over decades")
    return 10.0 ** rng.uniform(-rng.choice([2, 8]), rng.choice([2, 8]), n)


def _made_soft(rng, y, n_classes, options, traits):
    """The labels, or seldom probabilities or counts in their place."""
    if "class_weight" in options or rng.random() >= 0.08:
        return y
    options["soft_targets"] = True
    traits.append("soft")
    kind = rng.random()
    if kind < 0.4:
        counts = rng.integers(0, 4, (len(y), n_classes)).astype(float)
        counts[np.arange(len(y)), y] += 1
        return counts
    mixed = np.eye(n_classes)[y] * 0.8 + 0.2 / n_classes * rng.random((len(y), 1))
    mixed /= mixed.sum(axis=1, keepdims=True)
    mixed = np.where(rng.random((len(y), 1)) < 0.3, np.eye(n_classes)[y], mixed)
    return np.ascontiguousarray(mixed[:, 1]) if n_classes == 2 else mixed


def _start(rng, X, options, traits):
    """The values and options of a fit before, if this one is to start from it."""
    if rng.random() >= 0.08:
        return None
    options["warm_start"] = True
    options.setdefault("C", 1.0)
    before, changed = X, dict(options)
    kind = rng.integers(0, 3)
    if kind == 0:
        before = X.copy()
        before[:, rng.integers(0, X.shape[1])] *= 10.0 ** rng.choice([-9, -3, 3, 9])
        traits.append("warm: unit changed")
    elif kind == 1:
        changed["C"] = float(10.0 ** rng.uniform(-6, 6))
        traits.append("warm: C changed")
    else:
        changed["C"] = np.inf
        traits.append("warm: from C=inf")
    return before, changed


def _layouts(rng):
    kind = rng.random()
    if kind < 0.25:
        return (str(rng.choice(["C", "F"])), str(rng.choice(["csr32", "csr64"])))
    return (str(rng.choice(["C", "C", "F", "csr32", "csr64"])),)
