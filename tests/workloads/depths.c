// Stacks of one depth, and what is taken from threads that do nothing but compute.
//
//   depths FRAMES THREADS RATE
//
// Prints `ready PID`. For each line on its input every thread goes down to a stack of FRAMES frames and computes there for
// a second; then one line tells of all threads together:
//
//   {"turns": N, "cpu_ns": N, "lost_ns": N, "lasted_ns": N, "pause_ns": N}
//
// `turns` is the work done, `cpu_ns` the CPU time it took. `lost_ns` adds up the pauses of the computation that are too long
// for it and too short for another thread's turn on the CPU: interrupts, a profiler's among them. `pause_ns` is the median of
// the longest of them, as many as RATE per second and thread: of a profiler with that rate, what one sample takes, whatever
// else happens on the machine. One thread is the main
// thread, and pinned to the last CPU; several are threads beside it, on any CPU. Their stacks end in `main` or in
// `thread_begin`, and count two frames more for the C library and one for `_start`.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define NOINLINE __attribute__((noinline, noclone))

// Frames that are there without descending: the leaf, `compute`, `main`, two of the C library, `_start`.
enum { OTHER_FRAMES = 6, MOST_THREADS = 64, BUCKETS = 2000 };
static const uint64_t LASTS_NS = 1000000000, LEAST_PAUSE_NS = 1000, LONGEST_PAUSE_NS = 200000;
static const uint64_t BUCKET_NS = 100;

struct tally {
    uint64_t turns, cpu_ns, lost_ns, lasted_ns;
    // How many pauses were so long, in steps of BUCKET_NS.
    uint32_t pauses[BUCKETS];
};

static unsigned depth, thread_count, rate;
static double ticks_per_ns;
static volatile uint64_t sink;
static pthread_barrier_t begin, end;
static struct tally tallies[MOST_THREADS];

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static inline uint64_t ticks(void) {
#if defined(__x86_64__)
    return __rdtsc();
#else
    return clock_ns(CLOCK_MONOTONIC);
#endif
}

static void measure_ticks(void) {
    uint64_t from_ns = clock_ns(CLOCK_MONOTONIC), from = ticks();
    usleep(50000);
    ticks_per_ns = (double)(ticks() - from) / (double)(clock_ns(CLOCK_MONOTONIC) - from_ns);
}

static inline uint64_t churn(uint64_t value) {
    for (int turn = 0; turn < 64; turn++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    return value;
}

// Computes until the time is over, and watches the clock between turns.
NOINLINE static uint64_t leaf(uint64_t value, struct tally *tally) {
    uint64_t least = (uint64_t)(ticks_per_ns * LEAST_PAUSE_NS), longest = (uint64_t)(ticks_per_ns * LONGEST_PAUSE_NS);
    uint64_t from = ticks(), last = from, until = from + (uint64_t)(ticks_per_ns * LASTS_NS), lost = 0, turns = 0;
    double bucket = ticks_per_ns * (double)BUCKET_NS;
    memset(tally->pauses, 0, sizeof tally->pauses);
    while (last < until) {
        value = churn(value);
        turns++;
        uint64_t now = ticks(), pause = now - last;
        if (pause > least && pause < longest) {
            lost += pause;
            tally->pauses[(uint64_t)(pause / bucket)]++;
        }
        last = now;
    }
    tally->turns = turns;
    tally->lost_ns = (uint64_t)(lost / ticks_per_ns);
    tally->lasted_ns = (uint64_t)((last - from) / ticks_per_ns);
    return value;
}

static uint64_t descend(uint64_t value, unsigned left, struct tally *tally);

// Two frames of different size, saving different registers, take turns.
NOINLINE static uint64_t descend_further(uint64_t value, unsigned left, struct tally *tally) {
    volatile uint64_t room[6] = {value, left};
    uint64_t a = value * 3, b = value ^ left, c = a + b;
    uint64_t below = left ? descend(value + 1, left - 1, tally) : leaf(value, tally);
    return (below + a * b) ^ (c + room[1]);
}

NOINLINE static uint64_t descend(uint64_t value, unsigned left, struct tally *tally) {
    volatile uint64_t room[3] = {value};
    uint64_t below = left ? descend_further(value ^ 2, left - 1, tally) : leaf(value, tally);
    return below ^ room[0];
}

NOINLINE static void compute(struct tally *tally) {
    uint64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    sink = descend(88172645463325252ULL, depth, tally);
    tally->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
}

static void *thread_begin(void *tally) {
    for (;;) {
        pthread_barrier_wait(&begin);
        compute(tally);
        pthread_barrier_wait(&end);
    }
    return 0;
}

static void pin(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (long cpu = thread_count == 1 ? count - 1 : 0; cpu < count; cpu++)
        CPU_SET(cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

static void start_threads(void) {
    pthread_t thread;
    pthread_barrier_init(&begin, 0, thread_count + 1);
    pthread_barrier_init(&end, 0, thread_count + 1);
    for (unsigned at = 0; thread_count > 1 && at < thread_count; at++)
        pthread_create(&thread, 0, thread_begin, &tallies[at]);
}

// The median of the longest pauses, as many as there are samples in a second; 0 if there were fewer.
static uint64_t pause_of_a_sample(const struct tally *sum) {
    uint64_t longer = 0, half = ((uint64_t)rate * thread_count + 1) / 2;
    for (int bucket = BUCKETS - 1; bucket >= 0; bucket--) {
        longer += sum->pauses[bucket];
        if (longer >= half)
            return (uint64_t)bucket * BUCKET_NS + BUCKET_NS / 2;
    }
    return 0;
}

static void print_sum(void) {
    static struct tally sum;
    memset(&sum, 0, sizeof sum);
    for (unsigned at = 0; at < thread_count; at++) {
        sum.turns += tallies[at].turns, sum.cpu_ns += tallies[at].cpu_ns;
        sum.lost_ns += tallies[at].lost_ns, sum.lasted_ns += tallies[at].lasted_ns;
        for (int bucket = 0; bucket < BUCKETS; bucket++)
            sum.pauses[bucket] += tallies[at].pauses[bucket];
    }
    printf("{\"turns\": %llu, \"cpu_ns\": %llu, \"lost_ns\": %llu, \"lasted_ns\": %llu, \"pause_ns\": %llu}\n",
           (unsigned long long)sum.turns, (unsigned long long)sum.cpu_ns, (unsigned long long)sum.lost_ns,
           (unsigned long long)sum.lasted_ns, (unsigned long long)pause_of_a_sample(&sum));
    fflush(stdout);
}

int main(int count, char **arguments) {
    unsigned frames = count > 1 ? (unsigned)atoi(arguments[1]) : 10;
    thread_count = count > 2 ? (unsigned)atoi(arguments[2]) : 1;
    rate = count > 3 ? (unsigned)atoi(arguments[3]) : 997;
    if (frames <= OTHER_FRAMES || thread_count < 1 || thread_count > MOST_THREADS)
        return 2;
    depth = frames - OTHER_FRAMES - 1;
    measure_ticks();
    pin();
    start_threads();
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    while (getchar() != EOF) {
        if (thread_count == 1) {
            compute(&tallies[0]);
        } else {
            pthread_barrier_wait(&begin);
            pthread_barrier_wait(&end);
        }
        print_sum();
    }
    return 0;
}
