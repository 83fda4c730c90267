from typing import Any

from numpy.typing import NDArray

from fastlogreg.data.design import Design

class CSRDesign(Design):
    @property
    def index_bytes(self) -> int: ...

def csr_arrays(X: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
