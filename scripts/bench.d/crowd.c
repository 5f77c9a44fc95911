/* Many clients of Postgres in one process: TLS, SCRAM-SHA-256, simple queries, one epoll loop.
 *
 *   crowd hold PORT ADDRESSES AT_ONCE ACCOUNTS    opens all of ACCOUNTS (lines of USER PASSWORD
 *                                                 DATABASE COUNT), each does `select 1`, says so;
 *                                                 then for each line on standard input: asks
 *                                                 `select 1` of all at once, says who answered
 *   crowd paced PORT ADDRESSES CLIENTS MILLISECONDS SECONDS ACCOUNTS
 *                                                 CLIENTS running clients, each asks `select 1`
 *                                                 every MILLISECONDS, late or not (open loop)
 *   crowd rate PORT ADDRESSES RATE SECONDS ACCOUNTS
 *                                                 RATE new connections a second, late or not: TLS,
 *                                                 login, `select 1`, close
 *
 * The server is 127.0.0.1:PORT; clients come from ADDRESSES addresses of 127.0.0.0/8 in turn,
 * because a relay bounds what one address may have on the way in. Answers are JSON, one a line.
 *
 * Why not libpq: 10,000 of its connections take over a gigabyte, and it computes the password's
 * 4096 rounds for every login, which at 500 logins a second is more than the server's part of the
 * work. Here a password's keys are computed once; every TLS handshake and proof is made anew.
 *
 * Build: cc -O2 -o crowd crowd.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* Connections that have not ended, of `rate`; more than these is no load but a queue. */
#define MAXIMUM_UNDER_WAY 6000
/* How long all of them may take in the end, in seconds. */
#define PATIENCE 30.0

enum { KEY = 32 };

typedef struct {
    char user[128], password[128], database[64];
    int count;
    /* What the password gives for the server's salt, once it is known. */
    char salt[128];
    unsigned char client_key[KEY], stored_key[KEY], server_key[KEY];
} Account;

typedef enum { CONNECTING, ASKING_TLS, HANDSHAKE, LOGIN, GREETING, QUERY, IDLE, DEAD } State;

typedef struct {
    int fd;
    State state;
    int account, got_row, events;
    SSL *tls;
    double since; /* when it was started, or when its query was due */
    int length;
    unsigned char in[2048];
    char first_bare[80], expected[64];
} Client;

static Account accounts[4096];
static int account_count;
static SSL_CTX *context;
static int poller, port, addresses, next_address;
static long opened, answered, failed, under_way;
static char first_failure[256];
static float *micros;
static long micros_count, micros_capacity;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *message) {
    printf("{\"error\":\"%s\"}\n", message);
    exit(1);
}

static void record(double seconds) {
    if (micros_count == micros_capacity) {
        micros_capacity = micros_capacity ? micros_capacity * 2 : 65536;
        micros = realloc(micros, micros_capacity * sizeof *micros);
        if (!micros) die("out of memory");
    }
    micros[micros_count++] = seconds * 1e6;
}

static int ascending(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void print_latency(void) {
    if (!micros_count) return;
    qsort(micros, micros_count, sizeof *micros, ascending);
    printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"maximum_us\":%.1f", micros[micros_count / 2],
        micros[(long)(micros_count * 0.99)], micros[micros_count - 1]);
}

static void read_accounts(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die("no accounts");
    Account *a = accounts;
    while (account_count < 4096
        && fscanf(file, "%127s %127s %63s %d", a->user, a->password, a->database, &a->count) == 4)
        a++, account_count++;
    fclose(file);
    if (!account_count) die("no accounts");
}

/* One connection's life. */

static void finish(Client *client) {
    if (client->state == DEAD) return;
    if (client->tls) SSL_free(client->tls);
    if (client->fd >= 0) close(client->fd);
    client->tls = 0;
    client->fd = -1;
    client->state = DEAD;
    under_way--;
}

