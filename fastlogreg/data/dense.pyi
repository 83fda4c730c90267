from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlogreg.data.design import Design

_Float64: TypeAlias = NDArray[np.float64]

SAMPLED_ROWS: int

class DenseDesign(Design):
    def farthest(self, center: _Float64, step: int) -> _Float64: ...
