"""The formulae as public functions: against plain twins, finite differences, limits, dtypes, shapes and errors."""

import doctest
import itertools

import mpmath as mp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastlogreg import bce as module
from fastlogreg.bce import (
    bce,
    bce_grad,
    bce_with_logits,
    bce_with_logits_grad,
    bce_with_logits_hess,
    coef_grad,
    input_grad,
    sigmoid,
    sigmoid_grad,
)

REDUCTIONS = ["mean", "sum", "none"]
OF_PROB = [bce, bce_grad]
OF_LOGITS = [bce_with_logits, bce_with_logits_grad, bce_with_logits_hess]
TARGET = np.array([0.0, 1.0, 0.3, 0.5, 1e-3, 1.0, 0.0])
LOGITS = np.array([-2.0, 0.7, 0.0, 3.0, -0.4, -1.5, 1.1])
WEIGHT = np.array([1.0, 0.5, 2.0, 3.0, 0.25, 0.0, 1.5])
PROB = 1 / (1 + np.exp(-LOGITS))


def reduced(losses, weight, reduction):
    """The reductions' plain twin."""
    weight = np.ones_like(losses) if weight is None else weight
    if reduction == "none":
        return weight * losses
    return np.sum(weight * losses) / (np.sum(weight) if reduction == "mean" else 1.0)


def scale_of(weight, reduction, n):
    """What a sample's own derivative is multiplied by in the reduced loss's gradient."""
    weight = np.ones(n) if weight is None else weight
    return weight / np.sum(weight) if reduction == "mean" else weight


def central_differences(function, at, step=1e-5):
    """Derivative in each element of a vector: of the scalar `function`, or of its own element of an array."""
    slopes = np.empty_like(at)
    for i in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[i] = step
        difference = np.asarray(function(at + shift) - function(at - shift))
        slopes[i] = (difference[i] if difference.ndim else difference) / (2 * step)
    return slopes


with_options = pytest.mark.parametrize(
    "options",
    [{"sample_weight": weight, "reduction": reduction} for weight in (None, WEIGHT) for reduction in REDUCTIONS],
    ids=[f"{weighted}-{reduction}" for weighted in ("unweighted", "weighted") for reduction in REDUCTIONS],
)


