"""A progress bar of one line."""

import sys
import time


class Progress:
    """Counts steps on standard error; rewrites its line on a terminal and stays silent elsewhere.

    Parameters
    ----------
    total : int
        Steps.
    """

    WIDTH = 30

    def __init__(self, total):
        self._total, self._done, self._start = total, 0, time.perf_counter()
        self._shown = sys.stderr.isatty()

    def step(self, what):
        """Begin the next step."""
        if self._shown:
            filled = self.WIDTH * self._done // self._total
            elapsed = time.perf_counter() - self._start
            bar = "#" * filled + "." * (self.WIDTH - filled)
            print(f"\r\x1b[K[{bar}] {self._done}/{self._total} {elapsed:.0f} s  {what}", end="", file=sys.stderr)
            sys.stderr.flush()
        self._done += 1

    def skip(self, steps):
        """Count steps that are not taken."""
        self.clear()
        self._done += steps

    def clear(self):
        """Make room for other output."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
