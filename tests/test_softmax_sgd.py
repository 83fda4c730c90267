"""Stochastic steps of several classes: plain twins, streams, "auto", and the estimators on top."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import twins
import zoo
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.utils.fixes import parse_version

from fastlogreg import LogisticRegression, SGDLogisticRegression, _sgd

SKLEARN_VERSION = parse_version(sklearn.__version__)
KINDS = {
    "scheduled": {"learning_rate": "optimal"},
    "averaged": {"learning_rate": "invscaling", "average": 20},
    "l1": {"learning_rate": "optimal", "penalty": "elasticnet", "alpha": 1e-3},
    "batches": {"learning_rate": "constant", "batch_size": 32},
    "newton": {},
    "diagonal": {"penalty": "l1", "alpha": 1e-3},
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def draw(logits, rng):
    """Classes drawn from the softmax."""
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


def make_data(n=400, d=7, n_classes=4, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X * scale, draw(X @ rng.standard_normal((d, n_classes)), rng)


def sparse_data(n=400, d=40, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.csr_matrix(sp.random(n, d, density=0.2, format="csr", random_state=0, data_rvs=rng.standard_normal))
    return X, draw(X @ rng.standard_normal((d, n_classes)), rng)


def objective(model, X, y, alpha, weight=None):
    X = X.toarray() if sp.issparse(X) else X
    target = np.eye(len(model.classes_))[np.searchsorted(model.classes_, y)]
    weight = np.ones(len(y)) if weight is None else weight
    return twins.softmax_value(X, target, weight, alpha, model.coef_.astype(float), model.intercept_.astype(float))


def optimum(X, y, alpha, tol=1e-7):
    C = np.inf if alpha == 0 else 1 / (alpha * len(y))
    return objective(LogisticRegression(C=C, tol=tol, max_iter=1000).fit(X, y), X, y, alpha)


def fitted(X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return SGDLogisticRegression(**options).fit(X, y)


def rates(settings):
    """The step length as a function of t, one more than the steps done."""
    alpha, eta0 = settings["alpha"], settings["eta0"]
    typical = 1 / np.sqrt(np.sqrt(alpha))
    start = max(1.0, 1 / (1 + np.exp(-typical))) / (typical * alpha)
    return {
        "constant": lambda t: eta0,
        "adaptive": lambda t: eta0,
        "optimal": lambda t: 1 / (alpha * (start + t - 1)),
        "invscaling": lambda t: eta0 / t ** settings["power_t"],
    }[settings["schedule"]]


def gradient_twin(X, y, n_classes, settings, order, weight):
    """Gradient steps in plain NumPy, on dense X."""
    l1, l2 = settings["alpha"] * settings["l1_ratio"], settings["alpha"] * (1 - settings["l1_ratio"])
    target, rate, first_averaged = np.eye(n_classes)[y], rates(settings), settings["average"]
    w, had, mean = np.zeros((3, n_classes, X.shape[1]))
    b, mean_b = np.zeros((2, n_classes))
    accrued = 0.0
    batches = np.split(order, range(settings["batch_size"], len(order), settings["batch_size"]))
    for t, batch in enumerate(batches, 1):
        eta = rate(t)
        slope = weight[batch, None] * (twins.softmax(twins.softmax_logits(X[batch], w, b)) - target[batch])
        w = max(0.0, 1 - l2 * eta) * w - eta * slope.T @ X[batch] / len(batch)
        b = b - settings["fit_intercept"] * eta * slope.mean(axis=0)
        if first_averaged and t >= first_averaged:
            share = 1 / (t - first_averaged + 1)
            mean, mean_b = mean + share * (w - mean), mean_b + share * (b - mean_b)
        if l1:
            accrued += l1 * eta
            before = w
            cut = np.where(w > 0, np.maximum(0, w - (accrued + had)), np.minimum(0, w + (accrued - had)))
            touched = np.any(X[batch] != 0, axis=0)
            w = np.where(touched, cut, w)
            had += w - before
    return (mean, mean_b) if 0 < first_averaged <= len(batches) else (w, b)


def diagonal_twin(X, target, weight, alpha, l1_ratio, fit_intercept=True):
    """Steps with a curvature for each coefficient in plain NumPy, on dense X."""
    n_classes = target.shape[1]
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    v, h = np.zeros((2, n_classes, X.shape[1]))
    b, h_b = np.zeros((2, n_classes))
    total = 0.0

    def solution(scale):
        shrunk = np.sign(v) * np.maximum(np.abs(v) - l1 * total, 0)
        return np.divide(shrunk, scale, out=np.zeros_like(v), where=scale > 0)

    for x, p_target, s in zip(X, target, weight, strict=True):
        total += s
        scale = l2 * total + h
        scale = np.where(scale > 0, scale, 0.5 * (n_classes - 1) / n_classes**2 * s * x**2)
        w = solution(scale)
        u = w @ x + b
        p = twins.softmax(u[None])[0]
        curvature = s * p * (1 - p)
        h_b = h_b + curvature
        rate = fit_intercept / (h_b + 0.25 * s)
        reach = np.divide(x**2, scale, out=np.zeros_like(scale), where=scale > 0).sum(axis=1) + rate
        g = implicit_slopes(u, reach, p_target, s)
        v += np.outer(g, x) + 0.5 * curvature[:, None] * x**2 * w
        h += 0.5 * curvature[:, None] * x**2
        b = b + rate * g
    coef = solution(l2 * total + h)
    return coef - (l1_ratio == 0) * coef.mean(axis=0), b


def implicit_slopes(u, reach, target, weight):
    """g = weight (target - softmax(u + reach g)), as the minimiser of the convex value whose gradient this is."""

    def value(g):
        return weight * twins.softmax_losses((u + reach * g)[None], target[None])[0] + 0.5 * (reach * g**2).sum()

    def gradient(g):
        return reach * (g - weight * (target - twins.softmax((u + reach * g)[None])[0]))

    def hessian(g):
        p = twins.softmax((u + reach * g)[None])[0]
        return np.diag(reach) + weight * np.outer(reach, reach) * (np.diag(p) - np.outer(p, p))

    start = weight * (target - twins.softmax(u[None])[0])
    g = minimize(value, 0.5 * start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-10}).x
    for _ in range(3):
        g = g - np.linalg.solve(hessian(g), gradient(g))
    return g


def settings_of(**options):
    settings = {"schedule": "constant", "eta0": 0.1, "power_t": 0.4, "alpha": 0.01, "penalised": True, "l1_ratio": 0.0}
    return {**settings, "fit_intercept": True, "average": 0, "batch_size": 1, **options}


def solution_of(steps, X, y, weight=None, order=None):
    steps.begin_epoch()
    steps.feed(_sgd.Rows(X), np.asarray(y, dtype=float), weight, order)
    steps.end_epoch()
    return steps.solution()


def assert_same(ours, expected, rtol=1e-10):
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


class TestTwins:
    @pytest.mark.parametrize("schedule", ["constant", "adaptive", "optimal", "invscaling"])
    @pytest.mark.parametrize("batch_size", [1, 7, 200])
    @pytest.mark.parametrize(("l1_ratio", "average"), [(0.0, 0), (0.0, 10), (0.3, 0), (1.0, 0)])
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_gradient_steps(self, isa, schedule, batch_size, l1_ratio, average, make):
        X, y = make(300, n_classes=11)
        rng = np.random.default_rng(0)
        weight, order = rng.uniform(0.5, 2, len(y)), rng.permutation(len(y)).astype(np.int32)
        settings = settings_of(schedule=schedule, l1_ratio=l1_ratio, average=average, batch_size=batch_size)
        zeros = np.zeros((11, X.shape[1])), np.zeros(11)
        steps = _sgd.SoftmaxGradientSteps(*zeros, sp.issparse(X), settings)
        plain = X.toarray() if sp.issparse(X) else X
        expected = gradient_twin(plain, y, 11, settings, order, weight)
        assert_same(solution_of(steps, X, y, weight, order), expected)

    @pytest.mark.parametrize("options", [{"fit_intercept": False}, {"alpha": 5.0, "eta0": 0.15}], ids=str)
    def test_gradient_steps_otherwise(self, options):
        X, y = sparse_data()
        settings, order = settings_of(**options), np.arange(len(y), dtype=np.int32)
        steps = _sgd.SoftmaxGradientSteps(np.zeros((4, 40)), np.zeros(4), True, settings)
        expected = gradient_twin(X.toarray(), y, 4, settings, order, np.ones(len(y)))
        assert_same(solution_of(steps, X, y), expected)

    def test_mean_objective_of_an_epoch(self):
        """With a tiny rate, all samples are seen at the start."""
        X, y = make_data()
        steps = _sgd.SoftmaxGradientSteps(np.zeros((4, 7)), np.zeros(4), False, settings_of(eta0=1e-12))
        solution_of(steps, X, y)
        assert steps.loss_sum / steps.count == pytest.approx(np.log(4), rel=1e-9)

    # With little L2 a coefficient may meet saturated samples alone, whose curvature is tiny and magnifies rounding.
    @pytest.mark.parametrize("alpha", [1e-2, 0.1])
    @pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 0.9])
    @pytest.mark.parametrize("soft", [False, True])
    def test_diagonal_steps(self, isa, alpha, l1_ratio, soft):
        X, y = sparse_data(n=100, n_classes=3)
        rng = np.random.default_rng(0)
        weight, target = rng.uniform(0.5, 2, len(y)), np.eye(3)[y]
        steps = _sgd.SoftmaxDiagonalSteps(np.zeros((3, 40)), np.zeros(3), alpha, l1_ratio, True)
        if soft:
            target = steps.targets = rng.dirichlet(np.ones(3), len(y))
            y = np.arange(len(y))
        expected = diagonal_twin(X.toarray(), target, weight, alpha, l1_ratio)
        assert_same(solution_of(steps, X, y, weight), expected, rtol=1e-8)

    @pytest.mark.parametrize("make", [make_data, sparse_data])
    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_newton_steps(self, isa, make, fit_intercept):
        """After a block, its optimum; after two, that of the second and the first one's model."""
        X, y = make(n=1024, n_classes=3)
        d, alpha, weight = X.shape[1], 1e-2, np.random.default_rng(0).uniform(0.5, 2, 1024)
        steps = _sgd.SoftmaxNewtonSteps(np.zeros((3, d)), np.zeros(3), sp.issparse(X), alpha, fit_intercept)
        first = solution_of(steps, X[:512], y[:512], weight[:512])
        plain = X.toarray() if sp.issparse(X) else X
        value = twins.softmax_value(plain[:512], np.eye(3)[y[:512]], weight[:512], alpha, *first)
        C = 1 / (alpha * weight[:512].sum())
        best = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X[:512], y[:512], sample_weight=weight[:512])
        least = twins.softmax_value(
            plain[:512], np.eye(3)[y[:512]], weight[:512], alpha, best.coef_, best.intercept_ * fit_intercept
        )
        assert least <= value <= 1.002 * least
        second = solution_of(steps, X[512:], y[512:], weight[512:])
        value = newton_block_value(plain, y, weight, alpha, first, second)
        for length in (0.9, 1.1):
            other = [a + length * (b - a) for a, b in zip(first, second, strict=True)]
            assert value < newton_block_value(plain, y, weight, alpha, first, other)


