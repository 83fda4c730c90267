"""The kernels' accuracy, in units in the last place (ulp), on every instruction set of this machine.

An ulp is the spacing of the floating-point numbers at the true value, so it is well defined for subnormal results and
for zero. True values are pairs of float64, ``high + low``. They come from the textbook formulae in mpmath, with so many
bits that their cancellation and overflow do not matter, and, for many logits, from 80-bit arithmetic.
"""

import mpmath as mp
import numpy as np
import pytest
from scipy.special import expit

from fastlogreg.bce import bce_with_logits, bce_with_logits_grad, bce_with_logits_hess, sigmoid, sigmoid_grad

MAX_ULP = 4.0
TARGETS = [0.0, 1.0, 1e-12, 0.3]
SIZES = [1e-300, 1e-8, 1.0, 18.0, 37.0, 40.0, 709.0, 750.0, 1e300]
GRID = np.array([0.0] + [sign * size for size in SIZES for sign in (1.0, -1.0)])

# log(1 + e^u) - u at u = 1e300 (2^997) is to be right to the smallest subnormal number, 2^-1074, and beyond.
BITS = 2400


def logits_of_all_sizes(n, seed):
    """Random logits: as a fit meets them, up to the end of float64's precision, and past that of its exponents."""
    rng = np.random.default_rng(seed)
    near, far = int(0.4 * n), int(0.3 * n)
    return np.concatenate(
        [3 * rng.normal(size=near), rng.uniform(-40, 40, size=far), rng.uniform(-750, 750, size=n - near - far)]
    )


def logits_near_zeros_of_residuals(n, seed):
    """Random logits as near as float64 can be to log(p / (1 - p)), where σ(u) - p vanishes, for every soft target."""
    rng = np.random.default_rng(seed)
    zeros = np.array([np.log(p) - np.log1p(-p) for p in TARGETS if 0 < p < 1])
    distance = rng.choice([-1.0, 1.0], size=n) * 10 ** rng.uniform(-17, 0, size=n)
    return np.multiply.outer(zeros, 1 + distance).ravel()


class HighPrecision:
    """The formulae as the sources state them, in mpmath."""

    residual_floor = 2.0**-48  # the kernel's pairs of float64 leave some 2^-100 of the terms

    def __init__(self, logits):
        self.logits = logits
        with mp.workprec(BITS):
            self.u = [mp.mpf(float(u)) for u in logits]
            exp = [mp.exp(u) for u in self.u]
            self.softplus = [mp.log(1 + e) for e in exp]
            self.prob = [e / (1 + e) for e in exp]

    def sigmoid(self):
        return self._pairs(self.prob)

    def curvature(self):
        with mp.workprec(BITS):
            return self._pairs([y * (1 - y) for y in self.prob])

    def loss(self, target):
        with mp.workprec(BITS):
            return self._pairs([f - mp.mpf(target) * u for f, u in zip(self.softplus, self.u, strict=True)])

    def residual(self, target):
        with mp.workprec(BITS):
            return self._pairs([y - mp.mpf(target) for y in self.prob])

    @staticmethod
    def _pairs(values):
        high = np.array([float(value) for value in values])
        with mp.workprec(BITS):
            low = np.array([float(value - float(value)) for value in values])
        return high, low


class ExtendedPrecision:
    """The formulae for labels without cancellation, in 80-bit arithmetic: errors of 2^-63, a thousandth of an ulp."""

    residual_floor = 1.0  # where the terms of a soft target's residual cancel, this reference knows no more

    def __init__(self, logits):
        self.logits = logits
        self.size = np.abs(logits.astype(np.longdouble))
        self.positive = logits >= 0
        self.e = np.exp(-self.size)
        self.s = 1 / (1 + self.e)

    def sigmoid(self):
        return self._pairs(np.where(self.positive, self.s, self.e * self.s))

    def curvature(self):
        return self._pairs(self.e * self.s * self.s)

    def loss(self, target):
        p = np.longdouble(target)
        return self._pairs(np.log1p(self.e) + self.size * np.where(self.positive, 1 - p, p))

    def residual(self, target):
        p = np.longdouble(target)
        return self._pairs(self.s * np.where(self.positive, (1 - p) - p * self.e, (1 - p) * self.e - p))

    @staticmethod
    def _pairs(values):
        high = values.astype(np.float64)
        return high, (values - high).astype(np.float64)


