"""The plan: which way goes with which data, what is said of it, and what is not chosen where rows are not at hand."""

import warnings

import numpy as np
import posing
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from fastlogreg import LogisticRegression
from fastlogreg.data.layouts import as_design
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers import Stop, auto, plan, problem
from fastlogreg.solvers.plan import Way
from fastlogreg.solvers.progress import Limits, Progress

L2 = 1e-3
LIMITS = Limits(1e-4, 100, lambda *_: None)
NEED_ROWS = {"pilot", "row-span", "sampled", "dual"}


def dense(n, d):
    return np.random.default_rng(0).standard_normal((n, d))


def text(n, d, words=40):
    """Few words are frequent, and each sample has some."""
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(np.arange(n), words), (d * rng.random(n * words) ** 3).astype(int)
    return sp.csr_matrix((rng.random(n * words), (rows, columns)), shape=(n, d))


def one_hot(n, sizes):
    """A category of each group for each sample."""
    rng = np.random.default_rng(0)
    firsts = np.cumsum([0, *sizes[:-1]])
    columns = np.stack(
        [first + (size * rng.random(n) ** 3).astype(int) for first, size in zip(firsts, sizes, strict=True)], axis=1
    )
    return sp.csr_matrix((np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, len(sizes))))


def target_of(X, n_classes=2):
    """Labels of a linear model with noise."""
    rng = np.random.default_rng(1)
    scores = np.asarray(X @ rng.standard_normal((X.shape[1], n_classes)))
    scores /= scores.std(axis=0)
    return np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)


