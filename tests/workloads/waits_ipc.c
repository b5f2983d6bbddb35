// Waits for other processes of this host: pipes, local sockets, events, signals, terminals, queues. The argument is a folder.
#include "waits.h"
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

#define PIPE_BYTES 65536

static int ends[2], listener, client;
static char bytes[1 << 18];
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static bool reads(int fd) { return read(fd, bytes, 1) == 1; }
static void writes(int fd) { must(write(fd, "x", 1)); }

// The process at the other end is what is waited for.
static void start_peer(void (*function)(void)) { say_subject("%d", start_other(function)); }

// ---- pipes -----------------------------------------------------------------------------------------------------------

static void write_slowly(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        writes(ends[1]);
    }
}

static void prepare_pipe_read(void) {
    must(pipe(ends));
    start_other(write_slowly);
}

static void read_end(void) {
    while (runs())
        WAIT(reads(ends[0]));
}

static void drain_slowly(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        must(read(ends[0], bytes, PIPE_BYTES));
    }
}

static void prepare_pipe_write(void) {
    must(pipe(ends));
    start_other(drain_slowly);
}

static void write_pipe(void) {
    while (runs())
        WAIT(must(write(ends[1], bytes, PIPE_BYTES)));
}

// ---- local sockets ---------------------------------------------------------------------------------------------------

static void listen_here(int backlog) {
    snprintf(address.sun_path, sizeof address.sun_path, "%s/waits-%d", argument, getpid());
    listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (void *)&address, sizeof address));
    must(listen(listener, backlog));
}

static int connected(void) {
    int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(fd, (void *)&address, sizeof address));
    return fd;
}

// Listens itself, so that the socket's peer is this process, and answers each byte slowly.
static void serve(void) {
    listen_here(8);
    writes(ends[1]);
    int fd = must(accept(listener, 0, 0));
    while (reads(fd)) {
        pause_ns(PAUSE_NS);
        writes(fd);
    }
}

// The path of the other's socket; it has its pid in it.
static void await_listener(void) {
    reads(ends[0]);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/waits-%d", argument, other_pid);
}

static void prepare_client(void) {
    must(pipe(ends));
    start_peer(serve);
    await_listener();
    client = connected();
}

static void receive(void) {
    while (runs()) {
        writes(client);
        WAIT(reads(client));
    }
}

static void take_slowly(void) {
    listen_here(8);
    writes(ends[1]);
    int fd = must(accept(listener, 0, 0));
    do
        pause_ns(PAUSE_NS);
    while (read(fd, bytes, sizeof bytes) > 0);
}

static void prepare_send(void) {
    must(pipe(ends));
    start_peer(take_slowly);
    await_listener();
    client = connected();
}

static void send_much(void) {
    while (runs())
        WAIT(must(write(client, bytes, sizeof bytes)));
}

// Lets each connection wait in the queue, which is full then.
static void accept_slowly(void) {
    listen_here(0);
    writes(ends[1]);
    for (;;) {
        pause_ns(PAUSE_NS);
        close(must(accept(listener, 0, 0)));
    }
}

static void prepare_connect(void) {
    must(pipe(ends));
    start_other(accept_slowly);
    await_listener();
}

static void connect_often(void) {
    while (runs()) {
        int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
        WAIT(must(connect(fd, (void *)&address, sizeof address)));
        close(fd);
    }
}

static void ask(void) {
    int fd = connected();
    do {
        pause_ns(PAUSE_NS);
        writes(fd);
    } while (reads(fd));
}

static void prepare_server(void) {
    listen_here(8);
    start_peer(ask);
    client = must(accept(listener, 0, 0));
}

static void receive_request(void) {
    while (runs()) {
        WAIT(reads(client));
        writes(client);
    }
}

static void connect_slowly(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        close(connected());
    }
}

static void prepare_accept(void) {
    listen_here(8);
    start_other(connect_slowly);
}

static void accept_connections(void) {
    while (runs())
        close(WAIT(must(accept(listener, 0, 0))));
}

static void prepare_pair(void) {
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    start_other(write_slowly);
}

// ---- events and signals ------------------------------------------------------------------------------------------------

static void raise_event(void) {
    pause_ns(PAUSE_NS);
    must(write(ends[1], &(uint64_t){1}, sizeof(uint64_t)));
}

static void prepare_eventfd(void) {
    ends[0] = ends[1] = must(eventfd(0, 0));
    start_other_thread(raise_event);
}

static void read_event(void) {
    uint64_t count;
    while (runs())
        WAIT(must(read(ends[0], &count, sizeof count)));
}

static void send_signal(void) {
    pause_ns(PAUSE_NS);
    kill(getpid(), SIGUSR1);
}

// Every thread blocks the signal, so that it waits for the one that takes it.
static sigset_t only_signal(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return set;
}

static void prepare_signal(void) {
    sigset_t set = only_signal();
    pthread_sigmask(SIG_BLOCK, &set, 0);
    start_other_thread(send_signal);
}

