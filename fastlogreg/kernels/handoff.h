/* What two threads hand over by a counter: what was written before `hand_over` is seen after `handed_over` has returned
 * its value. */
#ifndef FASTLOGREG_HANDOFF_H
#define FASTLOGREG_HANDOFF_H

#include <sched.h>
#include <stddef.h>

static inline void hand_over(ptrdiff_t *counter, ptrdiff_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}

static inline ptrdiff_t handed_over(const ptrdiff_t *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }

/* What a thread does between two looks at a counter. */
static inline void wait_a_moment(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Lets another thread have the core, if one waits for it. */
static inline void give_way(void) { sched_yield(); }

#endif
