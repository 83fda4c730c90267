"""The passes for the softmax of many classes: each against its plain twin, over the zoo, on every instruction set of
this machine. Tolerances are bounds on rounding errors: see `rounding`.
"""

import mpmath as mp
import numpy as np
import pytest
import scipy.sparse as sp
import twins
import zoo
from numpy.testing import assert_allclose, assert_array_equal
from rounding import EPS, SUM, assert_within

from fastlogreg.data.layouts import as_design
from fastlogreg.data.samples import Samples
from fastlogreg.data.softmax_passes import SoftmaxHandle, SoftmaxPasses, class_log_sums, class_scores

# Below, at and above whole vectors of classes, for every instruction set and every number of them that a tile takes.
CLASS_COUNTS = (3, 7, 8, 9, 16, 17, 25, 26)
LAYOUTS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "CSR": sp.csr_matrix}


class Problem:
    """Coefficients, and a direction, that give logits of size one; a target, weights and maybe offsets for a dense X
    (n, d).
    """

    def __init__(self, dense, n_classes, soft=False, weighted=True, offset=False):
        rng = np.random.default_rng(n_classes)
        n, d = dense.shape
        self.X, self.n_classes = dense, n_classes
        self.label = rng.integers(0, n_classes, size=n)
        self.target = np.eye(n_classes)[self.label]
        if soft:
            self.target[n // 3 :] = rng.dirichlet(np.ones(n_classes), size=n - n // 3)
        self.given_target = self.target if soft else self.label
        self.weight = rng.exponential(size=n) * (rng.random(n) < 0.8) if weighted else None
        self.weights = self.weight if weighted else np.ones(n)
        size = np.sqrt((dense**2).mean(axis=0) * d)
        scale = np.where(size > 0, size, 1.0)
        self.coef, direction = rng.normal(size=(2, n_classes, d)) / scale
        self.intercept, direction_intercept = rng.normal(size=(2, n_classes))
        self.end = self.coef + direction, self.intercept + direction_intercept
        # the rounding of the end is no error of the passes
        self.direction, self.direction_intercept = self.end[0] - self.coef, self.end[1] - self.intercept
        self.center = dense.mean(axis=0)
        self.offset = rng.normal(size=(n, n_classes)) if offset else None

    @property
    def at(self):
        return self.coef, self.intercept

    @property
    def along(self):
        return self.direction, self.direction_intercept

    def passes(self, X, n_threads=1):
        return self.passes_over(as_design(X, n_threads))

    def passes_over(self, design):
        return SoftmaxPasses(design, Samples(self.given_target, self.weight, self.offset, self.n_classes))

    def handles(self):
        """To the point, and to the end of the direction from it; no pass."""
        return SoftmaxHandle(*self.at), SoftmaxHandle(*self.end)


class Expected:
    """What the twins say of a `Problem`, and what rounding may add. Arrays of samples are (n, K), sizes (n, 1)."""

    def __init__(self, problem):
        X, s = problem.X, problem.weights[:, None]
        self.problem, self.weight = problem, s
        self.logits, self.along = twins.softmax_logits(X, *problem.at), twins.softmax_logits(X, *problem.along)
        self.logit_error, self.along_error = self._sizes(problem.at) * SUM, self._sizes(problem.along) * SUM
        if problem.offset is not None:
            self.logits = self.logits + problem.offset
            self.logit_error = self.logit_error + np.abs(problem.offset).max(axis=1, keepdims=True) * SUM
        self.prob = twins.softmax(self.logits)
        # exp of a difference of logits, and the sum of all of them
        self.relative_prob_error = 2 * self.logit_error + 8 * EPS * (1 + np.abs(self.logits).max(axis=1, keepdims=True))

        self.losses = s[:, 0] * twins.softmax_losses(self.logits, problem.target)
        self.loss_error = float((s * self.relative_prob_error).sum() + SUM * self.losses.sum())

        self.residual = s * (self.prob - problem.target)
        self.residual_error = s * (self.prob * self.relative_prob_error + EPS)

        mean = (self.prob * self.along).sum(axis=1, keepdims=True)
        self.product = s * self.prob * (self.along - mean)
        largest = np.abs(self.along).max(axis=1, keepdims=True)
        self.product_error = s * self.prob * (3 * largest * self.relative_prob_error + 2 * self.along_error)

    def _sizes(self, at):
        coef, intercept = (np.abs(part) for part in at)
        return twins.softmax_logits(np.abs(self.problem.X), coef, intercept).max(axis=1, keepdims=True)

    def assert_rows_are(self, actual, values, errors):
        """That sums over samples, in the coefficients (K, d) and intercepts (K,), are those of the values (n, K)."""
        X = self.problem.X
        of_coef, of_intercept = actual
        assert of_coef.shape == self.problem.coef.shape
        assert of_intercept.shape == self.problem.intercept.shape
        errors = errors + SUM * np.abs(values)
        assert_within(of_coef, values.T @ X, errors.T @ np.abs(X))
        assert_within(of_intercept, values.sum(axis=0), errors.sum(axis=0))


def assert_passes(X, problem):
    passes, expected = problem.passes(X), Expected(problem)
    s, prob = expected.weight, expected.prob

    loss, *gradient, start = passes.evaluate(*problem.at)
    assert isinstance(loss, float)
    assert start.coef is problem.coef
    assert start.intercept is problem.intercept
    assert_within(loss, expected.losses.sum(), expected.loss_error)
    expected.assert_rows_are(gradient, expected.residual, expected.residual_error)

    hessian, end = passes.hessian(start), problem.handles()[1]
    product = hessian.dot(*problem.along)
    expected.assert_rows_are(product, expected.product, expected.product_error)

    largest = np.abs(expected.along).max(axis=1, keepdims=True)
    value, slope, curvature = passes.line(start, end, 0.0)
    assert_within(value, expected.losses.sum(), expected.loss_error)
    slopes = expected.residual * expected.along
    slope_error = expected.residual_error * largest + np.abs(expected.residual) * expected.along_error
    assert_within(slope, slopes.sum(), (slope_error + SUM * np.abs(slopes)).sum())
    curvatures = expected.product * expected.along
    curvature_error = expected.product_error * largest + np.abs(expected.product) * expected.along_error
    assert_within(curvature, curvatures.sum(), (curvature_error + SUM * np.abs(curvatures)).sum())

    largest_change = passes.largest_logit_change(start, end)
    assert_within(largest_change, np.ptp(expected.along, axis=1).max(), 2 * expected.along_error.max())

    block = hessian.intercept_block()
    weight_error = s * expected.relative_prob_error + SUM * s
    assert_within(block, np.diag((s * prob).sum(axis=0)) - (s * prob).T @ prob, 2 * (weight_error * prob).sum(axis=0))
    assert_array_equal(block, block.T)

    scores = class_scores(passes.design, *problem.at, False, problem.offset)
    assert_within(scores, expected.logits, expected.logit_error)
    probabilities = class_scores(passes.design, *problem.at, True, problem.offset)
    assert_within(probabilities, prob, prob * (expected.relative_prob_error + SUM))
    log_sums = class_log_sums(passes.design, *problem.at, problem.offset)
    largest = expected.logits.max(axis=1)
    exact = largest + np.log(np.exp(expected.logits - largest[:, None]).sum(axis=1))
    assert_within(log_sums, exact, expected.logit_error.max(axis=1) + SUM * (1 + np.abs(exact)))
    assert passes.n_passes == 8
    if problem.coef.size < 500:  # the twin is slow
        assert_pair_grams(passes, expected)
        assert passes.n_passes == 9


def assert_pair_grams(passes, expected):
    problem, prob = expected.problem, expected.prob
    grams = passes.hessian(problem.handles()[0]).pair_grams(problem.center)
    Z = np.column_stack([problem.X - problem.center, np.ones(len(problem.X))])
    first, second = np.triu_indices(problem.n_classes, 1)
    assert grams.shape == (len(first), Z.shape[1], Z.shape[1])
    weight = expected.weight * prob[:, first] * prob[:, second]
    error = weight * (2 * expected.relative_prob_error + SUM)
    for gram, of_pair, error_of_pair in zip(grams, weight.T, error.T, strict=True):
        upper = np.triu_indices(len(gram))
        assert_within(gram[upper], ((Z.T * of_pair) @ Z)[upper], ((np.abs(Z).T * error_of_pair) @ np.abs(Z))[upper])


def all_passes(passes, problem):
    """What every pass gives, one array after the other."""
    *sums, start = passes.evaluate(*problem.at)
    hessian, end = passes.hessian(start), problem.handles()[1]
    return [
        *sums,
        *hessian.dot(*problem.along),
        passes.line(start, end, 0.0),
        passes.line(start, end, 0.3),
        passes.largest_logit_change(start, end),
        hessian.intercept_block(),
        class_scores(passes.design, *problem.at, False, problem.offset),
        class_scores(passes.design, *problem.at, True, problem.offset),
        class_log_sums(passes.design, *problem.at, problem.offset),
        hessian.pair_grams(problem.center),
    ]


def assert_same_bits(first, second):
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one, other)


