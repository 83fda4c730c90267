from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]

class Point:
    @property
    def parameters(self) -> _Float64: ...
    @property
    def value(self) -> float: ...
    @property
    def gradient(self) -> _Float64: ...
    @property
    def handle(self) -> Any: ...
    def __init__(self, parameters: _Float64, value: float, gradient: _Float64, handle: Any) -> None: ...
