from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]

class StepLogits:
    def __init__(self, n_samples: int, capacity: int, n_threads: int = 1) -> None: ...
    def put(self, place: int, start: _Float64, end: _Float64) -> None: ...
    def sums(
        self,
        start: _Float64,
        end: _Float64,
        n_steps: int,
        coef: _Float64,
        intercept: float,
        target: _Float64,
        sample_weight: _Float64 | None = None,
    ) -> tuple[float, _Float64, _Float64]: ...
