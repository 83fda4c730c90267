#define ISA "avx512"
#define VECTOR_BYTES 64
#define TABLE block_kernels_avx512
#include "block_kernels_impl.h"
