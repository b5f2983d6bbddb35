// One thread that computes and waits in every way, one phase per function, and keeps its own books at the phases' edges.
//
//   ground_truth [--seconds S] [--file PATH] [PHASE...]
//
// Prints `ready PID TID helpers PID...`. Around each phase it prints a line of JSON and waits for a line on standard input:
// `ready` once everything is prepared, and afterwards the clocks at both edges. `done` follows the last one. End of input
// ends it.
// The other sides of the waits (peer, lock holder, competitors) are processes of one thread each: each is a row of its
// own in a breakdown. They share the memory, because a private futex needs that.
#include "syscalls.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_NS 15000000LL
#define FILE_BYTES (64LL << 20)
#define READ_BYTES (128LL << 10)
#define COMPETITORS 3

static int64_t phase_ns = 1500000000LL;
static const char *file_path;
static volatile uint64_t sink;
static volatile char *cold_map;

static void fail(const char *what) {
    perror(what);
    _exit(1);
}

// ---- the other sides -------------------------------------------------------------------------------------------

static volatile uint32_t lock_a, lock_b;              // 0 free, 1 held, 2 held and contended
static volatile uint32_t holder_go, holder_holds, holder_stop;
static volatile uint32_t signal_go, signal_count = 100;
static volatile uint32_t compete;
static int peer_fd, listen_fd, poll_fds[4], tick_fds[2], pipe_control[2];
static pid_t helpers[16];
static int helper_count;

#define lock(word)                                                                                                     \
    do {                                                                                                               \
        uint32_t lock_free = 0;                                                                                        \
        if (__atomic_compare_exchange_n(word, &lock_free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))               \
            break;                                                                                                     \
        while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0)                                                    \
            futex_wait(word, 2);                                                                                       \
    } while (0)

#define unlock(word)                                                                                                   \
    do {                                                                                                               \
        if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2)                                                       \
            futex_wake(word, 1);                                                                                       \
    } while (0)

// Holds one of the two locks at any time while the phase runs, so that the other side always waits.
NOINLINE static int lock_holder(void *unused) {
    (void)unused;
    for (;;) {
        while (!holder_go)
            futex_wait(&holder_go, 0);
        holder_go = 0;
        lock(&lock_a);
        holder_holds = 1;
        while (!holder_stop) {
            pause_ns(PAUSE_NS);
            lock(&lock_b);
            unlock(&lock_a);
            pause_ns(PAUSE_NS);
            lock(&lock_a);
            unlock(&lock_b);
        }
        unlock(&lock_a);
        holder_holds = 0;
    }
    return 0;
}

// Raises the counter and wakes its waiter while asked to.
NOINLINE static int signaller(void *unused) {
    (void)unused;
    for (;;) {
        while (!signal_go)
            futex_wait(&signal_go, 0);
        pause_ns(PAUSE_NS);
        __atomic_fetch_add(&signal_count, 1, __ATOMIC_SEQ_CST);
        futex_wake(&signal_count, 1);
    }
    return 0;
}

// Answers each byte with a byte, slowly.
NOINLINE static int slow_peer(void *unused) {
    (void)unused;
    long fd = SYS3(SYS_accept, listen_fd, 0, 0);
    char byte;
    while (SYS6(SYS_recvfrom, fd, &byte, 1, 0, 0, 0) == 1) {
        pause_ns(PAUSE_NS);
        SYS6(SYS_sendto, fd, &byte, 1, MSG_NOSIGNAL, 0, 0);
    }
    return 0;
}

// Answers each byte on one pipe with a byte on the other, slowly.
NOINLINE static int slow_writer(void *unused) {
    (void)unused;
    char byte;
    while (SYS3(SYS_read, pipe_control[0], &byte, 1) == 1) {
        pause_ns(PAUSE_NS);
        SYS3(SYS_write, byte == 'p' ? poll_fds[1] : tick_fds[1], &byte, 1);
    }
    return 0;
}

// Burns the CPU while the phase runs.
NOINLINE static int competitor(void *unused) {
    (void)unused;
    for (;;) {
        while (!compete)
            futex_wait(&compete, 0);
        sink = churn(88172645463325252ULL, 100000);
    }
    return 0;
}

// A process of one thread that shares the memory and dies with the main thread.
static void start_helper(int (*function)(void *)) {
    size_t bytes = 256 << 10;
    char *stack = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        fail("mmap");
    int pid = clone(function, stack + bytes, CLONE_VM | SIGCHLD, 0);
    if (pid < 0)
        fail("clone");
    helpers[helper_count++] = pid;
}

static void stop_helpers(void) {
    for (int i = 0; i < helper_count; i++)
        kill(helpers[i], SIGKILL);
}

// ---- the phases ------------------------------------------------------------------------------------------------

#define now() clock_ns(CLOCK_MONOTONIC)

NOINLINE static void compute(void) {
    int64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + phase_ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        sink = churn(88172645463325252ULL, 500000);
}

NOINLINE static void sleep_timer(void) {
    for (int64_t end = now() + phase_ns; now() < end;)
        pause_ns(PAUSE_NS);
}