@pytest.mark.usefixtures("isa")
class TestTwins:
    def test_zoo(self, item):
        for n_classes, soft in ((3, False), (9, True)):
            assert_passes(item.X, Problem(item.dense, n_classes, soft))

    @pytest.mark.parametrize("n_classes", CLASS_COUNTS)
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_numbers_of_classes(self, layout, n_classes):
        for n, d in ((1, 1), (37, 5), (203, 13)):
            X = zoo.values(np.random.default_rng(n_classes), n, d)
            for soft in (False, True):
                for weighted in (False, True):
                    assert_passes(LAYOUTS[layout](X), Problem(X, n_classes, soft, weighted))
            assert_passes(LAYOUTS[layout](X), Problem(X, n_classes, offset=True))

    @pytest.mark.parametrize("n_classes", [1, 2])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_scores_of_a_few_of_the_classes(self, layout, n_classes):
        X = zoo.values(np.random.default_rng(n_classes), 203, 13)
        problem = Problem(X, n_classes, offset=True)
        design, expected = as_design(LAYOUTS[layout](X)), Expected(problem)
        scores = class_scores(design, *problem.at, False, problem.offset)
        assert_within(scores, expected.logits, expected.logit_error)

    @pytest.mark.parametrize("n_classes", [200, 1000])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_very_many_classes(self, layout, n_classes):
        X = zoo.values(np.random.default_rng(0), 301, 4)
        problem = Problem(X, n_classes)
        passes, expected = problem.passes(LAYOUTS[layout](X)), Expected(problem)
        loss, *gradient, handle = passes.evaluate(*problem.at)
        assert_within(loss, expected.losses.sum(), expected.loss_error)
        expected.assert_rows_are(gradient, expected.residual, expected.residual_error)
        product = passes.hessian(handle).dot(*problem.along)
        expected.assert_rows_are(product, expected.product, expected.product_error)

    @pytest.mark.parametrize("n_classes", [3, 5])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_gradient_and_hessian_are_the_value_s(self, layout, n_classes):
        """By central differences, whose errors are those of the values' rounding and of the third derivative."""
        X = zoo.values(np.random.default_rng(1), 50, 3)
        problem = Problem(X, n_classes, soft=True)
        passes, step = problem.passes(LAYOUTS[layout](X)), 1e-5
        (*up_at,), (*down_at,) = (
            [part + sign * step * other for part, other in zip(problem.at, problem.along, strict=True)]
            for sign in (1.0, -1.0)
        )
        up, down = passes.evaluate(*up_at)[:3], passes.evaluate(*down_at)[:3]
        _, *gradient, start = passes.evaluate(*problem.at)
        product, end = passes.hessian(start).dot(*problem.along), problem.handles()[1]
        slope = sum((one * other).sum() for one, other in zip(gradient, problem.along, strict=True))
        assert_allclose((up[0] - down[0]) / (2 * step), slope, rtol=1e-8)
        for high, low, exact in zip(up[1:], down[1:], product, strict=True):
            assert_allclose((high - low) / (2 * step), exact, rtol=0, atol=1e-8 * np.abs(exact).max())
        curvature = sum((one * other).sum() for one, other in zip(product, problem.along, strict=True))
        assert_allclose(passes.line(start, end, 0.0)[1:], [slope, curvature], rtol=1e-12)


