// Stacks of functions whose code is not in memory when they are called, returned to, jumped into, or handle a signal.
//
// Each function lies in a page of its own, and that page is dropped before a thread comes to it, by a call, a jump, a return
// or a signal: its next instruction is a page fault, in which it is often sampled. The file has frame pointers and no unwind
// information, as most of Chromium.
//
// Prints `ready PID`, waits for a line, computes until the end of its input, and prints `done`.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

#define APART __attribute__((noinline, noclone, aligned(4096)))

typedef uint64_t (*function)(uint64_t);

static volatile uint64_t sink;
static volatile int ended;

// The page stays in the page cache; the next access maps it again.
APART static void drop(function of) {
    if (madvise((void *)((uintptr_t)of & -(uintptr_t)PAGE), PAGE, MADV_DONTNEED) != 0)
        abort();
}

// It keeps a register, and so has a frame.
APART static uint64_t end_of_chain(uint64_t value) {
    __asm__ volatile("" : "+r"(value) : : "rbx");
    return value * 3 + 1;
}

// Jumps, within itself, over a page into one that is not there.
APART static uint64_t with_far_part(uint64_t value) {
    drop((function)((uintptr_t)with_far_part + 2 * PAGE));
    __asm__ volatile("jmp 1f\n .skip 8192, 0xcc\n1: incq %0\n" : "+r"(value));
    return value;
}

// Drops the page of its caller, and so returns to what is not there.
APART static uint64_t returns_to_nothing(uint64_t value);

APART static uint64_t calls_directly(uint64_t value) {
    drop(end_of_chain);
    value = end_of_chain(value);
    drop(with_far_part);
    value = with_far_part(value) + 1;
    return returns_to_nothing(value) + 1;
}

static uint64_t returns_to_nothing(uint64_t value) {
    drop(calls_directly);
    return value ^ value >> 7;
}

APART static void handle(int number) {
    __asm__ volatile("" : "+r"(number) : : "rbx");
    sink = (uint64_t)number;
}

// Interrupts itself, and its handler is not there.
APART static uint64_t is_interrupted(uint64_t value) {
    drop((function)(uintptr_t)handle);
    raise(SIGUSR1);
    return value + 1;
}

// The functions are called through registers, memory near the instruction, and tables.
static function volatile chosen = end_of_chain;
static function volatile functions[] = {end_of_chain, calls_directly, with_far_part, end_of_chain};

APART static uint64_t calls_through_pointers(uint64_t value) {
    struct {
        uint64_t room[40];
        function near, far[4];
    } volatile table = {.near = end_of_chain, .far = {functions[0], functions[1], functions[2], functions[3]}};
    drop(end_of_chain);
    value = chosen(value) + 1;
    drop(functions[value % 4]);
    value = functions[value % 4](value) + 1;
    drop(table.near);
    value = table.near(value) + 1;
    drop(table.far[value % 4]);
    return table.far[value % 4](value) + 1;
}

APART static void *compute(void *seed) {
    uint64_t value = (uintptr_t)seed;
    while (!ended) {
        drop(calls_directly);
        value = calls_directly(value);
        drop(calls_through_pointers);
        value = calls_through_pointers(value);
        if (value % 16 == 0)
            value = is_interrupted(value);
    }
    sink = value;
    return 0;
}

APART int main(void) {
    pthread_t thread;
    signal(SIGUSR1, handle);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    getchar();
    pthread_create(&thread, 0, compute, 0);
    while (getchar() != EOF)
        ;
    ended = 1;
    pthread_join(thread, 0);
    printf("done\n");
    return 0;
}
