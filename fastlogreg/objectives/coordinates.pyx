"""The change of variables between coefficients and the parameters that solvers see.

Which variables these are is said in `fastlogreg.objectives.objective`.
"""

import numpy as np

from libc.math cimport isfinite, sqrt


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

    @property
    def scale(self):
        """The inverse scales of the columns, and of the intercept where there is one: (d + 1,) or (d,)."""
        cdef Py_ssize_t d = self._inverse_scale.shape[0]
        scale = np.full(d + self.fit_intercept, self.inverse_intercept_scale)
        scale[:d] = self.inverse_scale
        return scale

    def of_columns(self, columns):
        """The coordinates of some of the columns."""
        return Coordinates(self.center[columns], self.inverse_scale[columns], self.inverse_intercept_scale,
                           self.fit_intercept)

    @classmethod
    def standardized(cls, mean, variance, double curvature, const double[::1] of_penalty, bint fit_intercept,
                     bint keep_constant=False):
        """The coordinates for columns with these means and variances (d,), the loss's `curvature` at the start and the
        penalty's curvatures `of_penalty` (d,): see `fastlogreg.objectives.objective`. Not finite where the moments are
        not.

        A column that does not vary has the inverse scale zero, and so the coefficient zero; with `keep_constant`, which
        a penalty about another centre needs, it has the penalty's scale where there is one.
        """
        cdef const double[::1] mean_ = mean, variance_ = variance
        cdef Py_ssize_t d = mean_.shape[0], j
        center_array, inverse_scale_array = np.zeros(d), np.zeros(d)
        cdef double[::1] center = center_array, inverse_scale = inverse_scale_array
        cdef double square
        for j in range(d):
            if fit_intercept:
                center[j] = mean_[j]
            square = variance_[j] if fit_intercept else variance_[j] + mean_[j] * mean_[j]
            if not square <= 0:  # NaN neither
                inverse_scale[j] = 1.0 / sqrt(curvature * square + of_penalty[j]) + 0.0 * square
            elif keep_constant and of_penalty[j] > 0:
                inverse_scale[j] = 1.0 / sqrt(of_penalty[j])
        return cls(center_array, inverse_scale_array, 1.0 / sqrt(curvature), fit_intercept)

    @property
    def finite(self):
        """Whether all centers and inverse scales are finite."""
        cdef Py_ssize_t j
        for j in range(self._center.shape[0]):
            if not (isfinite(self._center[j]) and isfinite(self._inverse_scale[j])):
                return False
        return True

    def to_coef(self, const double[::1] parameters):
        """Coefficients (K, d) and intercepts (K,) of the parameters."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, K = parameters.shape[0] // width
        coef_array = np.empty((K, d))
        cdef double[:, ::1] coef = coef_array
        intercept_array = np.zeros(K)
        cdef double[::1] intercept = intercept_array
        cdef const double *row = &parameters[0]
        cdef double of_center
        cdef Py_ssize_t k, j
        for k in range(K):
            of_center = 0.0
            for j in range(d):
                coef[k, j] = row[j] * self._inverse_scale[j]
                of_center += coef[k, j] * self._center[j]
            if self.fit_intercept:
                intercept[k] = row[d] * self.inverse_intercept_scale - of_center
            row += width
        return coef_array, intercept_array

    def from_coef(self, const double[:, :] coef, const double[:] intercept):
        """Parameters of the coefficients (K, d) and intercepts (K,): `to_coef` undone."""
        cdef Py_ssize_t d = self._center.shape[0], width = d + self.fit_intercept, k, j
        if coef.shape[1] != d or intercept.shape[0] != coef.shape[0]:
            raise ValueError(
                f"coef {coef.shape[0]} x {coef.shape[1]} and intercept {intercept.shape[0]} do not fit {d} features"
            )
        parameters_array = np.zeros((coef.shape[0], width))
        cdef double[:, ::1] parameters = parameters_array
        cdef double of_center
        for k in range(coef.shape[0]):
            of_center = 0.0
            for j in range(d):
                if self._inverse_scale[j] > 0:
                    parameters[k, j] = coef[k, j] / self._inverse_scale[j]
                    of_center += coef[k, j] * self._center[j]
            if self.fit_intercept:
                parameters[k, d] = (intercept[k] + of_center) / self.inverse_intercept_scale
        return parameters_array.ravel()

    def gradient(self, const double[:, ::1] of_coef, const double[::1] of_intercept, double factor):
        """`factor` times the gradient in the parameters, from that in coefficients (K, d) and intercepts (K,)."""
        cdef Py_ssize_t d = self._center.shape[0], K = of_coef.shape[0], k, j, i = 0
        gradient_array = np.empty(K * (d + self.fit_intercept))
        cdef double[::1] gradient = gradient_array
        for k in range(K):
            for j in range(d):
                gradient[i] = factor * self._inverse_scale[j] * (of_coef[k, j] - of_intercept[k] * self._center[j])
                i += 1
            if self.fit_intercept:
                gradient[i] = factor * self.inverse_intercept_scale * of_intercept[k]
                i += 1
        return gradient_array

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