# Of each kind: X, the number of classes, and the first way to its optimum.
KINDS = {
    "few dense columns": (lambda: dense(500, 6), 2, "newton"),
    "many dense columns": (lambda: dense(2000, 1600), 2, "preconditioned"),
    "tall dense": (lambda: dense(60_000, 10), 2, "pilot"),
    "wide of few rows": (lambda: dense(40, 400), 2, "row-span"),
    "sparse and wide of few rows": (lambda: text(200, 2000), 2, "row-span"),
    "text": (lambda: text(3000, 4000), 2, "dual"),
    "one-hot": (lambda: one_hot(60_000, [2, 3, 5, 7, 12, 20, 30, 40, 300]), 2, "sampled"),
    "short one-hot": (lambda: one_hot(4000, [2, 3, 5, 7, 12]), 2, "newton"),
    "several classes": (lambda: dense(500, 6), 4, "newton"),
    "many parameters of several classes": (lambda: dense(1000, 40), 4, "preconditioned"),
    "text of several classes": (lambda: text(3000, 4000), 3, "preconditioned"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """Passes over the data of a kind, and the first way to their optimum."""
    make, n_classes, first = KINDS[request.param]
    X = make()
    target = target_of(X, n_classes)
    target = target.astype(np.uint8) if n_classes == 2 else target
    return posing.passes(as_design(X, 1), target, n_classes=n_classes), first


class Elsewhere:
    """Passes whose rows and columns are not at hand: all else is what local ones answer."""

    local = None

    def __init__(self, passes):
        self._passes = passes

    def __getattr__(self, name):
        return getattr(self._passes, name)


def objective_of(passes, **options):
    return problem(passes, Quadratic(L2), fit_intercept=True, **options)


def ways_of(objective, **limits):
    """The solution, and the ways that led there."""
    ways = []
    limits = {"tol": 1e-4, "max_iter": 100, "on_iteration": lambda *_: None} | limits
    return auto(objective, objective.start(), on_way=ways.append, **limits), ways


def assert_says_why(way, objective):
    """In a sentence on one line, which names the samples and columns, or the parameters."""
    assert isinstance(way, Way)
    assert len(way.reason.split()) >= 5
    assert "\n" not in way.reason
    sizes = f"{objective.n_samples} samples of {objective.n_features} columns", f"{objective.n_parameters} parameters"
    assert any(size in way.reason for size in sizes)


class TestNextWay:
    def test_first(self, kind):
        passes, expected = kind
        objective = objective_of(passes)
        way = plan.next_way(objective, Progress(objective.start()), LIMITS, [])
        assert way.name == expected
        assert_says_why(way, objective)

    def test_pilot_says_how_many_samples(self):
        X = dense(60_000, 10)
        objective = posing.with_pilot(as_design(X, 1), target_of(X).astype(np.uint8), l2=L2)
        way = plan.next_way(objective, Progress(objective.start()), LIMITS, [])
        assert way.name == "pilot"
        assert f" {objective.pilot.objective.n_samples} of the samples" in way.reason

    def test_to_the_end(self, kind):
        """No way twice, each with its reason; the first as planned, and the gap as asked for."""
        passes, first = kind
        objective = objective_of(passes)
        solution, ways = ways_of(objective)
        names = [way.name for way in ways]
        assert names[0] == first
        assert len(set(names)) == len(names)
        for way in ways:
            assert_says_why(way, objective)
        assert solution.stop is Stop.CONVERGED

    def test_after_a_way_that_led_nowhere_comes_another(self):
        X = text(3000, 4000)
        objective = posing.binary(as_design(X, 1), target_of(X).astype(np.uint8), l2=L2)
        names, start = [], Progress(objective.start())
        for _ in range(3):
            names.append(plan.next_way(objective, start, LIMITS, names).name)
        assert names == ["dual", "preconditioned", "newton-cg"]

    def test_after_a_point_newton_steps_come(self):
        for X, expected in ((dense(500, 6), "newton"), (text(3000, 4000), "newton-cg")):
            objective = posing.binary(as_design(X, 1), target_of(X).astype(np.uint8), l2=L2)
            progress = Progress.at(objective.evaluate(objective.start()), 1)
            assert plan.next_way(objective, progress, LIMITS, ["preconditioned"]).name == expected

    def test_directions_at_hand_are_conjugate_gradients(self):
        X = dense(500, 6)
        objective = posing.binary(as_design(X, 1), target_of(X).astype(np.uint8), l2=L2)
        progress = Progress.at(objective.evaluate(objective.start()), 1, directions=object())
        assert plan.next_way(objective, progress, LIMITS, ["sampled"]).name == "newton-cg"

    def test_without_iterations_no_preparation_is_worth_it(self, kind):
        passes, _ = kind
        objective = objective_of(passes, with_pilot=False)
        way = plan.next_way(objective, Progress(objective.start()), Limits(1e-4, 0, lambda *_: None), [])
        assert way.name not in NEED_ROWS

    @pytest.mark.parametrize("penalty", [Quadratic(0.0), Quadratic(L2, np.arange(4000) % 2 + 1.0)])
    def test_no_dual_without_a_uniform_penalty(self, penalty):
        X = text(3000, 4000)
        passes = posing.passes(as_design(X, 1), target_of(X).astype(np.uint8))
        objective = problem(passes, penalty, fit_intercept=True)
        assert plan.next_way(objective, Progress(objective.start()), LIMITS, []).name == "preconditioned"

    def test_no_dual_with_offsets(self):
        X = text(3000, 4000)
        objective = posing.binary(as_design(X, 1), target_of(X).astype(np.uint8), l2=L2, offset=np.ones(3000))
        assert plan.next_way(objective, Progress(objective.start()), LIMITS, []).name == "preconditioned"

    def test_no_row_span_without_a_uniform_penalty(self):
        X = dense(40, 400)
        passes = posing.passes(as_design(X, 1), target_of(X).astype(np.uint8))
        objective = problem(passes, Quadratic(L2, np.arange(400) % 2 + 1.0), fit_intercept=True)
        assert plan.next_way(objective, Progress(objective.start()), LIMITS, []).name not in NEED_ROWS


class TestElsewhere:
    """Passes that hold their rows elsewhere."""

    def test_no_way_that_needs_rows(self, kind):
        passes, first = kind
        elsewhere = objective_of(Elsewhere(passes))
        assert elsewhere.pilot is None
        solution, ways = ways_of(elsewhere)
        names = {way.name for way in ways}
        assert not names & NEED_ROWS
        assert first in NEED_ROWS or first in names
        assert solution.stop is Stop.CONVERGED
        expected, _ = ways_of(objective_of(passes))
        assert_allclose(solution.point.value, expected.point.value, rtol=2e-9)

    @pytest.mark.parametrize("max_iter", [0, 1, 100])
    @pytest.mark.parametrize("tried", [[], ["pilot"], ["preconditioned"]], ids=str)
    def test_whatever_was_tried(self, kind, tried, max_iter):
        objective = objective_of(Elsewhere(kind[0]))
        limits = Limits(1e-4, max_iter, lambda *_: None)
        assert plan.next_way(objective, Progress(objective.start()), limits, tried).name not in NEED_ROWS
        assert plan.pilot_rows(objective.passes, fit_intercept=True) == 0
        assert not plan.has_cheap_row_span(objective)
        assert not plan.sampled_block_pays(objective)
        assert not plan.has_cheap_dual(objective)


class TestFits:
    @pytest.mark.parametrize("name", KINDS)
    def test_solver_names_the_ways_and_verbose_prints_them(self, name, capsys):
        make, n_classes, first = KINDS[name]
        X = make()
        y = target_of(X, n_classes)
        model = LogisticRegression(C=1 / (L2 * len(y)), verbose=1, n_jobs=1).fit(X, y)
        ways = model.solver_.split("+")
        assert ways[0] == first
        printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("iteration")]
        assert [line.partition(": ")[0] for line in printed] == ways
        target = y.astype(np.uint8) if n_classes == 2 else y
        objective = objective_of(posing.passes(as_design(X, 1), target, n_classes=n_classes))
        solution, planned = ways_of(objective)
        assert printed == [f"{way.name}: {way.reason}" for way in planned]
        assert_allclose(model.loss_curve_[-1], solution.point.value, rtol=2e-9)

    @pytest.mark.parametrize("solver", ["auto", "newton", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"])
    def test_names_that_mean_auto(self, solver):
        X = dense(500, 6)
        assert LogisticRegression(solver=solver).fit(X, target_of(X)).solver_ == "newton"

    @pytest.mark.parametrize("solver", ["gd", "sgd"])
    def test_a_solver_asked_for_is_the_way(self, solver, capsys):
        X = dense(500, 6)
        model = LogisticRegression(solver=solver, verbose=1).fit(X, target_of(X))
        assert model.solver_ == solver
        assert all(line.startswith("iteration") for line in capsys.readouterr().out.splitlines())

    def test_a_way_goes_on_where_another_ended(self):
        """Steps with a pilot's Hessian that lead no further, and sweeps that are too few."""
        X = dense(60_000, 10)
        y = target_of(X)
        assert LogisticRegression(tol=1e-8).fit(X, y).solver_ == "pilot+newton"
        X = text(3000, 4000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            few = LogisticRegression(max_iter=4, C=1e6).fit(X, target_of(X))
        assert few.solver_ == "dual+preconditioned+newton-cg"

    def test_quiet(self, capsys):
        X = dense(500, 6)
        LogisticRegression().fit(X, target_of(X))
        assert capsys.readouterr().out == ""
