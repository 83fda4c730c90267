/* Labels that are two whole numbers: see `tell_apart` in block_kernels.h. Without branches, for random labels cost a
 * wrong guess every other time. */

#define BITS_OF_ONE UINT64_C(0x3ff0000000000000)

static int tell_apart(ptrdiff_t n, const int64_t *labels, int64_t lower, int64_t upper, double *target_out) {
    int64_t others = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint64_t is_upper = -(uint64_t)(labels[i] == upper), is_lower = -(uint64_t)(labels[i] == lower);
        const uint64_t bits = is_upper & BITS_OF_ONE;
        others |= (int64_t)~(is_upper | is_lower);
        memcpy(target_out + i, &bits, sizeof bits);
    }
    return others == 0;
}
