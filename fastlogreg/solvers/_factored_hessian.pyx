"""Newton directions from a factored Hessian, and what a direction proves."""

import numpy as np
import scipy.linalg

from libc.math cimport INFINITY, fabs
from scipy.linalg.cython_blas cimport dsymv, dtrsv
from scipy.linalg.cython_lapack cimport dpotrf

# The least share of a column that those before it must leave over for Cholesky, and of the largest eigenvalue that
# counts for one.
cdef double INDEPENDENT = 1e-11
cdef double NEGLIGIBLE = 1e-13
# The share of the gradient that a direction may leave in unpenalised parameters: as rounding, and without a penalty,
# for an estimate.
cdef double EXPLAINED = 1e-8
cdef double NEARLY_EXPLAINED = 0.1


cdef class FactoredHessian:
    """A Hessian (p, p), solved with by Cholesky, or where it is singular in the span of its eigenvectors.

    Along a parameter without any curvature, the solution is the negative gradient.

    Attributes
    ----------
    point : Point or None
        Where it is the Hessian.
    """

    cdef readonly object point
    cdef object _flat
    cdef double[:, ::1] _matrix
    cdef double[:, ::1] _factor
    cdef double[::1] _scratch
    cdef object _eigen

    @classmethod
    def of(cls, objective, point):
        """The Hessian of an objective at a point. One pass."""
        return cls(objective.hessian(point).matrix(), point)

    def __init__(self, const double[:, ::1] matrix, point=None):
        cdef Py_ssize_t p = matrix.shape[0], j
        self.point = point
        self._matrix, self._factor, self._scratch = np.empty((p, p)), np.empty((p, p)), np.empty(p)
        self._matrix[:] = matrix
        self._flat = [j for j in range(p) if matrix[j, j] == 0]
        for j in self._flat:
            self._matrix[j, j] = 1.0
        self._factor[:] = self._matrix
        if not self._factorize():
            whole = np.asarray(matrix)
            curved = np.flatnonzero(np.diagonal(whole) != 0)
            eigenvalues, vectors = scipy.linalg.eigh(whole[np.ix_(curved, curved)], check_finite=False)
            kept = eigenvalues > NEGLIGIBLE * eigenvalues[-1]
            self._eigen = curved, eigenvalues[kept], vectors[:, kept]

    cdef bint _factorize(self):
        """Cholesky in place; whether it went well."""
        cdef int p = <int>self._factor.shape[0], info = 0
        cdef Py_ssize_t j
        if p == 0:
            return True
        with nogil:
            dpotrf(b"U", &p, &self._factor[0, 0], &p, &info)
        if info != 0:
            return False
        for j in range(p):
            if not self._factor[j, j] ** 2 > INDEPENDENT * self._matrix[j, j]:
                return False
        return True

    def solve(self, const double[::1] gradient):
        """The direction ``-H^-1 gradient`` and the residual ``gradient + H direction``, each (p,)."""
        cdef Py_ssize_t p = gradient.shape[0], j
        cdef double[::1] direction = np.zeros(p), residual = np.empty(p), step = self._scratch
        residual[:] = gradient
        for _ in range(2):  # once refined
            step[:] = residual
            self._solve(step)
            for j in range(p):
                direction[j] -= step[j]
                residual[j] = gradient[j]
            self._add_product(direction, residual)
        for j in self._flat:
            residual[j] = gradient[j]
        return direction.base, residual.base

    cdef void _solve(self, double[::1] x) except *:
        """``H^-1 x``, in place."""
        if self._eigen is not None:
            curved, eigenvalues, vectors = self._eigen
            solution = np.asarray(x)
            solution[curved] = vectors @ ((vectors.T @ solution[curved]) / eigenvalues)
            return
        cdef int p = <int>x.shape[0], one = 1
        if p:
            dtrsv(b"U", b"T", b"N", &p, &self._factor[0, 0], &p, &x[0], &one)
            dtrsv(b"U", b"N", b"N", &p, &self._factor[0, 0], &p, &x[0], &one)

    cdef void _add_product(self, double[::1] v, double[::1] sums):
        """``sums += H v``."""
        cdef int p = <int>v.shape[0], stride = 1
        cdef double one = 1.0
        if p:
            dsymv(b"U", &p, &one, &self._matrix[0, 0], &p, &v[0], &stride, &one, &sums[0], &stride)


def dual_sums(const double[::1] direction, const double[::1] residual, const double[::1] gradient,
              const double[::1] ridge, double rounding):
    """What the bound of `step_along` is made of, all from vectors (p,).

    Returns
    -------
    explained : bool
        Whether the direction leaves the dual point feasible in the unpenalised parameters, or, without a penalty, a
        tenth of the gradient at most.
    strictly : bool
        Whether it is feasible up to `rounding`, which makes the bound more than an estimate.
    loss_curvature : float
        ``v' H_loss v``.
    penalty_gap : float
        ``sum_j (rho_j - ridge_j v_j)^2 / (2 ridge_j)``; residuals within `rounding` are none.
    """
    cdef Py_ssize_t j
    cdef double largest_residual = 0.0, largest_slope = 0.0, loss_curvature = 0.0, penalty_gap = 0.0, mismatch
    cdef bint penalised = False
    for j in range(direction.shape[0]):
        largest_slope = max(largest_slope, fabs(gradient[j]))
        loss_curvature += direction[j] * (residual[j] - gradient[j] - ridge[j] * direction[j])
        if ridge[j] > 0:
            penalised = True
            mismatch = (residual[j] if fabs(residual[j]) > rounding else 0.0) - ridge[j] * direction[j]
            penalty_gap += mismatch * mismatch / ridge[j]
        elif residual[j] != residual[j]:
            largest_residual = INFINITY
        else:
            largest_residual = max(largest_residual, fabs(residual[j]))
    cdef bint strictly = largest_residual <= max(EXPLAINED * largest_slope, rounding)
    cdef bint explained = strictly or (not penalised and largest_residual <= NEARLY_EXPLAINED * largest_slope)
    return explained, strictly, loss_curvature, 0.5 * penalty_gap
