// Two libraries of one size, one loaded after the other at the same addresses, with frames of different sizes.
//
//   reloads FIRST SECOND ROUNDS MILLISECONDS
//
// Prints `ready PID`, waits for a line, loads and calls either library so many times for so much CPU time, prints how often the
// second lay where the first had been, and `done`; then it waits for the end of its input.
#include "syscalls.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef uint64_t (*function)(uint64_t, int64_t);

static volatile uint64_t sink;

static void *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return library;
}

NOINLINE static uint64_t call_first(function entry, int64_t ns) {
    return entry(1, clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns) + 1;
}

NOINLINE static uint64_t call_second(function entry, int64_t ns) {
    return entry(2, clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns) + 2;
}

int main(int count, char **words) {
    if (count != 5)
        return 2;
    long rounds = atol(words[3]), same = 0;
    int64_t ns = atol(words[4]) * 1000000;
    printf("ready %d\n", getpid());
    fflush(stdout);
    getchar();
    for (long round = 0; round < rounds; round++) {
        void *first = load(words[1]);
        function entry = (function)dlsym(first, "entry");
        sink = call_first(entry, ns);
        dlclose(first);
        void *second = load(words[2]);
        same += (function)dlsym(second, "entry") == entry;
        sink = call_second((function)dlsym(second, "entry"), ns);
        dlclose(second);
    }
    printf("{\"rounds\": %ld, \"same\": %ld}\ndone\n", rounds, same);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