def newton_block_value(X, y, weight, alpha, first, second):
    """What the second of two equal blocks minimises."""
    half, target = len(y) // 2, np.eye(3)[y]
    Z = np.column_stack([X, np.ones(len(y))])
    prob = twins.softmax(twins.softmax_logits(X[:half], *first))
    curvature = 3 / 2 * weight[:half, None] * prob * (1 - prob)
    value = weight[half:].sum() * twins.softmax_value(X[half:], target[half:], weight[half:], alpha, *second)
    for k in range(3):
        move = np.append(second[0][k] - first[0][k], second[1][k] - first[1][k])
        value += 0.5 * curvature[:, k] @ (Z[:half] @ move) ** 2
        value += 0.5 * alpha * weight[:half].sum() * move[:-1] @ move[:-1]
    return value


class TestStreams:
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_chunks_are_one_call_bit_for_bit(self, kind, make):
        X, y = make(n=1801)
        whole = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X, y, classes=range(4))
        parts = SGDLogisticRegression(shuffle=False, **kind)
        for a, b in itertools.pairwise([0, 1, 2, 40, 300, 301, 1113, 1801]):
            parts.partial_fit(X[a:b], y[a:b], classes=range(4))
        np.testing.assert_array_equal(parts.coef_, whole.coef_)
        np.testing.assert_array_equal(parts.intercept_, whole.intercept_)
        assert parts.t_ == whole.t_ == 1802

    def test_survives_pickling_and_copying(self, kind):
        X, y = make_data(n=1500)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X[:900], y[:900], classes=range(4))
        others = pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
        model.partial_fit(X[900:], y[900:])
        for other in others:
            np.testing.assert_array_equal(other.partial_fit(X[900:], y[900:]).coef_, model.coef_)

    def test_goes_on_after_a_fit(self, kind):
        X, y = make_data(n=1500)
        model = fitted(X[:900], y[:900], random_state=0, max_iter=4, **kind)
        other = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(
            model.partial_fit(X[900:], y[900:]).coef_, other.partial_fit(X[900:], y[900:]).coef_
        )
        if kind == KINDS["newton"]:
            assert objective(model, X, y, 0.0) < 1.02 * optimum(X, y, 1e-4)

    def test_a_failed_call_changes_nothing(self, kind):
        X, y = make_data(n=1500)
        model = SGDLogisticRegression(shuffle=False, **kind).partial_fit(X[:700], y[:700], classes=range(4))
        before = copy.deepcopy(model)
        for value in (np.nan, np.inf):
            bad = X[700:].copy()
            bad[-1, 2] = value
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                model.partial_fit(bad, y[700:])
        np.testing.assert_array_equal(model.coef_, before.coef_)
        np.testing.assert_array_equal(
            model.partial_fit(X[700:], y[700:]).coef_, before.partial_fit(X[700:], y[700:]).coef_
        )

    def test_a_chunk_of_one_class(self, kind):
        X, y = make_data()
        model = SGDLogisticRegression(**kind)
        for k in range(4):
            model.partial_fit(X[y == k], y[y == k], classes=range(4))
        assert np.isfinite(model.coef_).all()

    def test_a_class_without_samples(self, kind):
        """It comes to be improbable, and the others are as without it."""
        X, y = make_data(n=3000, n_classes=3)
        model, without = (SGDLogisticRegression(shuffle=False, **kind) for _ in range(2))
        for _ in range(3):
            model.partial_fit(X, y, classes=range(4))
            without.partial_fit(X, y, classes=range(3))
        prob = model.predict_proba(X)
        assert prob[:, 3].mean() < 0.2 if "learning_rate" in kind else 0.02
        others = prob[:, :3] / prob[:, :3].sum(axis=1, keepdims=True)
        assert np.abs(others - without.predict_proba(X)).mean() < 0.05

    def test_two_classes_that_are_there_of_three(self):
        X, y = make_data(n=3000, n_classes=2)
        three = SGDLogisticRegression(shuffle=False, alpha=1e-3).partial_fit(X, y, classes=[0, 1, 2])
        # alpha / 2 (|w|^2 + |-w|^2) of two classes is alpha / 4 of the difference squared
        two = SGDLogisticRegression(shuffle=False, alpha=5e-4).partial_fit(X, y, classes=[0, 1])
        np.testing.assert_allclose(three.predict_proba(X)[:, :2], two.predict_proba(X), atol=0.02)

    def test_wrong_calls(self):
        X, y = make_data()
        with pytest.raises(ValueError, match="not in classes"):
            SGDLogisticRegression().partial_fit(X, y, classes=[0, 1, 2])
        model = SGDLogisticRegression().partial_fit(X, y, classes=range(4))
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, y, classes=range(5))


