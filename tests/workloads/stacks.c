// Stacks of every shape a C compiler makes, in a static executable without frame pointers.
//
//   stacks [backtrace]
//
// Prints `ready PID`, waits for a line, and lets three threads compute until the end of its input, beside handlers of a
// timer's signals, on the stack they interrupt and on one of their own. Then it prints `done`. With `backtrace` a third
// timer makes each thread walk its own stack, and `enough` is printed after a few thousand of them.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "backtrace.h"
#include <alloca.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline, noclone))

enum { THREADS = 3, DEEPEST = 150, TIMER_NS = 3000000, ENOUGH = 3000 };

static volatile uint64_t sink;
static volatile int ended, walks_itself;

static uint64_t churn(uint64_t value, int turns) {
    for (int turn = 0; turn < turns; turn++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    return value;
}

// A leaf that keeps nothing on the stack.
NOINLINE static uint64_t leaf(uint64_t value) { return churn(value, 300); }

// A function that needs its stack for an early way out only: the compiler moves its saves behind the test.
NOINLINE static uint64_t shrink_wrapped(uint64_t value, unsigned depth) {
    if (depth == 0)
        return churn(value, 100);
    uint64_t left = leaf(value), right = leaf(left + depth);
    return left * depth ^ leaf(right) ^ right;
}

NOINLINE static uint64_t with_many_arguments(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                                             uint64_t g, uint64_t h, uint64_t i) {
    return leaf(a + b * c - d) + leaf(e ^ f ^ g) + h * i;
}

// Arguments beyond the sixth are pushed around the call.
NOINLINE static uint64_t pushes_arguments(uint64_t value) {
    uint64_t first = with_many_arguments(value, 1, 2, 3, 4, 5, 6, 7, value ^ 9);
    return with_many_arguments(first, value, 2, 3, 4, 5, 6, first, value) + first;
}

// The size of the frame is known at run time: the frame is found from a register.
NOINLINE static uint64_t with_variable_frame(uint64_t value, unsigned size) {
    uint64_t *room = alloca(size * sizeof *room);
    for (unsigned at = 0; at < size; at++)
        room[at] = churn(value + at, 4);
    return leaf(room[size / 2]) + room[value % size];
}

// The frame is aligned beyond what the caller gives: it is found from a word in memory.
NOINLINE static uint64_t with_aligned_frame(uint64_t value, unsigned size) {
    uint64_t room[16] __attribute__((aligned(64)));
    for (unsigned at = 0; at < 16; at++)
        room[at] = churn(value + at, 8);
    sink = (uintptr_t)room & 63;
    return with_variable_frame(room[value % 16], size) + room[size % 16];
}

NOINLINE static uint64_t with_aligned_variable_frame(uint64_t value, unsigned size) {
    uint64_t fixed[8] __attribute__((aligned(128)));
    uint64_t *room = alloca(size * sizeof *room);
    memset(room, (int)value, size * sizeof *room);
    for (unsigned at = 0; at < 8; at++)
        fixed[at] = leaf(room[at % size] + at);
    return fixed[value % 8] ^ pushes_arguments(fixed[0]);
}

NOINLINE static uint64_t with_large_frame(uint64_t value) {
    volatile uint64_t room[3000];
    for (unsigned at = 0; at < 3000; at += 97)
        room[at] = churn(value, 3);
    return leaf(room[97]) + room[194];
}

// Calls that are the last thing a function does become jumps.
NOINLINE static uint64_t tail_last(uint64_t value, unsigned turns) { return churn(value, turns); }
NOINLINE static uint64_t tail_second(uint64_t value, unsigned turns) {
    value = leaf(value);
    return tail_last(value ^ 5, turns);
}
NOINLINE static uint64_t tail_first(uint64_t value, unsigned turns) {
    value = leaf(value) + turns;
    return tail_second(value, turns + 3);
}

typedef uint64_t (*step)(uint64_t value, unsigned depth);
static uint64_t descend(uint64_t value, unsigned depth);

NOINLINE static uint64_t step_plain(uint64_t value, unsigned depth) { return descend(value + 1, depth) ^ value; }

NOINLINE static uint64_t step_variable(uint64_t value, unsigned depth) {
    uint64_t *room = alloca((depth + 2) * sizeof *room);
    room[depth] = value;
    return descend(value ^ 2, depth) + room[depth];
}

NOINLINE static uint64_t step_aligned(uint64_t value, unsigned depth) {
    uint64_t room[8] __attribute__((aligned(64)));
    room[depth % 8] = value;
    sink = (uintptr_t)room;
    return descend(value ^ 3, depth) + room[depth % 8];
}

NOINLINE static uint64_t step_many(uint64_t value, unsigned depth) {
    uint64_t a = leaf(value), b = a * 3, c = b ^ value, d = c + depth, e = d * a;
    uint64_t below = descend(e, depth);
    return below + a + b * c - d * e;
}

// Every function saves other registers, in an order that the path decides.
NOINLINE static uint64_t descend(uint64_t value, unsigned depth) {
    static const step steps[] = {step_plain, step_variable, step_aligned, step_many};
    if (depth > 1)
        return steps[value % 4](churn(value, 5), depth - 2) + 1;
    for (unsigned turn = 0; turn < 20; turn++)
        value = shrink_wrapped(value, value % 3) + with_aligned_frame(value, value % 60 + 8);
    return value;
}

static int compare(const void *left, const void *right) {
    uint64_t a = churn(*(const uint64_t *)left, 3), b = churn(*(const uint64_t *)right, 3);
    return a < b ? -1 : a > b;
}

// The C library's sort calls back.
NOINLINE static uint64_t sort(uint64_t value) {
    uint64_t items[200];
    for (unsigned at = 0; at < 200; at++)
        items[at] = value = churn(value, 1);
    qsort(items, 200, sizeof *items, compare);
    return items[100];
}

// In a static executable these are called through stubs that ask for the best variant once.
NOINLINE static uint64_t through_stubs(uint64_t value) {
    char from[512], to[512];
    memset(from, 'a' + value % 20, sizeof from - 1);
    from[sizeof from - 1] = 0;
    for (unsigned turn = 0; turn < 40; turn++) {
        memcpy(to, from, sizeof to);
        to[turn * 3] = 'z';
        value += strlen(to) + (uint64_t)(strchr(to, 'z') - to) + (uint64_t)memcmp(from, to, sizeof to);
    }
    return value;
}

static _Thread_local jmp_buf way_out;

// What follows the call is another function.
NOINLINE __attribute__((noreturn)) static void leave(uint64_t value) {
    sink = leaf(leaf(value));
    longjmp(way_out, 1);
}
NOINLINE __attribute__((noreturn)) static void ends_in_a_call(uint64_t value) {
    sink = leaf(value);
    leave(value + 1);
}
NOINLINE static uint64_t return_by_jump(uint64_t value) {
    if (setjmp(way_out) == 0)
        ends_in_a_call(value);
    return value + 1;
}

__attribute__((cold, noinline)) static void complain(uint64_t value) { sink = leaf(value); }

// The unlikely part lies elsewhere and has unwind information of its own.
NOINLINE static uint64_t with_cold_part(uint64_t value) {
    uint64_t first = leaf(value);
    if (__builtin_expect(value % 2, 0)) {
        complain(first);
        first += leaf(first * value);
        complain(value);
    }
    return leaf(first ^ value);
}

NOINLINE static uint64_t sleep_shortly(uint64_t value) {
    struct timespec pause = {0, 1000 + value % 50000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        ;
    return value;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

NOINLINE static uint64_t hold_the_gate(uint64_t value) {
    pthread_mutex_lock(&gate);
    value = leaf(leaf(value));
    pthread_mutex_unlock(&gate);
    return value;
}

NOINLINE static uint64_t allocate(uint64_t value) {
    void *blocks[16];
    for (unsigned at = 0; at < 16; at++)
        blocks[at] = malloc(16 << at % 11);
    for (unsigned at = 0; at < 16; at++)
        free(blocks[(at * 7 + value) % 16]), blocks[(at * 7 + value) % 16] = 0;
    return value;
}

NOINLINE static uint64_t one_round(uint64_t value) {
    value = descend(value, value % 11 ? value % 60 : value % DEEPEST);
    value += with_aligned_variable_frame(value, 20 + value % 50);
    value = tail_first(value, value % 500) + with_large_frame(value) + sort(value);
    value = through_stubs(value) ^ return_by_jump(value) ^ with_cold_part(value);
    value += hold_the_gate(value) + allocate(value);
    return value % 8 ? value : sleep_shortly(value);
}

// The handlers compute for a while, so that samples meet them. One of them has its stack elsewhere.
NOINLINE static void handle_plain(int signal) {
    (void)signal;
    sink = descend(sink, 6);
}
NOINLINE static void handle_elsewhere(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    sink = descend(sink, 10) + leaf(sink);
}

static void install_handlers(void) {
    struct sigaction plain = {.sa_handler = handle_plain, .sa_flags = SA_RESTART};
    struct sigaction elsewhere = {.sa_sigaction = handle_elsewhere, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO};
    sigaction(SIGUSR1, &plain, 0);
    sigaction(SIGALRM, &elsewhere, 0);
}

// A timer on the thread's own CPU time sends the thread the signal.
static void start_timer(int signal, int offset_ns) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    struct itimerspec period = {{0, TIMER_NS + offset_ns}, {0, TIMER_NS + offset_ns}};
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) != 0 || timer_settime(timer, 0, &period, 0) != 0)
        abort();
}

static void *compute(void *seed) {
    stack_t elsewhere = {.ss_sp = malloc(1 << 17), .ss_size = 1 << 17};
    sigaltstack(&elsewhere, 0);
    start_timer(SIGUSR1, 0);
    start_timer(SIGALRM, 700000);
    if (walks_itself)
        start_timer(SIGUSR2, -1900000);
    uint64_t value = 88172645463325252ULL + (uintptr_t)seed;
    while (!ended)
        value = one_round(value);
    sink = value;
    return 0;
}

int main(int count, char **arguments) {
    pthread_t threads[THREADS];
    walks_itself = count > 1 && !strcmp(arguments[1], "backtrace");
    backtrace_install();
    install_handlers();
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    getchar();
    for (uintptr_t at = 0; at < THREADS; at++)
        pthread_create(&threads[at], 0, compute, (void *)at);
    while (walks_itself && backtraces < ENOUGH)
        usleep(10000);
    if (walks_itself && write(1, "enough\n", 7) < 0)
        abort();
    while (getchar() != EOF)
        ;
    ended = 1;
    for (int at = 0; at < THREADS; at++)
        pthread_join(threads[at], 0);
    printf("done\n");
    return 0;
}
