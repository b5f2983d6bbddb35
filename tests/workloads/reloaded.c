// A library that computes: its functions begin with PREFIX, and each keeps ROOM bytes on its stack.
#include "syscalls.h"

#define JOIN(prefix, name) prefix##name
#define NAMED(prefix, name) JOIN(prefix, name)

NOINLINE static uint64_t NAMED(PREFIX, _inner)(uint64_t seed) {
    volatile char room[ROOM];
    room[seed & 127] = (char)seed;
    return churn(seed | 1, 2000) + room[seed & 127];
}

NOINLINE static uint64_t NAMED(PREFIX, _middle)(uint64_t seed) {
    volatile char room[2 * ROOM];
    room[seed & 127] = (char)seed;
    return NAMED(PREFIX, _inner)(seed) + room[seed & 127];
}

uint64_t entry(uint64_t seed, int64_t until_ns) {
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < until_ns)
        for (int times = 0; times < 100; times++)
            seed += NAMED(PREFIX, _middle)(seed);
    return seed;
}
