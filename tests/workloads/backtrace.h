// The C library's own unwinder, run by the thread itself: what the oracle of stacks is held against.
//
// At SIGUSR2 the interrupted thread walks its own stack and prints `backtrace TID ADDRESS...` on its standard output,
// from the interrupted instruction outwards; `!` follows an address that a signal interrupted.
#pragma once
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

enum { BACKTRACE_FRAMES = 200 };

static volatile int backtraces;

struct backtrace {
    uintptr_t pc[BACKTRACE_FRAMES];
    int interrupted[BACKTRACE_FRAMES];
    int count, begun;
};

// What backtrace() of the C library does with each frame, but keeps what was interrupted and leaves out the handler
// itself.
static _Unwind_Reason_Code backtrace_take(struct _Unwind_Context *context, void *argument) {
    struct backtrace *to = (struct backtrace *)argument;
    int interrupted = 0;
    uintptr_t pc = _Unwind_GetIPInfo(context, &interrupted);
    to->begun |= interrupted;
    if (to->begun && pc && to->count < BACKTRACE_FRAMES) {
        to->pc[to->count] = pc;
        to->interrupted[to->count++] = interrupted;
    }
    return _URC_NO_REASON;
}

static char *backtrace_number(char *to, uintptr_t value, unsigned base) {
    char digits[24];
    int count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count)
        *to++ = digits[--count];
    return to;
}

static void backtrace_handler(int signal) {
    struct backtrace found;
    char line[BACKTRACE_FRAMES * 20 + 64] = "backtrace ";
    char *end = line + strlen(line);
    (void)signal;
    memset(&found, 0, sizeof found);
    _Unwind_Backtrace(backtrace_take, &found);
    end = backtrace_number(end, syscall(SYS_gettid), 10);
    for (int at = 0; at < found.count; at++) {
        *end++ = ' ';
        end = backtrace_number(end, found.pc[at], 16);
        if (found.interrupted[at] && at > 0)
            *end++ = '!';
    }
    *end++ = '\n';
    if (write(1, line, end - line) < 0)
        _exit(1);
    __atomic_add_fetch(&backtraces, 1, __ATOMIC_RELAXED);
}

static void backtrace_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = backtrace_handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, 0);
}
