from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]

class Coordinates:
    center: _Float64
    inverse_scale: _Float64
    inverse_intercept_scale: float
    fit_intercept: bool
    def __init__(
        self, center: _Float64, inverse_scale: _Float64, inverse_intercept_scale: float, fit_intercept: bool
    ) -> None: ...
    @classmethod
    def standardized(
        cls,
        mean: _Float64,
        variance: _Float64,
        curvature: float,
        of_penalty: _Float64,
        fit_intercept: bool,
        keep_constant: bool = False,
    ) -> Coordinates: ...
    @property
    def finite(self) -> bool: ...
    @property
    def scale(self) -> _Float64: ...
    def of_columns(self, columns: NDArray[np.intp]) -> Coordinates: ...
    def to_coef(self, parameters: _Float64) -> tuple[_Float64, _Float64]: ...
    def from_coef(self, coef: _Float64, intercept: _Float64) -> _Float64: ...
    def gradient(self, of_coef: _Float64, of_intercept: _Float64, factor: float) -> _Float64: ...
    def gram(self, centered: _Float64, factor: float, ridge: _Float64 | None = None) -> _Float64: ...
