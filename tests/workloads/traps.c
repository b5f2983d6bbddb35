// One trap of thread accounting per subcommand: what the kernel does at fork, exec, exit and reuse of a pid.
//
//   traps CASE
//
// Prints `ready PID`, waits for a line, does the case, prints one line of JSON per process or thread it made with the
// kernel's own figures, prints `done` and waits for lines until the end of input.
#include "syscalls.h"
#include <arpa/inet.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint64_t sink;

static void fail(const char *what) {
    perror(what);
    _exit(1);
}

NOINLINE static void await_line(void) {
    char byte = 0;
    while (byte != '\n')
        if (SYS3(SYS_read, 0, &byte, 1) != 1)
            _exit(0);
}

static void say(const char *line) {
    printf("%s\n", line);
    fflush(stdout);
}

// Computes until the thread has used this much CPU more, without leaving the CPU by itself.
NOINLINE static void burn(int64_t ns) {
    int64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        sink = churn(88172645463325252ULL, 20000);
}

static int64_t rusage_ns(const struct rusage *use) {
    return (use->ru_utime.tv_sec + use->ru_stime.tv_sec) * 1000000000LL +
           (use->ru_utime.tv_usec + use->ru_stime.tv_usec) * 1000LL;
}

// When the last child that ended was about to: memory that parent and children share.
static volatile int64_t *exiting_ns;

// Reaps the child and prints what the kernel says about its whole life, the time around that life, and the time until
// its last step: the parent may be told of the end much later, if the CPU is taken.
static void report_child(pid_t pid, int64_t before_fork) {
    struct rusage use;
    wait4(pid, 0, 0, &use);
    printf("{\"pid\":%d,\"cpu_ns\":%lld,\"life_ns\":%lld,\"until_exit_ns\":%lld}\n", pid, (long long)rusage_ns(&use),
           (long long)(clock_ns(CLOCK_MONOTONIC) - before_fork), (long long)(*exiting_ns - before_fork));
    fflush(stdout);
}

static void burn_and_exit(int64_t ns) {
    burn(ns);
    *exiting_ns = clock_ns(CLOCK_MONOTONIC);
    SYS1(SYS_exit_group, 0);
}

// Children whose whole life is their first run on a CPU.
static void first_run(void) {
    for (int i = 0; i < 20; i++) {
        int64_t before = clock_ns(CLOCK_MONOTONIC);
        long pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            burn_and_exit(1000000);
        report_child(pid, before);
    }
}

// A child, a grandchild and so on, each made before its parent has done anything else.
static void generations(void) {
    for (int depth = 0; depth < 5; depth++) {
        int64_t before = clock_ns(CLOCK_MONOTONIC);
        long pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid > 0) {
            if (depth > 0)
                burn(5000000);
            report_child(pid, before);
            if (depth > 0)
                SYS1(SYS_exit_group, 0);
            return;
        }
    }
    burn_and_exit(5000000);
}

// A child that computes and sleeps: its final totals are known only after its end.
static void short_life(void) {
    int64_t before = clock_ns(CLOCK_MONOTONIC);
    long pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        burn(30000000);
        pause_ns(300000000);
        burn_and_exit(20000000);
    }
    report_child(pid, before);
}

// A child that has ended and stays a zombie until the next line.
static void unreaped(void) {
    int64_t before = clock_ns(CLOCK_MONOTONIC);
    long pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        burn_and_exit(50000000);
    siginfo_t info;
    waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
    printf("{\"pid\":%ld,\"life_ns\":%lld}\n", pid, (long long)(clock_ns(CLOCK_MONOTONIC) - before));
    fflush(stdout);
    await_line();
    report_child(pid, before);
}

static void *survivor(void *unused) {
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    pause_ns(2500000000);
    printf("{\"pid\":%d,\"slept_ns\":%lld}\n", getpid(), (long long)(clock_ns(CLOCK_MONOTONIC) - start));
    say("done");
    for (;;)
        await_line();
    return unused;
}

// The first thread ends, and with it what `/proc/PID` shows of a thread; the process goes on.
static void leader_ends(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, survivor, 0))
        fail("pthread_create");
    pthread_exit(0);
}

static int64_t thread_cpu_ns;

static void *brief_thread(void *unused) {
    burn(3000000);
    thread_cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return unused;
}

// Threads one after the other: the process's CPU clock keeps what the dead ones used.
static void threads(void) {
    for (int i = 0; i < 30; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, brief_thread, 0))
            fail("pthread_create");
        pthread_join(thread, 0);
    }
    printf("{\"pid\":%d,\"cpu_ns\":%lld,\"threads_cpu_ns\":%lld}\n", getpid(),
           (long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID), (long long)thread_cpu_ns);
    fflush(stdout);
}

static void *exec_thread(void *unused) {
    burn(100000000);
    execl("/proc/self/exe", "traps", "after_exec", (char *)0);
    fail("exec");
    return unused;
}

