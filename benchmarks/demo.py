"""What ``make demo`` runs: fastlogreg beside scikit-learn on two problems, as a table and as a picture.

Every fit is timed from the outside, validation included, with each library's defaults unless the name says otherwise.
All objectives are recomputed by one function, and gaps are to the lowest value that any fit reached.
"""

import time
import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

import fastlogreg
from benchmarks.data import tall_problem
from benchmarks.machine import description

PICTURE = "demo.png"
C = 1.0
CONTENDERS = {
    "fastlogreg": fastlogreg.LogisticRegression,
    "scikit-learn lbfgs": SklearnLogisticRegression,
    "scikit-learn newton-cholesky": lambda **options: SklearnLogisticRegression(solver="newton-cholesky", **options),
}
# Okabe and Ito's colours, which the colour-blind can tell apart, too; markers and dashes say the same once more.
LOOKS = {
    "fastlogreg": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "scikit-learn lbfgs": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "scikit-learn newton-cholesky": {"color": "#009E73", "marker": "^", "linestyle": ":"},
}
# Objectives are sums in float64: smaller differences are rounding.
SMALLEST_GAP = 1e-15
# A curve ends when a fit stops by itself, after 15 seconds of fits, or at 20 000 iterations.
CURVE_SECONDS = 15.0
CURVE_ITERATIONS = 20_000


@dataclass(frozen=True, slots=True)
class Problem:
    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    rounds: int

    @classmethod
    def split(cls, name, X, y, rounds):
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
        return cls(name, X, y, X_test, y_test, rounds)


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit and what it cost."""

    model: object
    seconds: float
    objective: float
    warned: Counter

    @classmethod
    def of(cls, problem, contender, **options):
        model = CONTENDERS[contender](C=C, **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            model.fit(problem.X, problem.y)
            seconds = time.perf_counter() - start
        warned = Counter(warning.category.__name__ for warning in caught)
        return cls(model, seconds, mean_objective(model, problem.X, problem.y), warned)


@dataclass(frozen=True, slots=True)
class Race:
    """A problem, each contender's fit with its defaults, and its (seconds, objective) for more and more iterations."""

    problem: Problem
    fits: dict
    curves: dict

    def gap(self, objective):
        """How far an objective is above the lowest that any fit reached, relatively."""
        lowest = min(fit.objective for fit in self.fits.values())
        lowest = min(lowest, *(points[:, 1].min() for points in self.curves.values()))
        return objective / lowest - 1.0


def mean_objective(model, X, y):
    """``sum_i L_i / n + |w|^2 / (2 C n)`` in nats per sample, from the coefficients, in NumPy."""
    logits = X @ model.coef_[0] + model.intercept_[0]
    losses = np.logaddexp(0.0, np.where(y == 1, -logits, logits))
    return (losses.sum() + 0.5 / C * float(model.coef_[0] @ model.coef_[0])) / len(y)


def main():
    for name, value in description().items():
        print(f"{name}: {value}")
    races = []
    for problem in problems():
        race = Race(problem, default_fits(problem), {name: curve(problem, name) for name in CONTENDERS})
        print_table(race)
        races.append(race)
    draw(races)
    print(f"\nloss against time: {PICTURE}")


def problems():
    yield Problem.split("breast cancer, raw", *load_breast_cancer(return_X_y=True), rounds=15)
    X, y = tall_problem(1_250_000, 50)
    yield Problem("1 000 000 x 50, synthetic", X[:1_000_000], y[:1_000_000], X[1_000_000:], y[1_000_000:], rounds=3)


def default_fits(problem):
    """Each contender's fastest fit with its defaults; they take turns."""
    for contender in CONTENDERS:
        Fit.of(problem, contender)
    best = {}
    for _ in range(problem.rounds):
        for contender in CONTENDERS:
            fit = Fit.of(problem, contender)
            if contender not in best or fit.seconds < best[contender].seconds:
                best[contender] = fit
    return best


def curve(problem, contender):
    """Seconds and objective of fits that are allowed more and more iterations, until one stops by itself."""
    points, spent, max_iter = [], 0.0, 1
    while spent < CURVE_SECONDS and max_iter < CURVE_ITERATIONS:
        fits = [Fit.of(problem, contender, max_iter=max_iter) for _ in range(problem.rounds)]
        spent += sum(fit.seconds for fit in fits)
        points.append((min(fit.seconds for fit in fits), fits[0].objective))
        if fits[0].model.n_iter_[0] < max_iter or not fits[0].warned:
            break
        max_iter = max(max_iter + 1, int(1.3 * max_iter))
    return np.array(points)


def print_table(race):
    problem = race.problem
    print(f"\n{problem.name}: {problem.X.shape[0]} x {problem.X.shape[1]}, {len(problem.y_test)} rows held out")
    header = ["", "fit", "objective gap", "log-loss", "accuracy", "iterations", "warnings"]
    lines = [header]
    for contender, fit in race.fits.items():
        gap = race.gap(fit.objective)
        warned = ", ".join(f"{count} {name}" for name, count in fit.warned.items())
        lines.append(
            [
                contender,
                f"{1e3 * fit.seconds:.1f} ms",
                f"{gap:.1e}" if gap > SMALLEST_GAP else f"< {SMALLEST_GAP:.0e}",
                f"{log_loss(problem.y_test, fit.model.predict_proba(problem.X_test)):.6f}",
                f"{100 * accuracy_score(problem.y_test, fit.model.predict(problem.X_test)):.3f} %",
                str(fit.model.n_iter_[0]),
                warned or "none",
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def draw(races):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure, axes = plt.subplots(1, len(races), figsize=(12, 5.4), layout="constrained", sharey=True)
    for ax, race in zip(axes, races, strict=True):
        for contender, points in race.curves.items():
            gaps = np.maximum(race.gap(points[:, 1]), SMALLEST_GAP)
            ax.loglog(points[:, 0], gaps, label=contender, markersize=4, linewidth=1.5, **LOOKS[contender])
        for contender, fit in race.fits.items():
            gap = max(race.gap(fit.objective), SMALLEST_GAP)
            ax.plot(fit.seconds, gap, "o", fillstyle="none", markersize=14, color=LOOKS[contender]["color"])
        ax.set_title(race.problem.name)
        ax.set_xlabel("seconds of a whole fit")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(True, which="major", alpha=0.3)
    axes[0].set_ylabel("objective above the lowest found, relatively")
    axes[0].plot([], [], "o", fillstyle="none", markersize=14, color="black", label="with default settings")
    axes[0].legend(loc="lower right", frameon=False)
    figure.suptitle(f"Loss against time. Each mark is a fit with a larger max_iter; {SMALLEST_GAP:.0e} is rounding.")
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
