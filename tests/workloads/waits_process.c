// Waits for processes, for time, and times in which a thread is held: stopped, traced or frozen. `$WAITS_CGROUP` is the folder of a
// cgroup of this program's own.
#include "waits.h"
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static struct timespec step = {0, PAUSE_NS};
static int fd;

// ---- children ------------------------------------------------------------------------------------------------------------

static pid_t start_child(void) {
    pid_t pid = must(fork());
    if (pid == 0) {
        pause_ns(PAUSE_NS);
        _exit(0);
    }
    return pid;
}

static void wait_child(void) {
    while (runs()) {
        pid_t pid = start_child();
        WAIT(must(waitpid(pid, 0, 0)));
    }
}

static void wait_any(void) {
    siginfo_t about;
    while (runs()) {
        start_child();
        WAIT(must(waitid(P_ALL, 0, &about, WEXITED)));
    }
}

static void poll_child(void) {
    while (runs()) {
        pid_t pid = start_child();
        struct pollfd one = {must(syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
        WAIT(must(poll(&one, 1, -1)));
        close(one.fd);
        must(waitpid(pid, 0, 0));
    }
}

static void vfork_child(void) {
    while (runs()) {
        begin_wait();
        pid_t pid = vfork();
        if (pid == 0) {
            pause_ns(PAUSE_NS);
            _exit(0);
        }
        end_wait();
        must(waitpid(pid, 0, 0));
    }
}

// ---- time ------------------------------------------------------------------------------------------------------------------

static void sleep_shortly(void) {
    while (runs())
        WAIT(nanosleep(&step, 0));
}

static void select_nothing(void) {
    while (runs()) {
        struct timeval time = {0, PAUSE_NS / 1000};
        WAIT(select(0, 0, 0, 0, &time));
    }
}

static void poll_nothing(void) {
    while (runs())
        WAIT(poll(0, 0, PAUSE_NS / 1000000));
}

static void prepare_timer(void) {
    struct itimerspec every = {step, step};
    fd = must(timerfd_create(CLOCK_MONOTONIC, 0));
    must(timerfd_settime(fd, 0, &every, 0));
}

static void read_timer(void) {
    uint64_t count;
    while (runs())
        WAIT(must(read(fd, &count, sizeof count)));
}

// ---- a ring of requests ------------------------------------------------------------------------------------------------------

static struct io_uring_params ring;
static char *requests, *answers;
static struct io_uring_sqe *entries;

#define IN(half, field) ((volatile uint32_t *)(half + ring.field))

static void prepare_ring(void) {
    fd = must(syscall(SYS_io_uring_setup, 4, &ring));
    int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    requests = must(mmap(0, 4096, protection, flags, fd, IORING_OFF_SQ_RING));
    answers = must(mmap(0, 4096, protection, flags, fd, IORING_OFF_CQ_RING));
    entries = must(mmap(0, 4096, protection, flags, fd, IORING_OFF_SQES));
}

// Asks the ring for a pause and waits for its answer.
static void wait_ring(void) {
    while (runs()) {
        uint32_t at = *IN(requests, sq_off.tail) & *IN(requests, sq_off.ring_mask);
        struct __kernel_timespec time = {0, PAUSE_NS};
        entries[at] = (struct io_uring_sqe){.opcode = IORING_OP_TIMEOUT, .addr = (uintptr_t)&time, .len = 1};
        IN(requests, sq_off.array)[at] = at;
        __atomic_store_n(IN(requests, sq_off.tail), *IN(requests, sq_off.tail) + 1, __ATOMIC_RELEASE);
        WAIT(must(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0)));
        __atomic_store_n(IN(answers, cq_off.head), *IN(answers, cq_off.tail), __ATOMIC_RELEASE);
    }
}

// ---- held by others ------------------------------------------------------------------------------------------------------------

static bool is_stopped(pid_t pid) {
    int status;
    return must(waitpid(pid, &status, WUNTRACED)) == pid && WIFSTOPPED(status);
}

// The program is a child of the process that lets it go on after each stop.
static void prepare_stop(void) {
    pid_t pid = must(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return;
    }
    while (is_stopped(pid)) {
        pause_ns(PAUSE_NS);
        kill(pid, SIGCONT);
    }
    _exit(0);
}

static void stop_self(void) {
    while (runs())
        WAIT(must(syscall(SYS_tgkill, getpid(), gettid(), SIGSTOP)));
}

static int thread_pipe[2];

// A tracer of the one thread: it lets it go on after each signal, without the signal.
static void trace(void) {
    pid_t thread;
    must(read(thread_pipe[0], &thread, sizeof thread));
    must(ptrace(PTRACE_SEIZE, thread, 0, 0));
    must(write(fd, "x", 1));
    int status;
    while (waitpid(thread, &status, __WALL) == thread && WIFSTOPPED(status)) {
        pause_ns(PAUSE_NS);
        must(ptrace(PTRACE_CONT, thread, 0, 0));
    }
}

static int traced_pipe[2];

static void prepare_trace(void) {
    must(pipe(thread_pipe));
    must(pipe(traced_pipe));
    fd = traced_pipe[1];
    start_other(trace);
    say_subject("%d", other_pid);
}

static void signal_self(void) {
    pid_t thread = SYS1(SYS_gettid, 0);
    char byte;
    must(write(thread_pipe[1], &thread, sizeof thread));
    must(read(traced_pipe[0], &byte, 1));
    while (runs())
        WAIT(must(syscall(SYS_tgkill, getpid(), thread, SIGUSR1)));
}

static volatile uint64_t computed = 88172645463325252ULL;

// Computes; whatever it does not compute, somebody held it.
static void compute(void) {
    begin_wait();
    while (runs())
        computed = churn(computed, 100000);
    end_wait();
}

// The program is in a cgroup with a quota: its run delay is what it was held back.
static void compute_held(void) {
    wait_ns -= run_delay_ns();
    while (runs())
        computed = churn(computed, 100000);
    wait_ns += run_delay_ns();
    waits = 1;
}

static void write_to(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = must(open(path, O_WRONLY | O_CLOEXEC));
    must(write(file, text, strlen(text)));
    close(file);
}

static volatile sig_atomic_t has_to_end;
static void end(int signal) { has_to_end = signal; }

// The program is a child of the process that freezes and thaws the cgroup it is in, and leaves nothing frozen when its own
// parent ends.
static void freeze_again_and_again(const char *name, const char *freeze, const char *thaw) {
    const char *folder = getenv("WAITS_CGROUP");
    pid_t pid = must(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        write_to(folder, "cgroup.procs", "0");
        return;
    }
    signal(SIGTERM, end);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    while (!has_to_end && must(waitpid(pid, 0, WNOHANG)) == 0) {
        write_to(folder, name, freeze);
        pause_ns(4 * PAUSE_NS);
        write_to(folder, name, thaw);
        pause_ns(PAUSE_NS);
    }
    _exit(0);
}

static void prepare_quota(void) { write_to(getenv("WAITS_CGROUP"), "cgroup.procs", "0"); }
static void prepare_freezer(void) { freeze_again_and_again("freezer.state", "FROZEN", "THAWED"); }
static void prepare_freeze(void) { freeze_again_and_again("cgroup.freeze", "1", "0"); }

static const struct wait_case cases[] = {
    {"wait4", nothing, wait_child},
    {"waitid", nothing, wait_any},
    {"pidfd", nothing, poll_child},
    {"vfork", nothing, vfork_child},
    {"nanosleep", nothing, sleep_shortly},
    {"select_nothing", nothing, select_nothing},
    {"poll_nothing", nothing, poll_nothing},
    {"timerfd", prepare_timer, read_timer},
    {"io_uring", prepare_ring, wait_ring},
    {"stopped", prepare_stop, stop_self},
    {"traced", prepare_trace, signal_self},
    {"frozen", prepare_freeze, compute},
    {"frozen_by_freezer", prepare_freezer, compute},
    {"throttled", prepare_quota, compute_held},
};
PROGRAM(cases)
