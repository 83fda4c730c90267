"""A solution of the Newton equations, the step along it, and the bound that it proves on the gap of its start."""

from libc.math cimport INFINITY, exp, fabs, isfinite

from fastlogreg.objectives.point cimport Point

# The relative rounding error of a value: a few units in its last place.
VALUE_NOISE = 8 * 2.0 ** -52
# That of a difference of two values, relative to these, with room for rounding in the sums that prove a gap.
DESCENT_NOISE = 100 * VALUE_NOISE
# That of a gradient: see `gradient_rounding`.
cdef double GRADIENT_NOISE = 16 * 2.0 ** -52
# That of a logit, relative to the terms that cancel in it.
cdef double LOGIT_ROUNDING = 2.0 ** -52
# A step is taken to head for an infimum if it moves a logit by more than FAR, and a parameter by more than the part
# LONG of the largest parameter. Towards an infimum each Newton step moves the logits by about one, which is a good part
# of what they are; near a minimum both changes shrink from step to step.
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
        What the objective may still fall by, in nats, where rounding hides the curvature: see
        `FactoredHessian.hidden_gain`.
    product : callable or None
        The product of H with a direction, a pass, where the residual is that of a H without its smallest curvatures.
    """

    cdef readonly object vector
    cdef readonly object residual
    cdef readonly double moved
    cdef readonly double hidden_gain
    cdef readonly object product

    def __init__(self, vector, residual, double moved=0.0, double hidden_gain=0.0, product=None):
        self.vector, self.residual, self.moved, self.hidden_gain = vector, residual, moved, hidden_gain
        self.product = product

    def gain(self, Point point):
        """What the quadratic model at the point promises, in nats."""
        return -0.5 * float(self.vector.dot(point.gradient))

    @classmethod
    def of(cls, objective, Point point, hessian, double accuracy, double moved=0.0):
        """The direction by a `FactoredHessian`. Curvature that rounding hides there is found where that may hide a gain
        of more than `accuracy`.
        """
        while True:
            vector, residual = hessian.solve(point.gradient)
            hidden_gain = hessian.hidden_gain(residual)
            if not (hidden_gain > accuracy and hessian.resolve(objective)):
                product = None if hessian.columns is None else objective.hessian(hessian.point).dot
                return cls(vector, residual, moved, hidden_gain, product)


cdef class NewtonStep:
    """A Newton step, and the bound on the gap of the point it starts from; `proven` if it is not an estimate.

    Attributes
    ----------
    logit_change : float
        The largest change of a logit.
    gap_to_infimum : float
        An estimate of the gap where the step goes far because there is no penalty: the squared decrement with the
        Hessian at the point, as for a loss that falls exponentially towards its infimum. Infinite elsewhere.
    """

    cdef readonly Point end
    cdef readonly double gap
    cdef readonly double gap_to_infimum
    cdef readonly bint proven
    cdef readonly double logit_change

    def __init__(self, Point end, double gap, bint proven, double logit_change, double gap_to_infimum=INFINITY):
        self.end, self.gap, self.proven, self.gap_to_infimum = end, gap, proven, gap_to_infimum
        self.logit_change = logit_change

    def gap_of(self, objective, Point point, Point start):
        """The gap of a point no higher than `start`, from the step from there: the same dual variables bound both."""
        if not (self.proven and isfinite(self.gap)):
            return self.gap
        cdef double least = DESCENT_NOISE * start.value, of_logits = logit_rounding(objective, point)
        cdef double gap = min(self.gap, max(self.gap - (start.value - point.value), least))
        return gap if of_logits <= least else max(gap, of_logits)


def step_along(objective, Point point, Direction direction, double accuracy):
    """The `NewtonStep` from `point` in a direction of its Newton equations.

    The bound is the duality gap between the point and the dual variables that the step predicts. With direction v from
    a Hessian H, ``rho = gradient + H v`` (zero up to rounding where H is factored), S the largest change of a logit in
    the step and m a bound on the changes since the point of H, with ``c = S e^m`` at most 1 (v is shortened to that),

        gap <= (1 + c) / 2 . e^m . v' H_loss v + sum_j (rho_j - ridge_j v_j)^2 / (2 ridge_j)

    Near the end, when the step should gain no more than `accuracy`, few samples with hardly a curvature may be what
    makes S large. Their q_i then change as if t (below) were at most one, and the difference is added to rho.

    Derivation: the dual variable of sample i is a probability q_i; take ``q_i = sigma(u_i) + h_i x_i . v``, h_i being
    the curvature in H. Fenchel and Young's gap of the loss is then the Kullback-Leibler divergence of q_i from
    sigma(u_i). For ``q_i - sigma_i = sigma'_i t``, |t| <= 1, it is at most ``(1 + |t|) / 2 . sigma'_i t^2``; here
    ``t = h_i / sigma'_i . x_i . v``, and h_i / sigma'_i <= e^m because log sigma' has a slope within [-1, 1]. The
    penalty's gap is the second sum. Without a penalty (ridge 0) and with rho = 0 the dual point is feasible and the
    bound holds likewise. Where rho is not zero for an unpenalised parameter, the gap is an estimate by the squared
    decrement and the `hidden_gain`, or infinite if rho is not small there.
    It is an estimate, too, where the rounding of gradient and logits may be more than `accuracy`.
    """
    cdef Point end = objective.evaluate(point.parameters + direction.vector)
    cdef double growth = exp(min(direction.moved, 700.0))
    cdef double logit_change = objective.largest_logit_change(point, end), change = growth * logit_change
    vector, residual = direction.vector, direction.residual
    if direction.product is not None and direction.gain(point) <= accuracy:
        residual = point.gradient + direction.product(vector)
    cdef bint is_long = _largest(vector) > LONG * _largest(point.parameters)
    cdef bint far = change > FAR and is_long and not objective.penalty.is_strict
    cdef double to_infimum = -growth * float(vector.dot(point.gradient)) if far else INFINITY
    if not to_infimum >= 0:
        to_infimum = INFINITY
    if change > 1.0:
        beyond = None
        if direction.moved == 0 and objective.n_classes == 2 and direction.gain(point) <= accuracy:
            beyond = objective.beyond(point, end)
        if beyond is not None:
            residual = residual - beyond
        else:  # a shorter direction has feasible dual variables
            vector, residual = vector / change, point.gradient + (residual - point.gradient) / change
        change = 1.0
    explained, strictly, loss_curvature, penalty_gap, doubt = objective.penalty.conjugate_gap(
        vector, residual, point.gradient, gradient_rounding(point)
    )
    gap = 0.5 * (1.0 + change) * growth * max(loss_curvature, 0.0) + penalty_gap if explained else INFINITY
    if not strictly:
        gap += direction.hidden_gain
    proven = strictly or not explained
    doubt += logit_rounding(objective, point)
    if proven and gap > accuracy:
        gap += doubt
    elif proven:
        proven = gap + doubt <= max(accuracy, DESCENT_NOISE * point.value)
        if proven:
            gap = max(gap, min(gap + doubt, accuracy))
    return NewtonStep(end, gap, proven, logit_change, to_infimum)


def logit_rounding(objective, Point point):
    """What rounding in the logits may add to the value: a sample's residual is at most its loss."""
    return point.value * LOGIT_ROUNDING * objective.cancelled(point.parameters)


def gradient_rounding(Point point):
    """The rounding error of a parameter's gradient: some units in the last place of the mean of |residual| times |x|.

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
