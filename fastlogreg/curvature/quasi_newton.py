"""The quasi-Newton model of L-BFGS: secant pairs on top of what is known of the Hessian beforehand.

Source: Nocedal and Wright, Numerical Optimization, algorithm 7.4.
"""

from collections import deque

import numpy as np
from scipy.linalg.blas import daxpy

# Secant pairs remembered. More of them spare passes over X on badly conditioned data; in all they cost 4 * MEMORY * d
# operations in each iteration.
MEMORY = 30


class InverseHessian:
    """Differences of parameters and of gradients, newest last, that correct an inverse Hessian known beforehand.

    Parameters
    ----------
    base : callable, default=None
        Gradient in, ``H^-1 gradient`` out. None stands for the identity.
    rescale : bool, default=False
        Whether the base's size is to be taken from the newest pair.
    memory : int, default=MEMORY
        Pairs remembered.
    """

    def __init__(self, base=None, rescale=False, memory=MEMORY):
        self.rebase(base)
        self._rescale = rescale
        self._pairs = deque(maxlen=memory)

    def rebase(self, base):
        """Take another inverse Hessian as the one known beforehand."""
        self._base = base or np.copy

    def update(self, start, end):
        """Remember the step between two points."""
        step = end.parameters - start.parameters
        change = end.gradient - start.gradient
        product = float(step @ change)
        # Curvature lost to rounding would spoil the model.
        if product > 1e-14 * np.linalg.norm(step) * np.linalg.norm(change):
            self._pairs.append((step, change, product))

    def dot(self, gradient):
        """``H^-1 gradient`` by the two-loop recursion."""
        result = gradient.copy()
        shares = []
        for step, change, product in reversed(self._pairs):
            share = float(step @ result) / product
            result = daxpy(change, result, a=-share)
            shares.append(share)
        result = self._base(result)
        result *= self._scale()
        for (step, change, product), share in zip(self._pairs, reversed(shares), strict=True):
            result = daxpy(step, result, a=share - float(change @ result) / product)
        return result

    def _scale(self):
        if not (self._rescale and self._pairs):
            return 1.0
        _, change, product = self._pairs[-1]
        return product / float(change @ self._base(change))
