"""Points: parameters, and what one pass over X told about them."""


cdef class Point:
    """Parameters of an objective, evaluated.

    Attributes
    ----------
    parameters, gradient : ndarray of shape (p,)
    value : float
        The mean objective, in nats per sample.
    handle : object
        What the holder of the rows knows the point by: see `fastlogreg.data.passes`.
    """

    def __init__(self, parameters, double value, gradient, handle):
        self.parameters, self.value, self.gradient, self.handle = parameters, value, gradient, handle
        self.parameters_view, self.gradient_view = parameters, gradient
