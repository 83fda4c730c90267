"""Whether a change slows fits down: ``python -m benchmarks.compare BASE HEAD``, two commits.

Builds both, each from a worktree of its own, and lets them take turns on the same problems. Fails when the best time of
a problem grew by more than a relative and an absolute threshold.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import problems, tables
from benchmarks.data import REPOSITORY

# Small enough for a minute or two together, and of every kind; the data of the first eleven need no files.
PROBLEMS = (
    "breast_cancer",
    "digits_odd",
    "tall_20000x20",
    "iris_classes",
    "digits_classes",
    "tall_unpenalised",
    "units_50000x30",
    "condition_50000x30",
    "separable_5000x50",
    "wide_300x5000",
    "text_10000x20000",
    "skin",
    "a9a",
    "hotel",
)
# Processes of each side for a problem, and the seconds of fits in each.
ROUNDS = 5
SECONDS = 0.5
HEADER = ["problem", "base", "head", "head / base", ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS))
    parser.add_argument("--relative", type=float, default=0.05, help="growth that is too much, as a share,")
    parser.add_argument("--absolute", type=float, default=0.0005, help="and in seconds; both must be passed")
    options = parser.parse_args()
    lines, slower = [], False
    with tempfile.TemporaryDirectory() as folder:
        harness = Path(folder) / "harness"
        shutil.copytree(REPOSITORY / "benchmarks", harness / "benchmarks", ignore=shutil.ignore_patterns("results"))
        builds = {side: build(getattr(options, side), Path(folder) / side) for side in ("base", "head")}
        for name in problems.select(options.problems):
            best = turns(name, builds, harness)
            if best is None:
                lines.append([name, "", "", "", "skipped: its data are not here"])
                continue
            too_slow = is_slower(best["base"], best["head"], options.relative, options.absolute)
            slower |= too_slow
            times = [tables.duration(best[side]) for side in ("base", "head")]
            lines.append([name, *times, f"{best['head'] / best['base']:.3f}", "SLOWER" if too_slow else ""])
    print(tables.aligned(HEADER, lines))
    sys.exit(1 if slower else 0)


def is_slower(base, head, relative, absolute):
    """Whether `head` exceeds `base`, both in seconds, by more than the share `relative` and by more than `absolute`."""
    return head > base * (1.0 + relative) and head > base + absolute


def build(commit, folder):
    """The folder of the package built from a commit."""
    tree, package = folder / "tree", folder / "package"
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(package), str(tree)]
        subprocess.run(pip, check=True)
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    return package


def turns(name, builds, harness):
    """Best seconds of each side, which take turns in fresh processes; None without data."""
    best = dict.fromkeys(builds, float("inf"))
    data = os.environ.get("FASTLOGREG_DATA", str(REPOSITORY.parent / "shared" / "data"))
    for _ in range(ROUNDS):
        for side, package in builds.items():
            environment = os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{harness}", "FASTLOGREG_DATA": data}
            command = [sys.executable, "-P", "-c", f"from benchmarks import compare; compare.time_fits({name!r})"]
            found = subprocess.run(command, env=environment, cwd=harness, stdout=subprocess.PIPE, check=True).stdout
            found = json.loads(found)
            if found is None:
                return None
            if not Path(found["package"]).is_relative_to(package):
                raise RuntimeError(f"timed {found['package']}, not {package}")
            best[side] = min(best[side], found["seconds"])
    return best


def time_fits(name):
    """What a process of `turns` runs: prints the seconds of a problem's best fit, and which package made it."""
    import warnings

    import fastlogreg
    from benchmarks.timing import best_seconds

    warnings.simplefilter("ignore")
    try:
        problem = problems.load(name)
    except problems.Unavailable:
        print(json.dumps(None))
        return
    model = fastlogreg.LogisticRegression(C=problem.C)
    best = best_seconds({"fit": lambda: model.fit(problem.X, problem.y)}, rounds=1, shortest=SECONDS)
    print(json.dumps({"seconds": best["fit"], "package": fastlogreg.__file__}))


if __name__ == "__main__":
    main()
