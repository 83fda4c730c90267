"""Points, and the pass that evaluates the objective at one: the compiled part of `fastlogreg.objectives.binary`."""

import numpy as np

from fastlogreg.objectives.coordinates cimport Coordinates, half_square
from fastlogreg.data.design cimport Design
from fastlogreg.data.pointwise cimport targets_of


cdef class Point:
    """Parameters and what one pass over X told about them.

    Attributes
    ----------
    parameters, gradient : ndarray of shape (n_parameters,)
    value : float
        The mean objective.
    logits : ndarray of shape (K, n)
        Where the pass did not keep them, their first use takes another one.
    """

    def __init__(self, parameters, double value, gradient, logits):
        self.parameters, self.value, self.gradient, self._logits = parameters, value, gradient, logits
        self.parameters_view, self.gradient_view = parameters, gradient

    @property
    def logits(self):
        if self._logits is None and self._evaluation is not None:
            self._logits = self._evaluation.logits(self.parameters)
        return self._logits

    def forget_logits(self):
        """Free their memory; another use of them takes another pass."""
        if self._evaluation is not None:
            self._logits = None


cdef class Evaluation:
    """What an evaluation reads of an objective: data, weights, coordinates and penalty."""

    def __init__(self, Design design, Coordinates coordinates, target, sample_weight, double total_weight, ridge):
        self._design, self._coordinates = design, coordinates
        self._sample_weight, self._ridge = sample_weight, ridge
        self._total_weight = total_weight
        self._n_outputs = target.shape[0]
        self._scratch = np.empty(self._n_outputs * (2 * design.n_features + 3))
        self._target, self._keep_alive = targets_of(target, self._n_outputs * design.n_samples), target
        design.check_weight(self._sample_weight)

    def logits(self, parameters):
        """The logits (K, n) at the parameters. One pass."""
        return self._design.logits(*self._coordinates.to_coef(parameters))

    def at(self, parameters, Point recycle=None, bint keep_logits=True):
        """The `Point` at the parameters: see `Objective.evaluate`."""
        cdef Py_ssize_t K = self._n_outputs, d = self._design.n_features, k
        cdef const double[::1] z = parameters
        if z.shape[0] != self._ridge.shape[0]:
            raise ValueError(f"{z.shape[0]} parameters, expected {self._ridge.shape[0]}")
        logits = self._memory_for_logits(recycle) if keep_logits else None
        cdef double[:, ::1] u = logits
        gradient = np.empty(z.shape[0])
        cdef double[::1] slope = gradient
        cdef double *coef = &self._scratch[0]
        cdef double *intercept = coef + K * d
        cdef double *loss = intercept + K
        cdef double value = 0.0
        self._coordinates.write_coef(K, &z[0], coef, intercept)
        self._design.sum_loss_gradient(
            K, coef, intercept, self._target,
            &self._sample_weight[0] if self._sample_weight is not None else NULL,
            &u[0, 0] if keep_logits else NULL, loss)
        for k in range(K):
            value += loss[k]
        self._coordinates.write_gradient(
            K, loss + 2 * K, loss + K, 1.0 / self._total_weight, &self._ridge[0], &z[0], &slope[0])
        value = value / self._total_weight + half_square(self._ridge, z)
        cdef Point point = Point.__new__(Point)
        point.parameters, point.value, point.gradient = parameters, value, gradient
        point._logits, point._evaluation = logits, self
        point.parameters_view, point.gradient_view = z, slope  # views cost more to make than all else here
        return point

    cdef _memory_for_logits(self, Point recycle):
        if recycle is None or recycle._logits is None:
            return np.empty((self._n_outputs, self._design.n_samples))
        K, n = recycle._logits.shape
        self._design.check_shape("logits", K, n, self._n_outputs)
        return recycle._logits
