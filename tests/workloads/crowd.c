// Far more threads than CPUs, most of which wait for ten milliseconds at a time, beside two that switch as fast as they can.
//
//   crowd SECONDS THREADS
//
// Prints `ready PID`, waits for a line, runs, then prints one line of JSON per function with what it measured itself
// around its waits (blocked and queued together), prints `done` and waits for a line or the end of input.
#include "syscalls.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { LONG_NAP, MIDDLE_NAP, SHORT_NAP, PING, PONG, KINDS };
static const char *names[KINDS] = {"long_nap", "middle_nap", "short_nap", "ping", "pong"};
static const char *classes[KINDS] = {"sleep", "sleep", "sleep", "ipc", "ipc"};

static volatile uint32_t stop;
static int pipes[2][2];
static struct { int64_t wait_ns, waits; } books[KINDS];

#define TIMED(kind, wait)                                                                                              \
    do {                                                                                                               \
        int64_t start = clock_ns(CLOCK_MONOTONIC);                                                                     \
        wait;                                                                                                          \
        __atomic_fetch_add(&books[kind].wait_ns, clock_ns(CLOCK_MONOTONIC) - start, __ATOMIC_RELAXED);                 \
        __atomic_fetch_add(&books[kind].waits, 1, __ATOMIC_RELAXED);                                                   \
    } while (0)

NOINLINE static void long_nap(void) { TIMED(LONG_NAP, pause_ns(1000000000)); }
NOINLINE static void middle_nap(void) { TIMED(MIDDLE_NAP, pause_ns(10000000)); }
NOINLINE static void short_nap(void) { TIMED(SHORT_NAP, pause_ns(1000000)); }

NOINLINE static void ping(void) {
    char byte = 0;
    SYS3(SYS_write, pipes[0][1], &byte, 1);
    TIMED(PING, SYS3(SYS_read, pipes[1][0], &byte, 1));
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

// Of a hundred naps, one is short; of a thousand, one is long.
static void *napping_thread(void *seed_value) {
    uint64_t seed = (uint64_t)seed_value * 0x9E3779B97F4A7C15ULL;
    while (!stop) {
        uint64_t dice = (seed = churn(seed, 1)) % 1000;
        if (dice == 0)
            long_nap();
        else if (dice <= 10)
            short_nap();
        else
            middle_nap();
    }
    return 0;
}

static void start(int count, void *(*body)(void *)) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (long i = 1; i <= count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, body, (void *)i)) {
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
    int threads = count > 2 ? atoi(arguments[2]) : 1000;
    if (pipe(pipes[0]) || pipe(pipes[1]))
        return 1;
    printf("ready %d\n", getpid());
    fflush(stdout);
    await_line();
    start(1, ping_thread);
    start(1, pong_thread);
    start(threads, napping_thread);
    pause_ns(run_ns);
    stop = 1;
    pause_ns(1500000000);
    for (int kind = 0; kind < KINDS; kind++)
        printf("{\"function\":\"%s\",\"class\":\"%s\",\"wait_ns\":%lld,\"waits\":%lld}\n", names[kind], classes[kind],
               (long long)books[kind].wait_ns, (long long)books[kind].waits);
    printf("done\n");
    fflush(stdout);
    await_line();
    _exit(0);
}
