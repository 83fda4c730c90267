/* Labels that are two whole numbers: see `tell_apart` in block_kernels.h. There are no branches, as the processor would
 * guess every other random label wrongly. */

static int tell_apart(ptrdiff_t n, const int64_t *labels, int64_t lower, int64_t upper, uint8_t *upper_out) {
    int others = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int is_upper = labels[i] == upper;
        others |= !(is_upper | (labels[i] == lower));
        upper_out[i] = (uint8_t)is_upper;
    }
    return !others;
}