class TestBits:
    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_any_number_of_threads(self, dtype, layout):
        """Each starts for 300 thousand entries, times a fourth of the classes."""
        X = zoo.values(np.random.default_rng(0), 60_001, 6).astype(dtype)
        for n_classes, soft in ((3, False), (9, True)):
            problem = Problem(X.astype(float), n_classes, soft, offset=soft)
            serial = all_passes(problem.passes(LAYOUTS[layout](X)), problem)
            for n_threads in (2, 3):
                assert_same_bits(all_passes(problem.passes(LAYOUTS[layout](X), n_threads), problem), serial)

    @pytest.mark.parametrize("name", zoo.LARGE)
    def test_repetition(self, name):
        """Passes share their scratch memory."""
        item = zoo.item(name)
        few, many = Problem(item.dense, 3), Problem(item.dense, 9)
        first = all_passes(few.passes(item.X), few)
        design = as_design(item.X)
        in_turn = [problem.passes_over(design) for problem in (few, many)]
        for _ in range(2):
            assert_same_bits(all_passes(in_turn[0], few), first)
            all_passes(in_turn[1], many)

    @pytest.mark.usefixtures("isa")
    @pytest.mark.parametrize("order", "CF")
    def test_columns_of_padding_in_memory_change_nothing(self, order):
        """A tile must not read past the columns or rows that X has."""
        values = zoo.values(np.random.default_rng(0), 29, 7)
        room = np.full((40, 20), np.nan, order=order)
        room[:29, :7] = values
        problem = Problem(values, 5)
        alone = all_passes(problem.passes(np.array(values, order=order)), problem)
        assert_same_bits(all_passes(problem.passes(room[:29, :7]), problem), alone)


