from typing import Any

from numpy.typing import NDArray

from fastlogreg.data.design import Design

class CSRDesign(Design):
    @property
    def index_bytes(self) -> int: ...
    @property
    def longest_row(self) -> int: ...

def csr_arrays(X: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
def checked_indices(
    indices: Any, indptr: Any, data: Any, n_rows: int, n_columns: int
) -> tuple[NDArray[Any], NDArray[Any]]: ...