static void fail(Client *client, const char *why) {
    if (client->state == DEAD) return;
    failed++;
    if (!first_failure[0]) {
        snprintf(first_failure, sizeof first_failure, "%s", why);
        for (char *c = first_failure; *c; c++)
            if (*c < ' ' || *c == '"' || *c == '\\') *c = ' ';
    }
    finish(client);
}

static void watch(Client *client, int events) {
    if (events == client->events) return;
    struct epoll_event event = {.events = events, .data.ptr = client};
    epoll_ctl(poller, client->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, client->fd, &event);
    client->events = events;
}

static void begin(Client *client, int account) {
    memset(client, 0, offsetof(Client, in));
    client->account = account;
    client->since = now();
    client->state = CONNECTING;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    opened++, under_way++;
    if (client->fd < 0) return fail(client, strerror(errno));
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(0x7F000002 + next_address++ % addresses);
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port)};
    peer.sin_addr.s_addr = htonl(0x7F000001);
    if (bind(client->fd, (struct sockaddr *)&own, sizeof own) != 0
        || (connect(client->fd, (struct sockaddr *)&peer, sizeof peer) != 0
            && errno != EINPROGRESS))
        return fail(client, strerror(errno));
    watch(client, EPOLLOUT);
}

static void send_all(Client *client, const void *bytes, int length) {
    /* Small, on a socket with nothing under way: what does not fit is a failure. */
    if (SSL_write(client->tls, bytes, length) != length) fail(client, "cannot write");
}

static unsigned char *word(unsigned char *at, unsigned value) {
    value = htonl(value);
    memcpy(at, &value, 4);
    return at + 4;
}

static void ask(Client *client, double due) {
    static const char query[] = "Q\0\0\0\rselect 1";
    client->since = due;
    client->state = QUERY;
    client->got_row = 0;
    send_all(client, query, sizeof query);
}

static void send_startup(Client *client) {
    Account *account = &accounts[client->account];
    unsigned char packet[512], *at = packet + 4;
    at = word(at, 196608);
    at += sprintf((char *)at, "user") + 1;
    at += sprintf((char *)at, "%s", account->user) + 1;
    at += sprintf((char *)at, "database") + 1;
    at += sprintf((char *)at, "%s", account->database) + 1;
    *at++ = 0;
    word(packet, at - packet);
    client->state = LOGIN;
    send_all(client, packet, at - packet);
}

static void send_password(Client *client, const char *text, int length, const char *mechanism) {
    unsigned char packet[1024], *at = packet + 5;
    packet[0] = 'p';
    if (mechanism) {
        at += sprintf((char *)at, "%s", mechanism) + 1;
        at = word(at, length);
    }
    memcpy(at, text, length);
    at += length;
    word(packet + 1, at - packet - 1);
    send_all(client, packet, at - packet);
}

static void client_first(Client *client) {
    unsigned char random[18];
    char nonce[32], text[128];
    RAND_bytes(random, sizeof random);
    EVP_EncodeBlock((unsigned char *)nonce, random, sizeof random);
    snprintf(client->first_bare, sizeof client->first_bare, "n=,r=%s", nonce);
    int length = snprintf(text, sizeof text, "n,,%s", client->first_bare);
    send_password(client, text, length, "SCRAM-SHA-256");
}

static void hmac(const unsigned char *key, const char *text, unsigned char *out) {
    HMAC(EVP_sha256(), key, KEY, (const unsigned char *)text, strlen(text), out, 0);
}

/* The keys of an account for the salt that the server named. */
static int prepare_keys(Account *account, const char *salt, int rounds) {
    char named[128];
    snprintf(named, sizeof named, "%s,%d", salt, rounds);
    if (!strcmp(named, account->salt)) return 1;
    unsigned char raw[96], salted[KEY];
    int length = EVP_DecodeBlock(raw, (const unsigned char *)salt, strlen(salt));
    if (length < 3) return 0;
    for (const char *c = salt + strlen(salt); c > salt && c[-1] == '='; c--) length--;
    PKCS5_PBKDF2_HMAC(account->password, strlen(account->password), raw, length, rounds,
        EVP_sha256(), KEY, salted);
    hmac(salted, "Client Key", account->client_key);
    hmac(salted, "Server Key", account->server_key);
    EVP_Digest(account->client_key, KEY, account->stored_key, 0, EVP_sha256(), 0);
    strcpy(account->salt, named);
    return 1;
}

