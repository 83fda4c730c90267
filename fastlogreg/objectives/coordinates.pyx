"""The change of variables between coefficients and the parameters that solvers see: see `fastlogreg.objectives.binary`."""

import numpy as np

from libc.math cimport isfinite, sqrt


cdef class Coordinates:
    """Centers and inverse scales of the columns, and the inverse scale of the intercept.

    For K outputs of d features the parameters are K rows of d coefficients, with the intercept behind them where there
    is one, in one flat vector.
    """

    def __init__(self, center, inverse_scale, double inverse_intercept_scale, bint fit_intercept):
        self.center, self.inverse_scale = self._center, self._inverse_scale = center, inverse_scale
        self.inverse_intercept_scale = inverse_intercept_scale
        self.fit_intercept = fit_intercept

    @property
    def scale(self):
        """The inverse scales of the columns and of the intercept, where there is one (d + 1,) or (d,)."""
        cdef Py_ssize_t d = self._inverse_scale.shape[0]
        scale = np.full(d + self.fit_intercept, self.inverse_intercept_scale)
        scale[:d] = self.inverse_scale
        return scale

    def of_columns(self, columns):
        """The coordinates of some of the columns."""
        return Coordinates(self.center[columns], self.inverse_scale[columns], self.inverse_intercept_scale,
                           self.fit_intercept)

    def ridge(self, double l2, Py_ssize_t n_outputs):
        """The penalty's curvature in each parameter (K (d + 1),) or (K d,)."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, k, j
        cdef double[::1] ridge = np.zeros(n_outputs * width)
        for k in range(n_outputs):
            for j in range(d):
                ridge[k * width + j] = l2 * self._inverse_scale[j] * self._inverse_scale[j]
        return ridge.base

    @classmethod
    def standardized(cls, mean, variance, double curvature, double l2, bint fit_intercept):
        """Those of columns with these means and variances (d,), and `curvature` of the loss: see
        `fastlogreg.objectives.binary`. Not finite where the moments are not."""
        cdef const double[::1] mean_ = mean, variance_ = variance
        cdef Py_ssize_t d = mean_.shape[0], j
        cdef double[::1] center = np.zeros(d), inverse_scale = np.zeros(d)
        cdef double square
        for j in range(d):
            if fit_intercept:
                center[j] = mean_[j]
            square = variance_[j] if fit_intercept else variance_[j] + mean_[j] * mean_[j]
            if not square <= 0:  # NaN neither
                inverse_scale[j] = 1.0 / sqrt(curvature * square + l2) + 0.0 * square
        return cls(center.base, inverse_scale.base, 1.0 / sqrt(curvature), fit_intercept)

    @property
    def finite(self):
        """Whether all of them are."""
        cdef Py_ssize_t j
        for j in range(self._center.shape[0]):
            if not (isfinite(self._center[j]) and isfinite(self._inverse_scale[j])):
                return False
        return True

    def to_coef(self, const double[::1] parameters):
        """Coefficients (K, d) and intercepts (K,) of the parameters."""
        cdef Py_ssize_t d = self._center.shape[0], K = parameters.shape[0] // (d + self.fit_intercept)
        cdef double[:, ::1] coef = np.empty((K, d))
        cdef double[::1] intercept = np.empty(K)
        self.write_coef(K, &parameters[0], &coef[0, 0], &intercept[0])
        return coef.base, intercept.base

    cdef void write_coef(self, Py_ssize_t n_outputs, const double *parameters, double *coef,
                         double *intercept) noexcept nogil:
        cdef Py_ssize_t d = self._center.shape[0], k, j
        cdef double of_center
        for k in range(n_outputs):
            of_center = 0.0
            for j in range(d):
                coef[j] = parameters[j] * self._inverse_scale[j]
                of_center += coef[j] * self._center[j]
            intercept[k] = parameters[d] * self.inverse_intercept_scale - of_center if self.fit_intercept else 0.0
            coef += d
            parameters += d + self.fit_intercept

    def from_coef(self, const double[:, :] coef, const double[:] intercept):
        """Parameters of the coefficients (K, d) and intercepts (K,): `to_coef` undone."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, k, j
        cdef double[:, ::1] parameters = np.zeros((coef.shape[0], width))
        cdef double of_center
        for k in range(coef.shape[0]):
            of_center = 0.0
            for j in range(d):
                if self._inverse_scale[j] > 0:
                    parameters[k, j] = coef[k, j] / self._inverse_scale[j]
                    of_center += coef[k, j] * self._center[j]
            if self.fit_intercept:
                parameters[k, d] = (intercept[k] + of_center) / self.inverse_intercept_scale
        return parameters.base.ravel()

    def gradient(self, const double[:, ::1] of_coef, const double[::1] of_intercept, double factor,
                 const double[::1] ridge, const double[::1] parameters):
        """A gradient in the coefficients (K, d) and intercepts (K,) as `factor` times one in the parameters, plus
        ``ridge * parameters``."""
        cdef Py_ssize_t K = of_coef.shape[0]
        cdef double[::1] gradient = np.empty(parameters.shape[0])
        self.write_gradient(K, &of_coef[0, 0], &of_intercept[0], factor, &ridge[0], &parameters[0], &gradient[0])
        return gradient.base

    cdef void write_gradient(self, Py_ssize_t n_outputs, const double *of_coef, const double *of_intercept,
                             double factor, const double *ridge, const double *parameters,
                             double *gradient) noexcept nogil:
        cdef Py_ssize_t d = self._center.shape[0], k, j, i = 0
        for k in range(n_outputs):
            for j in range(d):
                gradient[i] = (
                    factor * self._inverse_scale[j] * (of_coef[k * d + j] - of_intercept[k] * self._center[j])
                    + ridge[i] * parameters[i])
                i += 1
            if self.fit_intercept:
                gradient[i] = factor * self.inverse_intercept_scale * of_intercept[k]
                i += 1

    def gram(self, const double[:, ::1] centered, double factor, const double[::1] ridge=None):
        """`factor` times a Gram matrix of centered columns and ones (d + 1, d + 1), in the parameters of one output,
        plus `ridge` on the diagonal."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, i, j
        gram = np.empty((width, width))
        cdef double[:, ::1] gram_ = gram
        cdef double scale
        for i in range(width):
            scale = factor * (self._inverse_scale[i] if i < d else self.inverse_intercept_scale)
            for j in range(d):
                gram_[i, j] = scale * self._inverse_scale[j] * centered[i, j]
            if self.fit_intercept:
                gram_[i, d] = scale * self.inverse_intercept_scale * centered[i, d]
            if ridge is not None:
                gram_[i, i] += ridge[i]
        return gram


cpdef double half_square(const double[::1] ridge, const double[::1] parameters) noexcept:
    """``ridge / 2 . parameters^2``."""
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(parameters.shape[0]):
        total += ridge[i] * parameters[i] * parameters[i]
    return 0.5 * total


def half_square_on_line(const double[::1] ridge, const double[::1] start, const double[::1] end, double t):
    """`half_square` at ``start + t (end - start)``, and its first and second derivative in t."""
    cdef double value = 0.0, slope = 0.0, curvature = 0.0, step, at
    cdef Py_ssize_t i
    for i in range(start.shape[0]):
        step = end[i] - start[i]
        at = start[i] + t * step
        value += ridge[i] * at * at
        slope += ridge[i] * at * step
        curvature += ridge[i] * step * step
    return 0.5 * value, slope, curvature
