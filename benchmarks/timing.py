"""Timing that is fair to both sides: what is compared takes turns, and the best of several counts."""

import time


def seconds(function):
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def best_seconds(functions, rounds, shortest=0.0):
    """Seconds of a call of each function, the best of several.

    The functions take turns, so what disturbs the machine disturbs all of them; the first round is not counted.

    Parameters
    ----------
    functions : dict of callables
    rounds : int
    shortest : float, default=0.0
        Seconds that a turn lasts at least: until then it calls its function again.

    Returns
    -------
    best : dict of floats
    """
    for function in functions.values():
        function()
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            spent = 0.0
            while True:
                elapsed = seconds(function)
                best[name] = min(best[name], elapsed)
                spent += elapsed
                if spent >= shortest:
                    break
    return best
