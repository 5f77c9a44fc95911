/*
 * A link between two TUN devices that misbehaves as it is told: one direction at a time it delays,
 * loses, slows down or drops packets.
 *
 *   bad_link DESCRIPTOR DESCRIPTOR SEED
 *
 * Packets of the first device come out of the second (direction 0), and back (direction 1). Each
 * line of standard input sets one direction:
 *
 *   DIRECTION DELAY_US LOSS_PER_MILLION BITS_PER_SECOND DROPS      0 bits: as fast as it goes
 *
 * DROPS is 0: no packet, 1: every packet, 2: those of TCP connections that were there when this was
 * said, told apart by the first device's port. Each line is answered, once it holds, with the packets that were passed and dropped so far in
 * direction 0 and in direction 1. It ends with its input. What is lost depends on SEED and on the
 * packets before alone.
 *
 * Build: cc -O2 -o bad_link bad_link.c
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer than any packet of an MTU of 1500. */
enum { PACKET_BYTES = 2048 };
/* What may be under way: 100 ms at 100 MB/s. */
enum { QUEUE_PACKETS = 8192 };
/* Read in one go from a device before the other one has its turn. */
enum { BURST = 64 };
/* What waits in front of a slow link, in nanoseconds of its time; the rest is dropped. */
static const int64_t BACKLOG = 250 * 1000 * 1000;

enum drops { DROPS_NONE, DROPS_ALL, DROPS_OLD };

struct packet {
    int64_t due;
    int length;
    char bytes[PACKET_BYTES];
};

struct direction {
    int from, to;
    int64_t delay;
    long loss_per_million, bits_per_second;
    enum drops drops;
    /* When the last bit of what was taken so far is on the line. */
    int64_t free_at;
    int64_t last_due;
    struct packet *queue;
    unsigned head, count;
    unsigned long passed, dropped;
};

