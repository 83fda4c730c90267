from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]

class Quadratic:
    strength: float
    factors: _Float64 | None
    center: _Float64 | None
    is_smooth: bool
    def __init__(self, strength: float, factors: _Float64 | None = None, center: _Float64 | None = None) -> None: ...
    @property
    def is_zero(self) -> bool: ...
    @property
    def is_strict(self) -> bool: ...
    @property
    def is_uniform(self) -> bool: ...
    def of_columns(self, columns: Any) -> Quadratic: ...
    def curvatures(self, n_features: int) -> _Float64: ...
    def in_parameters(
        self, coordinates: Any, n_outputs: int, center: _Float64 | None = None
    ) -> QuadraticInParameters: ...

class QuadraticInParameters:
    curvature: _Float64
    center: _Float64 | None
    is_smooth: bool
    is_strict: bool
    is_uniform: bool
    is_zero: bool
    def __init__(
        self,
        curvature: _Float64,
        center: _Float64 | None = None,
        *,
        is_strict: bool,
        is_uniform: bool = True,
        is_zero: bool = False,
    ) -> None: ...
    def value(self, parameters: _Float64) -> float: ...
    def add_gradient(self, parameters: _Float64, gradient: _Float64) -> None: ...
    def add_product(self, direction: _Float64, product: _Float64) -> None: ...
    def on_line(self, start: _Float64, end: _Float64, t: float) -> tuple[float, float, float]: ...
    def prox(self, parameters: _Float64, step: float) -> _Float64: ...
    def conjugate_gap(
        self, direction: _Float64, residual: _Float64, gradient: _Float64, rounding: float
    ) -> tuple[bool, bool, float, float, float]: ...
