"""A direction of the Newton equations, the step along it, and the bound that it proves on the gap of its start."""

from libc.math cimport INFINITY, exp, fabs, isfinite

from fastlogreg.objectives.evaluation cimport Point

from fastlogreg.curvature.factored import dual_sums

# A value is known to a few units in its last place.
VALUE_NOISE = 8 * 2.0 ** -52
# What a difference of two values is good for, with room for rounding in the sums that prove a gap.
DESCENT_NOISE = 100 * VALUE_NOISE
cdef double GRADIENT_NOISE = 16 * 2.0 ** -52
# Next to a minimum Newton's steps move the logits ever less, and all parameters by ever smaller parts. Towards an
# infimum they move the logits by one a step, which is a good part of what these are.
cdef double FAR = 0.5
cdef double LONG = 1e-3


cdef double _largest(const double[::1] values) noexcept:
    cdef double largest = 0.0
    cdef Py_ssize_t j
    for j in range(values.shape[0]):
        largest = max(largest, fabs(values[j]))
    return largest


cdef class Direction:
    """A solution v of the Newton equations at a point, from the Hessian there or at an earlier point.

    Attributes
    ----------
    vector : ndarray of shape (n_parameters,)
    residual : ndarray of shape (n_parameters,)
        ``gradient + H v``: zero up to rounding where H is factored.
    moved : float
        A bound on the change of any logit since the point of H.
    hidden_gain : float
        What the objective may fall by, in nats, where the residual is all that is known: see `FactoredHessian`.
    """

    cdef readonly object vector
    cdef readonly object residual
    cdef readonly double moved
    cdef readonly double hidden_gain

    def __init__(self, vector, residual, double moved=0.0, double hidden_gain=0.0):
        self.vector, self.residual, self.moved, self.hidden_gain = vector, residual, moved, hidden_gain

    @classmethod
    def of(cls, objective, Point point, hessian, double target, double moved=0.0):
        """With a `FactoredHessian`, whose hidden curvature is found if a gain of more than `target` may depend on it.
        """
        while True:
            vector, residual = hessian.solve(point.gradient)
            hidden_gain = hessian.hidden_gain(residual)
            if not (hidden_gain > target and hessian.resolve(objective)):
                return cls(vector, residual, moved, hidden_gain)


cdef class NewtonStep:
    """A Newton step, and the bound on the gap of the point it starts from; `proven` if it is not an estimate.

    Attributes
    ----------
    logit_change : float
        The largest change of a logit.
    gap_to_infimum : float
        An estimate where the step goes far for want of a penalty: the squared decrement in the Hessian of the point, as
        for a loss that falls exponentially towards its infimum. Else infinite.
    """

    cdef readonly Point end
    cdef readonly double gap
    cdef readonly double gap_to_infimum
    cdef readonly bint proven
    cdef readonly double logit_change

    def __init__(self, Point end, double gap, bint proven, double logit_change, double gap_to_infimum=INFINITY):
        self.end, self.gap, self.proven, self.gap_to_infimum = end, gap, proven, gap_to_infimum
        self.logit_change = logit_change

    def gap_of(self, Point point, Point start):
        """What the step from `start` says of the gap of a point that is no higher: the dual variables prove both."""
        if not (self.proven and isfinite(self.gap)):
            return self.gap
        return min(self.gap, max(self.gap - (start.value - point.value), DESCENT_NOISE * start.value))


def step_along(objective, Point point, Direction direction):
    """The `NewtonStep` from `point` in a direction of its Newton equations.

    The bound is the duality gap between the point and the dual variables that the step predicts. With direction v from
    a Hessian H, ``rho = gradient + H v`` (zero up to rounding where H is factored), S the largest change of a logit in
    the step and m a bound on those since H's point, with ``c = S e^m`` at most 1 (v is shortened to that),

        gap <= (1 + c) / 2 . e^m . v' H_loss v + sum_j (rho_j - ridge_j v_j)^2 / (2 ridge_j)

    Derivation: the dual variable of sample i is a probability q_i; take ``q_i = sigma(u_i) + h_i x_i . v``, h_i being
    the curvature in H. Fenchel and Young's gap of the loss is then the Kullback-Leibler divergence of q_i from
    sigma(u_i). For ``q_i - sigma_i = sigma'_i t``, |t| <= 1, it is at most ``(1 + |t|) / 2 . sigma'_i t^2``; here
    ``t = h_i / sigma'_i . x_i . v``, and h_i / sigma'_i <= e^m because log sigma' has a slope within [-1, 1]. The
    penalty's gap is the second sum. Without a penalty (ridge 0) and with rho = 0 the dual point is feasible and the
    bound holds likewise; a residual of an unpenalised parameter makes it an estimate by the squared decrement and the
    `hidden_gain`, or infinite where the residual is not small.
    """
    cdef Point end = objective.evaluate(point.parameters + direction.vector)
    cdef double growth = exp(min(direction.moved, 700.0))
    cdef double logit_change = objective.largest_logit_change(point, end), change = growth * logit_change
    vector, residual = direction.vector, direction.residual
    cdef bint far = objective.l2 == 0 and change > FAR and _largest(vector) > LONG * _largest(point.parameters)
    cdef double to_infimum = -growth * float(vector.dot(point.gradient)) if far else INFINITY
    if change > 1.0:  # a shorter direction has feasible dual variables
        vector, residual = vector / change, point.gradient + (residual - point.gradient) / change
        change = 1.0
    explained, strictly, loss_curvature, penalty_gap = dual_sums(
        vector, residual, point.gradient, objective.ridge, gradient_rounding(point)
    )
    gap = 0.5 * (1.0 + change) * growth * max(loss_curvature, 0.0) + penalty_gap if explained else INFINITY
    if not strictly:
        gap += direction.hidden_gain
    return NewtonStep(end, gap, strictly or not explained, logit_change, to_infimum)


def gradient_rounding(Point point):
    """What a parameter's gradient is known to: the mean of |residual| times |x| in units of the last place.

    A sample's residual is at most its loss, and standardised columns are of size one.
    """
    return GRADIENT_NOISE * point.value


def slopes(Point start, Point end):
    """The slopes at `start` and at `end` of the objective along the step from one to the other."""
    cdef const double[::1] first = start.parameters_view, last = end.parameters_view
    cdef double at_start = 0.0, at_end = 0.0, step
    cdef Py_ssize_t j
    for j in range(first.shape[0]):
        step = last[j] - first[j]
        at_start += start.gradient_view[j] * step
        at_end += end.gradient_view[j] * step
    return at_start, at_end
