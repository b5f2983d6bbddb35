// Starts short processes at a steady rate, or is one of them.
//
//   churn RATE SECONDS THREADS
//
// Prints `ready PID`, waits for a line, starts RATE processes per second (each execs this file, starts THREADS more threads
// that are all alive at once, computes for 200 microseconds and exits), then prints `{"started":N,"seconds":S,"cpu_ns":N}`
// with the CPU time of all of them by wait4, and waits for a line or the end of input.
#include "syscalls.h"
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static volatile uint64_t sink;
static long long started, reaped, cpu_ns;

NOINLINE static void short_life(void) { sink = churn(88172645463325252ULL, 200000); }

// Every thread of a short process: none ends before all are there.
static pthread_barrier_t all_there;

static void *brief_thread(void *unused) {
    pthread_barrier_wait(&all_there);
    sink = churn(88172645463325252ULL, 20000);
    return unused;
}

static int be_short(int threads) {
    pthread_t thread[64];
    if (threads > 64)
        threads = 64;
    pthread_barrier_init(&all_there, 0, threads + 1);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], 0, brief_thread, 0))
            _exit(1);
    pthread_barrier_wait(&all_there);
    short_life();
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], 0);
    return 0;
}

static void reap(int flags) {
    struct rusage use;
    while (reaped < started && wait4(-1, 0, flags, &use) > 0) {
        reaped++;
        cpu_ns += (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000000LL;
        cpu_ns += (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000LL;
    }
}

static void start_one(char *threads) {
    char *arguments[] = {"churned", "short", threads, 0};
    pid_t pid;
    if (posix_spawn(&pid, "/proc/self/exe", 0, 0, arguments, environ) == 0)
        started++;
}

static void await_line(void) {
    char byte = 0;
    while (byte != '\n')
        if (read(0, &byte, 1) != 1)
            _exit(0);
}

int main(int count, char **arguments) {
    if (count > 2 && !strcmp(arguments[1], "short"))
        return be_short(atoi(arguments[2]));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (count < 4)
        return 2;
    double rate = atof(arguments[1]), seconds = atof(arguments[2]);
    printf("ready %d\n", getpid());
    fflush(stdout);
    await_line();
    int64_t begin = clock_ns(CLOCK_MONOTONIC), end = begin + (int64_t)(seconds * 1e9);
    for (int64_t at = begin; at < end; at += (int64_t)(1e9 / rate)) {
        int64_t early = at - clock_ns(CLOCK_MONOTONIC);
        if (early > 0)
            pause_ns(early);
        if (clock_ns(CLOCK_MONOTONIC) >= end)
            break;
        start_one(arguments[3]);
        reap(WNOHANG);
    }
    double took = (clock_ns(CLOCK_MONOTONIC) - begin) / 1e9;
    reap(0);
    printf("{\"started\":%lld,\"seconds\":%.3f,\"cpu_ns\":%lld}\n", started, took, cpu_ns);
    fflush(stdout);
    await_line();
    return 0;
}
