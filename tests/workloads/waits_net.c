// Waits on sockets to other hosts, or to this one as if it were: as a client, as a server, and with an event loop.
#include "waits.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int listener, client, accepted, events;
static char bytes[1 << 18];

// An address of this host, of either family.
union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};
static union address address;
static socklen_t length;

static void loopback(int family) {
    memset(&address, 0, sizeof address);
    address.any.sa_family = family;
    length = family == AF_INET ? sizeof address.four : sizeof address.six;
    if (family == AF_INET)
        address.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address.six.sin6_addr = in6addr_loopback;
}

static void print_address(char *text, size_t size, const union address *shown) {
    char host[64];
    if (shown->any.sa_family == AF_INET)
        snprintf(text, size, "%s:%d", inet_ntop(AF_INET, &shown->four.sin_addr, host, sizeof host),
                 ntohs(shown->four.sin_port));
    else
        snprintf(text, size, "[%s]:%d", inet_ntop(AF_INET6, &shown->six.sin6_addr, host, sizeof host),
                 ntohs(shown->six.sin6_port));
}

// The other end of a connection is what is waited for; for a server, its own port.
static void say_peer(int fd) {
    union address peer;
    socklen_t size = sizeof peer;
    must(getpeername(fd, &peer.any, &size));
    print_address(subject, sizeof subject, &peer);
}

static void listen_on(int family, int backlog) {
    loopback(family);
    listener = must(socket(family, SOCK_STREAM, 0));
    must(bind(listener, &address.any, length));
    must(listen(listener, backlog));
    must(getsockname(listener, &address.any, &length));
    say_subject("port %d", ntohs(address.four.sin_port));
}

static int connected(void) {
    int fd = must(socket(address.any.sa_family, SOCK_STREAM, 0));
    must(connect(fd, &address.any, length));
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
    return fd;
}

static bool reads(int fd) { return recv(fd, bytes, 1, 0) == 1; }
static void writes(int fd) { send(fd, "x", 1, MSG_NOSIGNAL); }

// ---- as a client -----------------------------------------------------------------------------------------------------

// Answers each byte, slowly.
static void answer(void) {
    int fd = must(accept(listener, 0, 0));
    while (reads(fd)) {
        pause_ns(PAUSE_NS);
        writes(fd);
    }
}

static void prepare_client_of(int family) {
    listen_on(family, 8);
    start_other(answer);
    close(listener);
    client = connected();
    say_peer(client);
}

static void prepare_client(void) { prepare_client_of(AF_INET); }
static void prepare_client6(void) { prepare_client_of(AF_INET6); }

static void receive(void) {
    while (runs()) {
        writes(client);
        WAIT(reads(client));
    }
}

// What a client with a timeout does.
static void poll_then_receive(void) {
    while (runs()) {
        writes(client);
        struct pollfd one = {client, POLLIN, 0};
        WAIT(must(poll(&one, 1, 5000)));
        reads(client);
    }
}

static void prepare_epoll_client(void) {
    prepare_client();
    events = must(epoll_create1(0));
    must(epoll_ctl(events, EPOLL_CTL_ADD, client, &(struct epoll_event){EPOLLIN, {.fd = client}}));
}

static void epoll_reply(void) {
    while (runs()) {
        writes(client);
        struct epoll_event one;
        WAIT(must(epoll_wait(events, &one, 1, 5000)));
        reads(client);
    }
}

// Takes what was sent in gulps, slowly.
static void take_slowly(void) {
    int fd = must(accept(listener, 0, 0));
    do
        pause_ns(PAUSE_NS);
    while (recv(fd, bytes, sizeof bytes, 0) > 0);
}

static void prepare_send(void) {
    listen_on(AF_INET, 8);
    start_other(take_slowly);
    close(listener);
    client = connected();
    say_peer(client);
}

static void send_much(void) {
    while (runs())
        WAIT(must(send(client, bytes, sizeof bytes, MSG_NOSIGNAL)));
}

