# SciPy's BLAS and LAPACK, as `scipy.linalg.cython_blas` and `cython_lapack` export them: arguments are pointers, as in
# Fortran, and matrices have their columns one after the other.
ctypedef void (*dsymv_function)(
    char *uplo, int *n, double *alpha, double *a, int *lda, double *x, int *incx, double *beta, double *y, int *incy,
) noexcept nogil
ctypedef void (*dtrsv_function)(
    char *uplo, char *trans, char *diag, int *n, double *a, int *lda, double *x, int *incx,
) noexcept nogil
ctypedef void (*dpotrf_function)(char *uplo, int *n, double *a, int *lda, int *info) noexcept nogil

cdef dsymv_function dsymv
cdef dtrsv_function dtrsv
cdef dpotrf_function dpotrf
