#define ISA "baseline"
#define VECTOR_BYTES 16
#define TABLE block_kernels_baseline
#include "block_kernels_impl.h"
