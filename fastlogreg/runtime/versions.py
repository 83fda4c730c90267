"""The version, and what was chosen at import, for bug reports."""

import os
import platform
import sys

__version__ = "0.1.0"


def show_versions():
    """Print the versions of fastlogreg and what it runs on, its instruction set and its threads."""
    import joblib
    import numpy
    import scipy
    import sklearn

    from fastlogreg.kernels import dispatch
    from fastlogreg.runtime.threads import effective_n_threads

    isas = ", ".join(dispatch.available_isas())
    openmp = "with" if dispatch.openmp_threads() else "without"
    rows = {
        "fastlogreg": __version__,
        "instruction set": f"{dispatch.active_isa()} (this machine has {isas}; FASTLOGREG_ISA overrides)",
        "threads": f"{effective_n_threads()} of {os.cpu_count()} cores, {openmp} OpenMP",
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "joblib": joblib.__version__,
        "machine": platform.platform(),
    }
    for name, value in rows.items():
        print(f"{name:>16}: {value}")
