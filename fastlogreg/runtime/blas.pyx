"""The routines of SciPy's BLAS and LAPACK that are called without the GIL, looked up when the package is imported.

To cimport them from SciPy, a build would have to install SciPy and NumPy first.
"""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer

from scipy.linalg import cython_blas, cython_lapack


cdef void *_routine(module, str name) except NULL:
    capsule = module.__pyx_capi__[name]
    return PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


dsymv = <dsymv_function>_routine(cython_blas, "dsymv")
dtrsv = <dtrsv_function>_routine(cython_blas, "dtrsv")
dpotrf = <dpotrf_function>_routine(cython_lapack, "dpotrf")
