"""Penalties: what a fit adds to the loss. Solvers ask a penalty for its properties, and not for its strength.

A penalty is given in the coefficients (`quadratic.Quadratic`), as users know it. An objective asks for it in its
parameters, ``penalty.in_parameters(coordinates, ...)``, and that is what solvers see. Such a penalty P of parameters z
has

- ``value(z)``, ``add_gradient(z, gradient)`` and ``on_line(start, end, t)``: P, its slope added to a gradient, and P
  with its first two derivatives on the line ``start + t (end - start)``;
- ``curvature`` (p,): its Hessian, which is diagonal, and ``add_product(direction, product)`` with that;
- ``prox(z, step)``: the minimiser of ``P(x) + |x - z|^2 / (2 step)``;
- ``conjugate_gap(direction, residual, gradient, rounding)``: what it adds to a duality gap, and whether the dual point
  is feasible for it;
- ``is_smooth``: it has a gradient everywhere; ``is_strict``: every coefficient has curvature, so that a minimum exists
  and a gap can be proven; ``is_uniform``: all coefficients the same, about zero, so that rotating them changes nothing;
  ``is_zero``: there is none.
"""

from fastlogreg.penalties.quadratic import Quadratic

__all__ = ["Quadratic"]
