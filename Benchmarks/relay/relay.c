// SPDX-License-Identifier: Apache-2.0
// A long path on one machine: a TCP relay on loopback that delays each direction by half a round trip.
//
// usage: relay --to PORT [--listen PORT] [--rtt-ms 63] [--ring-mib 128]     prints {"port":N}, runs until stdin ends
//        relay --self-test [--rtt-ms 63] [--seconds 3]                      prints figures, exits 1 if the relay is wrong
//
// What is imitated: the handshake (the dialer's first byte leaves one round trip after its SYN, and the listener sees
// the connection half a round trip later), then every byte arrives half a round trip after it was read here. What is
// not: loss, a bandwidth limit, congestion control. The kernel's TCP on both sides sees a path without delay.
// Each direction has a ring that must hold bandwidth x delay; when it is full, reading stops.
// Timers are absolute (timerfd on CLOCK_MONOTONIC) and set for the earliest byte that is due.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { links_max = 1024, stamps_max = 1 << 18, read_max = 256 * 1024, turn_max = 1024 * 1024 };

static int64_t round_trip_ns = 63000000;
static size_t ring_bytes = (size_t)128 << 20;
static int poller = -1;

static void fail(const char *what) {
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// A socket, with what epoll said about it since the last EAGAIN.
typedef struct {
    int fd;
    bool readable, writable;
} Side;

typedef struct {
    int64_t due;
    uint64_t end;  // bytes up to this position may be written from `due` on
} Stamp;

// One direction: a ring of bytes and a ring of stamps.
typedef struct {
    char *ring;
    Stamp *stamps;
    uint64_t head, tail;              // bytes written out, bytes read in
    uint64_t first_stamp, next_stamp;
    int64_t end_due;                  // when the end of the stream is passed on; 0: not seen yet
    bool ended;                       // it was passed on
} Way;

typedef struct {
    bool used;
    Side near, far;                   // dialer's and listener's; far.fd is -1 until the listener hears of it
    int64_t open_near, open_far;
    Way out, back;                    // near -> far, far -> near
} Link;

static Link links[links_max];
static int link_count = 0;            // slots in use or used before
static uint16_t target_port;

static void *map(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail("mmap");
    return p;
}

static void way_open(Way *w) {
    memset(w, 0, sizeof *w);
    w->ring = map(ring_bytes);
    w->stamps = map(sizeof(Stamp) * stamps_max);
}

static void way_close(Way *w) {
    munmap(w->ring, ring_bytes);
    munmap(w->stamps, sizeof(Stamp) * stamps_max);
}

static struct sockaddr_in loopback(uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}

static int listen_on(uint16_t port, uint16_t *bound) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = loopback(port);
    socklen_t size = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 1024)) fail("listen");
    getsockname(fd, (struct sockaddr *)&a, &size);
    *bound = ntohs(a.sin_port);
    return fd;
}

static int dial(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = loopback(port);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void watch(Side *side, int index, bool far) {
    fcntl(side->fd, F_SETFL, fcntl(side->fd, F_GETFL) | O_NONBLOCK);
    side->readable = side->writable = true;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = (uint64_t)index * 2 + far + 1};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, side->fd, &e)) fail("epoll_ctl");
}

static void link_close(Link *l, bool reset) {
    struct linger hard = {1, 0};
    for (int i = 0; i < 2; i++) {
        int fd = i ? l->far.fd : l->near.fd;
        if (fd < 0) continue;
        if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fd);
    }
    way_close(&l->out);
    way_close(&l->back);
    l->used = false;
}

// Reads what is there and fits. False: the connection is broken.
static bool way_read(Way *w, Side *from, bool *again) {
    size_t budget = turn_max;
    while (from->readable && !w->end_due) {
        uint64_t room = ring_bytes - (w->tail - w->head);
        if (!room || w->next_stamp - w->first_stamp == stamps_max) return true;
        if (!budget) {
            *again = true;
            return true;
        }
        size_t at = w->tail % ring_bytes, count = ring_bytes - at;
        if (count > room) count = room;
        if (count > read_max) count = read_max;
        ssize_t n = read(from->fd, w->ring + at, count);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            from->readable = false;
            return true;
        }
        if (n < 0) return false;
        int64_t due = now_ns() + round_trip_ns / 2;
        if (n == 0) {
            w->end_due = due;
            return true;
        }
        w->tail += (uint64_t)n;
        w->stamps[w->next_stamp++ % stamps_max] = (Stamp){due, w->tail};
        budget = budget > (size_t)n ? budget - (size_t)n : 0;
    }
    return true;
}

