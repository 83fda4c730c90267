"""How time, passes over X and memory grow with a problem: ``python -m benchmarks.scaling``.

One axis varies at a time; a fitted exponent of 1 means that twice as much takes twice as long.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np

from benchmarks import problems, records, tables
from benchmarks.data import tall_problem
from benchmarks.fit import Order, save_data
from benchmarks.libraries import OURS
from benchmarks.processes import FreshProcesses
from benchmarks.results import machine_list, table

NAME = "scaling"
LIMIT = 60.0
HEADER = ["axis", "value", "samples", "columns", "stored numbers", "threads", "time", "passes", "memory"]
QUANTITIES = {"seconds": "time (s)", "n_passes": "passes", "peak_mb": "memory above X (MB)"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A fit at one point of an axis; `peak_mb` and `n_passes` as in `benchmarks.records.Row`."""

    axis: str
    value: float
    n_samples: int
    n_features: int
    n_entries: int
    n_threads: int
    seconds: float
    n_passes: float
    peak_mb: float | None


@dataclass(frozen=True, slots=True)
class Axis:
    """Values, and for each the data and the number of threads."""

    values: tuple
    data: object
    threads: object


def all_threads(_):
    return joblib.cpu_count()


AXES = {
    "samples": Axis((10_000, 30_000, 100_000, 300_000, 1_000_000), lambda n: tall_problem(n, 50), all_threads),
    "columns": Axis((10, 30, 100, 300, 1000), lambda d: tall_problem(20_000, d), all_threads),
    "condition": Axis(
        (1, 1e2, 1e4, 1e6, 1e8), lambda number: problems.ill_conditioned(200_000, 50, number), all_threads
    ),
    "density": Axis((0.001, 0.003, 0.01, 0.03, 0.1), lambda p: problems.random_sparse(50_000, 1000, p), all_threads),
    "sparse columns": Axis(
        (1_000, 10_000, 100_000, 1_000_000), lambda d: problems.random_sparse(50_000, d, 50 / d), all_threads
    ),
    "classes": Axis((3, 10, 30, 100, 300), lambda n_classes: problems.linear_probe(20_000, 50, n_classes), all_threads),
    "threads": Axis((1, 2), lambda _: tall_problem(500_000, 50), int),
}


def main():
    from benchmarks.machine import description

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=records.DEFAULT_FOLDER, help="folder of the results")
    folder = parser.parse_args().output
    configuration = {"machine": description()}
    records.refuse_another_machine(folder, NAME, configuration["machine"])
    processes = FreshProcesses(joblib.cpu_count())
    rows = []
    for name, axis in AXES.items():
        for value in axis.values:
            rows.append(measure(name, value, axis, processes))
            print("  ".join(cells(rows[-1])), flush=True)
    for name, quantity, slope in exponents(rows):
        print(f"{QUANTITIES[quantity]} ~ {name}^{slope:.2f}")
    records.write(folder, NAME, rows, configuration)
    draw(rows, folder)


def measure(name, value, axis, processes):
    X, y = axis.data(value)
    problem = problems.Problem(name, X, np.asarray(y, dtype=np.int64), C=1.0, l1_ratio=0.0)
    n_threads = axis.threads(value)
    with tempfile.TemporaryDirectory() as folder:
        save_data(Path(folder), X, problem.y)
        outcome = processes.run(Order(OURS, "default", Path(folder), 1.0, 0.0, n_threads), LIMIT)
    if outcome.status != "ok":
        raise RuntimeError(f"{name} = {value}: {outcome.status}, {outcome.note}")
    numbers = outcome.seconds, outcome.n_passes, outcome.peak_mb
    return Measurement(name, float(value), *X.shape, problem.n_entries, n_threads, *numbers)


def exponents(rows):
    """(axis, quantity, slope of a line through the logarithms) for what grows from zero."""
    for name in dict.fromkeys(row.axis for row in rows):
        of_axis = [row for row in rows if row.axis == name]
        for quantity in ("seconds", "n_passes"):
            values = [(row.value, getattr(row, quantity)) for row in of_axis]
            slope, _ = np.polyfit(*np.log(np.array(values, dtype=float)).T, 1)
            yield name, quantity, round(float(slope), 2) + 0.0  # no negative zero


def cells(row):
    memory = "" if row.peak_mb is None else f"{row.peak_mb:.1f} MB"
    counts = (row.n_samples, row.n_features, row.n_entries, row.n_threads)
    return [row.axis, f"{row.value:g}", *map(str, counts), tables.duration(row.seconds), str(row.n_passes), memory]


def section(rows, configuration, pictures):
    """The section of RESULTS.md."""
    fitted = [[QUANTITIES[quantity], name, f"{slope:.2f}"] for name, quantity, slope in exponents(rows)]
    return "\n\n".join(
        [
            "## Scaling",
            "fastlogreg's default fit, one axis varied at a time. An exponent of 1 means that twice as much takes "
            "twice as long; -1 for threads would be perfect.",
            machine_list(configuration["machine"]),
            f"![scaling]({pictures}/scaling.png)",
            table(["quantity", "grows with", "exponent"], fitted),
            table(HEADER, [cells(row) for row in rows]),
        ]
    )


def draw(rows, folder):
    from benchmarks import plot

    names = list(dict.fromkeys(row.axis for row in rows))
    figure, axes = plot.plt.subplots(
        len(QUANTITIES),
        len(names),
        figsize=(3.4 * len(names), 7.5),
        layout="constrained",
        squeeze=False,
        sharex="col",
        sharey="row",
    )
    slopes = {(name, quantity): slope for name, quantity, slope in exponents(rows)}
    for column, name in enumerate(names):
        of_axis = [row for row in rows if row.axis == name]
        for line, quantity in enumerate(QUANTITIES):
            ax = axes[line, column]
            ax.plot([row.value for row in of_axis], [getattr(row, quantity) for row in of_axis], "o-", color=plot.BLUE)
            ax.set_xscale("log")
            ax.set_xticks([row.value for row in of_axis], [f"{row.value:g}" for row in of_axis])
            ax.xaxis.set_minor_formatter(plot.NullFormatter())
            ax.grid(True, which="major", alpha=0.3)
            if quantity == "seconds":
                ax.set_yscale("log")
            else:
                ax.set_ylim(0, 1.1 * max(getattr(row, quantity) or 0 for row in rows))
            if (name, quantity) in slopes:
                ax.set_title(f"exponent {slopes[name, quantity]:.2f}", fontsize=10)
        axes[-1, column].set_xlabel(name)
    for line, label in enumerate(QUANTITIES.values()):
        axes[line, 0].set_ylabel(label)
    plot.save(figure, folder, NAME)


if __name__ == "__main__":
    main()
