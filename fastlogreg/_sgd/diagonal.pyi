import numpy as np
from numpy.typing import NDArray

from fastlogreg._sgd.steps import Steps

_Float64 = NDArray[np.float64]

def minimizer_of_models(sums: _Float64, curvature: _Float64, l1: float, l2: float) -> _Float64: ...

class DiagonalSteps(Steps):
    def __init__(
        self, coef: _Float64, intercept: float, alpha: float, l1_ratio: float, fit_intercept: bool
    ) -> None: ...