class TestLayouts:
    @pytest.mark.parametrize("name", [*zoo.SHARED_VIEWS, *zoo.COPIED_VIEWS])
    @pytest.mark.parametrize("short", zoo.FLOATS)
    def test_dense_layouts_give_the_same_bits(self, name, short):
        item = zoo.item(f"{name} {short}")
        y = np.arange(len(item.dense)) % 3
        if len(y) < 3:
            pytest.skip("too few samples")
        for options in KINDS.values():
            options = {"random_state": 0, "alpha": 0.1, "max_iter": 3, **options}
            ours, plain = fitted(item.X, y, **options), fitted(np.ascontiguousarray(item.X), y, **options)
            np.testing.assert_array_equal(ours.coef_, plain.coef_)

    @pytest.mark.parametrize("short", zoo.FLOATS)
    def test_sparse_is_dense(self, short):
        X, y = sparse_data(n=1200)
        X = X.astype({"f64": np.float64, "f32": np.float32}[short])
        for options in KINDS.values():
            options = {"random_state": 0, "alpha": 0.1, "max_iter": 3, **options}
            rtol = 1e-9 if short == "f64" else 1e-5
            ours, plain = fitted(X, y, **options), fitted(X.toarray(), y, **options)
            assert ours.coef_.dtype == X.dtype
            np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=rtol, atol=rtol * np.abs(plain.coef_).max())

    @pytest.mark.parametrize("kind_", ["newton", "scheduled"])
    def test_memmap_is_read_in_parts(self, tmp_path, monkeypatch, kind_):
        X, y = make_data(n=2000)
        file = tmp_path / "X.dat"
        X.tofile(file)
        mapped = np.memmap(file, dtype=float, mode="r", shape=X.shape)
        monkeypatch.setattr("fastlogreg._stochastic.MAPPED_BYTES", 100 * 7 * 8)
        options = {"random_state": 0, "max_iter": 2, **KINDS[kind_]}
        np.testing.assert_array_equal(fitted(mapped, y, **options).coef_, fitted(mapped, y, **options).coef_)
        options["shuffle"] = False
        np.testing.assert_array_equal(fitted(mapped, y, **options).coef_, fitted(X, y, **options).coef_)


