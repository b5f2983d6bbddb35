// Threads that wait for ever, each in its own way and under its own name, in a function of that name; one computes.
// Prints `ready PID PORT`, the port being that of its server, once all of them are where they stay. Ends with its input.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_t parked;
static int pipe_ends[2], server, client, local[2];
static volatile unsigned sink;
static volatile int tids[16];

NOINLINE static void condition(void) {
    pthread_mutex_lock(&other);
    pthread_cond_wait(&never, &other);
    sink++;
}

NOINLINE static void locker(void) {
    pthread_mutex_lock(&mutex);
    sink++;
}

NOINLINE static void joiner(void) {
    pthread_join(parked, NULL);
    sink++;
}

NOINLINE static void pipe_reader(void) {
    char byte;
    sink += read(pipe_ends[0], &byte, 1);
}

NOINLINE static void receiver(void) {
    char byte;
    sink += recv(client, &byte, 1, 0);
}

NOINLINE static void local_receiver(void) {
    char byte;
    sink += recv(local[0], &byte, 1, 0);
}

NOINLINE static void acceptor(void) {
    sink += accept(server, NULL, NULL);
}

NOINLINE static void sleeper(void) {
    struct timespec long_time = {1000000, 0};
    sink += nanosleep(&long_time, NULL);
}

NOINLINE static void poller(void) {
    struct pollfd ends[2] = {{pipe_ends[0], POLLIN, 0}, {local[0], POLLIN, 0}};
    sink += poll(ends, 2, -1);
}

NOINLINE static void one_poller(void) {
    struct pollfd end = {client, POLLIN, 0};
    sink += poll(&end, 1, -1);
}

NOINLINE static void epoller(void) {
    struct epoll_event event = {.events = EPOLLIN};
    int events = epoll_create1(0);
    epoll_ctl(events, EPOLL_CTL_ADD, local[0], &event);
    sink += epoll_wait(events, &event, 1, -1);
}

NOINLINE static void spinner(void) {
    for (;;)
        sink++;
}

static const struct {
    const char *name;
    void (*run)(void);
} threads[] = {
    {"condition", condition},       {"locker", locker},   {"joiner", joiner},   {"pipe_reader", pipe_reader},
    {"receiver", receiver},         {"acceptor", acceptor}, {"sleeper", sleeper}, {"poller", poller},
    {"one_poller", one_poller},     {"epoller", epoller}, {"spinner", spinner}, {"local_receiver", local_receiver},
};
enum { THREADS = sizeof threads / sizeof threads[0] };

NOINLINE static void *run(void *at) {
    prctl(PR_SET_NAME, threads[(size_t)at].name);
    tids[(size_t)at] = syscall(SYS_gettid);
    threads[(size_t)at].run();
    return NULL;
}

// Whether a thread of this process is asleep.
static int sleeps(int tid) {
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    FILE *file = tid ? fopen(path, "r") : NULL;
    if (!file)
        return 0;
    char *line = fgets(text, sizeof text, file);
    fclose(file);
    return line && strncmp(text, "running", 7) != 0;
}

static void connect_all(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    bind(listening, (struct sockaddr *)&address, sizeof address);
    listen(listening, 1);
    getsockname(listening, (struct sockaddr *)&address, &length);
    client = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (struct sockaddr *)&address, sizeof address);
    accept(listening, NULL, NULL);
    server = listening;
    printf("ready %d %d", getpid(), ntohs(address.sin_port));
}

int main(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (pipe(pipe_ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, local))
        return 1;
    connect_all();
    pthread_mutex_lock(&mutex);
    pthread_t ids[THREADS];
    for (size_t at = 0; at < THREADS; at++) {
        pthread_create(&ids[at], NULL, run, (void *)at);
        if (at == 0)
            parked = ids[0];
    }
    for (int asleep = 0; asleep < THREADS - 1;) {
        asleep = 0;
        for (size_t at = 0; at < THREADS; at++)
            asleep += sleeps(tids[at]);
    }
    puts("");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