static void prepare_signalfd(void) {
    sigset_t set = only_signal();
    prepare_signal();
    ends[0] = must(signalfd(-1, &set, 0));
}

static void read_signal(void) {
    struct signalfd_siginfo one;
    while (runs())
        WAIT(must(read(ends[0], &one, sizeof one)));
}

static int events;

static void prepare_signal_loop(void) {
    prepare_signalfd();
    struct epoll_event readable = {.events = EPOLLIN};
    events = must(epoll_create1(0));
    must(epoll_ctl(events, EPOLL_CTL_ADD, ends[0], &readable));
}

static void epoll_signal(void) {
    struct signalfd_siginfo one;
    struct epoll_event ready;
    while (runs()) {
        WAIT(must(epoll_wait(events, &ready, 1, -1)));
        must(read(ends[0], &one, sizeof one));
    }
}

static void wait_signal(void) {
    sigset_t set = only_signal();
    int number;
    while (runs())
        WAIT(sigwait(&set, &number));
}

static void ignore(int number) { (void)number; }

static void pause_for_signal(void) {
    sigset_t others;
    sigfillset(&others);
    sigdelset(&others, SIGUSR1);
    signal(SIGUSR1, ignore);
    while (runs())
        WAIT(sigsuspend(&others));
}

// ---- terminals, queues, files ----------------------------------------------------------------------------------------------

static void prepare_terminal(void) {
    ends[1] = must(posix_openpt(O_RDWR | O_NOCTTY));
    grantpt(ends[1]);
    unlockpt(ends[1]);
    ends[0] = must(open(ptsname(ends[1]), O_RDWR | O_NOCTTY));
    struct termios raw;
    must(tcgetattr(ends[0], &raw));
    cfmakeraw(&raw);
    must(tcsetattr(ends[0], TCSANOW, &raw));
    say_subject("%s", ptsname(ends[1]));
    start_other(write_slowly);
}

static mqd_t queue;

static void send_messages(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        must(mq_send(queue, "x", 1, 0));
    }
}

static void prepare_queue(void) {
    char name[64];
    struct mq_attr one = {.mq_maxmsg = 4, .mq_msgsize = 16};
    snprintf(name, sizeof name, "/waits-%d", getpid());
    queue = must(mq_open(name, O_RDWR | O_CREAT, 0600, &one));
    mq_unlink(name);
    start_other(send_messages);
}

static void receive_messages(void) {
    char message[16];
    while (runs())
        WAIT(must(mq_receive(queue, message, sizeof message, 0)));
}

struct message {
    long kind;
    char byte;
};
static int old_queue;

static void send_old_messages(void) {
    do
        pause_ns(PAUSE_NS);
    while (msgsnd(old_queue, &(struct message){1, 'x'}, 1, 0) == 0);
}

static void prepare_old_queue(void) {
    old_queue = must(msgget(IPC_PRIVATE, 0600));
    start_other(send_old_messages);
}

static void receive_old_messages(void) {
    struct message one;
    while (runs())
        WAIT(must(msgrcv(old_queue, &one, 1, 0, 0)));
    must(msgctl(old_queue, IPC_RMID, 0));
}

static void touch_slowly(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        close(must(open(address.sun_path, O_RDWR | O_CREAT, 0600)));
    }
}

static void prepare_inotify(void) {
    snprintf(address.sun_path, sizeof address.sun_path, "%s/waits-%d", argument, getpid());
    close(must(open(address.sun_path, O_RDWR | O_CREAT, 0600)));
    ends[0] = must(inotify_init());
    must(inotify_add_watch(ends[0], address.sun_path, IN_OPEN));
    start_other(touch_slowly);
}

static void read_changes(void) {
    while (runs())
        WAIT(must(read(ends[0], bytes, sizeof bytes)));
}

static const struct wait_case cases[] = {
    {"pipe_read", prepare_pipe_read, read_end},
    {"pipe_write", prepare_pipe_write, write_pipe},
    {"unix_receive", prepare_client, receive},
    {"unix_send", prepare_send, send_much},
    {"unix_connect", prepare_connect, connect_often},
    {"unix_request", prepare_server, receive_request},
    {"unix_accept", prepare_accept, accept_connections},
    {"socketpair", prepare_pair, read_end},
    {"eventfd", prepare_eventfd, read_event},
    {"signalfd", prepare_signalfd, read_signal},
    {"epoll_signalfd", prepare_signal_loop, epoll_signal},
    {"sigwait", prepare_signal, wait_signal},
    {"sigsuspend", prepare_signal, pause_for_signal},
    {"terminal", prepare_terminal, read_end},
    {"mq", prepare_queue, receive_messages},
    {"msgrcv", prepare_old_queue, receive_old_messages},
    {"inotify", prepare_inotify, read_changes},
};
PROGRAM(cases)
