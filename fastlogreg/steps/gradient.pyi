from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlogreg.steps.base import Steps

_Float64 = NDArray[np.float64]

class GradientSteps(Steps):
    eta0: float
    @property
    def t(self) -> float: ...
    def __init__(self, coef: _Float64, intercept: float, sparse: bool, settings: dict[str, Any]) -> None: ...
