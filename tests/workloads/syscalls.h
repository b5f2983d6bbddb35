// System calls as inline instructions: the caller of a blocking call is the function that asked for it,
// so a walk by frame pointers names it. The wrappers of a C library keep no frame pointer and would hide it.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <linux/futex.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))

#if defined(__x86_64__)
static inline __attribute__((always_inline)) long sys6(long nr, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline __attribute__((always_inline)) long sys6(long nr, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#error "no system call instruction is written down for this architecture"
#endif

#define SYS_NONE(nr) sys6(nr, 0, 0, 0, 0, 0, 0)
#define SYS1(nr, a) sys6(nr, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(nr, a, b) sys6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(nr, a, b, c) sys6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(nr, a, b, c, d) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(nr, a, b, c, d, e) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(nr, a, b, c, d, e, f) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

// The waits and wakes of glibc's mutex: FUTEX_WAIT_PRIVATE and FUTEX_WAKE_PRIVATE.
static inline __attribute__((always_inline)) long futex_wait(volatile uint32_t *word, uint32_t expected) {
    return SYS4(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, expected, 0);
}
static inline __attribute__((always_inline)) long futex_wake(volatile uint32_t *word, int count) {
    return SYS3(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count);
}

// Sleeps until the time has passed; the caller is the function that sleeps.
static inline __attribute__((always_inline)) void pause_ns(int64_t ns) {
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &time, &time);
}

// A clock in nanoseconds.
static inline __attribute__((always_inline)) int64_t clock_ns(int clock) {
    struct timespec time;
    SYS2(SYS_clock_gettime, clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// Computes without system calls for about `rounds` nanoseconds.
static inline __attribute__((always_inline)) uint64_t churn(uint64_t seed, uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
    }
    return seed;
}