NOINLINE static void read_disk(void) {
    int fd = open(file_path, O_RDONLY | O_DIRECT);
    if (fd < 0)
        fail(file_path);
    void *buffer = mmap(0, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    uint64_t random = 88172645463325252ULL;
    for (int64_t end = now() + phase_ns; now() < end;) {
        random = churn(random, 1);
        long got = SYS4(SYS_pread64, fd, buffer, READ_BYTES, random % (FILE_BYTES / READ_BYTES) * READ_BYTES);
        if (got != READ_BYTES)
            fail("pread");
    }
    munmap(buffer, READ_BYTES);
    close(fd);
}

NOINLINE static void fault_pages(void) {
    int64_t end = now() + phase_ns;
    for (int64_t at = 0; at < FILE_BYTES && now() < end; at += 4096)
        sink += cold_map[at];
}

NOINLINE static void read_socket(void) {
    char byte = 'x';
    for (int64_t end = now() + phase_ns; now() < end;) {
        SYS6(SYS_sendto, peer_fd, &byte, 1, MSG_NOSIGNAL, 0, 0);
        SYS6(SYS_recvfrom, peer_fd, &byte, 1, 0, 0, 0);
    }
}

NOINLINE static void take_lock(void) {
    for (int64_t end = now() + phase_ns; now() < end;) {
        lock(&lock_a);
        unlock(&lock_a);
        lock(&lock_b);
        unlock(&lock_b);
    }
}

NOINLINE static void wait_child(void) {
    for (int64_t end = now() + phase_ns; now() < end;) {
        long pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            pause_ns(2 * PAUSE_NS);
            SYS1(SYS_exit_group, 0);
        }
        SYS4(SYS_wait4, pid, 0, 0, 0);
    }
}

NOINLINE static void wait_signal(void) {
    for (int64_t end = now() + phase_ns; now() < end;)
        futex_wait(&signal_count, signal_count);
}

NOINLINE static void poll_pipes(void) {
    struct pollfd fds[2] = {{poll_fds[0], POLLIN, 0}, {poll_fds[2], POLLIN, 0}};
    char byte = 'p';
    for (int64_t end = now() + phase_ns; now() < end;) {
        SYS3(SYS_write, pipe_control[1], &byte, 1);
        SYS5(SYS_ppoll, fds, 2, 0, 0, 0);
        SYS3(SYS_read, poll_fds[0], &byte, 1);
    }
}

NOINLINE static void read_pipe(void) {
    char byte = 't';
    for (int64_t end = now() + phase_ns; now() < end;) {
        SYS3(SYS_write, pipe_control[1], &byte, 1);
        SYS3(SYS_read, tick_fds[0], &byte, 1);
    }
}

// Competes for one CPU until a third of the phase's time is computed.
NOINLINE static void starve(void) {
    int64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + phase_ns / 3;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        sink = churn(88172645463325252ULL, 100000);
}

// ---- what must stand before a phase and be cleared after it, outside its edges ---------------------------------------

static cpu_set_t all_cpus;

// Maps the file with none of its pages in memory.
static void before_fault(void) {
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(file_path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    cold_map = mmap(0, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (cold_map == MAP_FAILED)
        fail("mmap");
    madvise((void *)cold_map, FILE_BYTES, MADV_RANDOM);
    close(fd);
}

static void after_fault(void) { munmap((void *)cold_map, FILE_BYTES); }

static void before_lock(void) {
    holder_stop = 0;
    holder_go = 1;
    futex_wake(&holder_go, 1);
    while (!holder_holds)
        sched_yield();
}

static void after_lock(void) { holder_stop = 1; }

static void before_signal(void) {
    signal_go = 1;
    futex_wake(&signal_go, 1);
}

static void after_signal(void) { signal_go = 0; }

static void before_starve(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all_cpus))
        cpu++;
    CPU_SET(cpu, &one);
    for (int i = 0; i < COMPETITORS; i++)
        sched_setaffinity(helpers[helper_count - 1 - i], sizeof one, &one);
    sched_setaffinity(0, sizeof one, &one);
    compete = 1;
    futex_wake(&compete, COMPETITORS);
}

static void after_starve(void) {
    compete = 0;
    sched_setaffinity(0, sizeof all_cpus, &all_cpus);
}

static void nothing(void) {}

// ---- the books -------------------------------------------------------------------------------------------------

struct edge {
    int64_t mono_ns, cpu_ns, run_delay_ns;
};

struct phase {
    const char *name, *function, *class;
    void (*before)(void), (*run)(void), (*after)(void);
    bool reads_file;
};

static const struct phase phases[] = {
    {"compute", "compute", "cpu", nothing, compute, nothing, false},
    {"sleep", "sleep_timer", "sleep", nothing, sleep_timer, nothing, false},
    {"disk", "read_disk", "disk", nothing, read_disk, nothing, true},
    {"fault", "fault_pages", "fault", before_fault, fault_pages, after_fault, true},
    {"net", "read_socket", "net", nothing, read_socket, nothing, false},
    {"lock", "take_lock", "lock", before_lock, take_lock, after_lock, false},
    {"child", "wait_child", "child", nothing, wait_child, nothing, false},
    {"sync", "wait_signal", "sync", before_signal, wait_signal, after_signal, false},
    {"poll", "poll_pipes", "poll", nothing, poll_pipes, nothing, false},
    {"ipc", "read_pipe", "ipc", nothing, read_pipe, nothing, false},
    {"starved", "starve", "runq", before_starve, starve, after_starve, false},
};
#define PHASES (sizeof phases / sizeof phases[0])

