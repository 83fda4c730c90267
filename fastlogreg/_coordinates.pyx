"""The change of variables between coefficients and the parameters that solvers see: see `fastlogreg._objective`."""

import numpy as np


cdef class Coordinates:
    """Centers and inverse scales of the columns, and the inverse scale of the intercept.

    For K outputs of d features the parameters are K rows of d coefficients, with the intercept behind them where there
    is one, in one flat vector.
    """

    cdef readonly object center
    cdef readonly object inverse_scale
    cdef readonly double inverse_intercept_scale
    cdef readonly bint fit_intercept
    cdef const double[::1] _center
    cdef const double[::1] _inverse_scale

    def __init__(self, center, inverse_scale, double inverse_intercept_scale, bint fit_intercept):
        self.center, self.inverse_scale = self._center, self._inverse_scale = center, inverse_scale
        self.inverse_intercept_scale = inverse_intercept_scale
        self.fit_intercept = fit_intercept

    def of_columns(self, columns):
        """The coordinates of some of the columns."""
        return Coordinates(self.center[columns], self.inverse_scale[columns], self.inverse_intercept_scale,
                           self.fit_intercept)

    def to_coef(self, const double[::1] parameters):
        """Coefficients (K, d) and intercepts (K,) of the parameters."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, k, j
        cdef Py_ssize_t K = parameters.shape[0] // width
        cdef double[:, ::1] coef = np.empty((K, d))
        cdef double[::1] intercept = np.zeros(K)
        cdef double of_center
        for k in range(K):
            of_center = 0.0
            for j in range(d):
                coef[k, j] = parameters[k * width + j] * self._inverse_scale[j]
                of_center += coef[k, j] * self._center[j]
            if self.fit_intercept:
                intercept[k] = parameters[k * width + d] * self.inverse_intercept_scale - of_center
        return coef.base, intercept.base

    def from_coef(self, coef, intercept):
        """Parameters of the coefficients (K, d) and intercepts (K,): `to_coef` undone."""
        kept = self.inverse_scale > 0
        parameters = np.divide(coef, self.inverse_scale, out=np.zeros_like(coef), where=kept)
        if self.fit_intercept:
            of_center = np.where(kept, coef, 0.0) @ self.center
            parameters = np.column_stack([parameters, (intercept + of_center) / self.inverse_intercept_scale])
        return parameters.ravel()

    def gradient(self, const double[:, ::1] of_coef, const double[::1] of_intercept, double factor,
                 const double[::1] ridge, const double[::1] parameters):
        """A gradient in the coefficients (K, d) and intercepts (K,) as `factor` times one in the parameters, plus
        ``ridge * parameters``."""
        cdef Py_ssize_t K = of_coef.shape[0], d = of_coef.shape[1], width = d + self.fit_intercept, k, j, i
        cdef double[::1] gradient = np.empty(K * width)
        for k in range(K):
            for j in range(d):
                i = k * width + j
                gradient[i] = (factor * self._inverse_scale[j] * (of_coef[k, j] - of_intercept[k] * self._center[j])
                               + ridge[i] * parameters[i])
            if self.fit_intercept:
                i = k * width + d
                gradient[i] = factor * self.inverse_intercept_scale * of_intercept[k]
        return gradient.base

    def gram(self, const double[:, ::1] centered, double factor):
        """`factor` times a Gram matrix of centered columns and ones (d + 1, d + 1), in the parameters of one output."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, i, j
        cdef double[:, ::1] gram = np.empty((width, width))
        cdef const double[::1] scale = np.append(self.inverse_scale, self.inverse_intercept_scale)
        for i in range(width):
            for j in range(width):
                gram[i, j] = factor * scale[i] * scale[j] * centered[i, j]
        return gram.base


def half_square(const double[::1] ridge, const double[::1] parameters):
    """``ridge / 2 . parameters^2``."""
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(parameters.shape[0]):
        total += ridge[i] * parameters[i] * parameters[i]
    return 0.5 * total
