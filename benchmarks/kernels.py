"""The passes over X against scikit-learn's, SciPy's and the machine's memory: ``python -m benchmarks.kernels``.

Two threads throughout, unless a row says otherwise. Each row times both sides in turn, in one run, and takes the best.
"""

import argparse
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
import sklearn.linear_model
from sklearn._loss.loss import HalfBinomialLoss
from sklearn.linear_model._linear_loss import LinearModelLoss
from threadpoolctl import threadpool_limits

from benchmarks import tables
from benchmarks.data import real_data, tall_problem, text_matrix
from benchmarks.machine import ReadSweeps
from benchmarks.results import machine_list, table, write_section
from benchmarks.timing import best_seconds
from fastlogreg import LogisticRegression
from fastlogreg.data import pointwise
from fastlogreg.data.layouts import as_design
from fastlogreg.kernels import dispatch

N_THREADS = 2
DENSE_SHAPES = {(1_000_000, 28): 4.0, (1_000_000, 50): 4.0, (60_000, 784): 2.5}
HEADER = ["what", "ours", "theirs", "ratio", "asked", "met"]
# Samples of a call: logits and what belongs to them stay in the second-level cache, as they do in a pass, and the calls
# themselves cost little.
POINTWISE_SAMPLES = 16_384


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; `asked` is the least ratio that is asked for, or None."""

    what: str
    ours: str
    theirs: str
    ratio: float
    asked: float | None = None

    def cells(self):
        # Cut, not rounded: a ratio that falls short must not look as if it did not.
        ratio = f"{math.floor(100 * self.ratio) / 100:.2f}"
        asked, met = "", ""
        if self.asked is not None:
            asked, met = f"{self.asked:.2f}", "yes" if self.ratio >= self.asked else "no"
        return [self.what, self.ours, self.theirs, ratio, asked, met]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20, help="turns of each side")
    arguments.add_argument("--dry-run", action="store_true", help="print the table and leave RESULTS.md as it is")
    options = arguments.parse_args()
    rows = []
    for make in (dense_rows, sparse_rows, pointwise_rows, prediction_rows):
        for row in make(options.rounds):
            print(" | ".join(row.cells()), flush=True)
            rows.append(row.cells())
    if not options.dry_run:
        introduction = "\n\n".join(["## Kernels", __doc__.split("\n\n")[1].strip(), machine_list()])
        write_section("kernels", introduction + "\n\n" + table(HEADER, rows))


def dense_rows(rounds):
    for (n, d), asked in DENSE_SHAPES.items():
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d))
        target = (rng.random(n) < 0.5).astype(np.float64)
        coef = 0.1 * rng.standard_normal(d)
        yield from loss_gradient_rows(X, target, coef, asked, rounds)
        if (n, d) == (1_000_000, 50):
            yield from layout_rows(X, target, coef, rounds)
        yield from second_order_rows(X, coef, rounds)


def loss_gradient_rows(X, target, coef, asked, rounds):
    """Against scikit-learn's loss_gradient and against the read bandwidth."""
    what = f"loss_gradient, {X.shape[0]} x {X.shape[1]}, float64"
    theirs = LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True)
    padded = np.append(coef, 0.1)
    best = best_seconds(
        {"ours": our_pass(X, target, coef), "theirs": lambda: theirs.loss_gradient(padded, X, target, n_threads=2)},
        rounds,
    )
    yield Row(f"{what}; scikit-learn", *milliseconds(best), best["theirs"] / best["ours"], asked)
    with ReadSweeps(X, N_THREADS) as sweeps, threadpool_limits(1, "blas"):
        best = best_seconds({"ours": our_pass(X, target, coef), **sweeps.functions()}, rounds)
    ours = best.pop("ours")
    read = min(best, key=best.get)
    yield Row(
        f"{what}; reading X ({read})",
        f"{X.nbytes / ours / 1e9:.1f} GB/s",
        f"{X.nbytes / best[read] / 1e9:.1f} GB/s",
        best[read] / ours,
        0.8,
    )


def layout_rows(X, target, coef, rounds):
    """float32 and Fortran order against our own C-ordered float64."""
    shape = f"{X.shape[0]} x {X.shape[1]}"
    single, columns = X.astype(np.float32), np.asfortranarray(X)
    best = best_seconds(
        {
            "float64": our_pass(X, target, coef),
            "float32": our_pass(single, target, coef),
            "columns": our_pass(columns, target, coef),
        },
        rounds,
    )
    whole = best["float64"]
    yield Row(
        f"loss_gradient, {shape}, float32; our float64",
        *milliseconds({"ours": best["float32"], "theirs": whole}),
        whole / best["float32"],
        1.7,
    )
    yield Row(
        f"loss_gradient, {shape}, Fortran order; our C order",
        *milliseconds({"ours": best["columns"], "theirs": whole}),
        whole / best["columns"],
    )


