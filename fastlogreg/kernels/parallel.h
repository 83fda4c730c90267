/* One parallel region for each pass: `chunk` is called once for each of n_chunks chunks of samples. They do not depend
 * on the number of threads and each writes its own partial sums, so neither do the results. */
#ifndef FASTLOGREG_PARALLEL_H
#define FASTLOGREG_PARALLEL_H

#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
#endif

typedef void (*chunk_function)(void *job, ptrdiff_t chunk, ptrdiff_t thread);

#ifdef _OPENMP
#define MAX_SHARES 64

/* A thread's share of the chunks: neighbours, of which `next` is the first that nobody has taken yet. */
typedef struct {
    _Alignas(64) ptrdiff_t next;
    ptrdiff_t end;
} share_of_chunks;

/* The next chunk of a share, or its end. */
static inline ptrdiff_t take_chunk(share_of_chunks *share) {
    ptrdiff_t chunk;
#pragma omp atomic capture
    chunk = share->next++;
    return chunk < share->end ? chunk : share->end;
}

/* A thread has the same share in every pass, so that what it has read and written is in its own caches, and takes from
 * the others' shares what is left when its own is done. */
static inline void run_shares(chunk_function chunk, void *job, ptrdiff_t n_chunks, ptrdiff_t n_shares) {
    share_of_chunks shares[MAX_SHARES];
    for (ptrdiff_t s = 0; s < n_shares; s++) {
        shares[s].next = n_chunks * s / n_shares;
        shares[s].end = n_chunks * (s + 1) / n_shares;
    }
#pragma omp parallel num_threads((int)n_shares)
    {
        const ptrdiff_t thread = omp_get_thread_num();
        for (ptrdiff_t s = 0; s < n_shares; s++) {
            share_of_chunks *share = shares + (thread + s) % n_shares;
            for (ptrdiff_t c = take_chunk(share); c < share->end; c = take_chunk(share))
                chunk(job, c, thread);
        }
    }
}
#endif

static inline void run_chunks(chunk_function chunk, void *job, ptrdiff_t n_chunks, ptrdiff_t n_threads) {
#ifdef _OPENMP
    if (n_threads > 1) {
        run_shares(chunk, job, n_chunks, n_threads < MAX_SHARES ? n_threads : MAX_SHARES);
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