def at_logits(logits, target):
    """Passes over samples whose logits (n, K) are the coefficients, and these with zero intercepts."""
    logits = np.asarray(logits, dtype=float)
    samples = Samples(np.asarray(target), n_classes=logits.shape[1])
    passes = SoftmaxPasses(as_design(np.eye(len(logits))), samples)
    return passes, (np.ascontiguousarray(logits.T), np.zeros(logits.shape[1]))


class HighPrecision:
    """One sample's softmax in mpmath."""

    def __init__(self, logits):
        with mp.workprec(3000):
            exp = [mp.exp(mp.mpf(float(u))) for u in logits]
            self.logarithm = mp.log(mp.fsum(exp))
            self.prob = [e / mp.fsum(exp) for e in exp]
            self.logits = [mp.mpf(float(u)) for u in logits]
        # The difference of two logits is rounded before its exponential is taken.
        self.rtol = EPS * (20 + 2 * len(logits) + min(np.ptp(logits), 746.0))

    def loss(self, target):
        with mp.workprec(3000):
            terms = [mp.mpf(float(p)) * (self.logarithm - u) for p, u in zip(target, self.logits, strict=True)]
            return float(mp.fsum(terms))

    def residual(self, target):
        with mp.workprec(3000):
            return np.array([float(y - mp.mpf(float(p))) for y, p in zip(self.prob, target, strict=True)])


