"""Quadratic penalties: L2, with a factor for each column and a centre other than zero where there are such."""

import numpy as np

from libc.math cimport INFINITY, fabs

# The part of the largest slope that a direction may leave as the residual of an unpenalised parameter: it then counts
# as rounding.
cdef double EXPLAINED = 1e-8
# The same for an estimate of the gap, where nothing is penalised.
cdef double NEARLY_EXPLAINED = 0.1


class Quadratic:
    """``strength / 2 sum_j factor_j |w_j - center_j|^2`` of the mean objective, w_j the coefficients of column j.

    Parameters
    ----------
    strength : float
        Zero stands for no penalty.
    factors : ndarray of shape (d,), default=None
        Not negative; None stands for ones.
    center : ndarray of shape (1, d) or (K, d), default=None
        What coefficients shrink to; None stands for zero. What its K rows have in common does not count, as adding one
        vector to the coefficients of all classes changes no probability.
    """

    is_smooth = True

    def __init__(self, strength, factors=None, center=None):
        self.strength, self.factors, self.center = float(strength), factors, center

    @property
    def is_zero(self):
        return self.strength == 0 or (self.factors is not None and not np.any(self.factors))

    @property
    def is_strict(self):
        return self.strength > 0 and (self.factors is None or bool(np.all(self.factors > 0)))

    @property
    def is_uniform(self):
        same = self.factors is None or len(self.factors) == 0 or bool(np.all(self.factors == self.factors[0]))
        return self.is_zero or (same and self.center is None)

    def of_columns(self, columns):
        """The penalty of some of the columns alone."""
        return Quadratic(
            self.strength,
            None if self.factors is None else self.factors[columns],
            None if self.center is None else self.center[:, columns],
        )

    def curvatures(self, n_features):
        """The penalty's curvature in the coefficients of each column (d,)."""
        return np.full(n_features, self.strength) * (1.0 if self.factors is None else self.factors)

    def in_parameters(self, coordinates, n_outputs, center=None):
        """The penalty of the parameters in these `Coordinates`, of `n_outputs` rows of coefficients; `center` (p,) is
        its own in the parameters.
        """
        cdef const double[::1] of_column = self.curvatures(len(coordinates.center))
        cdef const double[::1] inverse_scale = coordinates.inverse_scale
        cdef Py_ssize_t d = of_column.shape[0], width = d + coordinates.fit_intercept, k, j
        curvature_array = np.zeros(n_outputs * width)
        cdef double[::1] curvature = curvature_array
        for k in range(n_outputs):
            for j in range(d):
                curvature[k * width + j] = of_column[j] * inverse_scale[j] * inverse_scale[j]
        return QuadraticInParameters(
            curvature_array, center, is_strict=self.is_strict, is_uniform=self.is_uniform, is_zero=self.is_zero)


cdef class QuadraticInParameters:
    """``sum_i curvature_i / 2 (z_i - center_i)^2`` of parameters z: see `fastlogreg.penalties`.

    Attributes
    ----------
    curvature : ndarray of shape (p,)
    center : ndarray of shape (p,) or None
    """

    cdef readonly object curvature
    cdef readonly object center
    cdef readonly bint is_strict
    cdef readonly bint is_uniform
    cdef readonly bint is_zero
    cdef const double[::1] _curvature
    cdef const double[::1] _center
    is_smooth = True

    def __init__(self, curvature, center=None, *, bint is_strict, bint is_uniform=True, bint is_zero=False):
        self.curvature, self.center = curvature, center
        self._curvature, self._center = curvature, center
        self.is_strict, self.is_uniform, self.is_zero = is_strict, is_uniform, is_zero

    cdef inline double _from_center(self, const double[::1] parameters, Py_ssize_t i) noexcept:
        return parameters[i] if self._center is None else parameters[i] - self._center[i]

    def value(self, const double[::1] parameters):
        cdef double total = 0.0, at
        cdef Py_ssize_t i
        for i in range(parameters.shape[0]):
            at = self._from_center(parameters, i)
            total += self._curvature[i] * at * at
        return 0.5 * total

    def add_gradient(self, const double[::1] parameters, double[::1] gradient):
        """Add its slope at the parameters to `gradient`, in place."""
        cdef Py_ssize_t i
        for i in range(parameters.shape[0]):
            gradient[i] += self._curvature[i] * self._from_center(parameters, i)

    def add_product(self, const double[::1] direction, double[::1] product):
        """Add its Hessian's product with a direction to `product`, in place."""
        cdef Py_ssize_t i
        for i in range(direction.shape[0]):
            product[i] += self._curvature[i] * direction[i]

    def on_line(self, const double[::1] start, const double[::1] end, double t):
        """The value at ``start + t (end - start)``, and its first and second derivative in t."""
        cdef double value = 0.0, slope = 0.0, curvature = 0.0, step, at
        cdef Py_ssize_t i
        for i in range(start.shape[0]):
            step = end[i] - start[i]
            at = self._from_center(start, i) + t * step
            value += self._curvature[i] * at * at
            slope += self._curvature[i] * at * step
            curvature += self._curvature[i] * step * step
        return 0.5 * value, slope, curvature

    def prox(self, parameters, double step):
        """The minimiser of ``value(x) + |x - parameters|^2 / (2 step)``."""
        pull = step * self.curvature
        center = 0.0 if self.center is None else self.center
        return (parameters + pull * center) / (1.0 + pull)

    def conjugate_gap(self, const double[::1] direction, const double[::1] residual, const double[::1] gradient,
                      double rounding):
        """What the bound of `fastlogreg.solvers.newton_step.step_along` is made of, all from vectors (p,).

        Returns
        -------
        explained : bool
            Whether the dual point is feasible in the unpenalised parameters, or, where nothing is penalised, the
            residual at most a tenth of the largest slope.
        strictly : bool
            Whether it is feasible up to `rounding`, which makes the bound more than an estimate.
        loss_curvature : float
            ``v' H_loss v`` of the direction v.
        penalty_gap : float
            ``sum_j (rho_j - curvature_j v_j)^2 / (2 curvature_j)`` of the residual rho, Fenchel and Young's gap of a
            quadratic, wherever its centre; residuals within `rounding` count as zero.
        doubt : float
            What `rounding` in each residual may add to that.
        """
        cdef const double[::1] ridge = self._curvature
        cdef Py_ssize_t j
        cdef double largest_residual = 0.0, largest_slope = 0.0, mismatch
        cdef double loss_curvature = 0.0, penalty_gap = 0.0, doubt = 0.0
        cdef bint penalised = False
        for j in range(direction.shape[0]):
            largest_slope = max(largest_slope, fabs(gradient[j]))
            loss_curvature += direction[j] * (residual[j] - gradient[j] - ridge[j] * direction[j])
            if ridge[j] > 0:
                penalised = True
                mismatch = (residual[j] if fabs(residual[j]) > rounding else 0.0) - ridge[j] * direction[j]
                penalty_gap += mismatch * mismatch / ridge[j]
                doubt += rounding * (rounding + 2.0 * fabs(mismatch)) / ridge[j]
            elif residual[j] != residual[j]:
                largest_residual = INFINITY
            else:
                largest_residual = max(largest_residual, fabs(residual[j]))
        cdef bint strictly = largest_residual <= max(EXPLAINED * largest_slope, rounding)
        cdef bint nearly = not penalised and largest_residual <= NEARLY_EXPLAINED * largest_slope
        return strictly or nearly, strictly, loss_curvature, 0.5 * penalty_gap, 0.5 * doubt