class TestDerivatives:
    """Every derivative is the slope of the function that it belongs to, whatever the weights and the reduction."""

    @with_options
    def test_bce_grad_is_the_slope_of_bce(self, options):
        slopes = central_differences(lambda prob: bce(TARGET, prob, **options), PROB)
        assert_allclose(bce_grad(TARGET, PROB, **options), slopes, rtol=1e-7, atol=1e-8)

    @with_options
    def test_logits_grad_is_the_slope_of_the_loss(self, options):
        slopes = central_differences(lambda logits: bce_with_logits(TARGET, logits, **options), LOGITS)
        assert_allclose(bce_with_logits_grad(TARGET, LOGITS, **options), slopes, rtol=1e-7, atol=1e-9)

    @with_options
    def test_logits_hess_is_the_diagonal_of_the_hessian(self, options):
        def gradient(logits):
            return bce_with_logits_grad(TARGET, logits, **options)

        hessian = np.empty((LOGITS.size, LOGITS.size))
        for i, shift in enumerate(1e-5 * np.eye(LOGITS.size)):
            hessian[i] = (gradient(LOGITS + shift) - gradient(LOGITS - shift)) / 2e-5
        assert_allclose(np.diag(bce_with_logits_hess(TARGET, LOGITS, **options)), hessian, rtol=1e-7, atol=1e-9)

    def test_sigmoid_grad_is_the_slope_of_the_sigmoid(self):
        assert_allclose(sigmoid_grad(LOGITS), central_differences(sigmoid, LOGITS, 1e-5), rtol=1e-8)

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
    def test_coef_and_input_grad_are_slopes_of_the_loss(self, reduction, weight):
        rng = np.random.default_rng(0)
        X, coef, intercept = rng.normal(size=(7, 3)), rng.normal(size=3), np.array(0.4)
        options = {"sample_weight": weight, "reduction": reduction}

        def loss(X, coef, intercept):
            return bce_with_logits(TARGET, X @ coef + intercept, **options)

        coef_gradient, intercept_gradient = coef_grad(X, TARGET, coef, intercept, **options)
        tolerance = {"rtol": 1e-6, "atol": 1e-9}
        assert_allclose(coef_gradient, central_differences(lambda w: loss(X, w, intercept), coef), **tolerance)
        assert_allclose(intercept_gradient, central_differences(lambda b: loss(X, coef, b), intercept), **tolerance)
        input_gradient = input_grad(X, TARGET, coef, intercept, **options)
        assert_allclose(input_gradient, central_differences(lambda Z: loss(Z, coef, intercept), X), **tolerance)

    @pytest.mark.parametrize("target", [0.0, 1e-3, 0.3, 1.0])
    @pytest.mark.parametrize("logit", [-6.0, -0.5, 0.0, 2.0, 12.0])
    def test_to_all_digits_with_high_precision(self, target, logit):
        with mp.workdps(60):
            p = mp.mpf(target)

            def loss(u):
                return mp.log(1 + mp.exp(u)) - p * u

            def loss_of_prob(y):
                return -(p * mp.log(y) + (1 - p) * mp.log(1 - y))

            for function, order in zip(OF_LOGITS, range(3), strict=True):
                assert_allclose(function(target, logit), float(mp.diff(loss, logit, order)), rtol=1e-13)
            prob = sigmoid(logit)
            for function, order in zip(OF_PROB, range(2), strict=True):
                assert_allclose(function(target, prob), float(mp.diff(loss_of_prob, mp.mpf(prob), order)), rtol=1e-13)

    def test_why_the_signs_are_what_they_are(self):
        """The question of [1]: d log(1 - ŷ) / dŷ is -1 / (1 - ŷ), so the second term's sign changes."""
        target, prob = np.array([0.0, 1.0, 0.3, 0.5]), np.array([0.2, 0.6, 0.9, 0.4])
        measured = central_differences(lambda prob: bce(target, prob, reduction="none"), prob)
        without_inner_derivative = -(target / prob + (1 - target) / (1 - prob))
        with_inner_derivative = -(target / prob - (1 - target) / (1 - prob))
        assert_allclose(bce_grad(target, prob, reduction="none"), measured, rtol=1e-8)
        assert_allclose(with_inner_derivative, measured, rtol=1e-8)
        wrong = target != 1.0  # at p = 1 there is no second term
        assert np.all(np.abs(without_inner_derivative - measured)[wrong] > 1.0)

    def test_chain_rule(self):
        """(5) times (10) is (12): the sigmoid's slope cancels the loss's denominator."""
        product = bce_grad(TARGET, PROB, reduction="none") * sigmoid_grad(LOGITS)
        assert_allclose(product, bce_with_logits_grad(TARGET, LOGITS, reduction="none"), rtol=1e-13)
        assert_allclose(product, PROB - TARGET, rtol=1e-13)


class TestTwins:
    """The formulae as they are written in the sources, in plain NumPy."""

    @with_options
    def test_losses(self, options):
        weight, reduction = options.values()
        of_prob = -(TARGET * np.log(PROB) + (1 - TARGET) * np.log(1 - PROB))
        of_logits = np.log(1 + np.exp(LOGITS)) - TARGET * LOGITS
        assert_allclose(bce(TARGET, PROB, **options), reduced(of_prob, weight, reduction), rtol=1e-13)
        assert_allclose(bce_with_logits(TARGET, LOGITS, **options), reduced(of_logits, weight, reduction), rtol=1e-13)

    @with_options
    def test_derivatives(self, options):
        scale = scale_of(*options.values(), LOGITS.size)
        of_prob = (PROB - TARGET) / (PROB * (1 - PROB))
        assert_allclose(bce_grad(TARGET, PROB, **options), scale * of_prob, rtol=1e-13)
        assert_allclose(bce_with_logits_grad(TARGET, LOGITS, **options), scale * (PROB - TARGET), rtol=1e-13)
        assert_allclose(bce_with_logits_hess(TARGET, LOGITS, **options), scale * PROB * (1 - PROB), rtol=1e-13)

    def test_sigmoid(self):
        assert_allclose(sigmoid(LOGITS), 1 / (1 + np.exp(-LOGITS)), rtol=1e-14)
        assert_allclose(sigmoid_grad(LOGITS), np.exp(-LOGITS) / (1 + np.exp(-LOGITS)) ** 2, rtol=1e-14)

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_reduction_defaults_to_mean(self, function):
        at = PROB if function in OF_PROB else LOGITS
        assert_array_equal(function(TARGET, at), function(TARGET, at, reduction="mean"))

    def test_many_samples(self):
        """More than one chunk, and more than one thread where there is one."""
        rng = np.random.default_rng(1)
        logits, target, weight = rng.normal(size=100_003), rng.uniform(size=100_003), rng.uniform(size=100_003)
        prob = 1 / (1 + np.exp(-logits))
        losses = np.logaddexp(0, logits) - target * logits
        options = {"sample_weight": weight}
        assert_allclose(sigmoid(logits), prob, rtol=1e-14)
        assert_allclose(bce_with_logits(target, logits, **options), np.average(losses, weights=weight), rtol=1e-13)
        assert_allclose(bce(target, prob, **options), np.average(losses, weights=weight), rtol=1e-12)
        assert_allclose(
            bce_with_logits_grad(target, logits, **options), (prob - target) * weight / weight.sum(), atol=1e-20
        )


