// Waits whose ends are known: another process or thread, a timer, a disk. A loop on each CPU computes beside them and wakes nobody.
//
// The subject of a case is who ends its waits: `PID TID`, or nothing if that is no thread. The argument is a folder.
#include "waits.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// ---- bystanders ------------------------------------------------------------------------------------------------

static int busy_cpu;

static void compute(void) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(busy_cpu, &cpus);
    must(nice(19));
    must(sched_setaffinity(0, sizeof cpus, &cpus));
    for (volatile unsigned long i = 0;; i++)
        ;
}

// On every CPU at low priority, so that the others are not held up for long.
static void start_bystanders(void) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (busy_cpu = 0; busy_cpu < cpus; busy_cpu++)
        start_other(compute);
}

// ---- another process -------------------------------------------------------------------------------------------

static int pipe_ends[2];

static void write_pipe(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        must(write(pipe_ends[1], "x", 1));
    }
}

static void say_other_process(void) { say_subject("%d %d", other_pid, other_pid); }

static void prepare_pipe(void) {
    start_bystanders();
    must(pipe(pipe_ends));
    start_other(write_pipe);
    say_other_process();
}

static void read_pipe(void) {
    char byte;
    while (runs())
        WAIT(must(read(pipe_ends[0], &byte, 1)));
}

static uint32_t *word;

static void wake_futex(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, 0, 0, 0);
    }
}

static void prepare_futex(void) {
    start_bystanders();
    word = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    start_other(wake_futex);
    say_other_process();
}

static void wait_futex(void) {
    while (runs()) {
        uint32_t seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        WAIT(syscall(SYS_futex, word, FUTEX_WAIT, seen, 0, 0, 0));
    }
}

static int connection;
static struct sockaddr_in address;

static void send_bytes(void) {
    int sender = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(sender, (struct sockaddr *)&address, sizeof address));
    for (;;) {
        pause_ns(PAUSE_NS);
        must(send(sender, "x", 1, 0));
    }
}

static void prepare_tcp(void) {
    start_bystanders();
    socklen_t length = sizeof address;
    int listener = must(socket(AF_INET, SOCK_STREAM, 0));
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 1));
    must(getsockname(listener, (struct sockaddr *)&address, &length));
    start_other(send_bytes);
    connection = must(accept(listener, 0, 0));
    say_other_process();
}

static void receive_bytes(void) {
    char byte;
    while (runs())
        WAIT(must(recv(connection, &byte, 1, 0)));
}

// ---- another thread --------------------------------------------------------------------------------------------

static void *write_and_say(void *said) {
    __atomic_store_n((pid_t *)said, gettid(), __ATOMIC_SEQ_CST);
    write_pipe();
    return 0;
}

static void prepare_thread(void) {
    static pid_t tid;
    pthread_t thread;
    start_bystanders();
    must(pipe(pipe_ends));
    pthread_create(&thread, 0, write_and_say, &tid);
    while (!__atomic_load_n(&tid, __ATOMIC_SEQ_CST))
        sched_yield();
    say_subject("%d %d", getpid(), tid);
}

// ---- nobody ----------------------------------------------------------------------------------------------------

static void sleep_in_turn(void) {
    while (runs())
        WAIT((pause_ns(PAUSE_NS / 3), 0));
}

static void wait_for_nothing(void) {
    must(pipe(pipe_ends));
    struct pollfd polled = {.fd = pipe_ends[0], .events = POLLIN};
    while (runs())
        WAIT(must(poll(&polled, 1, 5)));
}

// The time limit of a socket is kept by the wheel of timers, which is turned in a soft interrupt.
static void receive_nothing(void) {
    int pair[2];
    char byte;
    struct timeval limit = {.tv_usec = 5000};
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    must(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    while (runs())
        WAIT(recv(pair[0], &byte, 1, 0));
}

#define BLOCK_BYTES 4096
#define BLOCKS 2048
static int file;
static char *block;

static void prepare_disk(void) {
    char path[512];
    start_bystanders();
    block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    memset(block, 7, BLOCK_BYTES);
    snprintf(path, sizeof path, "%s/blocks", argument);
    file = must(open(path, O_CREAT | O_RDWR | O_DIRECT, 0600));
    for (int i = 0; i < BLOCKS; i++)
        must(pwrite(file, block, BLOCK_BYTES, (off_t)i * BLOCK_BYTES));
    must(fsync(file));
}

static void read_disk(void) {
    for (unsigned i = 0; runs(); i = i * 1103515245u + 12345u)
        WAIT(must(pread(file, block, BLOCK_BYTES, (off_t)(i / 7 % BLOCKS) * BLOCK_BYTES)));
}

static const struct wait_case cases[] = {
    {"pipe", prepare_pipe, read_pipe},
    {"futex", prepare_futex, wait_futex},
    {"tcp", prepare_tcp, receive_bytes},
    {"thread", prepare_thread, read_pipe},
    {"sleep", start_bystanders, sleep_in_turn},
    {"timeout", start_bystanders, wait_for_nothing},
    {"socket_timeout", start_bystanders, receive_nothing},
    {"disk", prepare_disk, read_disk},
};

PROGRAM(cases)
