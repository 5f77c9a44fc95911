/* A database that costs next to nothing: greets, and answers every query with one row `1`.
 *
 *   scripted PATH      listens on the unix socket PATH (…/.s.PGSQL.PORT), one epoll loop
 *
 * What stands in front of it is then what a measurement sees, not the forks of Postgres. It asks
 * for no password, and answers the extended protocol once, for what `pgshare share` asks at its
 * start (role, recovery, max_connections).
 *
 * Build: cc -O2 -o scripted scripted.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
    int fd, is_greeted, length;
    unsigned char in[4096];
} Session;

typedef struct {
    unsigned char bytes[1024];
    int length;
} Answer;

static Answer greeting, row, done, probed;

static void put(Answer *answer, const void *bytes, int length) {
    memcpy(answer->bytes + answer->length, bytes, length);
    answer->length += length;
}

static void put_word(Answer *answer, unsigned value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) {
        unsigned char byte = value >> (8 * i);
        put(answer, &byte, 1);
    }
}

static void put_message(Answer *answer, char kind, const void *payload, int length) {
    put(answer, &kind, 1);
    put_word(answer, length + 4, 4);
    put(answer, payload, length);
}

static void put_parameter(Answer *answer, const char *name, const char *value) {
    char text[128];
    int length = snprintf(text, sizeof text, "%s%c%s", name, 0, value) + 1;
    put_message(answer, 'S', text, length);
}

/* RowDescription of `count` text columns, and one DataRow. */
static void put_row(Answer *answer, int count, const char **values) {
    Answer columns = {.length = 0}, data = {.length = 0};
    put_word(&columns, count, 2);
    put_word(&data, count, 2);
    for (int i = 0; i < count; i++) {
        put(&columns, "c", 2);
        put_word(&columns, 0, 4), put_word(&columns, 0, 2);
        put_word(&columns, 25, 4), put_word(&columns, 0xFFFF, 2);
        put_word(&columns, 0xFFFFFFFF, 4), put_word(&columns, 0, 2);
        put_word(&data, strlen(values[i]), 4);
        put(&data, values[i], strlen(values[i]));
    }
    put_message(answer, 'T', columns.bytes, columns.length);
    put_message(answer, 'D', data.bytes, data.length);
    put_message(answer, 'C', "SELECT 1", 9);
}

static void make_answers(void) {
    put_message(&greeting, 'R', "\0\0\0\0", 4);
    put_parameter(&greeting, "server_version", "15.0");
    put_parameter(&greeting, "server_encoding", "UTF8");
    put_parameter(&greeting, "client_encoding", "UTF8");
    put_parameter(&greeting, "standard_conforming_strings", "on");
    put_parameter(&greeting, "DateStyle", "ISO, MDY");
    put_parameter(&greeting, "TimeZone", "UTC");
    put_message(&greeting, 'K', "\0\0\0\1\0\0\0\2", 8);
    put_message(&greeting, 'Z', "I", 1);
    const char *one[] = {"1"}, *role[] = {"f", "f", "100000", "postgres", "bench"};
    put_row(&row, 1, one);
    put_message(&row, 'Z', "I", 1);
    put_message(&done, 'C', "SET", 4);
    put_message(&done, 'Z', "I", 1);
    put_message(&probed, '1', "", 0);
    put_message(&probed, '2', "", 0);
    put_row(&probed, 5, role);
    put_message(&probed, 'Z', "I", 1);
}

static int say(Session *session, Answer *answer) {
    return write(session->fd, answer->bytes, answer->length) == answer->length;
}

/* Returns whether the session goes on. */
static int message(Session *session, unsigned char kind, const char *payload) {
    switch (kind) {
    case 'Q': return say(session, strncasecmp(payload, "select", 6) ? &done : &row);
    case 'S': return say(session, &probed);
    case 'X': return 0;
    default: return 1;
    }
}

static int parse(Session *session) {
    int at = 0;
    for (;;) {
        int head = session->is_greeted ? 1 : 0;
        unsigned size;
        if (session->length - at < head + 4) break;
        memcpy(&size, session->in + at + head, 4);
        size = ntohl(size);
        if (size < 4 || size + head > sizeof session->in) return 0;
        if ((unsigned)(session->length - at) < size + head) break;
        if (session->is_greeted) {
            if (!message(session, session->in[at], (char *)session->in + at + 5)) return 0;
        } else {
            unsigned version;
            memcpy(&version, session->in + at + 4, 4);
            if (ntohl(version) >> 16 != 3) return 0; /* TLS and cancels are not served */
            session->is_greeted = 1;
            if (!say(session, &greeting)) return 0;
        }
        at += size + head;
    }
    memmove(session->in, session->in + at, session->length - at);
    session->length -= at;
    return 1;
}

static int serve(Session *session) {
    int room = sizeof session->in - session->length;
    int got = read(session->fd, session->in + session->length, room);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    session->length += got;
    return parse(session);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    signal(SIGPIPE, SIG_IGN); /* who leaves while it is answered ends nobody */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    make_answers();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", arguments[1]);
    int door = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(door, (struct sockaddr *)&address, sizeof address) || listen(door, 4096)) {
        perror(arguments[1]);
        return 1;
    }
    int poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &event);
    printf("{\"ready\":true}\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            Session *session = events[i].data.ptr;
            if (session) {
                if (serve(session)) continue;
                close(session->fd);
                free(session);
                continue;
            }
            int fd;
            while ((fd = accept4(door, 0, 0, SOCK_NONBLOCK)) >= 0) {
                session = calloc(1, sizeof *session);
                if (!session) return 1;
                session->fd = fd;
                event = (struct epoll_event){.events = EPOLLIN, .data.ptr = session};
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