static void client_final(Client *client, const char *server_first) {
    Account *account = &accounts[client->account];
    char nonce[128], salt[96], bare[192], message[512], text[384];
    int rounds;
    unsigned char signature[KEY], proof[KEY], server[KEY];
    char proof64[64];
    if (sscanf(server_first, "r=%127[^,],s=%95[^,],i=%d", nonce, salt, &rounds) != 3
        || !prepare_keys(account, salt, rounds))
        return fail(client, "the server's SCRAM message cannot be read");
    snprintf(bare, sizeof bare, "c=biws,r=%s", nonce);
    snprintf(message, sizeof message, "%s,%s,%s", client->first_bare, server_first, bare);
    hmac(account->stored_key, message, signature);
    for (int i = 0; i < KEY; i++) proof[i] = account->client_key[i] ^ signature[i];
    EVP_EncodeBlock((unsigned char *)proof64, proof, KEY);
    hmac(account->server_key, message, server);
    EVP_EncodeBlock((unsigned char *)client->expected, server, KEY);
    int length = snprintf(text, sizeof text, "%s,p=%s", bare, proof64);
    send_password(client, text, length, 0);
}

static void authentication(Client *client, unsigned char *payload, int length) {
    unsigned kind;
    char text[512] = "";
    memcpy(&kind, payload, 4);
    if (length > 4 && length - 4 < (int)sizeof text) memcpy(text, payload + 4, length - 4);
    switch (ntohl(kind)) {
    case 0: client->state = GREETING; break;
    case 10: client_first(client); break;
    case 11: client_final(client, text); break;
    case 12:
        if (strncmp(text, "v=", 2) || strcmp(text + 2, client->expected))
            fail(client, "the server does not know the password itself");
        break;
    default: fail(client, "another way to log in is asked for");
    }
}

static void (*on_answer)(Client *);

/* The sentence of an ErrorResponse: fields of one letter and a text, to the one that is empty. */
static void refused(Client *client, const char *field, int length) {
    const char *end = field + length;
    while (field < end && *field && *field != 'M') field += strnlen(field, end - field) + 1;
    char text[200] = "refused";
    if (field < end && *field) snprintf(text, sizeof text, "refused: %s", field + 1);
    fail(client, text);
}

static void message(Client *client, unsigned char kind, unsigned char *payload, int length) {
    switch (kind) {
    case 'R':
        if (length >= 4) authentication(client, payload, length);
        break;
    case 'E': refused(client, (char *)payload, length); break;
    case 'D': /* one column, one byte: 1 */
        client->got_row = length == 7 && !memcmp(payload, "\0\1\0\0\0\1" "1", 7);
        break;
    case 'Z':
        if (client->state == GREETING) ask(client, client->since);
        else if (client->state == QUERY && client->got_row) {
            record(now() - client->since);
            client->state = IDLE;
            answered++;
            on_answer(client);
        } else fail(client, "a wrong answer");
        break;
    }
}

static void parse(Client *client) {
    int at = 0;
    while (client->state != DEAD && client->length - at >= 5) {
        unsigned size;
        memcpy(&size, client->in + at + 1, 4);
        size = ntohl(size);
        if (size < 4 || size + 1 > sizeof client->in) return fail(client, "a message too large");
        if ((unsigned)(client->length - at) < size + 1) break;
        message(client, client->in[at], client->in + at + 5, size - 4);
        at += size + 1;
    }
    memmove(client->in, client->in + at, client->length - at);
    client->length -= at;
}