static struct direction directions[2];
/* Ports of the first device that were ever used, and those of connections that are forgotten. */
static char seen[65536], forgotten[65536];
static uint64_t random_state;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* splitmix64. */
static uint64_t next_random(void) {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A device that is down takes nothing: dropped, as on a wire that is not plugged in. */
static void deliver(struct direction *way, const char *bytes, int length) {
    if (way->drops != DROPS_ALL && write(way->to, bytes, length) == length)
        way->passed++;
    else
        way->dropped++;
}

/* The first device's port of a TCP packet over IPv4 without options; 0 of any other packet. */
static int first_port(const struct direction *way, const unsigned char *bytes, int length) {
    if (length < 40 || bytes[0] != 0x45 || bytes[9] != 6) return 0;
    const unsigned char *port = bytes + (way == &directions[0] ? 20 : 22);
    return port[0] << 8 | port[1];
}

static int is_dropped(const struct direction *way, const char *bytes, int length) {
    int port = first_port(way, (const unsigned char *)bytes, length);
    seen[port] = 1;
    return way->drops == DROPS_ALL || (way->drops == DROPS_OLD && port && forgotten[port]);
}

/* When the packet arrives; -1 if it does not. */
static int64_t arrival(struct direction *way, const char *bytes, int length, int64_t now) {
    if (is_dropped(way, bytes, length)) return -1;
    if (way->loss_per_million > 0
        && (long)(next_random() % 1000000) < way->loss_per_million) return -1;
    int64_t sent = now;
    if (way->bits_per_second > 0) {
        int64_t start = way->free_at > now ? way->free_at : now;
        if (start - now > BACKLOG) return -1;
        sent = way->free_at = start + length * 8000000000LL / way->bits_per_second;
    }
    int64_t due = sent + way->delay;
    if (way->count > 0 && due < way->last_due) due = way->last_due;
    if (way->count == QUEUE_PACKETS) return -1;
    return due;
}

static void take(struct direction *way) {
    for (int taken = 0; taken < BURST; taken++) {
        struct packet *slot = &way->queue[(way->head + way->count) % QUEUE_PACKETS];
        char spare[PACKET_BYTES];
        char *bytes = way->count < QUEUE_PACKETS ? slot->bytes : spare;
        int length = read(way->from, bytes, PACKET_BYTES);
        if (length <= 0) return;
        int64_t now = now_ns();
        int64_t due = arrival(way, bytes, length, now);
        if (due < 0) {
            way->dropped++;
        } else if (way->count == 0 && due <= now) {
            deliver(way, bytes, length);
        } else {
            slot->due = way->last_due = due;
            slot->length = length;
            way->count++;
        }
    }
}

static void deliver_due(struct direction *way) {
    int64_t now = now_ns();
    while (way->count > 0 && way->queue[way->head].due <= now) {
        deliver(way, way->queue[way->head].bytes, way->queue[way->head].length);
        way->head = (way->head + 1) % QUEUE_PACKETS;
        way->count--;
    }
}

static void obey(const char *line) {
    int number, drops;
    long delay, loss, bits;
    if (sscanf(line, "%d %ld %ld %ld %d", &number, &delay, &loss, &bits, &drops) != 5
        || number < 0 || number > 1 || drops < DROPS_NONE || drops > DROPS_OLD) {
        fprintf(stderr, "not understood: %s", line);
        exit(2);
    }
    struct direction *way = &directions[number];
    way->delay = delay * 1000LL;
    way->loss_per_million = loss;
    way->bits_per_second = bits;
    if (drops == DROPS_OLD && way->drops != DROPS_OLD) memcpy(forgotten, seen, sizeof seen);
    way->drops = drops;
    printf("%lu %lu %lu %lu\n", directions[0].passed, directions[0].dropped,
           directions[1].passed, directions[1].dropped);
    fflush(stdout);
}

/* 0 at the end of the input. */
static int read_orders(void) {
    static char text[4096];
    static size_t held;
    ssize_t got = read(0, text + held, sizeof text - 1 - held);
    if (got <= 0) return 0;
    held += got;
    text[held] = 0;
    char *start = text, *end;
    while ((end = strchr(start, '\n'))) {
        *end = 0;
        obey(start);
        start = end + 1;
    }
    held -= start - text;
    memmove(text, start, held);
    return 1;
}

/* Until the next packet is due: forever if there is none. */
static struct timespec *patience(struct timespec *wait) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        struct direction *way = &directions[i];
        if (way->count > 0 && way->queue[way->head].due < next) next = way->queue[way->head].due;
    }
    if (next == INT64_MAX) return NULL;
    int64_t left = next - now_ns();
    if (left < 0) left = 0;
    wait->tv_sec = left / 1000000000;
    wait->tv_nsec = left % 1000000000;
    return wait;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: see the first lines of bad_link.c\n");
        return 2;
    }
    random_state = strtoull(arguments[3], NULL, 10);
    for (int i = 0; i < 2; i++) {
        directions[i].from = atoi(arguments[1 + i]);
        directions[i].to = atoi(arguments[2 - i]);
        directions[i].queue = malloc(QUEUE_PACKETS * sizeof(struct packet));
        if (!directions[i].queue) return 1;
        fcntl(directions[i].from, F_SETFL, O_NONBLOCK);
    }
    for (;;) {
        struct pollfd waiting[3] = {
            {directions[0].from, POLLIN, 0}, {directions[1].from, POLLIN, 0}, {0, POLLIN, 0}};
        struct timespec wait;
        if (ppoll(waiting, 3, patience(&wait), NULL) < 0 && errno != EINTR) return 1;
        if (waiting[2].revents && !read_orders()) return 0;
        for (int i = 0; i < 2; i++) {
            if (waiting[i].revents & POLLERR) return 1;
            if (waiting[i].revents) take(&directions[i]);
            deliver_due(&directions[i]);
        }
    }
}
