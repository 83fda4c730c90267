"""Extended precision: `numpy.longdouble` as x86 has it, with 64 bits of mantissa and exponents of 15 bits."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

REAL = np.longdouble
EPS = np.finfo(REAL).eps
# Where it is float64 by another name, or emulated, nothing here is as exact or as fast as it has to be.
IS_EXTENDED = np.finfo(REAL).nmant == 63


def exact_dot(a, w, b):
    """``a . w + b``, rounded once."""
    terms = (_fraction(x) * _fraction(v) for x, v in zip(a, w, strict=True) if x != 0 and v != 0)
    return _real(sum(terms, _fraction(b)))


def _fraction(x):
    mantissa, exponent = np.frexp(REAL(x))
    high = float(mantissa)
    return (Fraction(high) + Fraction(float(mantissa - REAL(high)))) * Fraction(2) ** int(exponent)


def _real(fraction):
    if fraction == 0:
        return REAL(0)
    exponent = fraction.numerator.bit_length() - fraction.denominator.bit_length()
    mantissa = fraction / Fraction(2) ** exponent
    high = float(mantissa)
    return np.ldexp(REAL(high) + REAL(float(mantissa - Fraction(high))), exponent)


@dataclass
class QR:
    """``A[:, columns] = Q R``, down to what was negligible: R (r, p), and Q (n, n) as its reflections."""

    R: np.ndarray
    columns: np.ndarray
    reflections: list
    n_rows: int

    def rotate(self, vectors):
        """``Q vectors``."""
        out = vectors.copy()
        for k in range(len(self.reflections) - 1, -1, -1):
            v = self.reflections[k]
            out[k:] -= 2 * np.outer(v, v @ out[k:])
        return out

    def basis(self):
        """The first r columns of Q."""
        unit = np.zeros((self.n_rows, len(self.R)), dtype=REAL)
        np.fill_diagonal(unit, 1)
        return self.rotate(unit)


def pivoted_qr(A, negligible):
    """Householder's `QR` of A (n, p), the column with the longest rest first, until no rest is longer than
    `negligible`.
    """
    A, columns, reflections = A.astype(REAL), np.arange(A.shape[1]), []
    for k in range(min(A.shape)):
        squares = np.sum(A[k:, k:] ** 2, axis=0)
        pivot = k + int(np.argmax(squares))
        length = np.sqrt(squares[pivot - k])
        if not length > negligible:
            break
        A[:, [k, pivot]] = A[:, [pivot, k]]
        columns[[k, pivot]] = columns[[pivot, k]]
        v = A[k:, k].copy()
        v[0] += length if v[0] >= 0 else -length
        v /= np.sqrt(np.sum(v**2))
        A[k:, k:] -= 2 * np.outer(v, v @ A[k:, k:])
        reflections.append(v)
    return QR(np.triu(A[: len(reflections)]), columns, reflections, len(A))