static void read_tls(Client *client) {
    for (;;) {
        int room = sizeof client->in - client->length;
        int got = SSL_read(client->tls, client->in + client->length, room);
        if (got <= 0) {
            int why = SSL_get_error(client->tls, got);
            if (why != SSL_ERROR_WANT_READ) fail(client, "the server closed the connection");
            return;
        }
        client->length += got;
        parse(client);
        if (client->state == DEAD) return;
    }
}

static void connected(Client *client) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) return fail(client, strerror(error));
    static const unsigned char request[] = {0, 0, 0, 8, 4, 210, 22, 47};
    if (write(client->fd, request, sizeof request) != sizeof request)
        return fail(client, "cannot write");
    client->state = ASKING_TLS;
    watch(client, EPOLLIN);
}

static void handshake(Client *client) {
    int done = SSL_connect(client->tls);
    if (done == 1) {
        watch(client, EPOLLIN);
        return send_startup(client);
    }
    switch (SSL_get_error(client->tls, done)) {
    case SSL_ERROR_WANT_READ: watch(client, EPOLLIN); break;
    case SSL_ERROR_WANT_WRITE: watch(client, EPOLLOUT); break;
    default: fail(client, "the TLS handshake failed");
    }
}

static void tls_answer(Client *client) {
    char answer = 0;
    if (read(client->fd, &answer, 1) != 1 || answer != 'S')
        return fail(client, "the server has no TLS");
    client->tls = SSL_new(context);
    SSL_set_fd(client->tls, client->fd);
    client->state = HANDSHAKE;
    handshake(client);
}

static void ready(Client *client) {
    switch (client->state) {
    case CONNECTING: connected(client); break;
    case ASKING_TLS: tls_answer(client); break;
    case HANDSHAKE: handshake(client); break;
    case DEAD: break;
    default: read_tls(client);
    }
}

/* Waits for `seconds` at most, serves what came; returns whether standard input has something. */
static int turn(double seconds) {
    struct epoll_event events[256];
    int input = 0;
    int wait = seconds <= 0 ? 0 : (int)(seconds * 1000) + 1;
    int count = epoll_wait(poller, events, 256, wait);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr) ready(events[i].data.ptr);
        else input = 1;
    }
    return input;
}

static void stay(Client *client) {
    (void)client;
}

static void leave(Client *client) {
    static const char terminate[] = {'X', 0, 0, 0, 4};
    send_all(client, terminate, sizeof terminate);
    finish(client);
}

static Client *make(int count) {
    Client *clients = calloc(count, sizeof *clients);
    if (!clients) die("out of memory");
    for (int i = 0; i < count; i++) clients[i].state = DEAD, clients[i].fd = -1;
    return clients;
}

/* Opens `count` clients, `at_once` at most on their way in at a time. */
static void open_all(Client *clients, int count, int at_once) {
    int account = 0, left = accounts[0].count;
    double end = now() + PATIENCE + count * 0.02;
    for (int i = 0; answered + failed < count;) {
        while (i < count && opened - answered - failed < at_once) {
            while (!left && account + 1 < account_count) left = accounts[++account].count;
            if (left) left--;
            begin(&clients[i++], account);
        }
        turn(0.1);
        if (now() > end) break;
    }
}

static void tell_failure(void) {
    printf(",\"failed\":%ld", failed);
    if (first_failure[0]) printf(",\"first_failure\":\"%s\"", first_failure);
}

