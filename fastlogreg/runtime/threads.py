"""How many threads a pass may use."""

import functools
import os

import joblib

from fastlogreg.kernels.dispatch import openmp_threads

# An OpenMP runtime that has run threads hangs in a forked child that asks for more: a child stays serial.
_forked = False


def _remember_fork():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_fork)


def usable_threads(n_threads):
    """`n_threads`, or one in a forked child."""
    return 1 if _forked else n_threads


@functools.cache
def _cores(affinity, joblib_limit):
    """Cores of this process by joblib's count, which reads files; asked again when what it depends on has changed."""
    return joblib.cpu_count()


def _available_cores():
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return _cores(affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))


def effective_n_threads(n_jobs=None):
    """Threads for `n_jobs`, in scikit-learn's reading of it.

    None and -1 mean all that are available: the cores of this process (affinity, container limits, joblib's share),
    or fewer where OMP_NUM_THREADS or threadpoolctl say so; -2 means all but one, and so on. A positive number is taken
    as it is. One in a forked child and in a build without OpenMP.

    Raises
    ------
    ValueError
        If `n_jobs` is 0.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning")
    limit = openmp_threads()
    if _forked or limit is None:
        return 1
    if n_jobs is not None and n_jobs > 0:
        return n_jobs
    available = min(limit, _available_cores())
    return available if n_jobs is None else max(1, available + 1 + n_jobs)