static int late_pipe[2];

// The queue of the listener is full, so that the first request to connect goes unanswered and is repeated after a second.
static void accept_late(void) {
    char byte;
    must(read(late_pipe[0], &byte, 1));
    pause_ns(20 * PAUSE_NS);
    for (int i = 0; i < 3; i++)
        must(accept(listener, 0, 0));
    for (;;)
        pause();
}

static void prepare_connect(void) {
    must(pipe(late_pipe));
    listen_on(AF_INET, 0);
    start_other(accept_late);
    connected();
    client = must(socket(AF_INET, SOCK_STREAM, 0));
    print_address(subject, sizeof subject, &address);
}

static void connect_late(void) {
    must(write(late_pipe[1], "x", 1));
    WAIT(must(connect(client, &address.any, length)));
}

// ---- as a server ---------------------------------------------------------------------------------------------------------

// Asks after a pause and takes the answer.
static void ask(void) {
    int fd = connected();
    do {
        pause_ns(PAUSE_NS);
        writes(fd);
    } while (reads(fd));
}

static void prepare_server(void) {
    listen_on(AF_INET, 8);
    start_other(ask);
    accepted = must(accept(listener, 0, 0));
}

static void receive_request(void) {
    while (runs()) {
        WAIT(reads(accepted));
        writes(accepted);
    }
}

static void connect_slowly(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        close(connected());
    }
}

static void prepare_accept(void) {
    listen_on(AF_INET, 8);
    start_other(connect_slowly);
}

static void accept_connections(void) {
    while (runs())
        close(WAIT(must(accept(listener, 0, 0))));
}

static void prepare_epoll_accept(void) {
    prepare_accept();
    events = must(epoll_create1(0));
    must(epoll_ctl(events, EPOLL_CTL_ADD, listener, &(struct epoll_event){EPOLLIN, {.fd = listener}}));
}

static void epoll_accept(void) {
    while (runs()) {
        struct epoll_event one;
        WAIT(must(epoll_wait(events, &one, 1, -1)));
        close(must(accept(listener, 0, 0)));
    }
}

static void prepare_epoll_server(void) {
    prepare_server();
    events = must(epoll_create1(0));
    must(epoll_ctl(events, EPOLL_CTL_ADD, listener, &(struct epoll_event){EPOLLIN, {.fd = listener}}));
    must(epoll_ctl(events, EPOLL_CTL_ADD, accepted, &(struct epoll_event){EPOLLIN, {.fd = accepted}}));
}

static void epoll_request(void) {
    while (runs()) {
        struct epoll_event one;
        WAIT(must(epoll_wait(events, &one, 1, -1)));
        reads(accepted);
        writes(accepted);
    }
}

// ---- without connections ---------------------------------------------------------------------------------------------------

static void send_datagrams(void) {
    for (;;) {
        pause_ns(PAUSE_NS);
        writes(client);
    }
}

// Two sockets that know each other.
static void prepare_datagrams(void) {
    union address other;
    socklen_t size = sizeof other;
    loopback(AF_INET);
    client = must(socket(AF_INET, SOCK_DGRAM, 0));
    accepted = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(bind(client, &address.any, length));
    must(bind(accepted, &address.any, length));
    must(getsockname(client, &other.any, &size));
    must(connect(accepted, &other.any, size));
    must(getsockname(accepted, &other.any, &size));
    must(connect(client, &other.any, size));
    start_other(send_datagrams);
    say_peer(accepted);
}

static void receive_datagrams(void) {
    while (runs())
        WAIT(reads(accepted));
}

static struct sockaddr_nl netlink;

static void send_netlink(void) {
    struct nlmsghdr header = {.nlmsg_len = sizeof header, .nlmsg_type = NLMSG_NOOP};
    int fd = must(socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK));
    for (;;) {
        pause_ns(PAUSE_NS);
        must(sendto(fd, &header, sizeof header, 0, (void *)&netlink, sizeof netlink));
    }
}