@pytest.mark.usefixtures("isa")
class TestAccuracy:
    def rows(self):
        rng = np.random.default_rng(0)
        rows = [scale * rng.normal(size=k) for k in (3, 4, 8, 11, 26) for scale in (1e-8, 1e-3, 1, 10, 100, 500)]
        for size in (1.0, 37.0, 46.0, 100.0, 700.0, 1e3, 1e6):  # how far one class leads, or lags behind
            rows += [np.array([size, 0.0, -1.0]), np.array([-size, 0.0, 1.0]), np.eye(9)[4] * size]
        return [*rows, np.zeros(7), np.array([1e3, 1e3, -1e3]), np.full(3, -1e3), np.array([1e300, -1e300, 0.0])]

    def test_labels(self):
        """Losses and residuals keep their digits however small they are."""
        for row in self.rows():
            exact = HighPrecision(row)
            labels = np.arange(len(row))
            for label, target in zip(labels, np.eye(len(row)), strict=True):
                passes, at = at_logits(row[None], target=[label])
                loss, gradient, of_intercept, _ = passes.evaluate(*at)
                assert_array_equal(gradient[:, 0], of_intercept)
                assert_allclose(loss, exact.loss(target), rtol=exact.rtol, atol=0)
                assert_allclose(of_intercept, exact.residual(target), rtol=exact.rtol, atol=1e-320)

    def test_probability_within_1e_20_of_one(self):
        passes, at = at_logits([[np.log(1e20), 0.0, -np.inf]], target=[0])
        loss, _, residual, _ = passes.evaluate(*at)
        assert_allclose(loss, 1e-20, rtol=1e-14)
        assert_allclose(residual, [-1e-20, 1e-20, 0.0], rtol=1e-14)

    def test_soft_targets(self):
        rng = np.random.default_rng(1)
        for row in self.rows():
            exact = HighPrecision(row)
            targets = [rng.dirichlet(np.ones(len(row))), np.eye(len(row))[0], np.full(len(row), 1 / len(row))]
            for target in targets:
                passes, at = at_logits(row[None], target=target[None])
                loss, _, residual, _ = passes.evaluate(*at)
                assert_allclose(loss, exact.loss(target), rtol=exact.rtol, atol=0)
                assert_allclose(residual, exact.residual(target), rtol=0, atol=30 * EPS)

    def test_probabilities(self):
        for row in self.rows():
            passes, at = at_logits(row[None], target=[0])
            prob = class_scores(passes.design, *at, probabilities=True)[0]
            exact = HighPrecision(row)
            assert_allclose(prob, [float(p) for p in exact.prob], rtol=exact.rtol, atol=1e-320)
            assert_array_equal(class_scores(passes.design, *at, probabilities=False)[0], row)

    @pytest.mark.parametrize("soft", [False, True])
    def test_ties_and_extremes_stay_finite(self, soft):
        logits = np.array(
            [[1e3, 1e3, 1e3], [-1e3, -1e3, -1e3], [1e3, -1e3, 0.0], [0.0, 0.0, 0.0], [1e300, 0.0, -1e300]]
        )
        label = np.array([0, 1, 1, 2, 2])
        passes, at = at_logits(logits[:4], target=np.eye(3)[label[:4]] if soft else label[:4])
        loss, gradient, of_intercept, handle = passes.evaluate(*at)
        assert_allclose(loss, 3 * np.log(3) + 2e3, rtol=1e-15)
        assert_allclose(of_intercept, [0.0 + 1 / 3 - 2 / 3 + 1 + 1 / 3, -4 / 3 + 1 / 3, -2 / 3 + 2 / 3], atol=1e-15)
        direction = np.random.default_rng(0).normal(size=gradient.shape)
        for part in passes.hessian(handle).dot(direction, np.zeros(3)):
            assert np.all(np.isfinite(part))
        passes, at = at_logits(logits, target=np.eye(3)[label] if soft else label)
        assert_allclose(passes.evaluate(*at)[0], 2e300, rtol=1e-15)

    @pytest.mark.parametrize("n_classes", [3, 4, 9])
    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_shows(self, bad, soft, n_classes):
        """A NaN or an infinity in X reaches the loss and the gradient, whatever the class of the sample."""
        for place in range(n_classes):
            X = np.ones((20, 2))
            X[7, 1] = bad
            target = np.full(20, place)
            samples = Samples(np.eye(n_classes)[target] if soft else target, n_classes=n_classes)
            passes = SoftmaxPasses(as_design(X), samples)
            zeros = SoftmaxHandle(np.zeros((n_classes, 2)), np.zeros(n_classes))
            loss, gradient, _, handle = passes.evaluate(np.ones((n_classes, 2)), np.zeros(n_classes))
            assert np.isnan(loss)
            assert np.isnan(gradient[:, 1]).any()
            assert passes.largest_logit_change(zeros, handle) == np.inf

    def test_padding_takes_no_part(self):
        """Nor where all logits are so low that a class with logit 0 would have all the probability."""
        X = np.ones((5, 1))
        for n_classes in (3, 7, 9):
            passes = SoftmaxPasses(as_design(X), Samples(np.zeros(5, dtype=np.intp), n_classes=n_classes))
            low = np.full((n_classes, 1), -1e3), np.zeros(n_classes)
            loss, gradient, *_ = passes.evaluate(*low)
            assert_allclose(loss, 5 * np.log(n_classes), rtol=1e-15)
            assert_allclose(gradient.sum(), 0.0, atol=1e-14)
            assert_allclose(class_scores(passes.design, *low, probabilities=True), 1 / n_classes, rtol=1e-15)
            zeros = SoftmaxHandle(np.zeros((n_classes, 1)), np.zeros(n_classes))
            same_for_all = SoftmaxHandle(np.full((n_classes, 1), -2.0), np.full(n_classes, 1.0))
            assert passes.largest_logit_change(zeros, same_for_all) == 0.0

    def test_zero_weight_hides_a_sample(self):
        X = zoo.values(np.random.default_rng(0), 40, 3)
        problem = Problem(X, 4)
        kept = problem.weight > 0
        assert not kept.all()
        fewer = Problem(X, 4)
        fewer.X, fewer.given_target, fewer.weight = X[kept], problem.label[kept], problem.weight[kept]
        of_all, of_fewer = problem.passes(X).evaluate(*problem.at), fewer.passes(X[kept]).evaluate(*problem.at)
        for one, other in zip(of_all[:3], of_fewer[:3], strict=True):
            assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max())