def second_order_rows(X, coef, rounds):
    """Hessian-vector product and gram matrix against what NumPy makes of them."""
    n, d = X.shape
    curvature = np.random.default_rng(1).random(n)
    design = as_design(X, N_THREADS)
    best = best_seconds(
        {
            "ours": lambda: design.hessian_dot(curvature[np.newaxis], coef[np.newaxis], np.zeros(1)),
            "theirs": lambda: X.T @ (curvature * (X @ coef)),
        },
        rounds,
    )
    yield Row(f"hessian_dot, {n} x {d}; NumPy's two products", *milliseconds(best), best["theirs"] / best["ours"])
    center = np.zeros(d)
    alone = as_design(X, 1)
    best = best_seconds(
        {
            "ours": lambda: design.gram(curvature, center),
            "theirs": lambda: X.T @ (curvature[:, np.newaxis] * X),
        },
        max(1, rounds // 4),
    )
    operations = n * d * (d + 1) / 1e9  # multiplications and additions of one triangle
    yield Row(
        f"gram, {n} x {d}; NumPy's X.T @ (h[:, None] * X)",
        *(f"{best[side] * 1e3:.1f} ms, {operations / best[side]:.0f} GFLOP/s" for side in ("ours", "theirs")),
        best["theirs"] / best["ours"],
    )
    best = best_seconds(  # by themselves: BLAS's threads go on spinning for a while after NumPy's turn
        {"ours": lambda: design.gram(curvature, center), "alone": lambda: alone.gram(curvature, center)}, rounds // 2
    )
    yield Row(
        f"gram, {n} x {d}; on one thread",
        *milliseconds({"ours": best["ours"], "theirs": best["alone"]}),
        best["alone"] / best["ours"],
        1.7,
    )


def sparse_rows(rounds):
    """CSR against the two products of SciPy that a gradient takes."""
    loaded = real_data("imdb")
    name, X = ("IMDB", loaded[0]) if loaded else ("bag of words, made up", text_matrix())
    rng = np.random.default_rng(0)
    target = (rng.random(X.shape[0]) < 0.5).astype(np.float64)
    coef = rng.standard_normal(X.shape[1])
    residual = rng.standard_normal(X.shape[0])
    X = sp.csr_matrix((X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), shape=X.shape)
    wide = sp.csr_matrix(X.shape)
    wide.data, wide.indices, wide.indptr = X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)
    best = best_seconds(
        {
            "ours": our_pass(X, target, coef),
            "float32": our_pass(X.astype(np.float32), target, coef),
            "int64": our_pass(wide, target, coef),
            "theirs": lambda: (X @ coef, X.T @ residual),
        },
        rounds,
    )
    pair = f"{best['theirs'] * 1e3:.1f} ms"
    shape = f"{name} {X.shape[0]} x {X.shape[1]}, {X.nnz} entries"
    kinds = {"ours": ("float64, int32", 2.0), "float32": ("float32, int32", None), "int64": ("float64, int64", None)}
    for side, (kind, asked) in kinds.items():
        yield Row(
            f"loss_gradient, {shape}, {kind}; SciPy's X @ w, X.T @ r",
            f"{best[side] * 1e3:.1f} ms",
            pair,
            best["theirs"] / best[side],
            asked,
        )


def pointwise_rows(rounds):
    """Loss, residual and curvature of a logit on one thread; the ratio is to 2.5 ns, where that was asked."""
    rng = np.random.default_rng(0)
    n = POINTWISE_SAMPLES
    logits, target = 3 * rng.standard_normal(n), (rng.random(n) < 0.5).astype(np.float64)
    loss, residual, curvature = np.empty((3, n))
    theirs = HalfBinomialLoss()

    def their_three():
        theirs.loss(target, logits, loss_out=loss)
        theirs.gradient_hessian(target, logits, gradient_out=residual, hessian_out=curvature)

    chosen = dispatch.active_isa()
    for isa in dispatch.available_isas():
        dispatch.use_isa(isa)

        def ours():
            pointwise.cross_entropy(logits, target, loss_out=loss, residual_out=residual, curvature_out=curvature)

        best = best_seconds({"ours": ours, "theirs": their_three}, rounds, shortest=0.02)
        ns = {side: 1e9 * best[side] / n for side in best}
        what = f"loss, residual and curvature of a sample, one thread, {isa}"
        yield Row(f"{what}; scikit-learn", f"{ns['ours']:.2f} ns", f"{ns['theirs']:.2f} ns", ns["theirs"] / ns["ours"])
        if isa in ("avx2", "avx512"):
            yield Row(f"{what}; 2.5 ns", f"{ns['ours']:.2f} ns", "2.50 ns", 2.5 / ns["ours"], 1.0)
    dispatch.use_isa(chosen)


def prediction_rows(rounds):
    """predict_proba of a single row and of many, against scikit-learn's."""
    X, y = tall_problem(1_000_000, 30)
    ours, theirs = LogisticRegression().fit(X, y), sklearn.linear_model.LogisticRegression().fit(X[:10_000], y[:10_000])
    for n, asked in {1: None, 1_000_000: 2.0}.items():
        rows = X[:n]
        best = best_seconds(
            {"ours": partial(ours.predict_proba, rows), "theirs": partial(theirs.predict_proba, rows)},
            rounds,
            shortest=0.02,
        )
        cells = [tables.duration(best[side]) for side in ("ours", "theirs")]
        yield Row(f"predict_proba, {n} x 30; scikit-learn", *cells, best["theirs"] / best["ours"], asked)
        if n == 1:
            yield Row("predict_proba, 1 x 30; 15 µs", cells[0], "15 µs", 15e-6 / best["ours"], 1.0)


def our_pass(X, target, coef):
    design = as_design(X, N_THREADS)
    return lambda: design.loss_gradient(coef[np.newaxis], np.array([0.1]), target[np.newaxis])


def milliseconds(best):
    return f"{best['ours'] * 1e3:.2f} ms", f"{best['theirs'] * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
