"""Newton directions from a factored Hessian."""

import numpy as np
import scipy.linalg

from libc.math cimport sqrt
from libc.string cimport memcpy

from fastlogreg.runtime.blas cimport dpotrf, dsymv, dtrsv

# For Cholesky, the columns before one must leave more than this share of its diagonal entry.
cdef double INDEPENDENT = 1e-11
# An eigenvalue counts if it is more than this share of the largest.
cdef double NEGLIGIBLE = 1e-13
# Below this share of the largest eigenvalue, rounding mixes an eigenvector with those of the other eigenvalues.
cdef double BLURRED = 1e-9
# Rounding hides smaller eigenvalues than these: in the matrix, below ROUNDING of the largest; in products, whose terms
# are as small as the direction is flat, below ROUNDING_OF_PRODUCTS of the largest, or below ROUNDING_OF_LOGITS times
# the square of the logits' rounding error.
cdef double ROUNDING = 2.0 ** -52
cdef double ROUNDING_OF_PRODUCTS = 1e-20
cdef double ROUNDING_OF_LOGITS = 1e4


cdef class FactoredHessian:
    """A Hessian (p, p) whose equations are solved by Cholesky, or, if it is singular, in the span of its eigenvectors.

    The part of the gradient outside of that span is divided by the largest eigenvalue; there is one where samples lie
    on the wrong side, with a curvature that rounding hides. Along a parameter without any curvature, the solution is
    the negative gradient.

    Attributes
    ----------
    point : Point or None
        Where it is the Hessian.
    columns : None
        It is that of an objective's own parameters: see `fastlogreg.curvature.conditioned`.
    """

    cdef readonly object point
    columns = None
    cdef object _flat
    cdef double[:, ::1] _triangles  # the matrix above the diagonal, its factor below
    cdef double[::1] _diagonal      # of the one that is not in use
    cdef double[::1] _scratch
    cdef object _eigen, _blurred, _dot
    cdef double _largest, _least

    @classmethod
    def of(cls, objective, point):
        """The Hessian of an objective at a point. One pass."""
        return cls(objective.hessian(point).matrix(), point)

    def __init__(self, const double[:, ::1] matrix, point=None):
        cdef Py_ssize_t p = matrix.shape[0], j
        self.point = point
        vectors = np.empty((2, p))
        self._triangles, self._diagonal, self._scratch = np.empty((p, p)), vectors[0], vectors[1]
        if p:
            memcpy(&self._triangles[0, 0], &matrix[0, 0], p * p * sizeof(double))
        self._flat = [j for j in range(p) if matrix[j, j] == 0]
        for j in self._flat:
            self._triangles[j, j] = 1.0
        for j in range(p):
            self._diagonal[j] = self._triangles[j, j]
        if not self._factorize():
            whole = np.asarray(matrix)
            curved = np.flatnonzero(np.diagonal(whole) != 0)
            if np.isfinite(whole).all():
                eigenvalues, vectors = scipy.linalg.eigh(whole[np.ix_(curved, curved)], check_finite=False)
            else:  # LAPACK's answer to these differs between versions
                eigenvalues, vectors = np.array([np.nan]), np.full((len(curved), 1), np.nan)
            self._largest, self._least = eigenvalues[-1], ROUNDING * eigenvalues[-1]
            self._set_eigen(curved, eigenvalues, vectors, eigenvalues > NEGLIGIBLE * self._largest)
            self._blurred = vectors[:, eigenvalues <= BLURRED * self._largest]

    @property
    def is_singular(self):
        """Whether Cholesky failed, so that rounding blurs or hides some of the curvature."""
        return self._eigen is not None

    def _set_eigen(self, curved, eigenvalues, vectors, kept):
        self._eigen = curved, eigenvalues[kept], vectors[:, kept]

    def hidden_gain(self, residual):
        """What the objective may still fall by where a direction has left a residual (p,) because rounding hides the
        curvature: the gain of a model with that slope and the least curvature that it may have. Zero by Cholesky.
        """
        if self._eigen is None:
            return 0.0
        curved, eigenvalues, vectors = self._eigen
        known = vectors.T @ residual[curved]
        rest = residual[curved] - vectors @ known
        return 0.5 * float(np.sum(known**2 / eigenvalues) + np.sum(rest**2) / self._least)

    def resolve(self, objective):
        """Find the curvature that rounding blurs or hides, by products with the Hessian; False if there is none.

        The terms of a product are as small as the direction is flat, where those of the matrix are of size one and
        cancel. It takes a pass for each such direction, and two for each solution from then on.
        """
        if self._eigen is None or self._dot is not None or self._blurred.shape[1] == 0:
            return False
        curved, eigenvalues, vectors = self._eigen
        self._dot, self._least = objective.hessian(self.point).dot, ROUNDING_OF_PRODUCTS * self._largest
        blurred = np.zeros((self._blurred.shape[1], self._diagonal.shape[0]))
        blurred[:, curved] = self._blurred.T
        products = blurred @ np.stack([self._dot(direction) for direction in blurred], axis=1)
        smaller, turn = scipy.linalg.eigh(0.5 * (products + products.T), check_finite=False)
        noise = ROUNDING * np.array([objective.cancelled(direction) for direction in turn.T @ blurred])
        clear = eigenvalues > BLURRED * self._largest
        kept = np.concatenate([clear[clear], smaller > np.maximum(self._least, ROUNDING_OF_LOGITS * noise**2)])
        eigenvalues = np.concatenate([eigenvalues[clear], smaller])
        self._set_eigen(curved, eigenvalues, np.hstack([vectors[:, clear], self._blurred @ turn]), kept)
        return True

    cdef bint _factorize(self):
        """Factor by Cholesky, in place; returns whether that succeeded."""
        cdef int p = <int>self._triangles.shape[0], info = 0
        cdef Py_ssize_t j
        if p == 0:
            return True
        with nogil:
            dpotrf(b"U", &p, &self._triangles[0, 0], &p, &info)
        if info != 0:
            return False
        for j in range(p):
            if not self._triangles[j, j] ** 2 > INDEPENDENT * self._diagonal[j]:
                return False
        return True

    def matrix(self):
        """The Hessian (p, p); one on the diagonal of a parameter without any curvature."""
        above = np.triu(self._triangles, 1)
        whole = above + above.T
        whole[np.diag_indices_from(whole)] = self._diagonal
        return whole

    def decrement(self, const double[::1] gradient):
        """``sqrt(gradient' H^-1 gradient)``."""
        cdef int p = <int>gradient.shape[0], one = 1
        cdef double[::1] x = self._scratch
        cdef double total = 0.0
        cdef Py_ssize_t j
        if p == 0:
            return 0.0
        for j in range(p):
            x[j] = gradient[j]
        if self._eigen is None:  # |U^-T gradient| of H = U' U
            dtrsv(b"U", b"T", b"N", &p, &self._triangles[0, 0], &p, &x[0], &one)
            for j in range(p):
                total += x[j] * x[j]
        else:
            self._solve(x)
            for j in range(p):
                total += x[j] * gradient[j]
        return sqrt(max(total, 0.0))

    def solve(self, const double[::1] gradient):
        """The direction ``-H^-1 gradient`` and the residual ``gradient + H direction``, each (p,)."""
        cdef Py_ssize_t p = gradient.shape[0], j
        vector, rest = np.zeros(p), np.empty(p)
        cdef double[::1] direction = vector, residual = rest, step = self._scratch
        for j in range(p):
            residual[j] = gradient[j]
        for _ in range(2):  # the second time to refine the solution
            for j in range(p):
                step[j] = residual[j]
            self._solve(step)
            for j in range(p):
                direction[j] -= step[j]
                residual[j] = gradient[j]
            self._add_product(direction, residual)
        for j in self._flat:
            residual[j] = gradient[j]
        return vector, rest

    cdef void _solve(self, double[::1] x) except *:
        """``H^-1 x``, in place."""
        if self._eigen is not None:
            curved, eigenvalues, vectors = self._eigen
            solution = np.asarray(x)
            known = vectors.T @ solution[curved]
            rest = solution[curved] - vectors @ known
            solution[curved] = vectors @ (known / eigenvalues) + rest / self._largest
            return
        cdef int p = <int>x.shape[0], one = 1
        if p:
            dtrsv(b"U", b"T", b"N", &p, &self._triangles[0, 0], &p, &x[0], &one)
            dtrsv(b"U", b"N", b"N", &p, &self._triangles[0, 0], &p, &x[0], &one)

    cdef void _add_product(self, double[::1] v, double[::1] sums) except *:
        """``sums += H v``."""
        cdef int p = <int>v.shape[0], stride = 1
        cdef double one = 1.0
        if self._dot is not None:
            np.asarray(sums)[:] += self._dot(np.asarray(v))
        elif p:
            self._exchange_diagonals()
            dsymv(b"L", &p, &one, &self._triangles[0, 0], &p, &v[0], &stride, &one, &sums[0], &stride)
            self._exchange_diagonals()

    cdef void _exchange_diagonals(self) noexcept:
        """Put the matrix's diagonal in the place of the factor's, or back."""
        cdef Py_ssize_t j
        for j in range(self._diagonal.shape[0]):
            self._triangles[j, j], self._diagonal[j] = self._diagonal[j], self._triangles[j, j]


def diagonal_inverse(diagonal, FactoredHessian block=None, places=None):
    """The function that applies the inverse of a diagonal (p,), or at `places` that of a Hessian's `block` instead.

    Where the diagonal is not positive, and no block applies, a vector stays as it is.
    """
    inverse = np.divide(1.0, diagonal, out=np.ones_like(diagonal), where=diagonal > 0)

    def apply(vector):
        result = inverse * vector
        if block is not None:
            result[places] = -block.solve(vector[places])[0]
        return result

    return apply
