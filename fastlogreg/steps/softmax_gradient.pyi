from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlogreg.steps.gradient import GradientSteps

_Float64 = NDArray[np.float64]

class SoftmaxGradientSteps(GradientSteps):
    def __init__(self, coef: _Float64, intercept: _Float64, sparse: bool, settings: dict[str, Any]) -> None: ...
    def solution(self) -> tuple[_Float64, _Float64]: ...
