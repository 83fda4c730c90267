"""The tables of a race as rows of strings, for the screen and for Markdown alike."""

FIT_HEADER = ["library", "setting", "time", "cold", "memory", "gap to best", "gap to reference", "remark"]
DUEL_HEADER = ["problem", "gap", "fastlogreg", "fastest other", "its time", "ratio"]
SHORT_HEADER = ["problem", "rows x columns", "classes", "fastlogreg", "fastest other to 1e-6", "its time", "ratio"]


def duration(seconds):
    if seconds is None:
        return ""
    if seconds < 1e-6:
        return "< 1 µs"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def gap(value):
    """A relative gap; below 1e-14 it is rounding, on either side of zero."""
    if value is None:
        return ""
    return f"{value:.1e}" if abs(value) >= 1e-14 else "< 1e-14"


def ratio(value):
    """A ratio of times, cut and not rounded: what lost must not look like a draw."""
    return "" if value is None else f"{int(100 * value) / 100:.2f}" if value < 10 else f"{int(value)}"


def fit_cells(row):
    remark = row.note if row.status == "ok" else f"{row.status}: {row.note}"
    memory = "" if row.peak_mb is None else f"{row.peak_mb:.0f} MB"
    return [
        row.library,
        row.setting,
        duration(row.seconds),
        duration(row.cold_seconds),
        memory,
        gap(row.gap_best),
        gap(row.gap_reference),
        remark,
    ]


def duel_cells(duel):
    ours = f"{duration(duel.ours.seconds)} ({duel.ours.setting})" if duel.ours else "did not get there"
    if not duel.other:
        return [duel.problem, f"{duel.target:.0e}", ours, "none got there", "", ""]
    verdict = ratio(duel.ratio) if duel.ours else "lost"
    return [duel.problem, f"{duel.target:.0e}", ours, duel.other.label, duration(duel.other.seconds), verdict]


def short_cells(duel):
    """A duel for a table that has one line for each problem."""
    row = duel.ours or duel.other
    size = [f"{row.n_samples} x {row.n_features}", str(row.n_classes)] if row else ["", ""]
    cells = duel_cells(duel)
    return [cells[0], *size, *cells[2:]]


def aligned(header, rows):
    """The table as lines of text."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