class TestLimits:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_loss_of_impossible_and_certain_probabilities(self, dtype):
        target = np.array([0, 0, 1, 1, 0.3, 0.3])
        prob = np.array([0, 1, 0, 1, 0, 1], dtype=dtype)
        losses = bce(target, prob, reduction="none")
        assert_array_equal(losses, [0, np.inf, np.inf, 0, np.inf, np.inf])
        assert not np.signbit(losses).any()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_slope_at_impossible_and_certain_probabilities(self, dtype):
        target = np.array([0, 0, 1, 1, 0.3, 0.3])
        prob = np.array([0, 1, 0, 1, 0, 1], dtype=dtype)
        slopes = bce_grad(target, prob, reduction="none")
        assert_array_equal(slopes, [1, np.inf, -np.inf, -1, -np.inf, np.inf])

    @pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
    def test_slope_at_the_ends_is_the_limit(self, target):
        """Approached from within, the slope tends to the value at the end, or grows without bound towards it."""
        for end, inside in [(0.0, 1e-300), (1.0, np.nextafter(1.0, 0.0))]:
            at_end, near = bce_grad(target, end), bce_grad(target, inside)
            if np.isfinite(at_end):
                assert_allclose(near, at_end, rtol=1e-15)
            else:
                assert near * np.sign(at_end) > 1e15

    @pytest.mark.parametrize("prob", [5e-324, 1e-310, 1e-308])
    def test_smallest_probabilities(self, prob):
        assert_allclose(bce(1, prob), -np.log(prob), rtol=1e-15)
        assert bce(0, prob) == prob
        assert bce_grad(0, prob) == 1.0
        assert bce_grad(1, prob) <= -1e307
        assert bce_grad(1, np.float32(1e-45)) == -np.inf  # -7e44 is beyond float32

    @pytest.mark.parametrize("size", [40.0, 750.0, 1e300])
    def test_extreme_logits(self, size):
        logits, target = np.array([-size, size]), np.array([0.0, 1.0])
        e = np.exp(-size)
        assert_allclose(sigmoid(logits), [e, 1.0], rtol=1e-15)
        assert_allclose(sigmoid_grad(logits), [e, e], rtol=1e-15)
        for sure, loss in [(target, e), (1 - target, size)]:
            slope = np.where(sure == target, e, 1.0) * np.array([1.0, -1.0]) * np.where(sure == target, 1, -1)
            assert_allclose(bce_with_logits(sure, logits, reduction="none"), [loss, loss], rtol=1e-15)
            assert_allclose(bce_with_logits_grad(sure, logits, reduction="none"), slope, rtol=1e-15)
        assert_allclose(bce_with_logits(0.25, logits, reduction="none"), [0.25 * size, 0.75 * size], rtol=1e-15)
        assert_allclose(bce_with_logits_grad(0.25, logits, reduction="none"), [-0.25, 0.75], rtol=1e-15)

    def test_infinite_logits(self):
        logits = np.array([-np.inf, np.inf])
        assert_array_equal(sigmoid(logits), [0, 1])
        assert_array_equal(sigmoid_grad(logits), [0, 0])
        for target in (0.0, 1.0, 0.3):
            options = {"reduction": "none"}
            assert_array_equal(bce_with_logits(target, logits, **options), bce(target, sigmoid(logits), **options))
            assert_allclose(bce_with_logits_grad(target, logits, **options), [-target, 1 - target])

    def test_nan_logits_give_nan(self):
        logits = np.array([np.nan, 0.0, np.inf])
        for values in (sigmoid(logits), sigmoid_grad(logits), bce_with_logits(0.5, logits, reduction="none")):
            assert_array_equal(np.isnan(values), [True, False, False])

    def test_a_sample_without_weight_counts_for_nothing(self):
        weight = np.array([2.0, 0.0])
        assert bce([1, 1], [0.5, 0.0], sample_weight=weight) == bce(1, 0.5)
        assert bce_with_logits([1, 1], [0.0, -np.inf], sample_weight=weight) == bce_with_logits(1, 0.0)
        for reduction in REDUCTIONS:
            assert bce_grad([1, 1], [0.5, 0.0], sample_weight=weight, reduction=reduction)[1] == 0.0


