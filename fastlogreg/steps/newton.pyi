import numpy as np
from numpy.typing import NDArray

from fastlogreg.steps.base import Steps

_Float64 = NDArray[np.float64]

class NewtonSteps(Steps):
    @property
    def warm(self) -> bool: ...
    def __init__(self, coef: _Float64, intercept: float, sparse: bool, alpha: float, fit_intercept: bool) -> None: ...
    def go_on_from(self, coef: _Float64, intercept: float, weight: float) -> None: ...