static int schedstat_fd;

static int64_t run_delay_ns(void) {
    char text[128] = {0};
    long long cpu = 0, delay = 0;
    if (pread(schedstat_fd, text, sizeof text - 1, 0) <= 0 || sscanf(text, "%lld %lld", &cpu, &delay) != 2)
        fail("schedstat");
    return delay;
}

// One moment in all three books: read again if the thread lost its CPU in between.
static struct edge read_edge(void) {
    struct edge edge;
    int64_t before;
    do {
        before = run_delay_ns();
        edge.mono_ns = now();
        edge.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        edge.run_delay_ns = run_delay_ns();
    } while (before != edge.run_delay_ns);
    return edge;
}

static void print_edge(FILE *out, const char *name, struct edge edge) {
    fprintf(out, "\"%s\":{\"mono_ns\":%lld,\"cpu_ns\":%lld,\"run_delay_ns\":%lld}", name, (long long)edge.mono_ns,
            (long long)edge.cpu_ns, (long long)edge.run_delay_ns);
}

// Waits for a line; the end of the input ends the program.
NOINLINE static void await_command(void) {
    char byte = 0;
    while (byte != '\n')
        if (SYS3(SYS_read, 0, &byte, 1) != 1) {
            stop_helpers();
            _exit(0);
        }
}

// Prepares, says so and waits for a line; runs, says how long and waits for a line; tidies up.
static void run_phase(const struct phase *phase) {
    phase->before();
    printf("{\"ready\":\"%s\"}\n", phase->name);
    fflush(stdout);
    await_command();
    struct edge start = read_edge();
    phase->run();
    struct edge end = read_edge();
    printf("{\"phase\":\"%s\",\"function\":\"%s\",\"class\":\"%s\",", phase->name, phase->function, phase->class);
    print_edge(stdout, "start", start);
    printf(",");
    print_edge(stdout, "end", end);
    printf(",\"mono_ns\":%lld,\"cpu_ns\":%lld,\"run_delay_ns\":%lld}\n", (long long)(end.mono_ns - start.mono_ns),
           (long long)(end.cpu_ns - start.cpu_ns), (long long)(end.run_delay_ns - start.run_delay_ns));
    fflush(stdout);
    await_command();
    phase->after();
}

// ---- setting up ------------------------------------------------------------------------------------------------

static void connect_peer(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listen_fd, (void *)&address, length) || listen(listen_fd, 1))
        fail("listen");
    getsockname(listen_fd, (void *)&address, &length);
    start_helper(slow_peer);
    peer_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(peer_fd, (void *)&address, length))
        fail("connect");
}

static void write_file(void) {
    int fd = open(file_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        fail(file_path);
    static char block[1 << 20];
    memset(block, 7, sizeof block);
    if (lseek(fd, 0, SEEK_END) < FILE_BYTES) {
        for (int64_t at = 0; at < FILE_BYTES; at += sizeof block)
            if (pwrite(fd, block, sizeof block, at) != sizeof block)
                fail("write");
        fsync(fd);
    }
    close(fd);
}

static bool wanted(const struct phase *phase, int count, char **names) {
    if (phase->reads_file && !file_path)
        return false;
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], phase->name))
            return true;
    return count == 0;
}

static void start_all_helpers(void) {
    connect_peer();
    start_helper(lock_holder);
    start_helper(signaller);
    start_helper(slow_writer);
    for (int i = 0; i < COMPETITORS; i++)
        start_helper(competitor);
}

static void print_ready(void) {
    printf("ready %d %d helpers", getpid(), gettid());
    for (int i = 0; i < helper_count; i++)
        printf(" %d", helpers[i]);
    printf("\n");
    fflush(stdout);
}

int main(int count, char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int first = 1;
    for (; first + 1 < count && arguments[first][0] == '-'; first += 2) {
        if (!strcmp(arguments[first], "--seconds"))
            phase_ns = (int64_t)(atof(arguments[first + 1]) * 1e9);
        else if (!strcmp(arguments[first], "--file"))
            file_path = arguments[first + 1];
    }
    if (pipe(poll_fds) || pipe(poll_fds + 2) || pipe(tick_fds) || pipe(pipe_control))
        fail("pipe");
    if (file_path)
        write_file();
    schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    sched_getaffinity(0, sizeof all_cpus, &all_cpus);
    start_all_helpers();
    print_ready();
    await_command();
    for (size_t i = 0; i < PHASES; i++)
        if (wanted(&phases[i], count - first, arguments + first))
            run_phase(&phases[i]);
    printf("done\n");
    fflush(stdout);
    await_command();
    stop_helpers();
    _exit(0);
}
