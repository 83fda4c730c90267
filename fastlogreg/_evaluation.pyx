"""Points, and the pass that evaluates the objective at one: the compiled part of `fastlogreg._objective`."""

import numpy as np

from fastlogreg._coordinates cimport Coordinates, half_square
from fastlogreg._design cimport Design


cdef class Point:
    """Parameters and what one pass over X told about them.

    Attributes
    ----------
    parameters, gradient : ndarray of shape (n_parameters,)
    value : float
        The mean objective.
    logits : ndarray of shape (K, n)
    """

    def __init__(self, parameters, double value, gradient, logits):
        self.parameters, self.value, self.gradient, self.logits = parameters, value, gradient, logits
        self.parameters_view, self.gradient_view = parameters, gradient


cdef class Evaluation:
    """What an evaluation reads of an objective: data, weights, coordinates and penalty."""

    cdef Design _design
    cdef Coordinates _coordinates
    cdef const double[:, ::1] _target
    cdef const double[::1] _sample_weight
    cdef const double[::1] _ridge
    cdef double _total_weight
    cdef double[::1] _scratch

    def __init__(self, Design design, Coordinates coordinates, target, sample_weight, double total_weight, ridge):
        self._design, self._coordinates = design, coordinates
        self._target, self._sample_weight, self._ridge = target, sample_weight, ridge
        self._total_weight = total_weight
        self._scratch = np.empty(self._target.shape[0] * (2 * design.n_features + 3))
        design.check_shape("target", self._target, self._target.shape[0])
        design.check_weight(self._sample_weight)

    def at(self, parameters, logits=None):
        """The `Point` at the parameters, with its logits in the array given. One pass."""
        cdef Py_ssize_t K = self._target.shape[0], d = self._design.n_features, k
        cdef const double[::1] z = parameters
        if z.shape[0] != self._ridge.shape[0]:
            raise ValueError(f"{z.shape[0]} parameters, expected {self._ridge.shape[0]}")
        if logits is None:
            logits = np.empty((K, self._target.shape[1]))
        gradient = np.empty(z.shape[0])
        cdef double[:, ::1] u = logits
        cdef double[::1] slope = gradient
        self._design.check_shape("logits", u, K)
        cdef double *coef = &self._scratch[0]
        cdef double *intercept = coef + K * d
        cdef double *loss = intercept + K
        cdef double value = 0.0
        self._coordinates.write_coef(K, &z[0], coef, intercept)
        self._design.sum_loss_gradient(
            K, coef, intercept, &self._target[0, 0],
            &self._sample_weight[0] if self._sample_weight is not None else NULL, &u[0, 0], loss)
        for k in range(K):
            value += loss[k]
        self._coordinates.write_gradient(
            K, loss + 2 * K, loss + K, 1.0 / self._total_weight, &self._ridge[0], &z[0], &slope[0])
        value = value / self._total_weight + half_square(self._ridge, z)
        cdef Point point = Point.__new__(Point)
        point.parameters, point.value, point.gradient, point.logits = parameters, value, gradient, logits
        point.parameters_view, point.gradient_view = z, slope  # views cost more to make than all else here
        return point