static void prepare_netlink(void) {
    socklen_t size = sizeof netlink;
    netlink.nl_family = AF_NETLINK;
    accepted = must(socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK));
    must(bind(accepted, (void *)&netlink, sizeof netlink));
    must(getsockname(accepted, (void *)&netlink, &size));
    start_other(send_netlink);
}

static void receive_netlink(void) {
    while (runs())
        WAIT(must(recv(accepted, bytes, sizeof bytes, 0)));
}

// ---- an event loop that is woken by its own process, or by time ------------------------------------------------------------------

static int wake;

static void wake_loop(void) {
    pause_ns(PAUSE_NS);
    must(write(wake, &(uint64_t){1}, sizeof(uint64_t)));
}

static void prepare_loop(int reader, int writer) {
    events = must(epoll_create1(0));
    must(epoll_ctl(events, EPOLL_CTL_ADD, reader, &(struct epoll_event){EPOLLIN, {.fd = reader}}));
    accepted = reader;
    wake = writer;
}

static void prepare_handoff(void) {
    int both = must(eventfd(0, 0));
    prepare_loop(both, both);
    start_other_thread(wake_loop);
}

// As asyncio does it.
static void prepare_handoff_socket(void) {
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    prepare_loop(pair[0], pair[1]);
    start_other_thread(wake_loop);
}

static void prepare_timer(void) {
    int timer = must(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec every = {{0, PAUSE_NS}, {0, PAUSE_NS}};
    must(timerfd_settime(timer, 0, &every, 0));
    prepare_loop(timer, timer);
}

static void epoll_own(void) {
    while (runs()) {
        struct epoll_event one;
        uint64_t count;
        WAIT(must(epoll_wait(events, &one, 1, -1)));
        must(read(accepted, &count, sizeof count));
    }
}

static void epoll_timeout(void) {
    while (runs()) {
        struct epoll_event one;
        WAIT(must(epoll_wait(events, &one, 1, PAUSE_NS / 1000000)));
    }
}

static void prepare_empty(void) {
    prepare_client();
    events = must(epoll_create1(0));
    must(epoll_ctl(events, EPOLL_CTL_ADD, client, &(struct epoll_event){EPOLLIN, {.fd = client}}));
}

// Two descriptors at once, by the older calls.
static void poll_several(void) {
    while (runs()) {
        struct pollfd both[2] = {{client, POLLIN, 0}, {0, POLLIN, 0}};
        writes(client);
        WAIT(must(poll(both, 2, 5000)));
        reads(client);
    }
}

static void select_several(void) {
    while (runs()) {
        fd_set both;
        FD_ZERO(&both);
        FD_SET(client, &both);
        FD_SET(0, &both);
        writes(client);
        WAIT(must(select(client + 1, &both, 0, 0, 0)));
        reads(client);
    }
}

static const struct wait_case cases[] = {
    {"receive", prepare_client, receive},
    {"receive6", prepare_client6, receive},
    {"poll_then_receive", prepare_client, poll_then_receive},
    {"send", prepare_send, send_much},
    {"connect", prepare_connect, connect_late},
    {"receive_request", prepare_server, receive_request},
    {"accept", prepare_accept, accept_connections},
    {"receive_datagrams", prepare_datagrams, receive_datagrams},
    {"receive_netlink", prepare_netlink, receive_netlink},
    {"epoll_listen", prepare_epoll_accept, epoll_accept},
    {"epoll_request", prepare_epoll_server, epoll_request},
    {"epoll_reply", prepare_epoll_client, epoll_reply},
    {"epoll_eventfd", prepare_handoff, epoll_own},
    {"epoll_self_pipe", prepare_handoff_socket, epoll_own},
    {"epoll_timer", prepare_timer, epoll_own},
    {"epoll_timeout", prepare_empty, epoll_timeout},
    {"poll_several", prepare_client, poll_several},
    {"select_several", prepare_client, select_several},
};
PROGRAM(cases)
