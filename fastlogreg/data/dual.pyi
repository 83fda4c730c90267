from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlogreg.data.design import Design

_Float64: TypeAlias = NDArray[np.float64]

class Dual:
    @property
    def value(self) -> float: ...
    def __init__(
        self,
        design: Design,
        target: _Float64,
        sample_weight: _Float64 | None,
        cost: float,
        center: _Float64 | None = None,
        spread: float = 0.0,
        intercept: float = 0.0,
    ) -> None: ...
    def sweep(self) -> float: ...
    def end(self) -> tuple[_Float64, float, float]: ...
