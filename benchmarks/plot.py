"""Pictures of a race: ``python -m benchmarks.plot``.

Time against gap for each problem, how much faster or slower the fastest other library is, and the README's picture of
its ten problems. PNG of 64 colours, so that the committed ones stay below 300 kB together.
"""

import argparse
import io
import math
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from PIL import Image

from benchmarks import records, tables
from benchmarks.libraries import OURS
from benchmarks.run import NAME

# Okabe and Ito's colours, which the colour-blind can tell apart, too: one for each family of libraries, with markers
# and dashes within it.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
LOOKS = {
    "fastlogreg": (BLUE, "o", "-"),
    "scikit-learn lbfgs": (VERMILION, "s", "-"),
    "scikit-learn newton-cg": (VERMILION, "^", "--"),
    "scikit-learn newton-cholesky": (VERMILION, "D", ":"),
    "scikit-learn liblinear": (VERMILION, "x", "-."),
    "scikit-learn sag": (ORANGE, "<", "-"),
    "scikit-learn saga": (ORANGE, ">", "--"),
    "SGDClassifier": (ORANGE, "*", ":"),
    "scikit-learn-intelex": (SKY, "P", "-"),
    "LIBLINEAR": (GREEN, "X", "-"),
    "Snap ML": (GREEN, "p", ":"),
    "glum": (PURPLE, "d", "-"),
    "skglm": (PURPLE, "h", ":"),
    "celer": (PURPLE, "+", "--"),
    "statsmodels": (BLACK, "1", "-"),
    "Vowpal Wabbit": (BLACK, "2", ":"),
}
# Smaller relative gaps are the rounding of a sum of many terms in float64.
SMALLEST_GAP = 1e-14
PANELS_A_ROW = 4
DPI = 75
COLOURS = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=records.DEFAULT_FOLDER, help="folder of the results")
    folder = parser.parse_args().output
    rows, configuration = records.read(folder, NAME)
    save(gaps_figure(rows), folder, f"{NAME}-gaps")
    save(ratios_figure(rows, configuration), folder, f"{NAME}-ratios")
    save(readme_figure(rows, configuration), folder, f"{NAME}-readme")