class TestAuto:
    @pytest.mark.parametrize("alpha", [1e-4, 1e-2])
    @pytest.mark.parametrize("scale", [1.0, 10.0 ** np.arange(-3, 4)])
    def test_reaches_the_optimum(self, alpha, scale):
        X, y = make_data(n=1000, scale=scale)
        model = SGDLogisticRegression(alpha=alpha, random_state=0).fit(X, y)
        assert objective(model, X, y, alpha) == pytest.approx(optimum(X, y, alpha), rel=1e-6)

    def test_one_pass_is_near_the_optimum_whatever_the_units_and_origins(self):
        X, y = make_data(n=20_000, d=20)
        rng = np.random.default_rng(0)
        units, origins = 10.0 ** rng.uniform(-4, 4, 20), rng.uniform(-5, 5, 20)
        excess = []
        for moved in (X, X * units, X + origins):
            model = fitted(moved, y, alpha=0.0, random_state=0, max_iter=1)
            excess.append(objective(model, moved, y, 0.0) - optimum(moved, y, 0.0))
        assert 0 < excess[0] < 3e-4  # a fifth of what a sample of that size leaves open, 3 d / (2 n)
        assert excess[1] == pytest.approx(excess[0], rel=0.05)
        assert excess[2] == pytest.approx(excess[0], rel=0.05)

    def test_weights_are_repetition(self):
        X, y = make_data()
        weight = np.random.default_rng(1).integers(0, 4, len(y))
        a = SGDLogisticRegression(random_state=0, tol=1e-5).fit(X, y, sample_weight=weight)
        b = SGDLogisticRegression(random_state=0, tol=1e-5).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
        np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-3, atol=1e-4)

    def test_same_seed_same_bits(self, kind):
        X, y = make_data(1500)
        a, b = (fitted(X, y, random_state=7, max_iter=3, **kind) for _ in range(2))
        np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_l1_gives_zeros(self):
        X, y = make_data(n=3000, d=12)
        model = fitted(X, y, penalty="l1", alpha=0.05, random_state=0, max_iter=20)
        assert 0 < np.count_nonzero(model.coef_) < model.coef_.size

    def test_very_many_columns(self):
        X, y = sparse_data(n=3000, d=2500)
        model = fitted(X, y, alpha=1e-3, random_state=0, max_iter=10)
        best = optimum(X, y, 1e-3)
        assert objective(model, X, y, 1e-3) - best < 0.05 * (np.log(4) - best)

    def test_dense_with_very_many_columns_is_the_same_as_sparse(self):
        X, y = sparse_data(n=200, d=2100)
        a, b = (fitted(Z, y, random_state=0, max_iter=2) for Z in (X, X.toarray()))
        np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-9, atol=1e-12)

    def test_curvature_from_drawn_rows(self):
        X, y = make_data(n=6000, d=300, n_classes=3)
        model = fitted(X, y, alpha=1e-3, random_state=0, max_iter=1)
        best = optimum(X, y, 1e-3)
        assert objective(model, X, y, 1e-3) - best < 0.05 * (np.log(3) - best)

    @pytest.mark.parametrize("options", [{}, {"penalty": None}, {"alpha": 1e-12}, {"fit_intercept": False}], ids=str)
    def test_awkward_data_end_finite(self, options):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((1200, 6)) * [1e-8, 1e-3, 1, 1e3, 1e8, 0.0]
        X[::50, 3] *= 1e4
        for y in (np.digitize(X[:, 2], [-0.5, 0.5]), rng.integers(0, 3, 1200)):
            for Z, max_iter, seed in itertools.product((X, sp.csr_matrix(X)), (1, 2, 3, 8), range(3)):
                model = fitted(Z, y, max_iter=max_iter, random_state=seed, **options)
                assert np.isfinite(model.coef_).all()
                assert objective(model, X, y, 0.0) < 1.15  # log 3 is 1.10

    @pytest.mark.parametrize("options", [{"learning_rate": "constant", "eta0": 1e200}, {}], ids=str)
    def test_overflow_is_told(self, options):
        X, y = make_data(scale=1e200)
        with pytest.raises(ValueError, match="overflow occurred at epoch #1"):
            SGDLogisticRegression(**options).fit(X, y)

    def test_separable_raw_columns(self):
        X, _ = make_data(n=1000, scale=1e4)
        y = np.digitize(X[:, 0], [-5e3, 5e3])
        assert fitted(X, y, max_iter=20).score(X, y) > 0.97

    def test_many_classes(self):
        X, y = make_data(n=5000, d=5, n_classes=60)
        for options in KINDS.values():
            assert np.isfinite(fitted(X, y, random_state=0, max_iter=2, **options).coef_).all()


