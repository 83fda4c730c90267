"""One library's fits of one problem with one setting, in a process of their own.

The child's side of `benchmarks.run`. It tells its parent what it reaches as it reaches it, so that the parent can end
a fit that takes too long and keep what was measured before.
"""

import os
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from benchmarks.libraries import LIBRARIES, Task

# Fits are repeated, so that the best of several counts: in up to 7 rounds, the last of which begins within a second.
# Short fits are repeated for 50 ms within a round: caches get warm, and the parent, which listens between the rounds,
# leaves them alone. Long fits disturb each other less and are repeated less.
MOST_ROUNDS = 7
ROUND_SECONDS = 0.05
ENOUGH_SECONDS = 1.0

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to do.

    Attributes
    ----------
    folder : Path
        Where `save_data` left the problem's data.
    """

    library: str
    setting: str
    folder: Path
    C: float
    l1_ratio: float
    n_threads: int

    def task(self, X, y):
        return Task(X, y, self.C, self.l1_ratio, self.n_threads, tight=self.setting == "tight")


def save_data(folder, X, y):
    if sp.issparse(X):
        sp.save_npz(folder / "X.npz", X, compressed=False)
    else:
        np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)


def load_data(folder):
    sparse = folder / "X.npz"
    X = sp.csr_matrix(sp.load_npz(sparse)) if sparse.exists() else np.load(folder / "X.npy")
    return X, np.load(folder / "y.npy")


def obey(order, connection):
    """Warm up, then fit; sends a (word, content) pair a step, the last of them "done" or "failed"."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order.n_threads])
    tempfile.tempdir = str(order.folder)  # the parent removes it, however this process ends
    _silence()
    warnings.simplefilter("ignore")
    try:
        _obey(order, connection)
        connection.send(("done", None))
    except Exception as error:
        connection.send(("failed", f"{type(error).__name__}: {error}".splitlines()[0][:200]))


def _obey(order, connection):
    prepare = LIBRARIES[order.library].prepare
    X, y = load_data(order.folder)
    small = _small_data(sp.issparse(X), n_classes=min(3, y.max() + 1))
    start = time.perf_counter()
    fit, read = prepare(order.task(*small))
    read(fit())
    connection.send(("warm", time.perf_counter() - start))

    fit, read = prepare(order.task(X, y))
    connection.send(("ready", None))
    before = _start_of_peak()
    start = time.perf_counter()
    for count in range(MOST_ROUNDS):
        model, n_fits, seconds = _round(fit, ROUND_SECONDS if count else 0.0)
        peak = None if count else _peak_since(before)
        connection.send(("fits", (n_fits, seconds, peak, getattr(model, "n_passes_", None), *read(model))))
        if time.perf_counter() - start > ENOUGH_SECONDS:
            break


def _round(fit, least_seconds):
    """Fits until `least_seconds` have passed, one at least: the last model, how many, and the time of the fastest."""
    times = []
    end = time.perf_counter() + least_seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        model = fit()
        times.append(time.perf_counter() - start)
    return model, len(times), min(times)


def _small_data(sparse, n_classes):
    """A problem of the same kind, in a moment: it compiles what compiles late and starts the threads."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 6))
    return sp.csr_matrix(X) if sparse else X, rng.integers(n_classes, size=200)


def _silence():
    """Keep what a library prints off the screen, whatever language it is written in."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _start_of_peak():
    """Resident bytes now; from here on the kernel remembers their peak. None where it cannot be asked."""
    try:
        CLEAR_REFS.write_text("5")
        return _resident("VmRSS")
    except OSError:
        return None


def _peak_since(before):
    """Bytes above `before` at the peak."""
    return None if before is None else max(0, _resident("VmHWM") - before)


def _resident(field):
    for line in STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} does not tell {field}")
