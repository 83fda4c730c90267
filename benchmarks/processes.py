"""Fits in fresh processes, from the parent's side: a time limit for each, and what was measured before it struck."""

import multiprocessing
import os
from dataclasses import dataclass

from benchmarks.fit import ROUND_SECONDS, obey

# Seconds that a process has before its fit, to load the data, import and compile the library and fit a small problem.
START_SECONDS = 60.0


@dataclass(slots=True)
class Outcome:
    """What a child process reported; `status` and `note` as in `benchmarks.records.Row`."""

    status: str = "ok"
    note: str = ""
    cold_seconds: float | None = None
    seconds: float | None = None
    n_fits: int = 0
    peak_mb: float | None = None
    n_passes: float | None = None
    solution: tuple | None = None

    def count(self, n_fits, seconds, peak, n_passes, coef, intercept):
        """Add `n_fits` fits, the fastest of which took `seconds`."""
        if self.seconds is None or seconds < self.seconds:
            self.seconds = seconds
        if self.n_fits == 0:
            self.peak_mb = None if peak is None else peak / 1e6
            self.n_passes = n_passes
            self.solution = coef, intercept
        self.n_fits += n_fits


class FreshProcesses:
    """Starts a process for each order, from a server that has imported NumPy, SciPy and scikit-learn and run nothing.

    Parameters
    ----------
    n_threads : int
        For every thread pool of every library.
    """

    def __init__(self, n_threads):
        for variable in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
            os.environ[f"{variable}_NUM_THREADS"] = str(n_threads)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["numpy", "scipy.sparse", "sklearn.linear_model", "benchmarks.fit"])

    def run(self, order, limit):
        """The `Outcome` of an order whose every fit may take `limit` seconds."""
        mine, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=obey, args=(order, theirs))
        process.start()
        theirs.close()
        outcome = Outcome()
        try:
            self._listen(mine, outcome, limit)
        except EOFError:
            process.join()
            if outcome.solution is None:
                outcome.status, outcome.note = "failed", f"the process died (exit code {process.exitcode})"
        finally:
            process.kill()
            process.join()
            mine.close()
        return outcome

    def _listen(self, connection, outcome, limit):
        fitting = False
        while True:
            if not connection.poll(limit + ROUND_SECONDS if fitting else START_SECONDS):
                if outcome.solution is None:
                    outcome.status = "time limit"
                    outcome.note = f"over {limit:.3g} s" if fitting else f"over {START_SECONDS:.3g} s before the fit"
                return
            word, content = connection.recv()
            if word == "warm":
                outcome.cold_seconds = content
            elif word == "ready":
                fitting = True
            elif word == "fits":
                outcome.count(*content)
            else:
                if word == "failed" and outcome.solution is None:
                    outcome.status, outcome.note = "failed", content
                return