class TestErrors:
    X = zoo.values(np.random.default_rng(0), 10, 3)

    @pytest.mark.parametrize(
        ("target", "weight"),
        [
            (np.zeros(9, dtype=np.intp), None),
            (np.full(10, 4), None),
            (np.full(10, -1), None),
            (np.zeros((10, 3)), None),
            (np.zeros((4, 10)), None),
            (np.zeros((9, 4)), None),
            (np.zeros((10, 4), dtype=np.float32), None),
            (np.zeros(10), None),
            (np.zeros(10, dtype=np.intp), np.ones(9)),
            (np.zeros(10, dtype=np.intp), np.ones((10, 1))),
        ],
    )
    def test_targets_and_weights(self, target, weight):
        with pytest.raises(ValueError):  # noqa: PT011 Cython has its own words for some
            SoftmaxPasses(as_design(self.X), Samples(target, weight, n_classes=4))

    @pytest.mark.parametrize(("coef", "intercept"), [((4, 2), 4), ((3, 3), 3), ((5, 3), 5), ((4, 3), 3), ((3, 3), 4)])
    def test_coefficients(self, coef, intercept):
        passes = SoftmaxPasses(as_design(self.X), Samples(np.zeros(10, dtype=np.intp), n_classes=4))
        right, bad = (np.zeros((4, 3)), np.zeros(4)), (np.zeros(coef), np.zeros(intercept))
        *_, handle = passes.evaluate(*right)
        bad_handle = SoftmaxHandle(*bad)
        for call in (
            lambda: passes.evaluate(*bad),
            lambda: passes.hessian(bad_handle).dot(*right),
            lambda: passes.hessian(handle).dot(*bad),
            lambda: passes.line(bad_handle, bad_handle, 0.5),
            lambda: passes.largest_logit_change(bad_handle, bad_handle),
            lambda: passes.hessian(bad_handle).intercept_block(),
            lambda: passes.hessian(bad_handle).pair_grams(np.zeros(3)),
        ):
            with pytest.raises(ValueError, match="fit"):
                call()
        for ends in ((handle, bad_handle), (bad_handle, handle)):
            with pytest.raises(ValueError, match="broadcast"):  # NumPy's word
                passes.line(*ends, 0.5)

    def test_scores(self):
        design = as_design(self.X)
        for coef, intercept in (((4, 2), 4), ((4, 3), 3), ((3,), 3)):
            with pytest.raises(ValueError, match="fit"):
                class_scores(design, np.zeros(coef), np.zeros(intercept), probabilities=False)
            with pytest.raises(ValueError, match="fit"):
                class_log_sums(design, np.zeros(coef), np.zeros(intercept))

    def test_pair_grams(self):
        handle = SoftmaxHandle(np.zeros((4, 3)), np.zeros(4))
        passes = SoftmaxPasses(as_design(self.X), Samples(np.zeros(10, dtype=np.intp), n_classes=4))
        with pytest.raises(ValueError, match="2 values for 3 features"):
            passes.hessian(handle).pair_grams(np.zeros(2))
