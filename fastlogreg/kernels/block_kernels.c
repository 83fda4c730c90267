#include "block_kernels.h"

#include <string.h>

extern const block_kernels block_kernels_baseline;
#ifdef FASTLOGREG_X86
extern const block_kernels block_kernels_avx2, block_kernels_avx512;
#endif

const char *const block_kernels_names[] = {"baseline", "avx2", "avx512", NULL};

const block_kernels *block_kernels_named(const char *isa) {
    if (strcmp(isa, "baseline") == 0)
        return &block_kernels_baseline;
#ifdef FASTLOGREG_X86
    __builtin_cpu_init();
    if (strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &block_kernels_avx2;
    if (strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return &block_kernels_avx512;
#endif
    return NULL;
}
