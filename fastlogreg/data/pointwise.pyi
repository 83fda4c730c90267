from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Float64: TypeAlias = NDArray[np.float64]
_Target: TypeAlias = NDArray[np.float64] | NDArray[np.uint8]

def cross_entropy(
    logits: _Float64,
    target: _Target,
    sample_weight: _Float64 | None = None,
    *,
    loss_out: _Float64 | None = None,
    residual_out: _Float64 | None = None,
    curvature_out: _Float64 | None = None,
    n_threads: int = 1,
) -> None: ...
def cross_entropy_on_line(
    start: _Float64,
    end: _Float64,
    t: float,
    target: _Target,
    sample_weight: _Float64 | None = None,
    n_threads: int = 1,
) -> tuple[float, float, float]: ...
def sigmoid(
    logits: _Float64,
    *,
    prob_out: _Float64 | None = None,
    complement_out: _Float64 | None = None,
    n_threads: int = 1,
) -> None: ...
def largest_change(start: _Float64, end: _Float64) -> float: ...