class TestWeights:
    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_whole_weights_are_repetitions(self, function):
        at = PROB if function in OF_PROB else LOGITS
        times = np.array([1, 2, 0, 3, 1, 0, 2])
        repeated = function(np.repeat(TARGET, times), np.repeat(at, times), reduction="mean")
        weighted = function(TARGET, at, sample_weight=times, reduction="mean")
        if np.ndim(weighted):
            weighted = np.repeat(weighted / np.maximum(times, 1), times)
        assert_allclose(weighted, repeated, rtol=1e-14)

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_scale_of_weights_does_not_change_a_mean(self, function):
        at = PROB if function in OF_PROB else LOGITS
        mean = function(TARGET, at, sample_weight=WEIGHT)
        assert_allclose(function(TARGET, at, sample_weight=1e-200 * WEIGHT), mean, rtol=1e-14)
        assert_array_equal(function(TARGET, at, sample_weight=np.ones(7)), function(TARGET, at))


class TestArrays:
    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_broadcasting(self, function, reduction):
        rng = np.random.default_rng(2)
        target, at, weight = rng.uniform(size=(4, 1)), rng.uniform(size=3), rng.uniform(size=(2, 1, 1))
        whole = np.broadcast_arrays(target, at, weight)
        expected = function(whole[0], whole[1], sample_weight=whole[2], reduction=reduction)
        values = function(target, at, sample_weight=weight, reduction=reduction)
        assert_array_equal(values, expected)
        loss_of_all = function in (bce, bce_with_logits) and reduction != "none"
        assert np.shape(values) == (() if loss_of_all else (2, 4, 3))

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_a_column_beside_a_row_is_refused(self, function):
        row, column = np.full(3, 0.5), np.full((3, 1), 0.5)
        for target, at, weight in (
            (column, row, None),
            (row, column, None),
            (column, column, row),
            (row, row, column),
            (0.5, row, column),
        ):
            with pytest.raises(ValueError, match="flatten the columns"):
                function(target, at, sample_weight=weight)
        expected = function(row, row)
        assert_array_equal(np.squeeze(function(column, column, sample_weight=column * 2)), expected)
        # what can be meant only one way is broadcast
        assert_array_equal(function(column, column.repeat(2, axis=1), reduction="none").shape, (3, 2))
        assert_array_equal(
            function(column, column.repeat(3, axis=1), sample_weight=row * 2, reduction="sum"),
            function(np.full((3, 3), 0.5), np.full((3, 3), 0.5), reduction="sum"),
        )
        assert_array_equal(function(column[:1], row[:1]), function(0.5, 0.5))

    @pytest.mark.parametrize("function", [sigmoid, sigmoid_grad])
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
    def test_shapes(self, function, shape):
        assert np.shape(function(np.zeros(shape))) == shape
        for of_logits in OF_LOGITS:
            assert np.shape(of_logits(0.5, np.zeros(shape), reduction="none")) == shape

    def test_scalars_in_scalars_out(self):
        for function in (sigmoid, sigmoid_grad):
            assert type(function(0.5)) is np.float64
            assert type(function(np.float32(0.5))) is np.float32
        for function, reduction in itertools.product(OF_PROB + OF_LOGITS, REDUCTIONS):
            assert type(function(1, 0.5, reduction=reduction)) is np.float64
            assert type(function(1, np.float32(0.5), reduction=reduction)) is np.float32

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_float32_is_float64_rounded(self, function, reduction):
        at = (PROB if function in OF_PROB else LOGITS).astype(np.float32)
        options = {"sample_weight": WEIGHT.astype(np.float32), "reduction": reduction}
        values = function(TARGET, at, **options)
        assert values.dtype == np.float32
        assert_array_equal(values, np.float32(function(TARGET, at.astype(np.float64), **options)))

    @pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_, np.float16, ">f8", np.longdouble])
    def test_other_dtypes_are_float64(self, dtype):
        values = np.array([0, 1, 1], dtype=dtype)
        as_float64 = values.astype(np.float64)
        assert sigmoid(values).dtype == np.float64
        for function in OF_PROB + OF_LOGITS:
            result = function(values, values, reduction="none")
            assert result.dtype == np.float64
            assert_array_equal(result, function(as_float64, as_float64, reduction="none"))

    def test_big_endian_float32(self):
        at = LOGITS.astype(">f4")
        assert_array_equal(sigmoid(at), sigmoid(at.astype(np.float32)))
        assert sigmoid(at).dtype == np.float32

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_any_memory_layout(self, function):
        rng = np.random.default_rng(3)
        target, at = rng.uniform(size=(6, 4)), rng.uniform(size=(6, 4))
        expected = function(target, at, reduction="none")
        unaligned = np.frombuffer(b"x" + at.tobytes(), np.uint8)[1:].view(np.float64).reshape(at.shape)
        read_only = at.copy()
        read_only.flags.writeable = False
        for other in (np.asfortranarray(at), np.repeat(at, 2, axis=1)[:, ::2], unaligned, read_only, at.tolist()):
            assert_array_equal(function(target, other, reduction="none"), expected)
        assert_array_equal(function(target[::-1], at[::-1], reduction="none"), expected[::-1])

    def test_arguments_are_not_changed(self):
        arrays = [TARGET.copy(), PROB.copy(), WEIGHT.copy()]
        for function in OF_PROB + OF_LOGITS:
            function(*arrays[:2], sample_weight=arrays[2])
        for array, original in zip(arrays, [TARGET, PROB, WEIGHT], strict=True):
            assert_array_equal(array, original)


