#define ISA "avx2"
#define VECTOR_BYTES 32
#define TABLE block_kernels_avx2
#include "block_kernels_impl.h"
