"""Masked arrays: NumPy reads what lies under a mask as if it were data."""

import numpy as np


def check_unmasked(**arrays):
    """Raise ValueError if one of the arrays, given by name, has masked values; masks that hide nothing are accepted."""
    for name, array in arrays.items():
        if np.ma.is_masked(array):
            raise ValueError(
                f"Input {name} has masked values, which would be read as if they were not: leave their samples out, or "
                "fill them in"
            )