// Writes what is due. False: the connection is broken.
static bool way_write(Way *w, Side *to, int64_t now) {
    while (to->writable && w->first_stamp != w->next_stamp) {
        uint64_t end = w->head;
        for (uint64_t s = w->first_stamp; s != w->next_stamp && w->stamps[s % stamps_max].due <= now; s++) {
            end = w->stamps[s % stamps_max].end;
            if (end - w->head >= turn_max) break;
        }
        if (end == w->head) return true;
        size_t at = w->head % ring_bytes, count = end - w->head;
        if (count > ring_bytes - at) count = ring_bytes - at;
        ssize_t n = send(to->fd, w->ring + at, count, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            to->writable = false;
            return true;
        }
        if (n < 0) return false;
        w->head += (uint64_t)n;
        while (w->first_stamp != w->next_stamp && w->stamps[w->first_stamp % stamps_max].end <= w->head) w->first_stamp++;
    }
    if (w->end_due && !w->ended && w->head == w->tail && w->end_due <= now) {
        shutdown(to->fd, SHUT_WR);
        w->ended = true;
    }
    return true;
}

static void sooner(int64_t *next, int64_t candidate) {
    if (!*next || candidate < *next) *next = candidate;
}

static void way_next(const Way *w, const Side *to, int64_t *next) {
    if (w->first_stamp != w->next_stamp) {
        if (to->writable) sooner(next, w->stamps[w->first_stamp % stamps_max].due);
    } else if (w->end_due && !w->ended) {
        sooner(next, w->end_due);
    }
}

// One turn of a link. Sets `next` to when it wants the next turn, `again` when that is at once.
static void link_turn(int index, int64_t *next, bool *again) {
    Link *l = &links[index];
    int64_t now = now_ns();
    if (l->far.fd < 0 && now >= l->open_far) {
        l->far.fd = dial(target_port);
        if (l->far.fd < 0) {
            link_close(l, true);
            return;
        }
        watch(&l->far, index, true);
    }
    bool good = true;
    if (now >= l->open_near) good = way_read(&l->out, &l->near, again);
    if (good && l->far.fd >= 0) good = way_read(&l->back, &l->far, again) && way_write(&l->out, &l->far, now);
    if (good) good = way_write(&l->back, &l->near, now);
    if (!good || (l->out.ended && l->back.ended)) {
        link_close(l, !good);
        return;
    }
    if (now < l->open_near) sooner(next, l->open_near);
    if (l->far.fd < 0) sooner(next, l->open_far);
    else way_next(&l->out, &l->far, next);
    way_next(&l->back, &l->near, next);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0) return;
        int index = 0;
        while (index < link_count && links[index].used) index++;
        if (index == links_max) {
            close(fd);
            continue;
        }
        if (index == link_count) link_count++;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Link *l = &links[index];
        int64_t now = now_ns();
        *l = (Link){.used = true, .near.fd = fd, .far.fd = -1, .open_near = now + round_trip_ns,
                    .open_far = now + round_trip_ns + round_trip_ns / 2};
        way_open(&l->out);
        way_open(&l->back);
        watch(&l->near, index, false);
    }
}

static void relay(int listener, bool until_stdin_ends) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller < 0 || timer < 0) fail("epoll_create1");
    prctl(PR_SET_TIMERSLACK, 1);
    fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
    enum { accept_tag = UINT32_MAX, timer_tag = UINT32_MAX - 1, stdin_tag = UINT32_MAX - 2 };
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = accept_tag};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e)) fail("epoll_ctl");
    e.data.u64 = timer_tag;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, timer, &e)) fail("epoll_ctl");
    e.data.u64 = stdin_tag;
    // A file or /dev/null cannot be watched and never ends: then the relay runs until it is killed.
    if (until_stdin_ends) epoll_ctl(poller, EPOLL_CTL_ADD, 0, &e);

    bool again = false;
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(poller, events, 64, again ? 0 : -1);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            uint64_t tag = events[i].data.u64;
            char scrap[4096];
            if (tag == accept_tag) accept_all(listener);
            else if (tag == timer_tag) { if (read(timer, scrap, 8) < 0) {} }
            else if (tag == stdin_tag) { if (read(0, scrap, sizeof scrap) <= 0) return; }
            else {
                Link *l = &links[(tag - 1) / 2];
                Side *side = (tag - 1) % 2 ? &l->far : &l->near;
                if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) side->readable = true;
                if (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) side->writable = true;
            }
        }
        again = false;
        int64_t next = 0;
        for (int i = 0; i < link_count; i++)
            if (links[i].used) link_turn(i, &next, &again);
        struct itimerspec when = {.it_value = {next / 1000000000, next % 1000000000}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
    }
}

// ------------------------------------------------------------------------------------------------ self-test

enum { block_bytes = 1 << 20 };
static char block[block_bytes];
static _Atomic uint64_t sink_count;
static _Atomic bool sink_good = true;

