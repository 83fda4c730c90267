"""What a race and the scaling runs found, in Markdown: ``python -m benchmarks.report``.

Writes the sections of RESULTS.md, beside this file for the results in `results` and else in their own folder, and the
table of the README where its markers are.
"""

import argparse
import math
import os
from pathlib import Path

from benchmarks import problems, records, run, scaling, tables
from benchmarks.data import REPOSITORY
from benchmarks.results import RESULTS, machine_list, table, write_section

README = REPOSITORY / "README.md"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=records.DEFAULT_FOLDER, help="folder of the results")
    folder = parser.parse_args().output.resolve()
    public = folder == records.DEFAULT_FOLDER
    path = RESULTS if public else folder / RESULTS.name
    pictures = os.path.relpath(folder, path.parent)
    rows, configuration = records.read(folder, run.NAME)
    write_section("race", race_section(rows, configuration, pictures), path)
    if (folder / f"{scaling.NAME}.csv").exists():
        found = records.read(folder, scaling.NAME, scaling.Measurement)
        write_section("scaling", scaling.section(*found, pictures), path)
    print(f"written: {path}")
    if public and README.exists():
        update_readme(readme_section(rows, configuration))


def update_readme(section):
    """Put the table between the README's markers, if it has them."""
    if "<!-- race: begin -->" in README.read_text():
        write_section("race", section, README)
        print(f"written: {README}")
    else:
        print("README.md has no place for the table: <!-- race: begin --> and <!-- race: end -->")


def not_raced(rows, configuration):
    """A sentence with the problems that this run left out, if it did."""
    seen = {row.problem for row in rows} | set(configuration["skipped"])
    missing = [name for name in problems.RECIPES if name not in seen]
    return [f"Not raced in this run: {', '.join(missing)}."] if missing else []


def race_section(rows, configuration, pictures):
    """Machine, conditions, who was fastest to each gap, and then every fit."""
    libraries = (f"{name} {version}".strip() for name, version in configuration["libraries"].items())
    parts = [
        "## Race to equal objectives",
        conditions(configuration),
        machine_list(configuration["machine"]),
        f"Libraries: {', '.join(libraries)}.",
        *(f"Skipped: {name}, {reason}." for name, reason in configuration["skipped"].items()),
        *not_raced(rows, configuration),
        f"![ratios]({pictures}/race-ratios.png)",
        f"![time against gap]({pictures}/race-gaps.png)",
        "### Fastest to a gap",
        "The ratio is the other's time in ours: above 1 fastlogreg is faster.",
        table(tables.DUEL_HEADER, [tables.duel_cells(duel) for duel in records.duels(rows)]),
    ]
    for name, of_problem in records.by_problem(rows).items():
        parts += [f"### {name}", problem_line(of_problem[0])]
        parts.append(table(tables.FIT_HEADER, [tables.fit_cells(row) for row in of_problem]))
    return "\n\n".join(parts)


def conditions(configuration):
    return (
        f"{configuration['threads']} threads for every library, a limit of {configuration['limit']:g} s a fit (less on "
        "small problems, more on the largest); fits in fresh processes, the best of several. Gaps are relative, to the "
        "lowest objective of any library and to our own slow reference. What the figures do not show is in "
        "benchmarks/README.md."
    )


def problem_line(row):
    penalty = "no penalty" if math.isinf(row.C) else f"C = {row.C:g}, l1_ratio = {row.l1_ratio:g}"
    size = f"{row.n_samples} samples, {row.n_features} columns, {row.n_entries} stored numbers, {row.n_classes} classes"
    return f"{size}; {penalty}. Raced {row.raced}."


def readme_section(rows, configuration):
    """One line for each of the README's problems, lost ones included."""
    duels = records.telling_duels(rows)
    machine, target = configuration["machine"], records.README_TARGET
    return "\n\n".join(
        [
            table(tables.SHORT_HEADER, [tables.short_cells(duel) for duel in duels]),
            f"Time to a relative gap of {target:.0e}, and the other's time in ours; {machine['processor']}, "
            f"{configuration['threads']} threads, {machine['date']}. "
            "All problems, won and lost: [benchmarks/RESULTS.md](benchmarks/RESULTS.md).",
        ]
    )


if __name__ == "__main__":
    main()
