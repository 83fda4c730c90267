"""Fixtures for all tests: the zoo, instruction sets, real data."""

import functools
import importlib.util
import os
import tracemalloc
from collections import Counter
from pathlib import Path

# More threads than cores, in several test processes at once: who waits should sleep. OpenMP reads it when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import zoo
from stochastic import KINDS

from fastlogreg.kernels import dispatch


@pytest.fixture(params=dispatch.available_isas())
def isa(request):
    """Each instruction set of this machine, in use."""
    before = dispatch.active_isa()
    dispatch.use_isa(request.param)
    yield request.param
    dispatch.use_isa(before)


@pytest.fixture(params=zoo.NAMES)
def item(request):
    """Each `zoo.Item`."""
    return zoo.item(request.param)


@pytest.fixture(params=KINDS)
def kind(request):
    """The options of each kind of stochastic steps."""
    return KINDS[request.param]


def pytest_addoption(parser):
    parser.addoption("--all-isas", action="store_true", help="the whole zoo on every instruction set, not on one")
    parser.addoption("--fuzz", type=int, default=300, metavar="N", help="random problems in tests/fuzz (default: 300)")
    parser.addoption("--fuzz-from", type=int, default=0, metavar="SEED", help="the seed of the first one (default: 0)")


def pytest_generate_tests(metafunc):
    if "fuzz_seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--fuzz-from")
        metafunc.parametrize("fuzz_seed", range(first, first + metafunc.config.getoption("--fuzz")))


def pytest_terminal_summary(terminalreporter):
    """How many of the random problems violate what, for each test process has seen only some of them."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if "::test_random_problem[" in report.nodeid and report.when == "call"
    ]
    if not reports:
        return
    kinds = Counter(kind for report in reports for name, kind in report.user_properties if name == "fuzz_violation")
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    terminalreporter.write_line(
        f"fuzz: {len(reports)} random problems, {kinds.total()} violations{found and ': '}{found}"
    )


def pytest_collection_modifyitems(config, items):
    """The whole zoo runs on the best instruction set; on the others what covers each kernel, or all where asked for."""
    if config.getoption("--all-isas"):
        return
    best = dispatch.active_isa()
    kept, left_out = [], []
    for test in items:
        params = test.callspec.params if hasattr(test, "callspec") else {}
        covered = params.get("isa", best) == best or params.get("item", zoo.COVERING[0]) in zoo.COVERING
        (kept if covered else left_out).append(test)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def _peak_memory(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def peak_memory():
    """``peak_memory(call) -> bytes``: the most that a call held at a time."""
    return _peak_memory


def _data_folder():
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("FASTLOGREG_DATA", beside))


@functools.cache
def _load(name):
    loader = _data_folder() / "load.py"
    if not loader.is_file():
        pytest.skip("real data are not here: FASTLOGREG_DATA names no folder with them, nor is there ../shared/data")
    spec = importlib.util.spec_from_file_location("fastlogreg_real_data", loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(name)


@pytest.fixture(scope="session")
def real_data():
    """``real_data(name) -> (X, y)``; skips where the data are not at hand."""
    return _load