// Checks that the bytes are those of `block`, over and over, then answers with one byte at the end of the stream.
static void *sink(void *argument) {
    int fd = accept(*(int *)argument, NULL, NULL);
    char *buffer = malloc(block_bytes);
    uint64_t at = 0;
    ssize_t n;
    while ((n = read(fd, buffer, block_bytes)) > 0) {
        size_t offset = at % block_bytes, first = block_bytes - offset;
        if (first > (size_t)n) first = (size_t)n;
        if (memcmp(buffer, block + offset, first) || memcmp(buffer + first, block, (size_t)n - first)) sink_good = false;
        at += (uint64_t)n;
        sink_count = at;
    }
    if (write(fd, "!", 1) != 1) sink_good = false;
    close(fd);
    free(buffer);
    return NULL;
}

static void *echo(void *argument) {
    int fd = accept(*(int *)argument, NULL, NULL);
    char byte;
    while (read(fd, &byte, 1) == 1)
        if (write(fd, &byte, 1) != 1) break;
    close(fd);
    return NULL;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int self_test(double seconds) {
    for (size_t i = 0; i < block_bytes; i++) block[i] = (char)(i * 2654435761u >> 13);
    uint16_t inner, port;
    int target = listen_on(0, &inner), listener = listen_on(0, &port);
    target_port = inner;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        relay(listener, false);
        _exit(0);
    }

    // Times: one byte there and back right after the dial, then nine more on the open connection.
    pthread_t thread;
    pthread_create(&thread, NULL, echo, &target);
    double first = 0, trips[9];
    int64_t start = now_ns();
    int fd = dial(port);
    for (int i = 0; i < 10; i++) {
        char byte = (char)i;
        if (i) start = now_ns();
        if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != (char)i) fail("echo through the relay");
        double ms = (double)(now_ns() - start) / 1e6;
        if (i) trips[i - 1] = ms;
        else first = ms;
    }
    close(fd);
    pthread_join(thread, NULL);
    qsort(trips, 9, sizeof *trips, compare);

    // Throughput: blocks for a while, then the half-close must reach the other end and its answer must come back.
    pthread_create(&thread, NULL, sink, &target);
    fd = dial(port);
    uint64_t sent = 0;
    start = now_ns();
    int64_t stop = start + (int64_t)(seconds * 1e9);
    while (now_ns() < stop) {
        size_t offset = sent % block_bytes;
        ssize_t n = write(fd, block + offset, block_bytes - offset);
        if (n <= 0) fail("write through the relay");
        sent += (uint64_t)n;
    }
    shutdown(fd, SHUT_WR);
    char answer = 0;
    bool answered = read(fd, &answer, 1) == 1 && answer == '!';
    double took = (double)(now_ns() - start) / 1e9 - 2.5 * (double)round_trip_ns / 1e9;
    close(fd);
    pthread_join(thread, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    // The first byte is one sample, and a busy machine may hold it up; the other trips are a median.
    double gigabits = (double)sent * 8 / took / 1e9, rtt = (double)round_trip_ns / 1e6, slack = 0.05 * rtt + 1;
    bool timely = first >= 2 * rtt && first < 2 * rtt + 4 * slack && trips[0] >= rtt && trips[4] < rtt + slack;
    bool whole = answered && sink_good && sink_count == sent;
    bool good = timely && whole && gigabits >= 4;
    printf("{\"rtt_ms\":%.1f,\"first_byte_ms\":%.2f,\"round_trip_ms_median\":%.2f,\"round_trip_ms_max\":%.2f,"
           "\"gbit_per_s\":%.2f,\"mib\":%llu,\"whole\":%s,\"timely\":%s,\"good\":%s}\n",
           rtt, first, trips[4], trips[8], gigabits, (unsigned long long)(sent >> 20), whole ? "true" : "false",
           timely ? "true" : "false", good ? "true" : "false");
    return good ? 0 : 1;
}

int main(int count, char **arguments) {
    double seconds = 3;
    uint16_t port = 0;
    bool testing = false;
    for (int i = 1; i < count; i++) {
        const char *name = arguments[i], *value = i + 1 < count ? arguments[i + 1] : "";
        if (!strcmp(name, "--self-test")) testing = true;
        else if (!strcmp(name, "--to")) target_port = (uint16_t)atoi(value), i++;
        else if (!strcmp(name, "--listen")) port = (uint16_t)atoi(value), i++;
        else if (!strcmp(name, "--rtt-ms")) round_trip_ns = (int64_t)(atof(value) * 1e6), i++;
        else if (!strcmp(name, "--ring-mib")) ring_bytes = (size_t)atoi(value) << 20, i++;
        else if (!strcmp(name, "--seconds")) seconds = atof(value), i++;
        else {
            fprintf(stderr, "usage: relay --to PORT [--listen PORT] [--rtt-ms N] [--ring-mib N] | --self-test [--seconds N]\n");
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    if (testing) return self_test(seconds);
    if (!target_port || !ring_bytes) return fprintf(stderr, "relay: --to PORT is needed\n"), 2;
    uint16_t bound;
    int listener = listen_on(port, &bound);
    printf("{\"port\":%d}\n", bound);
    fflush(stdout);
    relay(listener, true);
    return 0;
}
