"""The benchmark's own arithmetic: gaps, the objectives that the adaptors state, the report."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

# At the end: the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import compare, problems, records, reference, report, run, scaling, tables
from benchmarks.fit import Order, save_data
from benchmarks.libraries import LIBRARIES, OURS, SETTINGS, Task, read_sklearn
from benchmarks.processes import FreshProcesses
from benchmarks.progress import Progress
from benchmarks.records import REFERENCE, Row

# How near SGDClassifier's tight setting comes: a wrong penalty would be a hundred times as far.
NEARLY = 1e-3


def small_data(seed=0):
    """Columns of unequal scale, a good deal of penalty, an intercept that matters."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((400, 6)) * np.array([1.0, 0.5, 2.0, 1.0, 1.5, 0.7]) + 0.2
    y = (rng.random(400) < 1.0 / (1.0 + np.exp(-(X @ np.array([1.0, -1.0, 0.5, 0.0, 2.0, 0.0]) - 1.0)))).astype(
        np.int64
    )
    return X, y


def small_problem(C=0.3, l1_ratio=0.0, sparse=False):
    X, y = small_data()
    return problems.Problem("small", sp.csr_matrix(X) if sparse else X, y, C, l1_ratio)


def small_classes_problem(C=0.3, sparse=False):
    """Three classes, one of them rare, on the columns of `small_data`."""
    X, _ = small_data()
    rng = np.random.default_rng(1)
    logits = X @ rng.standard_normal((6, 3)) + np.array([1.0, 0.0, -2.0])
    y = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1).astype(np.int64)
    return problems.Problem("classes", sp.csr_matrix(X) if sparse else X, y, C, 0.0)


def objective(problem, coef, intercept):
    return reference.mean_objective(problem.X, problem.y, coef, intercept, problem.C, problem.l1_ratio)