def save(figure, folder, name):
    """Write a figure as PNG; the same numbers give the same bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    plt.close(figure)
    path = folder / f"{name}.png"
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"written: {path}")


def gaps_figure(rows):
    """A panel for each problem, with a line for each library from its default to its tight setting."""
    of_problems = records.by_problem(rows)
    columns = min(PANELS_A_ROW, len(of_problems))
    lines = math.ceil(len(of_problems) / columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(3.6 * columns + 0.6, 3.1 * lines + 1.5),
        squeeze=False,
        layout="constrained",
        sharey=True,
    )
    shown = {}
    for ax, (name, of_problem) in zip(axes.flat, of_problems.items(), strict=False):
        for library, look in LOOKS.items():
            fits = [row for row in of_problem if row.library == library and row.status == "ok"]
            if fits:
                shown[library] = plot_library(ax, fits, look)
        dress(ax, name, of_problem[0])
    for ax in axes.flat[len(of_problems) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("relative gap")
    known = [library for library in LOOKS if library in shown]
    figure.legend(
        [shown[library] for library in known],
        known,
        loc="outside lower center",
        ncols=min(6, columns + 2),
        frameon=False,
    )
    figure.suptitle("Time of a fit and how far it is from the minimum: default setting (hollow), tight setting (full)")
    return figure


def plot_library(ax, fits, look):
    color, marker, dashes = look
    width = 2.4 if fits[0].library == OURS else 1.2
    seconds = [row.seconds for row in fits]
    gaps = [min(max(row.gap, SMALLEST_GAP), 1.0) for row in fits]
    ax.plot(seconds, gaps, linestyle=dashes, color=color, linewidth=width)
    for row, x, y in zip(fits, seconds, gaps, strict=True):
        face = "white" if row.setting == "default" else color
        ax.plot(x, y, marker=marker, color=color, markerfacecolor=face, markersize=7, linestyle="none")
    return mpl.lines.Line2D([], [], color=color, marker=marker, linestyle=dashes, linewidth=width)


def dress(ax, name, row):
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(SMALLEST_GAP / 3, 3.0)
    classes = f", {row.n_classes} classes" if row.n_classes > 2 else ""
    ax.set_title(f"{name}\n{row.n_samples} x {row.n_features}{classes}", fontsize=10)
    ax.set_xlabel("seconds")
    ax.yaxis.set_major_locator(LogLocator(numticks=9))
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(True, which="major", alpha=0.3)
    for target in records.TARGETS:
        ax.axhline(target, color="0.6", linewidth=0.8, linestyle=(0, (1, 3)))


def ratios_figure(rows, configuration):
    """A bar for each problem and each gap: the time of the fastest other library, divided by ours."""
    duels = records.duels(rows)
    names = list(records.by_problem(rows))
    figure, axes = plt.subplots(
        1, len(records.TARGETS), figsize=(14, 0.36 * len(names) + 2.2), layout="constrained", sharex=True, sharey=True
    )
    for ax, target in zip(axes, records.TARGETS, strict=True):
        for place, name in enumerate(names):
            (duel,) = (duel for duel in duels if duel.problem == name and duel.target == target)
            bar(ax, place, duel)
        ax.axvline(1.0, color="black", linewidth=1.0)
        ax.set_xscale("log")
        ax.set_title(f"to a gap of {target:.0e}")
        ax.set_xlabel("time of the fastest other / ours")
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.grid(True, axis="x", which="major", alpha=0.3)
        ax.set_axisbelow(True)
    most = max((duel.ratio for duel in duels if duel.ratio), default=1.0)
    axes[0].set_xlim(0.1, max(10.0, 300 * most))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    machine = f"{configuration['machine']['processor']}, {configuration['machine']['date']}"
    figure.suptitle(f"Bars to the right: fastlogreg is faster. Hatched, to the left: slower.\n{machine}")
    return figure


def bar(ax, place, duel):
    other = duel.other.library if duel.other else "none"
    if duel.ratio:
        won = duel.ratio >= 1.0
        ax.barh(
            place, duel.ratio - 1.0, left=1.0, height=0.7, color=BLUE if won else VERMILION, hatch="" if won else "///",
            edgecolor="white",
        )  # fmt: skip
        words = f"{tables.ratio(duel.ratio)}  {other}"
    elif duel.ours:
        words = "no other got there"
    else:
        words = f"lost: we did not get there, {other} did" if duel.other else "nobody got there"
    ax.text(1.15 * max(duel.ratio or 1.0, 1.0), place, words, va="center", fontsize=8)


def readme_figure(rows, configuration):
    """The README's problems: our time and that of the fastest other library, to the README's gap."""
    duels = records.telling_duels(rows)
    figure, ax = plt.subplots(figsize=(10, 0.5 * len(duels) + 1.6), layout="constrained")
    for place, duel in enumerate(duels):
        for side, row, color in ((-0.2, duel.ours, BLUE), (0.2, duel.other, VERMILION)):
            if row is None:
                who = "fastlogreg" if side < 0 else "any other library"
                ax.text(2e-4, place + side, f"not reached by {who}", va="center", fontsize=8, color=color)
                continue
            ax.barh(place + side, row.seconds, height=0.36, color=color)
            words = tables.duration(row.seconds) + ("" if side < 0 else f"  {row.library}")
            ax.text(1.1 * row.seconds, place + side, words, va="center", fontsize=8)
    ax.set_yticks(range(len(duels)), [f"{duel.problem}" for duel in duels])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(1e-4, 30.0)
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.grid(True, axis="x", which="major", alpha=0.3)
    ax.set_axisbelow(True)
    ax.set_xlabel("seconds of a fit, shorter is better")
    machine = configuration["machine"]
    ax.set_title(
        f"fastlogreg (blue) and the fastest other library (red), to within {records.README_TARGET:.0e} of the optimum\n"
        f"{machine['processor']}, {configuration['threads']} threads, {machine['date']}",
        fontsize=10,
    )
    return figure


if __name__ == "__main__":
    main()
