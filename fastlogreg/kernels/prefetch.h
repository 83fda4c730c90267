/* Functions that do nothing but prefetch are pure in GCC's eyes, which deletes calls of them, and so must be inlined
 * before it looks. */
#define PREFETCHES static inline __attribute__((always_inline)) void

/* Asks for the cache lines of `size` > 0 bytes. */
PREFETCHES ask_for_bytes(const void *begin, ptrdiff_t size) {
    for (ptrdiff_t k = 0; k < size; k += 64)
        __builtin_prefetch((const char *)begin + k);
    __builtin_prefetch((const char *)begin + size - 1);
}
