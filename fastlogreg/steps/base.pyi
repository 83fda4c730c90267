from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlogreg.data.rows import Rows

_Float64 = NDArray[np.float64]

class Steps:
    loss_sum: float
    penalty_sum: float
    count: float
    def begin_stream(self) -> None: ...
    def begin_epoch(self) -> None: ...
    def feed(
        self,
        rows: Rows,
        target: _Float64 | NDArray[np.uint8],
        weight: _Float64 | None = None,
        order: NDArray[np.int32] | None = None,
        n_threads: int = 1,
    ) -> None: ...
    def flush(self) -> None: ...
    def settle(self) -> None: ...
    def go_on(
        self, settings: dict[str, Any], n_seen: float, coef: _Float64 | None = None, intercept: Any = None
    ) -> Steps: ...
    def fork(self) -> Steps: ...
    def end_epoch(self) -> None: ...
    def solution(self) -> tuple[_Float64, float | _Float64]: ...
