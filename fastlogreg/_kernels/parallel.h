/* One parallel region a pass: `chunk` is called once for each of n_chunks chunks of samples. The chunks do not depend
 * on the number of threads and each writes its own partial sums, so neither do the results. */
#ifndef FASTLOGREG_PARALLEL_H
#define FASTLOGREG_PARALLEL_H

#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
#endif

typedef void (*chunk_function)(void *job, ptrdiff_t chunk, ptrdiff_t thread);

static inline void run_chunks(chunk_function chunk, void *job, ptrdiff_t n_chunks, ptrdiff_t n_threads) {
#ifdef _OPENMP
    if (n_threads > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)n_threads)
        for (ptrdiff_t c = 0; c < n_chunks; c++)
            chunk(job, c, omp_get_thread_num());
        return;
    }
#endif
    (void)n_threads;
    for (ptrdiff_t c = 0; c < n_chunks; c++)
        chunk(job, c, 0);
}

/* 0 when built without OpenMP. */
static inline int openmp_max_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 0;
#endif
}

/* Chunk c of n_chunks holds samples [chunk_start(c), chunk_start(c + 1)); starts are multiples of 8, a cache line of
 * doubles, so that no two chunks write to the same line. */
static inline ptrdiff_t chunk_start(ptrdiff_t n_samples, ptrdiff_t n_chunks, ptrdiff_t c) {
    return c == n_chunks ? n_samples : n_samples / 8 * c / n_chunks * 8;
}

#endif