def spacing(values, dtype):
    return np.spacing(np.abs(values).astype(dtype)).astype(np.float64)


def residual_spacing(reference, target, dtype):
    """What the error of a residual is measured in: its own spacing for labels.

    The terms (1 - p) σ(u) and p σ(-u) of a soft target's residual cancel where σ(u) is near p. There the unit is no
    less than the spacing of the larger term times the reference's `residual_floor`.
    """
    own = spacing(reference.residual(target)[0], dtype)
    if target in (0.0, 1.0):
        return own
    prob, complement = expit(reference.logits.astype(np.float64)), expit(-reference.logits.astype(np.float64))
    larger = spacing(np.maximum((1 - target) * prob, target * complement), dtype)
    return np.maximum(own, reference.residual_floor * larger)


def largest_error(values, exact, unit=None):
    high, low = exact
    unit = spacing(high, values.dtype) if unit is None else unit
    return np.max(np.abs((values - high) - low) / unit)


def check_all(reference):
    """Every quantity at the reference's logits, and in their dtype."""
    logits, dtype = reference.logits, reference.logits.dtype
    errors = {
        "sigmoid": largest_error(sigmoid(logits), reference.sigmoid()),
        "sigmoid_grad": largest_error(sigmoid_grad(logits), reference.curvature()),
    }
    for target in TARGETS:
        loss, residual, curvature = (
            function(target, logits, reduction="none")
            for function in (bce_with_logits, bce_with_logits_grad, bce_with_logits_hess)
        )
        assert loss.dtype == residual.dtype == curvature.dtype == dtype
        unit = residual_spacing(reference, target, dtype)
        errors["loss", target] = largest_error(loss, reference.loss(target))
        errors["residual", target] = largest_error(residual, reference.residual(target), unit)
        errors["curvature", target] = largest_error(curvature, reference.curvature())
    assert {name: error for name, error in errors.items() if not error <= MAX_ULP} == {}


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def high_precision(request):
    """The grid and some thousand random logits; float32 cannot hold the largest of the grid."""
    logits = np.concatenate([GRID, logits_of_all_sizes(2000, seed=0), logits_near_zeros_of_residuals(500, seed=2)])
    logits = logits[np.abs(logits) < np.finfo(request.param).max].astype(request.param)
    return HighPrecision(logits)


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def extended_precision(request):
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("long double is no wider than double here")
    return ExtendedPrecision(logits_of_all_sizes(1_000_000, seed=1).astype(request.param))


def test_grid_and_thousands_of_logits(isa, high_precision):
    check_all(high_precision)


def test_a_million_logits(isa, extended_precision):
    check_all(extended_precision)


def test_references_agree(high_precision):
    """To a hundredth of an ulp, so the million logits are held to the same measure."""
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("long double is no wider than double here")
    extended = ExtendedPrecision(high_precision.logits)
    pairs = [
        (extended.sigmoid(), high_precision.sigmoid(), None),
        (extended.curvature(), high_precision.curvature(), None),
    ]
    for target in TARGETS:
        unit = residual_spacing(extended, target, np.float64)
        pairs.append((extended.loss(target), high_precision.loss(target), None))
        pairs.append((extended.residual(target), high_precision.residual(target), unit))
    for (high, low), exact, unit in pairs:
        assert largest_error(high, (exact[0], exact[1] - low), unit) <= 0.01


def test_finite_for_every_finite_logit(isa):
    """Exponents from the smallest subnormal number to the largest number, with soft targets as small."""
    sizes = np.ldexp(1.0, np.arange(-1074, 1024))
    logits = np.concatenate([sizes, -sizes, [np.finfo(float).max, -np.finfo(float).max, 0.0, -0.0]])
    for target in (0.0, 5e-324, 1e-300, 0.5, np.nextafter(1.0, 0.0), 1.0):
        for function in (bce_with_logits, bce_with_logits_grad, bce_with_logits_hess):
            assert np.all(np.isfinite(function(target, logits, reduction="none")))
    assert np.all((sigmoid(logits) >= 0) & (sigmoid(logits) <= 1))