class TestErrors:
    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    @pytest.mark.parametrize("bad", [-1e-300, 1.0000001, np.nan, np.inf])
    def test_targets_outside_the_unit_interval(self, function, bad):
        with pytest.raises(ValueError, match="target must lie in"):
            function([0.5, bad], [0.5, 0.5])

    @pytest.mark.parametrize("function", OF_PROB)
    @pytest.mark.parametrize("bad", [-5e-324, 1.0000001, np.nan, -np.inf])
    def test_probabilities_outside_the_unit_interval(self, function, bad):
        with pytest.raises(ValueError, match="prob must lie in"):
            function([0.5, 0.5], [0.5, bad])

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    @pytest.mark.parametrize("bad", [-1e-300, np.nan, np.inf])
    def test_bad_weights(self, function, bad):
        with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
            function([0.5, 1], [0.5, 0.5], sample_weight=[1.0, bad])

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_no_mean_without_weight(self, function):
        for weight in ([0.0, 0.0], [1e308, 1e308]):
            with pytest.raises(ValueError, match="total weight"):
                function([0.5, 1], [0.5, 0.5], sample_weight=weight)
        with pytest.raises(ValueError, match="total weight"):
            function([], [])
        assert np.sum(function([], [], reduction="sum")) == 0.0

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_shapes_that_do_not_fit(self, function):
        with pytest.raises(ValueError, match=r"target, .* do not broadcast"):
            function(np.zeros(3), np.zeros(2))
        with pytest.raises(ValueError, match="sample_weight do not broadcast"):
            function(np.zeros(3), np.zeros(3), sample_weight=np.ones(2))

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_masked_values(self, function):
        values, masked = np.full(3, 0.5), np.ma.masked_array(np.full(3, 0.5), mask=[True, False, False])
        name = "prob" if function in OF_PROB else "logits"
        for arguments, weight, at_fault in (
            ((masked, values), None, "target"),
            ((values, masked), None, name),
            ((values, values), masked, "sample_weight"),
        ):
            with pytest.raises(ValueError, match=f"Input {at_fault} has masked values"):
                function(*arguments, sample_weight=weight)
        nothing_masked = np.ma.masked_array(values)
        assert_array_equal(function(nothing_masked, nothing_masked), function(values, values))

    def test_masked_values_of_linear_models(self):
        X, target, coef = np.eye(2), [0, 1], [1.0, 2.0]
        for function in (coef_grad, input_grad):
            for name, arguments in (
                ("X", (np.ma.masked_equal(X, 1.0), target, coef)),
                ("target", (X, np.ma.masked_equal(target, 1), coef)),
                ("coef", (X, target, np.ma.masked_equal(coef, 1.0))),
                ("intercept", (X, target, coef, np.ma.masked_equal([1.0], 1.0))),
            ):
                with pytest.raises(ValueError, match=f"Input {name} has masked values"):
                    function(*arguments)
        for function in (sigmoid, sigmoid_grad):
            with pytest.raises(ValueError, match="Input logits has masked values"):
                function(np.ma.masked_equal(coef, 1.0))

    @pytest.mark.parametrize("function", OF_PROB + OF_LOGITS)
    def test_unknown_reduction(self, function):
        with pytest.raises(ValueError, match="reduction must be"):
            function(0.5, 0.5, reduction="average")
        with pytest.raises(ValueError, match="reduction must be"):
            coef_grad(np.eye(2), [0, 1], np.ones(2), reduction="average")

    @pytest.mark.parametrize("bad", [np.array([0.5 + 0j]), ["0.5"], [None], np.array(["2020-01-01"], "M8[D]")])
    def test_not_real_numbers(self, bad):
        for call in (
            lambda: sigmoid(bad),
            lambda: sigmoid_grad(bad),
            lambda: bce_with_logits(bad, 0.5),
            lambda: bce([0.5], bad),
            lambda: bce([0.5], [0.5], sample_weight=bad),
            lambda: coef_grad(np.atleast_2d(bad), [0.5], [1.0]),
            lambda: coef_grad([[1.0]], [0.5], bad),
            lambda: input_grad([[1.0]], [0.5], [1.0], bad),
        ):
            with pytest.raises(ValueError, match="must hold real numbers"):
                call()

    @pytest.mark.parametrize("function", [coef_grad, input_grad])
    def test_shapes_around_a_matrix(self, function):
        X, target, coef = np.ones((3, 2)), np.ones(3), np.ones(2)
        for arguments, name in [
            ((np.ones(3), target, coef), "X"),
            ((np.ones((0, 2)), target, coef), "X"),
            ((sp.csr_array((0, 2)), target, coef), "X"),
            ((sp.csr_array((3, 0)), target, coef), "X"),
            ((X, np.ones(2), coef), "target"),
            ((X, np.ones((3, 1)), coef), "target"),
            ((X, target, np.ones(3)), "coef"),
            ((X, target, np.ones((2, 1))), "coef"),
            ((X, target, coef, np.ones(2)), "intercept"),
        ]:
            with pytest.raises(ValueError, match=f"{name} must have"):
                function(*arguments)
        with pytest.raises(ValueError, match="sample_weight must have the shape"):
            function(X, target, coef, sample_weight=np.ones(2))
        with pytest.raises(ValueError, match="target must lie in"):
            function(X, 2 * target, coef)
        with pytest.raises(ValueError, match="sample_weight must be finite"):
            function(X, target, coef, sample_weight=-target)
        with pytest.raises(ValueError, match="total weight"):
            function(X, target, coef, sample_weight=0 * target)


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "rows of a wider array": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "every other row and column": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "CSR": sp.csr_array,
    "CSR matrix": sp.csr_matrix,
    "CSC": sp.csc_array,
    "COO": sp.coo_array,
}


