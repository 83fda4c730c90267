"""RESULTS.md has one section for each benchmark: each script replaces its own and leaves the others."""

from pathlib import Path

from benchmarks.machine import description

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "# Results\n\nWritten by the scripts beside this file; rows that were lost are in it too.\n"


def table(header, rows):
    """A Markdown table of strings."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine_list(machine=None):
    """The machine and the versions as a Markdown list: this machine, or one that was described before."""
    return "\n".join(f"- {name}: {value}" for name, value in (machine or description()).items())


def write_section(name, body, path=RESULTS):
    """Put `body` where RESULTS.md, or another file, has its section `name`, or at its end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{begin}\n{body.strip()}\n{end}\n"
    text = path.read_text() if path.exists() else TITLE
    if begin in text:
        before, rest = text.split(begin, 1)
        text = before + section + rest.split(end + "\n", 1)[1]
    else:
        text += "\n" + section
    path.write_text(text)
