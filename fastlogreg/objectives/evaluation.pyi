from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]
_Target: TypeAlias = NDArray[np.float64] | NDArray[np.uint8]

class Point:
    @property
    def parameters(self) -> _Float64: ...
    @property
    def value(self) -> float: ...
    @property
    def gradient(self) -> _Float64: ...
    @property
    def logits(self) -> _Float64: ...
    def __init__(self, parameters: _Float64, value: float, gradient: _Float64, logits: _Float64) -> None: ...
    def forget_logits(self) -> None: ...

class Evaluation:
    def __init__(
        self,
        design: Any,
        coordinates: Any,
        target: _Target,
        sample_weight: _Float64 | None,
        total_weight: float,
        ridge: _Float64,
    ) -> None: ...
    def logits(self, parameters: _Float64) -> _Float64: ...
    def at(self, parameters: _Float64, recycle: Point | None = None, keep_logits: bool = True) -> Point: ...