// A thread that is not the leader execs: it takes over the leader's id.
static void exec_by_thread(void) {
    pthread_t thread;
    burn(100000000);
    pthread_create(&thread, 0, exec_thread, 0);
    pthread_join(thread, 0);
}

NOINLINE static void burn_after_exec(void) { burn(200000000); }

static void after_exec(void) {
    burn_after_exec();
    printf("{\"pid\":%d,\"cpu_ns\":%lld}\n", getpid(), (long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    fflush(stdout);
}

// Two processes after each other with the same pid.
static void reuse(void) {
    int64_t before = clock_ns(CLOCK_MONOTONIC);
    long first = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (first == 0)
        burn_and_exit(40000000);
    report_child(first, before);
    pid_t wanted = first;
    struct clone_args arguments = {.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&wanted, .set_tid_size = 1};
    before = clock_ns(CLOCK_MONOTONIC);
    long second = SYS2(SYS_clone3, &arguments, sizeof arguments);
    if (second == 0)
        burn_and_exit(90000000);
    if (second < 0) {
        printf("{\"refused\":%ld}\n", -second);
        fflush(stdout);
        return;
    }
    report_child(second, before);
}

// A parent that is suspended until its vfork child exits.
NOINLINE static void suspended_by_vfork(void) {
    if (vfork() == 0) {
        pause_ns(400000000);
        _exit(0);
    }
}

// Two threads would do, but sockets of one process are enough: nobody ever sends.
NOINLINE static void wait_for_nobody(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    char byte;
    if (bind(listener, (void *)&address, length) || listen(listener, 1))
        fail("listen");
    getsockname(listener, (void *)&address, &length);
    if (connect(client, (void *)&address, length))
        fail("connect");
    SYS6(SYS_recvfrom, client, &byte, 1, 0, 0, 0);
}

NOINLINE static void never_stop(void) {
    for (;;)
        sink = churn(88172645463325252ULL, 1000000);
}

NOINLINE static void long_sleep(void) { pause_ns(4500000000); }

static void sleep_and_tell(void) {
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    long_sleep();
    printf("{\"pid\":%d,\"slept_ns\":%lld}\n", getpid(), (long long)(clock_ns(CLOCK_MONOTONIC) - start));
    fflush(stdout);
}

static void vfork_and_tell(void) {
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    suspended_by_vfork();
    printf("{\"pid\":%d,\"suspended_ns\":%lld}\n", getpid(), (long long)(clock_ns(CLOCK_MONOTONIC) - start));
    fflush(stdout);
    int status;
    wait(&status);
}

// Opens a descriptor of each kind in turn, waits on it for nothing and closes it: each has the number of the one before,
// and often its memory in the kernel.
static void reuse_descriptors(void) {
    static const char *const names[] = {"net_ns", "local_ns", "sleep_ns", "poll_ns"};
    int64_t waited[4] = {0};
    for (int i = 0; i < 40; i++) {
        int kind = i % 4;
        int descriptor = kind == 0   ? socket(AF_INET, SOCK_DGRAM, 0)
                         : kind == 1 ? socket(AF_UNIX, SOCK_DGRAM, 0)
                         : kind == 2 ? timerfd_create(CLOCK_MONOTONIC, 0)
                                     : epoll_create1(0);
        struct pollfd events = {.fd = descriptor, .events = POLLIN};
        if (descriptor < 0)
            fail("open");
        int64_t start = clock_ns(CLOCK_MONOTONIC);
        if (SYS3(SYS_poll, &events, 1, 20) != 0)
            fail("poll");
        waited[kind] += clock_ns(CLOCK_MONOTONIC) - start;
        close(descriptor);
    }
    for (int kind = 0; kind < 4; kind++)
        printf("%c\"%s\":%lld", kind ? ',' : '{', names[kind], (long long)waited[kind]);
    say("}");
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"first_run", first_run},   {"generations", generations},   {"short_life", short_life},
    {"threads", threads},       {"exec_by_thread", exec_by_thread}, {"reuse", reuse},
    {"vfork", vfork_and_tell},  {"recv_forever", wait_for_nobody}, {"spin_forever", never_stop},
    {"long_sleep", sleep_and_tell}, {"unreaped", unreaped}, {"leader_ends", leader_ends},
    {"reuse_descriptors", reuse_descriptors},
};

int main(int count, char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    exiting_ns = mmap(0, sizeof *exiting_ns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count < 2 || exiting_ns == MAP_FAILED)
        return 2;
    if (!strcmp(arguments[1], "after_exec")) {
        after_exec();
        say("done");
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (!strcmp(cases[i].name, arguments[1])) {
            printf("ready %d\n", getpid());
            fflush(stdout);
            await_line();
            cases[i].run();
            say("done");
        }
    for (;;)
        await_line();
}