def optimum(problem):
    """scikit-learn's, from the solver that is exact for the penalty."""
    if problem.l1_ratio:
        return l1_optimum(problem)
    model = SklearnLogisticRegression(C=problem.C, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    return objective(problem, *read_sklearn(model.fit(problem.X, problem.y)))


def l1_optimum(problem):
    task = Task(problem.X, problem.y, problem.C, 1.0, n_threads=1, tight=True)
    fit, read = LIBRARIES["scikit-learn saga"].prepare(task)
    return objective(problem, *read(fit()))


# -- the objective and the gap


def test_mean_objective_is_scikit_learns_divided():
    X, y = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([1, 0])
    coef, intercept, C = np.array([0.3, -0.7]), 0.2, 0.4
    losses = np.log1p(np.exp(-(X[0] @ coef + intercept))) + np.log1p(np.exp(X[1] @ coef + intercept))
    l2 = (C * losses + 0.5 * (0.3**2 + 0.7**2)) / (C * 2)
    assert reference.mean_objective(X, y, coef, intercept, C) == pytest.approx(l2, rel=1e-15)
    mixed = (C * losses + 0.25 * 1.0 + 0.75 * 0.5 * (0.3**2 + 0.7**2)) / (C * 2)
    assert reference.mean_objective(X, y, coef, intercept, C, 0.25) == pytest.approx(mixed, rel=1e-15)
    assert reference.mean_objective(X, y, coef, intercept, np.inf) == pytest.approx(losses / 2, rel=1e-15)
    assert reference.mean_objective(sp.csr_matrix(X), y, coef, intercept, C) == pytest.approx(l2, rel=1e-15)


def test_mean_objective_survives_large_logits():
    X, y = np.array([[1e300], [-1e300]]), np.array([1, 0])
    assert reference.mean_objective(X, y, [1.0], 0.0, np.inf) == 0.0
    assert reference.mean_objective(X[:1] / 1e297, y[1:], [1.0], 0.0, np.inf) == 1000.0


def test_mean_objective_of_classes_is_scikit_learns_divided():
    X, y = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([2, 0])
    coef, intercept, C = np.array([[0.3, -0.7], [0.1, 0.2], [-0.5, 0.4]]), np.array([0.2, 0.0, -0.1]), 0.4
    losses = sum(np.log(np.exp(u - u[k]).sum()) for u, k in zip(X @ coef.T + intercept, y, strict=True))
    expected = (C * losses + 0.5 * np.sum(coef**2)) / (C * 2)
    assert reference.mean_objective(X, y, coef, intercept, C) == pytest.approx(expected, rel=1e-15)
    assert reference.mean_objective(sp.csr_matrix(X), y, coef, intercept, C) == pytest.approx(expected, rel=1e-15)
    unpenalised = reference.mean_objective(X, y, coef, intercept + 7.0, np.inf)
    assert unpenalised == pytest.approx(losses / 2, rel=1e-15)


def test_mean_objective_of_classes_survives_large_logits():
    X, y = np.array([[1e300], [-1e300]]), np.array([1, 0])
    assert reference.mean_objective(X, y, [[-1.0], [1.0], [0.0]], np.zeros(3), np.inf) == 0.0
    assert reference.mean_objective(X / 1e297, 1 - y, [[-1.0], [1.0], [0.0]], np.zeros(3), np.inf) == 2000.0


def test_mean_objective_is_the_same_in_blocks(monkeypatch):
    for problem in (small_problem(), small_classes_problem(), small_classes_problem(sparse=True)):
        solution = reference.minimise(problem.X, problem.y, problem.C)
        whole = objective(problem, *solution)
        with monkeypatch.context() as patch:
            patch.setattr(reference, "BLOCK_VALUES", 100)
            assert objective(problem, *solution) == pytest.approx(whole, rel=1e-14)
            assert objective(problem, *reference.minimise(problem.X, problem.y, problem.C)) == pytest.approx(whole)


def test_gaps_are_to_the_best_library_and_to_the_reference():
    rows = records.with_gaps([row(REFERENCE, 1.0), row("zeros", 2.0), row(OURS, 1.1), row("other", 1.21)])
    assert [r.gap_best for r in rows] == [None, pytest.approx(2 / 1.1 - 1), 0.0, pytest.approx(0.1)]
    assert [r.gap_reference for r in rows] == [None, 1.0, pytest.approx(0.1), pytest.approx(0.21)]
    assert rows[3].gap == pytest.approx(0.21)


def test_gap_counts_from_a_library_that_beats_the_reference():
    rows = records.with_gaps([row(REFERENCE, 1.1), row(OURS, 1.0), row("other", 1.1)])
    assert rows[1].gap == 0.0
    assert rows[2].gap == pytest.approx(0.1)


def test_gaps_without_a_reference_and_of_fits_that_failed():
    rows = records.with_gaps([row("other", 1.0), row(OURS, None, status="failed")])
    assert rows[0].gap_best == 0.0
    assert rows[0].gap_reference is None
    assert rows[1].gap_best is None


# -- the reference


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e4, np.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_reference_is_at_the_optimum(C, sparse):
    problem = small_problem(C, sparse=sparse)
    coef, intercept = reference.minimise(problem.X, problem.y, C)
    slope = scipy.optimize.approx_fprime(np.append(coef, intercept), lambda z: objective(problem, z[:-1], z[-1]), 1e-7)
    assert np.abs(slope).max() < 1e-6
    assert objective(problem, coef, intercept) == pytest.approx(optimum(problem), rel=1e-13)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e4, np.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_reference_of_classes_is_at_the_optimum(C, sparse):
    problem = small_classes_problem(C, sparse=sparse)
    coef, intercept = reference.minimise(problem.X, problem.y, C)
    flat = np.column_stack([coef, intercept]).ravel()
    slope = scipy.optimize.approx_fprime(flat, lambda z: objective(problem, *rows_of(z)), 1e-7)
    assert np.abs(slope).max() < 1e-6
    assert objective(problem, coef, intercept) == pytest.approx(optimum(problem), rel=1e-13)
    assert np.abs(coef.sum(axis=0)).max() < 1e-9


def rows_of(z):
    z = z.reshape(3, -1)
    return z[:, :-1], z[:, -1]


def test_derivatives_of_the_softmax_keep_their_digits():
    """Where one class is all but certain, differences from one are the others' probabilities."""
    logits = np.array([[0.0, 40.0, -1.0], [0.3, -0.2, 0.9]])
    residual, curvature = reference._softmax_derivatives(logits, np.array([1, 0]))
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    assert residual[0] == pytest.approx([p[0, 0], -(p[0, 0] + p[0, 2]), p[0, 2]], rel=1e-13)
    assert residual[1] == pytest.approx([p[1, 0] - 1.0, p[1, 1], p[1, 2]], rel=1e-13)
    assert curvature[1] == pytest.approx(np.diag(p[1]) - np.outer(p[1], p[1]), rel=1e-13)
    assert curvature[0, 1, 1] == pytest.approx(p[0, 0] + p[0, 2], rel=1e-13)


def test_reference_does_not_care_for_units_or_useless_columns():
    X, y = small_data()
    scales = np.logspace(-6, 6, X.shape[1])
    awkward = np.column_stack([X * scales, X[:, 0] * scales[0], np.full(len(y), 1e3), np.zeros(len(y))])
    plain = reference.mean_objective(X, y, *reference.minimise(X, y, np.inf), np.inf)
    found = reference.mean_objective(awkward, y, *reference.minimise(awkward, y, np.inf), np.inf)
    assert found == pytest.approx(plain, rel=1e-12)


# -- the adaptors


@dataclass(frozen=True, slots=True)
class Case:
    library: str
    problem: problems.Problem

    def __str__(self):
        kind = "csr" if sp.issparse(self.problem.X) else "dense"
        return f"{self.library}, {self.problem.penalty}, {kind}, {self.problem.n_classes} classes"


def cases():
    of_two = [small_problem(), small_problem(sparse=True), small_problem(l1_ratio=1.0), small_problem(C=np.inf)]
    of_three = [small_classes_problem(), small_classes_problem(sparse=True), small_classes_problem(C=np.inf)]
    for name, library in LIBRARIES.items():
        for problem in of_two + of_three:
            if library.exact and library.refusal(problem) == "":
                yield Case(name, problem)


def tight_solution(name, problem):
    library = LIBRARIES[name]
    if library.version() is None:
        pytest.skip(f"{library.distribution} is not installed")
    task = Task(problem.X, problem.y, problem.C, problem.l1_ratio, n_threads=1, tight=True)

    def solution():
        fit, read = library.prepare(task)
        return read(fit())

    # Some peers are built with -ffast-math: the thread that loads them flushes subnormal numbers to zero from then on.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(solution).result()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", cases(), ids=str)
def test_tight_optimum_is_scikit_learns(case, capfd):
    """A wrongly converted C, or an intercept that is penalised, would be far off."""
    found = objective(case.problem, *tight_solution(case.library, case.problem))
    assert abs(reference.relative_gap(found, optimum(case.problem))) < 1e-6


@pytest.mark.filterwarnings("ignore")
def test_stochastic_descent_minimises_the_same_objective():
    problem = small_problem()
    found = objective(problem, *tight_solution("SGDClassifier", problem))
    assert reference.relative_gap(found, optimum(problem)) < NEARLY


def test_libraries_say_what_they_do_not_serve():
    wide = problems.Problem("wide", sp.csr_matrix((10, 9000)), np.arange(10) % 2, 1.0, 0.0)
    assert LIBRARIES["scikit-learn newton-cholesky"].hindrance(wide) == (
        "not served",
        "its Hessian is too large",
    )
    assert LIBRARIES["scikit-learn lbfgs"].hindrance(wide) is None
    assert LIBRARIES["scikit-learn lbfgs"].hindrance(small_problem(l1_ratio=1.0)) == ("not served", "no penalty l1")
    assert LIBRARIES["scikit-learn sag"].hindrance(small_problem(C=np.inf)) is None
    classes = problems.Problem("classes", np.zeros((10, 900)), np.arange(10), 1.0, 0.0)
    assert LIBRARIES["scikit-learn newton-cholesky"].hindrance(classes) == ("not served", "its Hessian is too large")
    assert LIBRARIES["scikit-learn lbfgs"].hindrance(classes) is None
    assert LIBRARIES["scikit-learn liblinear"].hindrance(classes) == ("not served", "no softmax of several classes")


def test_a_missing_library_is_reported(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", _not_found)
    assert LIBRARIES["glum"].hindrance(small_problem()) == ("missing", "glum is not installed")


def _not_found(name):
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


# -- problems


@pytest.mark.parametrize("name", problems.select(["small"]))
def test_small_problems_have_numbered_classes_and_the_right_layout(name):
    problem = problems.load(name)
    assert problem.X.dtype == np.float64
    assert problem.X.flags.c_contiguous
    assert problem.y.dtype == np.int64
    assert set(problem.y) == set(range(problem.n_classes))
    assert problem.n_coef == problem.X.shape[1] * {2: 1, 3: 3, 10: 10}[problem.n_classes]


def test_a_linear_probe_has_labels_of_its_model():
    X, y = problems.linear_probe(3000, 5, 4)
    assert set(y) == {0, 1, 2, 3}
    scores = SklearnLogisticRegression().fit(X, y).decision_function(X)
    assert scores.std() == pytest.approx(2.0, rel=0.4)
    chosen = np.mean(scores.argmax(axis=1) == y)
    assert 0.5 < chosen < 0.95


def test_the_carrier_of_a_flight_leaves_the_columns(monkeypatch):
    """Indicators of 15 airlines in columns 76 to 90, as `load("hflights_ids")` has them."""
    y = np.arange(40) % 15
    X = sp.csr_matrix(np.hstack([np.full((40, 76), 2.0), np.eye(15)[y], np.full((40, 3), 3.0)]))
    monkeypatch.setattr(problems, "real_data", lambda name: (X, np.zeros(40)) if name == "hflights_ids" else None)
    found = problems.load("hflights_carriers")
    assert np.array_equal(found.y, y)
    assert found.X.format == "csr"
    assert np.array_equal(found.X.toarray(), np.hstack([np.full((40, 76), 2.0), np.full((40, 3), 3.0)]))


def test_time_limits_grow_with_the_work():
    assert run.time_limit(small_problem(), 4.0) == 1.0
    X = np.zeros((100, 10_000))
    assert run.time_limit(problems.Problem("two", X, np.arange(100) % 2, 1.0, 0.0), 4.0) == 2.0
    assert run.time_limit(problems.Problem("ten", X, np.arange(100) % 10, 1.0, 0.0), 4.0) == 4.0
    assert run.time_limit(problems.Problem("ten", X, np.arange(100) % 10, 1.0, 0.0, limit=20.0), 4.0) == 20.0


def test_real_problems_without_data_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTLOGREG_DATA", str(tmp_path))
    with pytest.raises(problems.Unavailable, match="FASTLOGREG_DATA"):
        problems.load("a9a")


def test_problems_that_are_fetched_say_when_offline():
    def unreachable():
        raise OSError("no route to host")

    with pytest.raises(problems.Unavailable, match="offline"):
        problems.fetched(unreachable, lambda y: y)


def test_selection_keeps_order_and_names_the_unknown():
    assert problems.select(["tall_20000x20", "breast_cancer"]) == ["breast_cancer", "tall_20000x20"]
    assert set(problems.select(["small"])) < set(problems.select(["full"])) < set(problems.select(["all"]))
    with pytest.raises(ValueError, match="no such problem: nonsense"):
        problems.select(["nonsense"])


# -- the race, its records and the report


@pytest.fixture
def one_thread(monkeypatch):
    """What `FreshProcesses` does to the environment is undone."""
    for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        monkeypatch.setenv(f"{pool}_NUM_THREADS", "1")


def row(library, objective, status="ok", setting="default", seconds=1.0, **numbers):
    return Row(
        "p", 10, 3, 30, 2, 1.0, 0.0, library, setting, status, "", seconds=seconds, objective=objective, **numbers
    )


def raced():
    return records.with_gaps(
        [
            row(REFERENCE, 1.0, setting=""),
            row("zeros", 5.0, seconds=1e-6),
            row(OURS, 1.0 + 1e-7, seconds=0.2),
            row(OURS, 1.0, setting="tight", seconds=0.4),
            row("fastlogreg gd", 1.0, seconds=0.01),
            row("quick", 1.0 + 1e-4, seconds=0.1),
            row("exact", 1.0, seconds=1.0),
            row("broken", None, status="failed", seconds=None),
        ]
    )


def test_duels_pick_the_fastest_that_got_there():
    duels = records.duels(raced())
    assert [duel.target for duel in duels] == list(records.TARGETS)
    assert [duel.other.library for duel in duels] == ["quick", "exact", "exact"]
    assert [duel.ours.setting for duel in duels] == ["default", "default", "tight"]
    assert [duel.ratio for duel in duels] == pytest.approx([0.5, 5.0, 2.5])


def test_a_duel_we_lose_by_not_arriving_is_said():
    (_, _, duel) = records.duels(records.with_gaps([row(OURS, 1.1), row("exact", 1.0)]))
    assert duel.ratio is None
    assert tables.duel_cells(duel) == ["p", "1e-09", "did not get there", "exact, default", "1.00 s", "lost"]
    (_, _, duel) = records.duels([row(REFERENCE, 1.0), *records.with_gaps([row(OURS, 1.0)])])
    assert tables.duel_cells(duel)[3] == "none got there"


def test_numbers_are_not_rounded_in_our_favour():
    assert tables.ratio(0.999) == "0.99"
    assert tables.ratio(12.9) == "12"
    assert tables.gap(3e-16) == "< 1e-14"
    assert tables.gap(-1e-9) == "-1.0e-09"


CONFIGURATION = {
    "machine": {"processor": "a processor", "date": "2026-01-01"},
    "threads": 2,
    "limit": 4.0,
    "libraries": {OURS: "0", "quick": "missing"},
    "skipped": {"imdb": "its files are not here"},
}


def test_records_survive_the_disk(tmp_path):
    rows = raced()
    records.write(tmp_path, "race", rows, CONFIGURATION)
    assert records.read(tmp_path, "race") == (rows, CONFIGURATION)


def test_results_of_another_machine_are_kept(tmp_path):
    records.refuse_another_machine(tmp_path, "race", CONFIGURATION["machine"])
    records.write(tmp_path, "race", raced(), CONFIGURATION)
    records.refuse_another_machine(tmp_path, "race", CONFIGURATION["machine"] | {"date": "2026-02-02"})
    with pytest.raises(records.AnotherMachineError, match="--output"):
        records.refuse_another_machine(tmp_path, "race", {"processor": "another"})


def test_results_of_other_problems_are_kept_where_they_compare(tmp_path):
    assert records.of_other_problems(tmp_path, "race", ["p"], CONFIGURATION) == []
    rows = [*raced(), replace(row(OURS, 1.0), problem="q", raced="yesterday")]
    records.write(tmp_path, "race", rows, CONFIGURATION)
    later = CONFIGURATION["machine"] | {"date": "2026-02-02", "fastlogreg": "2"}
    libraries = CONFIGURATION["libraries"] | {OURS: "2"}
    configuration = CONFIGURATION | {"machine": later, "libraries": libraries}
    assert records.of_other_problems(tmp_path, "race", ["p"], configuration) == rows[-1:]
    for changed in (
        {"threads": 1},
        {"limit": 1.0},
        {"libraries": libraries | {"quick": "3"}},
        {"machine": later | {"system": "another"}},
    ):
        with pytest.raises(records.AnotherMachineError, match="run it whole"):
            records.of_other_problems(tmp_path, "race", ["p"], configuration | changed)


def test_report_holds_every_row_and_the_losses(tmp_path, monkeypatch):
    records.write(tmp_path, "race", raced(), CONFIGURATION)
    monkeypatch.setattr(sys, "argv", ["report", "--output", str(tmp_path)])
    report.main()
    text = (tmp_path / "RESULTS.md").read_text()
    for name in ("zeros", "quick", "exact", "broken", "failed", "a processor", "Skipped: imdb", "quick missing"):
        assert name in text
    assert "| p | 1e-03 | 200 ms (default) | quick, default | 100 ms | 0.50 |" in text
    report.main()
    assert text == (tmp_path / "RESULTS.md").read_text()


def test_readme_table_has_a_line_a_problem_and_names_the_machine(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- race: begin -->\nold\n<!-- race: end -->\nafter\n")
    monkeypatch.setattr(report, "README", readme)
    report.update_readme(report.readme_section(raced(), CONFIGURATION))
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| p | 10 x 3 | 2 | 200 ms (default) | exact, default | 1.00 s | 5.00 |" in text
    assert "a processor, 2 threads, 2026-01-01" in text


def test_a_race_in_fresh_processes(tmp_path, monkeypatch, capsys, one_thread):
    """From the command line to the CSV, with a real fit."""
    arguments = ["run", "--output", str(tmp_path), "--threads", "1", "--libraries", "zeros", OURS, "celer"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--problems", "breast_cancer"])
    monkeypatch.setattr("benchmarks.machine.read_bandwidth", lambda n_threads: 1e9)
    run.main()
    rows, configuration = records.read(tmp_path, "race")
    assert [(r.library, r.setting, r.status) for r in rows[:4]] == [
        (REFERENCE, "", "ok"),
        ("zeros", "default", "ok"),
        *((OURS, setting, "ok") for setting in SETTINGS),
    ]
    assert rows[4].status in ("missing", "not served")
    assert rows[2].gap_reference < 1e-6
    assert rows[1].gap_reference > 1.0
    assert rows[2].n_fits > 1
    assert rows[2].n_passes > 1
    assert rows[2].cold_seconds > 0
    assert configuration["machine"]["read bandwidth"] == "1.0 GB/s with 1 threads"
    assert "1e-09" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--problems", "digits_odd", "--keep"])
    run.main()
    both, _ = records.read(tmp_path, "race")
    assert both[: len(rows)] == rows
    assert {r.problem for r in both[len(rows) :]} == {"digits_odd"}
    assert all(configuration["machine"]["date"] in r.raced for r in both)


def test_a_race_of_several_classes(tmp_path, monkeypatch, one_thread):
    libraries = ["zeros", OURS, "scikit-learn newton-cholesky", "scikit-learn liblinear"]
    arguments = ["run", "--problems", "iris_classes", "--libraries", *libraries, "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--threads", "1"])
    monkeypatch.setattr("benchmarks.machine.read_bandwidth", lambda n_threads: 1e9)
    run.main()
    rows, _ = records.read(tmp_path, "race")
    assert {r.n_classes for r in rows} == {3}
    zeros, ours, _, theirs = rows[1:5]
    assert zeros.objective == pytest.approx(np.log(3.0))
    assert abs(ours.gap_reference) < 1e-6
    assert abs(theirs.gap_reference) < 1e-4
    assert ours.n_passes > 1
    assert rows[-1].note == "no softmax of several classes"


def test_a_fit_over_the_limit_is_ended(tmp_path, one_thread):
    problem = small_problem()
    save_data(tmp_path, np.tile(problem.X, (200, 1)), np.tile(problem.y, 200))
    outcome = FreshProcesses(1).run(Order("SGDClassifier", "tight", tmp_path, 0.3, 0.0, 1), limit=1e-3)
    assert outcome.status == "time limit"
    assert outcome.cold_seconds > 0
    assert outcome.solution is None


def test_a_fit_that_fails_is_reported(tmp_path, one_thread):
    problem = small_problem()
    save_data(tmp_path, np.full_like(problem.X, np.nan), problem.y)
    outcome = FreshProcesses(1).run(Order(OURS, "default", tmp_path, 0.3, 0.0, 1), limit=30.0)
    assert outcome.status == "failed"
    assert "NaN" in outcome.note


def test_progress_is_silent_where_nobody_watches(capsys):
    progress = Progress(2)
    progress.step("one")
    progress.skip(1)
    progress.clear()
    assert capsys.readouterr() == ("", "")


# -- comparing commits, scaling, pictures


def test_slower_means_both_thresholds():
    assert compare.is_slower(1.0, 1.2, relative=0.1, absolute=0.1)
    assert not compare.is_slower(1.0, 1.05, relative=0.1, absolute=0.01)
    assert not compare.is_slower(1e-3, 2e-3, relative=0.1, absolute=0.01)
    assert not compare.is_slower(1.2, 1.0, relative=0.1, absolute=0.1)


def measurements():
    for n in (10.0, 100.0, 1000.0):
        yield scaling.Measurement("samples", n, int(n), 5, int(5 * n), 1, 2e-6 * n, 7, None)


def test_exponents_are_slopes_of_logarithms():
    assert list(scaling.exponents(list(measurements()))) == [("samples", "seconds", 1.0), ("samples", "n_passes", 0.0)]


def test_scaling_survives_the_disk_and_is_reported(tmp_path):
    rows = list(measurements())
    records.write(tmp_path, scaling.NAME, rows, CONFIGURATION)
    assert records.read(tmp_path, scaling.NAME, scaling.Measurement) == (rows, CONFIGURATION)
    assert "| time (s) | samples | 1.00 |" in scaling.section(rows, CONFIGURATION, ".")


def test_pictures_are_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from benchmarks import plot

    assert set(plot.LOOKS) == set(LIBRARIES) - {"zeros"}
    records.write(tmp_path, "race", raced(), CONFIGURATION)
    monkeypatch.setattr(sys, "argv", ["plot", "--output", str(tmp_path)])
    plot.main()
    for name in ("race-gaps", "race-ratios", "race-readme"):
        first = (tmp_path / f"{name}.png").read_bytes()
        assert 3_000 < len(first) < 100_000
        plot.main()
        assert first == (tmp_path / f"{name}.png").read_bytes()
