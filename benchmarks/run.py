"""Race fastlogreg and its peers to the same objectives: ``python -m benchmarks.run``.

Every fit runs in a fresh process, warmed up on a small problem, with a time limit; the time is the wall-clock time of
the fastest of several, validation included. One function recomputes all objectives.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np

# Children import this module too: nothing here may import fastlogreg, whose import is part of its cold time.
from benchmarks import problems, records, reference, tables
from benchmarks.fit import Order, save_data
from benchmarks.libraries import LIBRARIES
from benchmarks.processes import FreshProcesses
from benchmarks.progress import Progress
from benchmarks.records import REFERENCE, Row

NAME = "race"
# Seconds that a fit of a small problem may take for each entry of X and row of coefficients: those of some thousand
# readings of X. The limit is at least a second.
SECONDS_PER_ENTRY = 2e-6


def main():
    options = parse_arguments()
    names = problems.select(options.problems)
    configuration = configure(options)
    records.refuse_another_machine(options.output, NAME, configuration["machine"])
    for key, value in configuration["machine"].items():
        print(f"{key}: {value}")
    rows = records.of_other_problems(options.output, NAME, names, configuration) if options.keep else []
    raced = "{date}, fastlogreg {fastlogreg}".format(**configuration["machine"])
    n_steps = 1 + sum(len(LIBRARIES[library].settings) for library in options.libraries)
    progress = Progress(len(names) * n_steps)
    processes = FreshProcesses(options.threads)
    for name in names:
        progress.step(f"{name}: reference")
        try:
            problem = problems.load(name)
        except problems.Unavailable as reason:
            configuration["skipped"][name] = str(reason)
            progress.skip(n_steps - 1)
            print(f"\n{name}: skipped, {reason}")
            continue
        of_problem = [replace(row, raced=raced) for row in race(problem, options, processes, progress)]
        progress.clear()
        print_fits(problem, of_problem)
        rows = sorted(rows + of_problem, key=lambda row: list(problems.RECIPES).index(row.problem))
        records.write(options.output, NAME, rows, configuration)
    print("\n" + tables.aligned(tables.DUEL_HEADER, [tables.duel_cells(duel) for duel in records.duels(rows)]))
    print("\nratio: the other's time in ours; above one fastlogreg is faster")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = ", ".join(problems.GROUPS)
    parser.add_argument("--problems", nargs="+", default=["small"], help=f"names or groups ({groups})")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES), metavar="NAME")
    parser.add_argument("--threads", type=int, default=joblib.cpu_count(), help="the same for every library")
    parser.add_argument("--limit", type=float, default=2.5, help="seconds a fit may take; less on small problems")
    parser.add_argument("--output", type=Path, default=records.DEFAULT_FOLDER, help="folder of the results")
    parser.add_argument("--keep", action="store_true", help="keep the folder's results of the other problems")
    options = parser.parse_args()
    try:
        problems.select(options.problems)
    except ValueError as error:
        parser.error(str(error))
    return options


def configure(options):
    """What was asked, of which libraries, on which machine."""
    from benchmarks.machine import description, read_bandwidth

    bandwidth = read_bandwidth(options.threads)
    versions = {name: LIBRARIES[name].version() for name in options.libraries}
    return {
        "machine": description() | {"read bandwidth": f"{bandwidth / 1e9:.1f} GB/s with {options.threads} threads"},
        "threads": options.threads,
        "limit": options.limit,
        "libraries": {name: "missing" if version is None else version for name, version in versions.items()},
        "skipped": {},
    }


def race(problem, options, processes, progress):
    """Rows of all libraries and settings for a problem, after the reference's."""
    rows = [reference_row(problem)]
    limit = time_limit(problem, options.limit)
    with tempfile.TemporaryDirectory() as folder:
        save_data(Path(folder), problem.X, problem.y)
        for name in options.libraries:
            library = LIBRARIES[name]
            hindrance = library.hindrance(problem)
            if hindrance:
                progress.skip(len(library.settings))
                rows.append(Row.of(problem, name, "", *hindrance))
                continue
            for setting in library.settings:
                progress.step(f"{problem.name}: {name}, {setting}")
                if rows[-1].library == name and rows[-1].status == "time limit":
                    note = f"not tried: the setting before took {rows[-1].note}"
                    rows.append(Row.of(problem, name, setting, "time limit", note))
                    continue
                order = Order(name, setting, Path(folder), problem.C, problem.l1_ratio, options.threads)
                rows.append(fitted_row(problem, order, processes.run(order, limit)))
    return records.with_gaps(rows)


def time_limit(problem, longest):
    """Seconds that a fit of the problem may take."""
    n_rows = problem.n_coef / problem.X.shape[1]
    return problem.limit or min(longest, max(1.0, SECONDS_PER_ENTRY * problem.n_entries * n_rows))


def fitted_row(problem, order, outcome):
    objective, status, note = None, outcome.status, outcome.note
    if status == "ok":
        note = LIBRARIES[order.library].notes.get(order.setting, "")
        objective = reference.mean_objective(
            problem.X, problem.y, *outcome.solution, C=problem.C, l1_ratio=problem.l1_ratio
        )
        if not np.isfinite(objective):
            objective, status, note = None, "failed", "coefficients that are not finite"
    return Row.of(
        problem,
        order.library,
        order.setting,
        status,
        note,
        seconds=outcome.seconds,
        n_fits=outcome.n_fits,
        cold_seconds=outcome.cold_seconds,
        peak_mb=outcome.peak_mb,
        n_passes=outcome.n_passes,
        objective=objective,
    )


def reference_row(problem):
    if problem.l1_ratio > 0:
        return Row.of(problem, REFERENCE, "", "not served", "no penalty with L1")
    if reference.n_parameters(problem) > reference.MOST_PARAMETERS:
        return Row.of(problem, REFERENCE, "", "not served", f"more than {reference.MOST_PARAMETERS} parameters")
    start = time.perf_counter()
    solution = reference.minimise(problem.X, problem.y, problem.C)
    seconds = time.perf_counter() - start
    objective = reference.mean_objective(problem.X, problem.y, *solution, C=problem.C)
    return Row.of(problem, REFERENCE, "", "ok", "", seconds=seconds, n_fits=1, objective=objective)


def print_fits(problem, rows):
    size = f"{rows[0].n_samples} x {rows[0].n_features}, {rows[0].n_entries} entries, {problem.n_classes} classes"
    print(f"\n{problem.name}: {size}, penalty {problem.penalty}, C = {problem.C:g}")
    print(tables.aligned(tables.FIT_HEADER, [tables.fit_cells(row) for row in rows]), flush=True)


if __name__ == "__main__":
    main()
