import numpy as np
from numpy.typing import NDArray

from fastlogreg.steps.base import Steps

_Float64 = NDArray[np.float64]

class DiagonalSteps(Steps):
    def __init__(
        self, coef: _Float64, intercept: float, alpha: float, l1_ratio: float, fit_intercept: bool
    ) -> None: ...
