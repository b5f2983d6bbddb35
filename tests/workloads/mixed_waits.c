// Threads whose waits differ by five orders of magnitude, each kind in a function of its own.
//
//   mixed_waits SECONDS
//
// Prints `ready PID`, waits for a line, runs, then prints one line of JSON per function with what it measured itself
// around its waits (blocked and queued together), prints `done` and waits for a line or the end of input.
#include "syscalls.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SHORT_NAP, MIDDLE_NAP, LONG_NAP, CONTENDED, PING, PONG, PARKED, KINDS };
static const char *names[KINDS] = {"short_nap", "middle_nap", "long_nap", "contended", "ping", "pong", "parked"};
static const char *classes[KINDS] = {"sleep", "sleep", "sleep", "lock", "ipc", "ipc", "sleep"};

static volatile uint32_t stop, word;
static volatile uint64_t sink;
static int pipes[2][2];
static struct { int64_t wait_ns, waits; } books[KINDS];

#define TIMED(kind, wait)                                                                                              \
    do {                                                                                                               \
        int64_t start = clock_ns(CLOCK_MONOTONIC);                                                                     \
        wait;                                                                                                          \
        __atomic_fetch_add(&books[kind].wait_ns, clock_ns(CLOCK_MONOTONIC) - start, __ATOMIC_RELAXED);                 \
        __atomic_fetch_add(&books[kind].waits, 1, __ATOMIC_RELAXED);                                                   \
    } while (0)

#define next(seed) (*(seed) = churn(*(seed), 1))

NOINLINE static void short_nap(uint64_t *seed) { TIMED(SHORT_NAP, pause_ns(60000 + next(seed) % 40000)); }
NOINLINE static void middle_nap(uint64_t *seed) { TIMED(MIDDLE_NAP, pause_ns(3000000 + next(seed) % 2000000)); }
NOINLINE static void long_nap(void) { TIMED(LONG_NAP, pause_ns(700000000)); }
NOINLINE static void parked(void) { TIMED(PARKED, pause_ns(900000000)); }

// The lock's owner naps in another function, so that this one only waits for the lock.
NOINLINE static void contended(void) {
    uint32_t expected = 0;
    if (__atomic_compare_exchange_n(&word, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE) != 0)
        TIMED(CONTENDED, futex_wait(&word, 2));
}

NOINLINE static void release(void) {
    if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2)
        futex_wake(&word, 1);
}

NOINLINE static void hold(void) { pause_ns(400000); }

NOINLINE static void ping(void) {
    char byte = 0;
    SYS3(SYS_write, pipes[0][1], &byte, 1);
    TIMED(PING, SYS3(SYS_read, pipes[1][0], &byte, 1));
    sink = churn(88172645463325252ULL, 3000);
}

NOINLINE static void pong(void) {
    char byte;
    TIMED(PONG, SYS3(SYS_read, pipes[0][0], &byte, 1));
    SYS3(SYS_write, pipes[1][1], &byte, 1);
}

static void *ping_thread(void *unused) {
    while (!stop)
        ping();
    return unused;
}

static void *pong_thread(void *unused) {
    while (!stop)
        pong();
    return unused;
}

static void *mixed_thread(void *seed_value) {
    uint64_t seed = (uint64_t)seed_value * 0x9E3779B97F4A7C15ULL;
    while (!stop) {
        uint64_t dice = next(&seed) % 1000;
        if (dice < 900)
            short_nap(&seed);
        else if (dice < 998)
            middle_nap(&seed);
        else
            long_nap();
    }
    return 0;
}

static void *lock_thread(void *unused) {
    while (!stop) {
        contended();
        hold();
        release();
        sink = churn(88172645463325252ULL, 20000);
    }
    return unused;
}

static void *parked_thread(void *unused) {
    while (!stop)
        parked();
    return unused;
}

static void start(int count, void *(*body)(void *)) {
    for (long i = 1; i <= count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, body, (void *)i)) {
            perror("pthread_create");
            _exit(1);
        }
    }
}

static void await_line(void) {
    char byte = 0;
    while (byte != '\n')
        if (read(0, &byte, 1) != 1)
            _exit(0);
}

int main(int count, char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int64_t run_ns = (int64_t)((count > 1 ? atof(arguments[1]) : 15) * 1e9);
    if (pipe(pipes[0]) || pipe(pipes[1]))
        return 1;
    printf("ready %d\n", getpid());
    fflush(stdout);
    await_line();
    start(1, ping_thread);
    start(1, pong_thread);
    start(6, mixed_thread);
    start(4, lock_thread);
    start(6, parked_thread);
    pause_ns(run_ns);
    stop = 1;
    pause_ns(1200000000);
    for (int kind = 0; kind < KINDS; kind++)
        printf("{\"function\":\"%s\",\"class\":\"%s\",\"wait_ns\":%lld,\"waits\":%lld}\n", names[kind], classes[kind],
               (long long)books[kind].wait_ns, (long long)books[kind].waits);
    printf("done\n");
    fflush(stdout);
    await_line();
    _exit(0);
}
