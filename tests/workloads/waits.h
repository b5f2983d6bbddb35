// What programs that wait share: one case per run, in a thread of its own that keeps the books of its waits.
//
//   waits_X CASE [ARGUMENT]
//
// Prints `ready PID`, waits for a line on standard input, runs the case in a thread and prints a line of JSON: the thread,
// how long it ran, how long it waited and how often, and what it waited for. `done` follows. It ends with its input.
#pragma once
#include "syscalls.h"
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#define CASE_NS 1200000000LL
// How long the other side of a wait lets it wait.
#define PAUSE_NS 15000000LL

// Around calls that fail only where the machine lacks something: the program says what and ends.
#define must(call)                                                                                                     \
    ({                                                                                                                 \
        __typeof__(call) must_result = (call);                                                                         \
        if ((long)must_result == -1)                                                                                   \
            fail(#call);                                                                                               \
        must_result;                                                                                                   \
    })

// A wait of the books: what passed during the call without the thread computing or queueing.
#define WAIT(call)                                                                                                     \
    ({                                                                                                                 \
        begin_wait();                                                                                                  \
        __typeof__(call) wait_result = (call);                                                                         \
        end_wait();                                                                                                    \
        wait_result;                                                                                                   \
    })

static inline void fail(const char *what) {
    perror(what);
    _exit(1);
}

// ---- the books -------------------------------------------------------------------------------------------------

static __thread int schedstat_fd = -1;
static __thread int64_t wait_ns, waits, last_ns;

static inline int64_t run_delay_ns(void) {
    char text[128] = {0};
    long long cpu = 0, delay = 0;
    if (schedstat_fd < 0)
        schedstat_fd = must(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
    if (pread(schedstat_fd, text, sizeof text - 1, 0) <= 0 || sscanf(text, "%lld %lld", &cpu, &delay) != 2)
        fail("schedstat");
    return delay;
}

// What passed until now without the thread computing or queueing; read again if it lost its CPU in between.
static inline int64_t blocked_ns(void) {
    int64_t before, after, mono, cpu;
    do {
        before = run_delay_ns();
        mono = clock_ns(CLOCK_MONOTONIC);
        cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        after = run_delay_ns();
    } while (before != after);
    return mono - cpu - after;
}

static inline void begin_wait(void) { wait_ns -= blocked_ns(); }

static inline void end_wait(void) {
    wait_ns += blocked_ns();
    waits++;
}

// Whether the case goes on.
static inline bool runs(void) {
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (!last_ns)
        last_ns = now + CASE_NS;
    return now < last_ns;
}

// ---- what is waited for ------------------------------------------------------------------------------------------

static char subject[256];

// Says what the case waits for: a path, an address, a pid.
static inline void say_subject(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(subject, sizeof subject, format, arguments);
    va_end(arguments);
}

// ---- the other sides -------------------------------------------------------------------------------------------

static pid_t main_pid, other_pid;

// A process that runs the function until it ends, or this one does.
static inline pid_t start_other(void (*function)(void)) {
    pid_t parent = getpid();
    pid_t pid = must(fork());
    if (pid) {
        other_pid = pid;
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        function();
    _exit(0);
}

static inline void *call_forever(void *function) {
    for (;;)
        ((void (*)(void))function)();
    return 0;
}

// A thread that runs the function again and again.
static inline void start_other_thread(void (*function)(void)) {
    pthread_t thread;
    if (pthread_create(&thread, 0, call_forever, (void *)function))
        fail("pthread_create");
}

// ---- the run ---------------------------------------------------------------------------------------------------

struct wait_case {
    const char *name;
    // Before `ready`, in the main thread.
    void (*prepare)(void);
    // In the thread whose books are kept.
    void (*run)(void);
};

static const char *argument;

static inline void *run_case(void *run) {
    int64_t begin = clock_ns(CLOCK_MONOTONIC);
    ((void (*)(void))run)();
    long long life = clock_ns(CLOCK_MONOTONIC) - begin;
    printf("{\"thread\":%d,\"life_ns\":%lld,\"wait_ns\":%lld,\"waits\":%lld,\"subject\":\"%s\"}\n", gettid(), life,
           (long long)wait_ns, (long long)waits, subject);
    fflush(stdout);
    return 0;
}

// Waits for a line; the end of the input ends the program.
static inline void await_command(void) {
    char byte = 0;
    while (byte != '\n')
        if (read(0, &byte, 1) != 1)
            _exit(0);
}

static inline void nothing(void) {}

// Runs the case named by the arguments.
static inline int run_program(const struct wait_case *cases, size_t count, int arguments, char **texts) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    main_pid = getpid();
    argument = arguments > 2 ? texts[2] : "";
    for (size_t i = 0; i < count; i++) {
        if (arguments < 2 || strcmp(cases[i].name, texts[1]))
            continue;
        cases[i].prepare();
        printf("ready %d\n", getpid());
        fflush(stdout);
        await_command();
        pthread_t thread;
        if (pthread_create(&thread, 0, run_case, (void *)cases[i].run))
            fail("pthread_create");
        pthread_join(thread, 0);
        printf("done\n");
        fflush(stdout);
        await_command();
        return 0;
    }
    fprintf(stderr, "no such case\n");
    return 2;
}

#define PROGRAM(cases)                                                                                                 \
    int main(int count, char **texts) { return run_program(cases, sizeof(cases) / sizeof(cases)[0], count, texts); }
