from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlogreg.data.design import Design
from fastlogreg.data.samples import Samples

_Float64: TypeAlias = NDArray[np.float64]

class LocalPasses:
    design: Design
    samples: Samples
    n_samples: int
    n_features: int
    n_classes: int
    n_passes: int
    n_entries: int
    total_weight: float
    mean_target: _Float64
    has_labels: bool
    least_weight: float
    has_offset: bool
    lines_are_free: bool
    is_sparse: bool
    is_mostly_zero: bool
    local: Any
    def __init__(self, design: Design, samples: Samples) -> None: ...
    def moments(self) -> tuple[_Float64, _Float64]: ...
    def gram(self, center: _Float64) -> _Float64: ...
    def take(self, rows: NDArray[np.intp]) -> Self: ...
    def take_from(self, handle: Any, rows: NDArray[np.intp]) -> Self: ...
    def over(self, design: Design) -> Self: ...