class TestValidation:
    def test_own_set_restores_the_best_epoch(self, kind):
        X, y = make_data(n=1200)
        model = SGDLogisticRegression(random_state=0, max_iter=8, **kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X[:900], y[:900], X_val=X[900:], y_val=y[900:])
        assert len(model.validation_curve_) == model.n_iter_
        at_end = objective(model, X[900:], y[900:], 0.0)
        assert at_end == pytest.approx(model.validation_curve_.min(), rel=1e-9)

    def test_early_stopping_takes_the_same_samples_and_keeps_the_best_epoch(self):
        X, y = make_data(1000)
        options = {"learning_rate": "constant", "eta0": 1e-3, "random_state": 5}
        model = SGDLogisticRegression(early_stopping=True, **options).fit(X, y)
        kept, _ = model._split(y, None)
        assert model.validation_curve_.max() == pytest.approx(model.score(X[~kept], y[~kept]))
        best = int(np.argmax(model.validation_curve_)) + 1
        assert best <= model.n_iter_ < 100


class TestEstimator:
    def test_has_what_scikit_learn_has(self, kind):
        X, y = make_data()
        theirs = SGDClassifier(loss="log_loss", max_iter=3, tol=None, random_state=0).fit(X, y)
        ours = fitted(X, np.array(list("abcd"))[y], max_iter=3, random_state=0, **kind)
        assert ours.coef_.shape == theirs.coef_.shape == (4, 7)
        assert ours.intercept_.shape == theirs.intercept_.shape
        assert list(ours.classes_) == list("abcd")
        assert ours.decision_function(X).shape == theirs.decision_function(X).shape
        np.testing.assert_allclose(ours.decision_function(X), X @ ours.coef_.T + ours.intercept_)
        np.testing.assert_allclose(ours.predict_proba(X), twins.softmax(ours.decision_function(X)))
        assert ours.t_ == 1 + ours.n_iter_ * len(y)

    def test_class_weights_are_sample_weights(self, kind):
        X, y = make_data()
        class_weight = {0: 2.0, 1: 0.5, 2: 1.0, 3: 0.0}
        a = fitted(X, y, class_weight=class_weight, random_state=0, max_iter=3, **kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            b = SGDLogisticRegression(random_state=0, max_iter=3, **kind).fit(
                X, y, sample_weight=np.array([2.0, 0.5, 1.0, 0.0])[y]
            )
        np.testing.assert_array_equal(a.coef_, b.coef_)

    def test_warm_start_continues(self):
        X, y = make_data()
        model = SGDLogisticRegression(warm_start=True, random_state=0).fit(X, y)
        value = objective(model, X, y, 1e-4)
        assert objective(model.fit(X, y), X, y, 1e-4) <= value * (1 + 1e-9)
        assert model.n_iter_ < 15

    def test_adaptive_rate_falls(self):
        X, y = make_data()
        model = SGDLogisticRegression(learning_rate="adaptive", eta0=0.5, random_state=0).fit(X, y)
        assert objective(model, X, y, 1e-4) < 1.001 * optimum(X, y, 1e-4)

    def test_verbose_prints_a_line_an_epoch(self, capsys):
        X, y = make_data()
        model = SGDLogisticRegression(verbose=1).fit(X, y)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == model.n_iter_
        assert lines[-1].startswith(f"epoch {model.n_iter_:4d}  objective")

    def test_nan_gets_scikit_learns_message(self, kind):
        X, y = make_data()
        X[17, 3] = np.nan
        with pytest.raises(ValueError, match="Input X contains NaN"):
            SGDLogisticRegression(**kind).fit(X, y)

    @pytest.mark.skipif(parse_version("1.9") > SKLEARN_VERSION, reason="scikit-learn has callbacks from 1.9 on")
    def test_callbacks_see_every_epoch(self):
        seen = []

        class Recorder:
            def setup(self, estimator, context): ...

            def teardown(self, estimator, context): ...

            def on_fit_task_begin(self, estimator, context, *, X=None, fitted_estimator=None): ...

            def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
                if context.task_name == "iteration" and fitted_estimator is not None:
                    seen.append(fitted_estimator.predict_proba(X_seen))

        X_seen, y = make_data()
        model = SGDLogisticRegression(random_state=0).set_callbacks(Recorder()).fit(X_seen, y)
        assert len(seen) == model.n_iter_
        np.testing.assert_array_equal(seen[-1], model.predict_proba(X_seen))


class TestSolver:
    @pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
    @pytest.mark.parametrize("make", [make_data, sparse_data])
    def test_reaches_the_proven_optimum(self, C, make):
        X, y = make()
        model = LogisticRegression(C=C, solver="sgd").fit(X, y)
        assert model.solver_ == "sgd"
        assert model.gap_ < 2e-9
        best = LogisticRegression(C=C, tol=1e-8).fit(X, y)
        np.testing.assert_allclose(model.coef_, best.coef_, rtol=1e-3, atol=1e-4)

    def test_soft_targets_and_weights(self):
        X, y = make_data()
        rng = np.random.default_rng(0)
        counts, weight = rng.integers(0, 5, (len(y), 4)) + 3 * np.eye(4)[y], rng.uniform(0, 2, len(y))
        model, best = (
            LogisticRegression(solver=solver, soft_targets=True).fit(X, counts, sample_weight=weight)
            for solver in ("sgd", "newton")
        )
        assert model.gap_ < 2e-9
        np.testing.assert_allclose(model.coef_, best.coef_, rtol=1e-3, atol=1e-4)

    def test_soft_targets_of_very_many_columns(self):
        X, y = sparse_data(n=300, d=2100)
        target = 0.8 * np.eye(4)[y] + 0.05
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(solver="sgd", soft_targets=True, C=0.1, max_iter=20).fit(X, target)
        best = LogisticRegression(soft_targets=True, C=0.1).fit(X, target)
        assert best.loss_curve_[-1] <= model.loss_curve_[-1] * (1 + 1e-9)
        assert model.loss_curve_[-1] < 1.02 * best.loss_curve_[-1]

    def test_warm_start(self):
        X, y = make_data()
        model = LogisticRegression(solver="sgd", warm_start=True).fit(X, y)
        assert model.fit(X, y).n_iter_[0] <= 2

    def test_is_honest_where_it_does_not_arrive(self):
        X, y = make_data()
        with pytest.warns(ConvergenceWarning, match="did not converge"):
            LogisticRegression(solver="sgd", max_iter=1).fit(X, y)

    def test_separable_without_a_penalty(self):
        X, _ = make_data()
        with pytest.warns(ConvergenceWarning, match="separable"):
            LogisticRegression(solver="sgd", C=np.inf).fit(X, np.digitize(X[:, 0], [-0.5, 0.5]))


def test_one_pass_over_real_data(real_data):
    X, y = real_data("covtype20k")
    model = fitted(X, y, random_state=0, max_iter=1)
    assert objective(model, X, y, 1e-4) < 1.02 * optimum(X, y, 1e-4, tol=1e-4)
