"""What a race leaves behind: a CSV file with a row for each setting of a library, and its configuration in JSON."""

import csv
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from benchmarks.libraries import OURS
from benchmarks.reference import relative_gap

TARGETS = (1e-3, 1e-6, 1e-9)
# The README has ten problems of every kind and size, the closest and the lost among them, at the gap that a careful
# user asks for.
README_TARGET = 1e-6
README_PROBLEMS = (
    "breast_cancer",
    "random_500x30",
    "breast_cancer_l1",
    "tall_1000000x50",
    "skin_poly",
    "wide_300x5000",
    "hflights",
    "a9a",
    "imdb",
    "covtype20k_classes",
)
REFERENCE = "reference"
DEFAULT_FOLDER = Path(__file__).with_name("results")


class AnotherMachineError(SystemExit):
    """The folder holds the results of another machine; ends a script with its message."""


@dataclass(frozen=True, slots=True)
class Row:
    """One library's fits of one problem with one setting; None where there is no number.

    Attributes
    ----------
    status : str
        "ok", "missing" (not installed), "not served", "time limit" or "failed"; `note` says more.
    seconds : float
        Of the fastest of `n_fits` fits, after a warm-up on a small problem that took `cold_seconds`.
    peak_mb : float
        Resident memory of the first fit at its peak, above what the process held with X in the library's layout.
    n_passes : float
        Readings of X, where the library counts them.
    objective : float
        Mean objective in nats per sample, recomputed.
    gap_best, gap_reference : float
        Relative gap to the lowest objective of any library, and to our own reference solver's.
    raced : str
        The day, and the commit of fastlogreg.
    """

    problem: str
    n_samples: int
    n_features: int
    n_entries: int
    n_classes: int
    C: float
    l1_ratio: float
    library: str
    setting: str
    status: str
    note: str
    seconds: float | None = None
    n_fits: int = 0
    cold_seconds: float | None = None
    peak_mb: float | None = None
    n_passes: float | None = None
    objective: float | None = None
    gap_best: float | None = None
    gap_reference: float | None = None
    raced: str = ""

    @classmethod
    def of(cls, problem, library, setting, status, note, **numbers):
        n, d = problem.X.shape
        what = problem.name, n, d, problem.n_entries, problem.n_classes, problem.C, problem.l1_ratio
        return cls(*what, library, setting, status, note, **numbers)

    @property
    def gap(self):
        """Relative gap to the lowest objective known: the worse of the two."""
        return max(gap for gap in (self.gap_best, self.gap_reference) if gap is not None)

    @property
    def label(self):
        return f"{self.library}, {self.setting}"


def with_gaps(rows):
    """The rows of one problem, gaps filled in."""
    found = [row.objective for row in rows if row.status == "ok" and row.library != REFERENCE]
    references = [row.objective for row in rows if row.library == REFERENCE and row.status == "ok"]
    best = min(found, default=None)
    return [
        replace(
            row,
            gap_best=relative_gap(row.objective, best) if best else None,
            gap_reference=relative_gap(row.objective, references[0]) if references else None,
        )
        if row.status == "ok" and row.library != REFERENCE
        else row
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Duel:
    """For a problem and a gap: our fastest fit that got there, or None, and the fastest of another library, or None."""

    problem: str
    target: float
    ours: Row | None
    other: Row | None

    @property
    def ratio(self):
        """Their time divided by ours: above one we are faster. None unless both got there."""
        return self.other.seconds / self.ours.seconds if self.ours and self.other else None


def duels(rows):
    """A `Duel` for each problem and each of the `TARGETS`."""
    found = []
    for name, of_problem in by_problem(rows).items():
        runners = [row for row in of_problem if row.status == "ok" and row.library not in (REFERENCE, "zeros")]
        for target in TARGETS:
            there = [row for row in runners if row.gap <= target]
            ours = [row for row in there if row.library == OURS]
            others = [row for row in there if not row.library.startswith(OURS)]
            found.append(
                Duel(
                    name,
                    target,
                    min(ours, key=lambda row: row.seconds, default=None),
                    min(others, key=lambda row: row.seconds, default=None),
                )
            )
    return found


def telling_duels(rows):
    """The duels of the `README_PROBLEMS` to the `README_TARGET`; of all problems where none of these was raced."""
    found = [duel for duel in duels(rows) if duel.target == README_TARGET]
    telling = [duel for duel in found if duel.problem in README_PROBLEMS]
    return sorted(telling, key=lambda duel: README_PROBLEMS.index(duel.problem)) or found


def by_problem(rows):
    """The rows of each problem, in their order."""
    problems = {}
    for row in rows:
        problems.setdefault(row.problem, []).append(row)
    return problems


def write(folder, name, rows, configuration):
    """`name`.csv and `name`.json in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in asdict(row).items()} for row in rows)
    (folder / f"{name}.json").write_text(json.dumps(configuration, indent=2) + "\n")


def read(folder, name, kind=Row):
    """Rows and configuration as `write` left them."""
    with open(folder / f"{name}.csv", newline="") as file:
        types = {field.name: field.type for field in fields(kind)}
        rows = [kind(**{key: _parsed(types[key], text) for key, text in line.items()}) for line in csv.DictReader(file)]
    return rows, json.loads((folder / f"{name}.json").read_text())


def _parsed(kind, text):
    if kind is str:
        return text
    if text == "":
        return None
    return int(text) if kind in (int, int | None) else float(text)


def refuse_another_machine(folder, name, machine):
    """Raise rather than let one machine's results replace another's.

    Raises
    ------
    AnotherMachineError
    """
    path = folder / f"{name}.json"
    if path.exists():
        before = json.loads(path.read_text())["machine"]
        if before["processor"] != machine["processor"]:
            raise AnotherMachineError(
                f"{path} is of another machine ({before['processor']}; this is {machine['processor']}): "
                "choose another folder with --output"
            )


def of_other_problems(folder, name, problems, configuration):
    """The rows of a folder's race that are not of the `problems`, if it was run as `configuration` says.

    Raises
    ------
    AnotherMachineError
        If machine, threads, limit or other libraries differ: such rows cannot be compared.
    """
    if not (folder / f"{name}.csv").exists():
        return []
    rows, before = read(folder, name)
    if _comparable(before) != _comparable(configuration):
        raise AnotherMachineError(f"{folder} holds a race of other versions, threads or limits: run it whole")
    return [row for row in rows if row.problem not in problems]


def _comparable(configuration):
    """What two runs must share for their rows to stand in one table."""
    machine = {
        key: value
        for key, value in configuration["machine"].items()
        if key not in ("date", "fastlogreg", "read bandwidth")
    }
    versions = {name: version for name, version in configuration["libraries"].items() if not name.startswith(OURS)}
    return machine, configuration["threads"], configuration["limit"], versions
