from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]

def contrasts(of_classes: _Float64) -> _Float64: ...
def of_contrasts(of_contrasts_: _Float64) -> _Float64: ...
def of_pair_grams(grams: _Float64, scale: _Float64, n_classes: int) -> _Float64: ...
