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

// Everything here is a macro: debug information makes a frame of an inlined function, and that frame would be the innermost.

#if defined(__x86_64__)
#define SYS6(nr, a, b, c, d, e, f)                                                                                     \
    ({                                                                                                                 \
        long sys_result;                                                                                               \
        register long sys_d __asm__("r10") = (long)(d);                                                                \
        register long sys_e __asm__("r8") = (long)(e);                                                                 \
        register long sys_f __asm__("r9") = (long)(f);                                                                 \
        __asm__ volatile("syscall"                                                                                     \
                         : "=a"(sys_result)                                                                            \
                         : "a"((long)(nr)), "D"((long)(a)), "S"((long)(b)), "d"((long)(c)), "r"(sys_d), "r"(sys_e),    \
                           "r"(sys_f)                                                                                  \
                         : "rcx", "r11", "memory");                                                                    \
        sys_result;                                                                                                    \
    })
#elif defined(__aarch64__)
#define SYS6(nr, a, b, c, d, e, f)                                                                                     \
    ({                                                                                                                 \
        register long sys_nr __asm__("x8") = (long)(nr);                                                               \
        register long sys_a __asm__("x0") = (long)(a);                                                                 \
        register long sys_b __asm__("x1") = (long)(b);                                                                 \
        register long sys_c __asm__("x2") = (long)(c);                                                                 \
        register long sys_d __asm__("x3") = (long)(d);                                                                 \
        register long sys_e __asm__("x4") = (long)(e);                                                                 \
        register long sys_f __asm__("x5") = (long)(f);                                                                 \
        __asm__ volatile("svc 0"                                                                                       \
                         : "+r"(sys_a)                                                                                 \
                         : "r"(sys_nr), "r"(sys_b), "r"(sys_c), "r"(sys_d), "r"(sys_e), "r"(sys_f)                     \
                         : "memory");                                                                                  \
        sys_a;                                                                                                         \
    })
#else
#error "no system call instruction is written down for this architecture"
#endif

#define SYS1(nr, a) SYS6(nr, a, 0, 0, 0, 0, 0)
#define SYS2(nr, a, b) SYS6(nr, a, b, 0, 0, 0, 0)
#define SYS3(nr, a, b, c) SYS6(nr, a, b, c, 0, 0, 0)
#define SYS4(nr, a, b, c, d) SYS6(nr, a, b, c, d, 0, 0)
#define SYS5(nr, a, b, c, d, e) SYS6(nr, a, b, c, d, e, 0)

// The waits and wakes of glibc's mutex: FUTEX_WAIT_PRIVATE and FUTEX_WAKE_PRIVATE.
#define futex_wait(word, expected) SYS4(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, (uint32_t)(expected), 0)
#define futex_wake(word, count) SYS3(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count)

// Sleeps until the time has passed.
#define pause_ns(ns)                                                                                                   \
    ({                                                                                                                 \
        int64_t pause_for = (ns);                                                                                      \
        struct timespec pause_time = {pause_for / 1000000000, pause_for % 1000000000};                                 \
        SYS4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause_time, &pause_time);                                       \
    })

// A clock in nanoseconds.
#define clock_ns(clock)                                                                                                \
    ({                                                                                                                 \
        struct timespec clock_time;                                                                                    \
        SYS2(SYS_clock_gettime, clock, &clock_time);                                                                   \
        clock_time.tv_sec * 1000000000LL + clock_time.tv_nsec;                                                         \
    })

// Computes without system calls, about a nanosecond per round; the result hangs on all of it.
#define churn(seed, rounds)                                                                                            \
    ({                                                                                                                 \
        uint64_t churned = (seed);                                                                                     \
        for (uint64_t churn_round = (rounds); churn_round > 0; churn_round--) {                                        \
            churned ^= churned << 13;                                                                                  \
            churned ^= churned >> 7;                                                                                   \
            churned ^= churned << 17;                                                                                  \
        }                                                                                                              \
        churned;                                                                                                       \
    })
