"""Whatever answers the passes can be fitted: plain NumPy in place of the kernels, to the same optimum."""

import numpy as np
import pytest
import scipy.sparse as sp
from plain_passes import PlainPasses

from fastlogreg.data.layouts import as_design
from fastlogreg.data.passes import local_passes
from fastlogreg.data.samples import Samples
from fastlogreg.penalties import Quadratic
from fastlogreg.solvers import SOLVERS, problem

N, D = 400, 6
LIMITS = {"tol": 1e-4, "max_iter": 500, "on_iteration": lambda *_: None}


def samples_of(n_classes, soft, weighted, offset):
    rng = np.random.default_rng(n_classes)
    if soft:
        target = rng.random(N) if n_classes == 2 else rng.dirichlet(np.ones(n_classes), N)
    else:
        target = rng.integers(n_classes, size=N).astype(np.uint8 if n_classes == 2 else np.intp)
    return Samples(
        target,
        rng.random(N) if weighted else None,
        rng.normal(size=N if n_classes == 2 else (N, n_classes)) if offset else None,
        n_classes,
    )


def matrix(sparse):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N, D)) * 10.0 ** np.arange(-2, D - 2) + 1.0
    return sp.csr_matrix(X * (rng.random(X.shape) < 0.5)) if sparse else X


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
class TestAsLocal:
    @pytest.mark.parametrize("solver", ["newton", "gd"])
    @pytest.mark.parametrize("l2", [1e-2, 1e-4])
    @pytest.mark.parametrize(
        ("soft", "weighted", "offset"), [(False, False, False), (True, True, False), (False, True, True)]
    )
    def test_same_optimum(self, n_classes, sparse, solver, l2, soft, weighted, offset):
        X, samples = matrix(sparse), samples_of(n_classes, soft, weighted, offset)
        solutions = []
        for passes in (PlainPasses(X, samples), local_passes(as_design(X), samples)):
            objective = problem(passes, Quadratic(l2), fit_intercept=True)
            solution = SOLVERS[solver](objective, objective.start(), **LIMITS)
            assert solution.gap <= 1e-9 * solution.point.value
            assert solution.proven
            solutions.append((solution.point.value, *objective.to_coef(solution.point.parameters)))
        (value, coef, intercept), (expected, coef_there, intercept_there) = solutions
        np.testing.assert_allclose(value, expected, rtol=2e-9)
        scale = np.abs(coef_there).max(axis=0) + 1e-6
        np.testing.assert_allclose(coef / scale, coef_there / scale, atol=1e-3)
        np.testing.assert_allclose(intercept, intercept_there, atol=1e-3)

    @pytest.mark.parametrize("offset", [False, True])
    def test_same_numbers(self, n_classes, sparse, offset):
        X, samples, rng = matrix(sparse), samples_of(n_classes, True, True, offset), np.random.default_rng(0)
        rows = 1 if n_classes == 2 else n_classes
        center = rng.normal(size=D)
        points = [
            (rng.normal(size=(rows, D)) / (1.0 + 10.0 ** np.arange(-2, D - 2)), rng.normal(size=rows)) for _ in range(3)
        ]
        numbers = []
        for passes in (PlainPasses(X, samples), local_passes(as_design(X), samples)):
            *sums, start = passes.evaluate(*points[0])
            end = passes.evaluate(*points[1])[-1]
            hessian = passes.hessian(start)
            # of each matrix the upper triangle counts
            grams = [np.triu(gram) for gram in (*hessian.pair_grams(center), passes.gram(center))]
            numbers.append([*sums, *passes.line(start, end, 0.3), passes.largest_logit_change(start, end)])
            numbers[-1] += [*passes.moments(), *hessian.dot(*points[2]), hessian.intercept_block(), *grams]
            if n_classes == 2:
                numbers[-1].append(hessian.mean_curvature())
        for ours, expected in zip(*numbers, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())

    def test_sgd_says_what_it_needs(self, n_classes, sparse):
        passes = PlainPasses(matrix(sparse), samples_of(n_classes, False, False, False))
        objective = problem(passes, Quadratic(1e-2), fit_intercept=True)
        with pytest.raises(ValueError, match="solver='sgd' needs the rows at hand"):
            SOLVERS["sgd"](objective, objective.start(), **LIMITS)
