"""How many threads a pass may use, and a BLAS that uses one thread meanwhile."""

import functools
import os
import threading

import joblib
from threadpoolctl import ThreadpoolController

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


class _SingleThreadedBlas:
    """Re-entrant over threads: the first to enter sets BLAS to one thread, the last to leave restores it.

    BLAS's number of threads belongs to the process, so threadpoolctl from 3.8 on obeys one thread's limits and drops
    those of the others. Here the threads take turns by themselves, so each takes that control over.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._entered = 0
        self._libraries = None
        self._controlled = []
        self._before = []

    def __call__(self):
        return self

    def __enter__(self):
        with self._lock:
            self._entered += 1
            if self._entered == 1:
                if self._libraries is None:
                    self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
                    kinds = {type(library) for library in self._libraries}
                    self._controlled = [kind for kind in kinds if hasattr(kind, "clear_controlling_thread")]
                self._before = [library.get_num_threads() for library in self._libraries]
                self._set([1] * len(self._before))

    def __exit__(self, *_):
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                self._set(self._before)

    def _set(self, counts):
        self._clear_control()
        for library, count in zip(self._libraries, counts, strict=True):
            library.set_num_threads(count)
        self._clear_control()  # and leave the control to the next thread that comes

    def _clear_control(self):
        for kind in self._controlled:
            kind.clear_controlling_thread(force=True)


single_threaded_blas = _SingleThreadedBlas()
