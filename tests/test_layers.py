"""Imports run down the layers of docs/architecture.md, and never in a circle."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fastlogreg"
# From the bottom up; a module of one layer imports from it and from those before it.
LAYERS = ["kernels", "runtime", "data", "bce", "penalties", "objectives", "curvature", "steps", "solvers", "estimators"]
IMPORT = re.compile(r"^\s*(?:from (fastlogreg[\w.]*) c?import \(?([\w, ]*)|c?import (fastlogreg[\w.]*))", re.MULTILINE)

pytestmark = pytest.mark.skipif(not PACKAGE.is_dir(), reason="the sources are not beside the tests")


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules():
    """The names of the modules, and for each those that it imports."""
    sources = [path for ending in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{ending}")]
    names = {module_of(path) for path in sources}
    imports = {name: set() for name in names}
    for path in sources:
        for source, items, plain in IMPORT.findall(path.read_text()):
            found = {f"{source}.{item.strip()}" for item in items.split(",")} & names
            imports[module_of(path)] |= found or ({source or plain} & names)
    return {name: found - {name} for name, found in imports.items()}


def layer_of(module):
    parts = module.split(".")
    return len(LAYERS) if len(parts) == 1 else LAYERS.index(parts[1])


def test_every_module_has_a_layer_and_imports_are_seen():
    found = modules()
    assert {name.split(".")[1] for name in found if "." in name} == set(LAYERS)
    assert "fastlogreg.data.design" in found["fastlogreg.data.local_passes"]  # a cimport
    assert "fastlogreg.solvers.plan" in found["fastlogreg.solvers.auto"]  # from a package


def test_no_import_runs_upwards():
    upwards = [
        f"{module} imports {other}"
        for module, imports in modules().items()
        for other in imports
        if layer_of(other) > layer_of(module)
    ]
    assert not upwards


def test_no_circle():
    list(TopologicalSorter(modules()).static_order())  # raises where there is one
