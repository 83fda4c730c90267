import numpy as np
from numpy.typing import NDArray

from fastlogreg.steps.diagonal import DiagonalSteps

_Float64 = NDArray[np.float64]

class SoftmaxDiagonalSteps(DiagonalSteps):
    targets: _Float64 | None
    def __init__(
        self, coef: _Float64, intercept: _Float64, alpha: float, l1_ratio: float, fit_intercept: bool
    ) -> None: ...
    def solution(self) -> tuple[_Float64, _Float64]: ...
