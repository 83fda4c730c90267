"""Stochastic steps against SGDClassifier and Vowpal Wabbit: ``python -m benchmarks.sgd``.

The steps are one thread's work; where rows are copied for them, a second one does that ahead. All are timed in turn and
the best counts. One pass means ``max_iter=1`` with all defaults, over data shuffled once; the excess is what the
mean objective (alpha = 1e-4) is above its minimum, and "to 1 %" the time of the fewest passes (1, 2, 4 and so on up to
32) that end within 1 % of it. Vowpal Wabbit reads its own binary cache; its defaults have no penalty.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier

from benchmarks import libraries
from benchmarks.data import real_data, tall_problem
from benchmarks.results import machine_list, table, write_section
from benchmarks.timing import best_seconds
from fastlogreg import LogisticRegression, SGDLogisticRegression

ALPHA = 1e-4
SETS = ("skin_poly", "hflights", "imdb", "hotel", "a9a", "1e6 x 50")
# The relative excess that counts as near the minimum, and the numbers of passes that are tried to get there.
NEAR = 0.01
PASSES = (1, 2, 4, 8, 16, 32)
# Seconds of a turn at least: short fits are repeated.
SHORTEST = 0.05
MEMMAP_GB = 20
MEMMAP_COLUMNS = 250


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=4, help="turns of each side")
    arguments.add_argument("--sets", nargs="*", default=SETS)
    arguments.add_argument("--folder", default=tempfile.gettempdir(), help="for the memory-mapped file")
    arguments.add_argument("--dry-run", action="store_true", help="print and leave RESULTS.md as it is")
    arguments.add_argument("--memmap-child", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.memmap_child:
        print(*memmap_fit(options.memmap_child))
        return
    warnings.simplefilter("ignore")
    parts = ["## Stochastic steps", __doc__.split("\n\n")[1].strip(), machine_list()]
    for header, rows in (
        (["epoch", "ours", "SGDClassifier", "ratio", "asked", "met"], epoch_rows(options.rounds)),
        (
            [
                "one pass",
                "ours, excess",
                "SGDClassifier",
                "Vowpal Wabbit",
                "ours, time",
                "SGDClassifier",
                "Vowpal Wabbit",
                "ours, to 1 %",
                "SGDClassifier",
                "Vowpal Wabbit",
            ],
            quality_rows(options.sets, options.rounds),
        ),
        (["memory-mapped", "time", "most resident", "asked", "met"], memmap_rows(options.folder)),
    ):
        cells = []
        for row in rows:
            print(" | ".join(row), flush=True)
            cells.append(row)
        parts.append(table(header, cells))
    if not options.dry_run:
        write_section("sgd", "\n\n".join(parts))


def one_pass(**options):
    return SGDLogisticRegression(**{"max_iter": 1, "tol": None, "random_state": 0, **options})


def sgd_classifier(**options):
    return SGDClassifier(**{"loss": "log_loss", "max_iter": 1, "tol": None, "random_state": 0, **options})


def epoch_rows(rounds):
    """Epochs of the same schedule."""
    X, y = tall_problem(1_000_000, 30)
    yield from epochs_of("dense 1e6 x 30", X, y, {1: 8, 32: 15}, rounds)
    yield from epochs_of("1e6 x 30, float32", X.astype(np.float32), y, {1: None}, rounds)
    loaded = real_data("imdb")
    if loaded:
        yield from epochs_of("IMDB, CSR", *loaded, {1: 4, 32: None}, rounds)


def epochs_of(name, X, y, asked, rounds):
    theirs = sgd_classifier()
    models = {size: one_pass(learning_rate="optimal", batch_size=size) for size in asked}
    models["auto"] = one_pass()
    best = best_seconds(
        {"theirs": partial(theirs.fit, X, y), **{key: partial(m.fit, X, y) for key, m in models.items()}},
        rounds,
        SHORTEST,
    )
    for key in models:
        ratio, wanted = best["theirs"] / best[key], asked.get(key)
        what = "auto" if key == "auto" else f"batch_size={key}"
        met = "" if wanted is None else "yes" if ratio >= wanted else "no"
        times = (f"{1e9 * best[side] / len(y):.0f} ns a sample" for side in (key, "theirs"))
        yield [f"{name}, {what}", *times, f"{ratio:.2f}", f"{wanted or ''}", met]


def objective(X, y, coef, intercept):
    u = np.asarray(X @ coef).ravel() + intercept
    return float(np.mean(np.logaddexp(0, u) - y * u) + ALPHA / 2 * coef @ coef)


def quality_rows(names, rounds):
    for name in names:
        loaded = tall_problem(1_000_000, 50) if name == "1e6 x 50" else real_data(name)
        if loaded is None:
            continue
        X, y = loaded
        order = np.random.default_rng(0).permutation(len(y))
        X, y = X[order], y[order]
        best = LogisticRegression(C=1 / (ALPHA * len(y)), tol=1e-6, max_iter=1000).fit(X, y)
        minimum = objective(X, y, best.coef_[0], best.intercept_[0])
        with vowpal_wabbit(X, y) as vw:
            sides = [Side.of(one_pass, X, y), Side.of(sgd_classifier, X, y), vw]
            excess = [side.value(side.fit(1)) - minimum for side in sides]
            fewest = [side.fewest_passes((1 + NEAR) * minimum) for side in sides]
            once, arrival = (seconds_of(sides, passes, rounds) for passes in ([1] * len(sides), fewest))
        yield [
            name,
            *(f"{above:.1e} ({above / minimum:.1e})" for above in excess),
            *(_milliseconds(seconds, above) for seconds, above in zip(once, excess, strict=True)),
            *(_milliseconds(seconds, above) for seconds, above in zip(arrival, excess, strict=True)),
        ]


def _milliseconds(seconds, excess):
    if np.isnan(excess):
        return "not installed"
    return f"{1e3 * seconds:.0f} ms" if seconds < np.inf else "not reached"


@dataclass
class Side:
    """One library: ``fit(passes)`` gives a model, and ``value(model)`` its objective."""

    fit: Callable
    value: Callable

    @classmethod
    def of(cls, make, X, y):
        return cls(
            lambda passes: make(max_iter=passes).fit(X, y),
            lambda model: objective(X, y, model.coef_[0], model.intercept_[0]),
        )

    def fewest_passes(self, enough):
        """The first of `PASSES` whose objective is at most `enough`, or None."""
        return next((passes for passes in PASSES if self.value(self.fit(passes)) <= enough), None)


def seconds_of(sides, passes, rounds):
    """The seconds of a fit of each side with its number of `passes`; infinite where that is None."""
    best = best_seconds(
        {i: partial(side.fit, count) for i, (side, count) in enumerate(zip(sides, passes, strict=True)) if count},
        rounds,
        SHORTEST,
    )
    return [best.get(i, np.inf) for i in range(len(sides))]


@contextmanager
def vowpal_wabbit(X, y):
    """The `Side` of Vowpal Wabbit, whose values are NaN where it is not installed."""
    try:
        from vowpalwabbit import Workspace
    except ImportError:
        yield Side(lambda passes: None, lambda model: np.nan)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "data.vw")
        rows = sp.csr_matrix(X)
        with open(text, "w") as file:
            for i in range(len(y)):
                row = slice(rows.indptr[i], rows.indptr[i + 1])
                pairs = zip(rows.indices[row].tolist(), rows.data[row].tolist(), strict=True)
                file.write(f"{2 * y[i] - 1} | " + " ".join(f"{j}:{x:.9g}" for j, x in pairs) + "\n")
        data = f"-d {text} --cache_file {text}.cache -b 18 --quiet"
        Workspace(f"{data} --noop").finish()

        def value(model):
            coef = np.array([model.get_weight(j) for j in range(X.shape[1])])
            return objective(X, y, coef, model.get_weight(libraries.VW_CONSTANT % 2**18))

        yield Side(lambda passes: Workspace(f"{data} --loss_function logistic --holdout_off --passes {passes}"), value)


def memmap_rows(folder):
    """One pass over a file of 20 GB that is sparse on the disk: its first 100 000 rows hold numbers."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        path = os.path.join(inside, "X.dat")
        X, _ = tall_problem(100_000, MEMMAP_COLUMNS)
        with open(path, "wb") as file:
            X.tofile(file)
            file.truncate(MEMMAP_GB * 10**9)
        command = [sys.executable, "-m", "benchmarks.sgd", "--memmap-child", path]
        seconds, before, most = map(float, subprocess.check_output(command, text=True).split()[-3:])
    yield [
        f"{MEMMAP_GB} GB, {MEMMAP_COLUMNS} columns, one pass",
        f"{seconds:.0f} s",
        f"{most:.0f} MB ({before:.0f} before the fit)",
        "500 MB",
        "yes" if most < 500 else "no",
    ]


def memmap_fit(path):
    """Seconds of one pass, and the most MB of memory resident before it and in all."""
    n_samples = os.path.getsize(path) // (8 * MEMMAP_COLUMNS)
    X = np.memmap(path, dtype=np.float64, mode="r", shape=(n_samples, MEMMAP_COLUMNS))
    y = np.arange(n_samples, dtype=np.int64).astype(np.int8) & 1
    before = most_resident()
    start = time.perf_counter()
    one_pass().fit(X, y)
    seconds = time.perf_counter() - start
    return seconds, before, most_resident()


def most_resident():
    """The most MB of memory that this process had resident; Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1000


if __name__ == "__main__":
    main()
