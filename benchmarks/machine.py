"""The machine a measurement was made on: what it is, and how fast it reads memory."""

import datetime
import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import scipy
import sklearn
from threadpoolctl import threadpool_info, threadpool_limits

import fastlogreg
from benchmarks.data import REPOSITORY
from benchmarks.timing import best_seconds
from fastlogreg.kernels import dispatch


def cpu_model():
    """The processor's name, as its maker gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def description():
    """What a reader of a result needs to know: a dict of strings."""
    blas = {f"{pool['internal_api']} {pool['version']}" for pool in threadpool_info() if pool["user_api"] == "blas"}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{cpu_model()}, {joblib.cpu_count()} of {os.cpu_count()} cores",
        "instruction set": f"{dispatch.active_isa()} (of {', '.join(dispatch.available_isas())})",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "fastlogreg": version(),
        "others": f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}, "
        + " and ".join(sorted(blas)),
    }


def version():
    """The version of fastlogreg, and the commit where this is a checkout of git."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return fastlogreg.__version__
    return f"{fastlogreg.__version__} ({commit})"


class ReadSweeps:
    """Ways to read an array once, by several threads: the fastest of them tells the read bandwidth.

    Parameters
    ----------
    array : contiguous ndarray
        Larger than the caches.
    n_threads : int
        Each reads its own part. BLAS is to be limited to one thread while they do.
    """

    def __init__(self, array, n_threads):
        self._parts = np.array_split(array.reshape(-1, order="A"), n_threads)
        self._pool = ThreadPoolExecutor(n_threads)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pool.shutdown()

    def functions(self):
        """The sweeps, for `best_seconds`."""
        return {
            "dot": lambda: self._sweep(lambda part: np.dot(part, part)),
            "sum": lambda: self._sweep(np.sum),
            "max": lambda: self._sweep(np.max),
        }

    def _sweep(self, read):
        list(self._pool.map(read, self._parts))


def read_bandwidth(n_threads):
    """Bytes per second that `n_threads` threads read from memory, measured now."""
    array = np.ones(40_000_000)
    with ReadSweeps(array, n_threads) as sweeps, threadpool_limits(1, "blas"):
        return array.nbytes / min(best_seconds(sweeps.functions(), rounds=10).values())