class TestLinearModel:
    """`coef_grad` and `input_grad` against Xᵀ(ŷ - p) and (ŷ - p) wᵀ in plain NumPy."""

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("n_samples", [11, 2500])
    def test_gradients(self, layout, dtype, weighted, n_samples):
        rng = np.random.default_rng(4)
        n, d = n_samples, 13
        dense = (rng.normal(size=(n, d)) * (rng.uniform(size=(n, d)) < 0.6)).astype(dtype)
        X = LAYOUTS[layout](dense)
        coef, intercept, target = rng.normal(size=d), 0.3, rng.uniform(size=n)
        weight = rng.uniform(size=n) if weighted else None
        residual = 1 / (1 + np.exp(-(dense.astype(float) @ coef + intercept))) - target
        tolerance = {"rtol": 1e-6, "atol": 1e-7} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
        for reduction in REDUCTIONS:
            options = {"sample_weight": weight, "reduction": reduction}
            scaled = scale_of(weight, reduction, n) * residual
            coef_gradient, intercept_gradient = coef_grad(X, target, coef, intercept, **options)
            assert coef_gradient.dtype == intercept_gradient.dtype == dtype
            if reduction == "none":
                assert sp.issparse(coef_gradient) == sp.issparse(X)
                assert coef_gradient.shape == (n, d)
                in_full = coef_gradient.toarray() if sp.issparse(X) else coef_gradient
                assert_allclose(in_full, scaled[:, None] * dense, **tolerance)
                assert_allclose(intercept_gradient, scaled, **tolerance)
            else:
                assert coef_gradient.shape == (d,)
                assert type(intercept_gradient) is dtype
                assert_allclose(coef_gradient, dense.T.astype(float) @ scaled, **tolerance)
                assert_allclose(intercept_gradient, scaled.sum(), **tolerance)
            input_gradient = input_grad(X, target, coef, intercept, **options)
            assert isinstance(input_gradient, np.ndarray)
            assert input_gradient.dtype == dtype
            assert_allclose(input_gradient, np.outer(scaled, coef), **tolerance)

    def test_gradients_of_samples_add_up(self):
        rng = np.random.default_rng(5)
        X, coef = rng.normal(size=(40, 3)), rng.normal(size=3)
        target, weight = rng.uniform(size=40), rng.uniform(size=40)
        each = coef_grad(X, target, coef, 0.1, sample_weight=weight, reduction="none")
        total = coef_grad(X, target, coef, 0.1, sample_weight=weight, reduction="sum")
        mean = coef_grad(X, target, coef, 0.1, sample_weight=weight)
        for of_each, of_total, of_mean in zip(each, total, mean, strict=True):
            assert_allclose(of_each.sum(axis=0), of_total, rtol=1e-12)
            assert_allclose(of_total / weight.sum(), of_mean, rtol=1e-14)

    def test_shapes_of_scikit_learn_estimators(self):
        X, target = np.arange(6.0).reshape(3, 2), np.array([0, 1, 1])
        coef, intercept = np.array([[0.5, -1.0]]), np.array([0.25])
        for function in (coef_grad, input_grad):
            expected = function(X, target, coef[0], 0.25)
            for value, wanted in zip(function(X, target, coef, intercept), expected, strict=True):
                assert_array_equal(value, wanted)

    @pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16, ">f8", ">f4"])
    def test_other_dtypes(self, dtype):
        X = np.array([[0, 1], [1, 1], [1, 0]], dtype=dtype)
        target, coef = np.array([0, 1, 1]), np.array([2, -1])
        as_native = X.astype(np.float32 if dtype == ">f4" else np.float64)
        for Z in (X, sp.csr_array(as_native).astype(dtype) if dtype not in (np.float16, ">f8", ">f4") else X.tolist()):
            assert_allclose(coef_grad(Z, target, coef)[0], coef_grad(as_native, target, coef)[0], rtol=1e-7)
            assert_allclose(input_grad(Z, target, coef), input_grad(as_native, target, coef), rtol=1e-7)
        assert coef_grad(X, target, coef)[0].dtype == as_native.dtype

    def test_last_layer_of_a_network(self):
        """Backpropagation through a hidden layer: `input_grad` is what the chain rule hands on."""
        rng = np.random.default_rng(6)
        inputs, hidden_coef, coef = rng.normal(size=(20, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
        target = rng.integers(0, 2, size=20)

        def loss(hidden_coef):
            return bce_with_logits(target, np.tanh(inputs @ hidden_coef) @ coef + 0.2)

        hidden = np.tanh(inputs @ hidden_coef)
        gradient = inputs.T @ (input_grad(hidden, target, coef, 0.2) * (1 - hidden**2))
        assert_allclose(gradient, central_differences(loss, hidden_coef), rtol=1e-7, atol=1e-10)

    def test_gradient_descent_step_lowers_the_loss(self):
        """``w <- w - α dJ/dw`` of [1]."""
        rng = np.random.default_rng(7)
        X, coef, intercept = rng.normal(size=(50, 3)), np.zeros(3), 0.0
        target = (X[:, 0] + 0.1 * rng.normal(size=50) > 0).astype(float)
        losses = []
        for _ in range(20):
            losses.append(bce_with_logits(target, X @ coef + intercept))
            coef_gradient, intercept_gradient = coef_grad(X, target, coef, intercept)
            coef, intercept = coef - 0.5 * coef_gradient, intercept - 0.5 * intercept_gradient
        assert losses[0] == pytest.approx(np.log(2))
        assert np.all(np.diff(losses) < 0)

    def test_nan_is_handed_on(self):
        X = np.array([[1.0, np.nan], [1.0, 2.0]])
        coef_gradient, intercept_gradient = coef_grad(X, [0, 1], [1.0, 1.0])
        assert np.isnan(coef_gradient).all()
        assert np.isnan(intercept_gradient)
        assert_array_equal(np.isnan(input_grad(X, [0, 1], [1.0, 1.0])), [[True, True], [False, False]])


logits_strategy = st.floats(-1e300, 1e300)
targets = st.floats(0.0, 1.0)
on_any_machine = settings(deadline=None)
ROUNDED_UP = 1 + 2 * np.finfo(float).eps


class TestProperties:
    @on_any_machine
    @given(targets, st.floats(-8.0, 8.0))
    def test_loss_of_logits_is_loss_of_their_sigmoid(self, target, logit):
        """Where 1 - σ(u) has digits left: its relative error is that of σ(u), 1e-16, times e^8."""
        assert_allclose(bce_with_logits(target, logit), bce(target, sigmoid(logit)), rtol=1e-11)

    @on_any_machine
    @given(targets.map(lambda p: 1.0 - p), logits_strategy)
    def test_symmetry(self, target, logit):
        """L(u, p) = L(-u, 1 - p), bit for bit where 1 - p is exact in both directions."""
        mirrored = 1.0 - target
        if 1.0 - mirrored == target:
            assert bce_with_logits(target, logit) == bce_with_logits(mirrored, -logit)
            assert bce_with_logits_grad(target, logit) == -bce_with_logits_grad(mirrored, -logit)
            assert bce_with_logits_hess(target, logit) == bce_with_logits_hess(mirrored, -logit)

    @on_any_machine
    @given(logits_strategy)
    def test_the_two_probabilities_add_to_one(self, logit):
        assert_allclose(sigmoid(logit) + sigmoid(-logit), 1.0, rtol=3e-16)

    @on_any_machine
    @given(targets, logits_strategy)
    def test_bounds(self, target, logit):
        """To one rounding: s = 1 / (1 + e) may be rounded up where e s = 1/2."""
        loss, slope, curvature = (function(target, logit) for function in OF_LOGITS)
        assert 0.0 <= loss < np.inf
        assert -target * ROUNDED_UP <= slope <= (1.0 - target) * ROUNDED_UP
        assert 0.0 <= curvature <= 0.25 * ROUNDED_UP

    @on_any_machine
    @given(targets, logits_strategy)
    def test_least_loss_is_the_targets_entropy(self, target, logit):
        assert bce_with_logits(target, logit) >= bce(target, target) * (1 - 1e-15)


def test_examples():
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
