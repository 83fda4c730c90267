import numpy as np
from numpy.typing import NDArray

from fastlogreg.steps.base import Steps

_Float64 = NDArray[np.float64]

class SoftmaxNewtonSteps(Steps):
    targets: _Float64 | None
    @property
    def warm(self) -> bool: ...
    def __init__(
        self, coef: _Float64, intercept: _Float64, sparse: bool, alpha: float, fit_intercept: bool
    ) -> None: ...
    def go_on_from(self, coef: _Float64, intercept: _Float64, weight: float) -> None: ...
    def solution(self) -> tuple[_Float64, _Float64]: ...
