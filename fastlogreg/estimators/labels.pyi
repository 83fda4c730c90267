from typing import Any

import numpy as np
from numpy.typing import NDArray

def two_whole_numbers(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]] | None: ...