static void hold(int at_once) {
    int count = 0;
    for (int i = 0; i < account_count; i++) count += accounts[i].count;
    Client *clients = make(count);
    double start = now();
    on_answer = stay;
    open_all(clients, count, at_once);
    printf("{\"opened\":%ld,\"seconds\":%.3f", answered, now() - start);
    tell_failure();
    printf("}\n");
    fflush(stdout);
    struct epoll_event input = {.events = EPOLLIN};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input);
    for (;;) {
        if (!turn(1)) continue;
        char line[64];
        if (read(0, line, sizeof line) <= 0) return;
        long asked = 0;
        answered = failed = micros_count = 0;
        start = now();
        for (int i = 0; i < count; i++) {
            if (clients[i].state == IDLE) ask(&clients[i], now()), asked++;
            if (i % 64 == 0) turn(0);
        }
        while (answered + failed < asked && now() - start < PATIENCE) turn(0.1);
        double seconds = now() - start;
        printf("{\"asked\":%ld,\"answered\":%ld,\"seconds\":%.3f", asked, answered, seconds);
        tell_failure();
        print_latency();
        printf("}\n");
        fflush(stdout);
    }
}

static void paced(int count, double interval, double seconds) {
    Client *clients = make(count);
    double *due = calloc(count, sizeof *due);
    on_answer = stay;
    for (int i = 0; i < account_count; i++) accounts[i].count = count;
    open_all(clients, count, 16);
    if (answered != count) die(first_failure[0] ? first_failure : "the clients did not connect");
    micros_count = answered = 0;
    printf("{\"running\":%d}\n", count);
    fflush(stdout);
    double start = now(), end = start + seconds;
    for (int i = 0; i < count; i++) due[i] = start + interval * i / count;
    for (double moment = start; moment < end; moment = now()) {
        double next = end;
        for (int i = 0; i < count; i++) {
            /* A client that is late asks again at once; its time counts from when it was due. */
            if (clients[i].state == IDLE && due[i] <= moment) {
                ask(&clients[i], due[i]);
                due[i] += interval;
            }
            if (clients[i].state == IDLE && due[i] < next) next = due[i];
        }
        turn(next - moment > 0.001 ? next - moment - 0.001 : 0);
    }
    double expected = seconds / interval * count;
    printf("{\"operations\":%ld,\"expected\":%.0f", answered, expected);
    tell_failure();
    print_latency();
    printf("}\n");
}

static void rate(double each, double seconds) {
    Client *clients = make(MAXIMUM_UNDER_WAY);
    long planned = (long)(each * seconds), started = 0, most = 0, missed = 0;
    int at = 0;
    on_answer = leave;
    double start = now();
    while (started + missed < planned) {
        double moment = now();
        while (started + missed < planned && start + (started + missed) / each <= moment) {
            int tries = 0;
            while (clients[at].state != DEAD && tries++ < MAXIMUM_UNDER_WAY)
                at = (at + 1) % MAXIMUM_UNDER_WAY;
            if (clients[at].state != DEAD) {
                missed++;
                continue;
            }
            begin(&clients[at], started % account_count);
            started++;
        }
        if (under_way > most) most = under_way;
        double next = start + (started + missed) / each - now();
        turn(next > 0.001 ? next - 0.001 : 0);
    }
    long in_time = answered, left = under_way;
    double end = now();
    while (under_way > 0 && now() - end < 10) turn(0.1);
    printf("{\"planned\":%ld,\"in_time\":%ld,\"done\":%ld,\"left\":%ld,\"most_under_way\":%ld",
        planned, in_time, answered, left, most);
    printf(",\"seconds\":%.3f,\"missed\":%ld", end - start, missed + under_way);
    tell_failure();
    print_latency();
    printf("}\n");
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    signal(SIGPIPE, SIG_IGN); /* who leaves while it is answered ends nobody */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (count > 4) {
        port = atoi(arguments[2]);
        addresses = atoi(arguments[3]);
        read_accounts(arguments[count - 1]);
    }
    if (!strcmp(mode, "hold") && count == 6) {
        hold(atoi(arguments[4]));
    } else if (!strcmp(mode, "paced") && count == 8) {
        paced(atoi(arguments[4]), atof(arguments[5]) / 1000, atof(arguments[6]));
    } else if (!strcmp(mode, "rate") && count == 7) {
        rate(atof(arguments[4]), atof(arguments[5]));
    } else {
        fprintf(stderr, "usage: see the first lines of crowd.c\n");
        return 2;
    }
    return 0;
}
