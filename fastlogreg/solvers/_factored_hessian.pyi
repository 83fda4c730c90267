from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]

class FactoredHessian:
    point: Any
    @classmethod
    def of(cls, objective: Any, point: Any) -> FactoredHessian: ...
    def __init__(self, matrix: _Float64, point: Any = None) -> None: ...
    def decrement(self, gradient: _Float64) -> float: ...
    def solve(self, gradient: _Float64) -> tuple[_Float64, _Float64]: ...

def diagonal_inverse(
    diagonal: _Float64, block: FactoredHessian | None = None, places: NDArray[np.intp] | None = None
) -> Callable[[_Float64], _Float64]: ...
def dual_sums(
    direction: _Float64, residual: _Float64, gradient: _Float64, ridge: _Float64, rounding: float
) -> tuple[bool, bool, float, float]: ...
