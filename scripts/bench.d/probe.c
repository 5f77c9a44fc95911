/* The client side of the measurements that psql and pgbench cannot make honestly.
 *
 *   probe latency CLIENTS SECONDS simple|prepared   closed loop, one blocking thread a connection
 *   probe connect CLIENTS SECONDS                   connect, `select 1`, close, over and over
 *   probe idle COUNT [SQL]                          opens COUNT (each does SQL, or `select 1`), says
 *                                                   so, waits for end of input
 *   probe stall BYTES SQL                           reads BYTES of a COPY, stops; a line: the rest
 *   probe copy SQL                                  one COPY, its bytes thrown away
 *   probe bulk SQL                                  repeats a COPY, full speed, until SIGTERM
 *
 * Where to connect comes from libpq's environment (PGHOST, ...). Answers are JSON, one a line.
 *
 * Why not `pgbench -l`: pgbench 15 logs exactly 0 us for many transactions when the cores are
 * saturated (the reply is there at its first check), so its percentiles are too low. Here the clock
 * is read right before the send and right after the whole reply.
 *
 * Build: cc -O2 -o probe probe.c -I"$(pg_config --includedir)" -lpq -lpthread
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* pgbench -s 20 has 2,000,000 accounts; a smaller scale answers the rest with no row, as fast. */
#define MAXIMUM_ACCOUNTS 2000000

typedef struct {
    PGconn *connection;
    unsigned random;
    float *micros; /* one entry an operation */
    long count, capacity, errors;
} Worker;

static pthread_barrier_t ready;
static double deadline;
static int prepared;
static volatile sig_atomic_t stopped;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *message) {
    printf("{\"error\":\"");
    for (const char *c = message; *c; c++) {
        if (*c == '"' || *c == '\\') putchar('\\');
        putchar(*c < ' ' ? ' ' : *c);
    }
    printf("\"}\n");
    exit(1);
}

static PGconn *connect_or_die(void) {
    PGconn *connection = PQconnectdb("");
    if (PQstatus(connection) != CONNECTION_OK) die(PQerrorMessage(connection));
    return connection;
}

static int succeeded(PGresult *result, ExecStatusType expected) {
    int ok = PQresultStatus(result) == expected;
    PQclear(result);
    return ok;
}

static void record(Worker *worker, double seconds) {
    if (worker->count == worker->capacity) {
        worker->capacity = worker->capacity ? worker->capacity * 2 : 65536;
        worker->micros = realloc(worker->micros, worker->capacity * sizeof(float));
        if (!worker->micros) die("out of memory");
    }
    worker->micros[worker->count++] = seconds * 1e6;
}

static int ask(Worker *worker) {
    char account[16];
    const char *values[1] = {account};
    if (!prepared) return succeeded(PQexec(worker->connection, "SELECT 1"), PGRES_TUPLES_OK);
    snprintf(account, sizeof account, "%u", 1 + rand_r(&worker->random) % MAXIMUM_ACCOUNTS);
    return succeeded(PQexecPrepared(worker->connection, "p", 1, values, 0, 0, 0), PGRES_TUPLES_OK);
}

static void *latency_worker(void *argument) {
    Worker *worker = argument;
    pthread_barrier_wait(&ready); /* all connected */
    pthread_barrier_wait(&ready); /* the deadline is set */
    for (;;) {
        double start = now();
        if (start >= deadline) return 0;
        if (ask(worker)) record(worker, now() - start);
        else worker->errors++;
        if (worker->errors > 100) return 0;
    }
}

static void *connect_worker(void *argument) {
    Worker *worker = argument;
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    for (;;) {
        double start = now();
        if (start >= deadline) return 0;
        PGconn *connection = PQconnectdb("");
        int ok = PQstatus(connection) == CONNECTION_OK
            && succeeded(PQexec(connection, "SELECT 1"), PGRES_TUPLES_OK);
        PQfinish(connection);
        if (ok) record(worker, now() - start);
        else worker->errors++;
        if (worker->errors > 100) return 0;
    }
}

static int ascending(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void report(Worker *workers, int clients, double seconds) {
    long count = 0, errors = 0, at = 0;
    for (int i = 0; i < clients; i++) count += workers[i].count, errors += workers[i].errors;
    if (!count) die("no operation succeeded");
    float *all = malloc(count * sizeof(float));
    if (!all) die("out of memory");
    for (int i = 0; i < clients; i++) {
        memcpy(all + at, workers[i].micros, workers[i].count * sizeof(float));
        at += workers[i].count;
    }
    qsort(all, count, sizeof(float), ascending);
    printf("{\"operations\":%ld,\"errors\":%ld,\"seconds\":%.3f,", count, errors, seconds);
    printf("\"per_second\":%.2f,", count / seconds);
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"maximum_us\":%.1f}\n", all[count / 2],
        all[(long)(count * 0.99)], all[count - 1]);
}

static void closed_loop(int clients, double seconds, void *(*body)(void *), int connected) {
    Worker *workers = calloc(clients, sizeof *workers);
    pthread_t *threads = calloc(clients, sizeof *threads);
    if (!workers || !threads) die("out of memory");
    pthread_barrier_init(&ready, 0, clients + 1);
    for (int i = 0; i < clients; i++) {
        workers[i].random = i + 1;
        if (!connected) continue;
        workers[i].connection = connect_or_die();
        if (prepared
            && !succeeded(PQprepare(workers[i].connection, "p",
                              "SELECT abalance FROM pgbench_accounts WHERE aid = $1::int", 1, 0),
                PGRES_COMMAND_OK))
            die(PQerrorMessage(workers[i].connection));
    }
    for (int i = 0; i < clients; i++) pthread_create(&threads[i], 0, body, &workers[i]);
    pthread_barrier_wait(&ready);
    double start = now();
    deadline = start + seconds;
    pthread_barrier_wait(&ready);
    for (int i = 0; i < clients; i++) pthread_join(threads[i], 0);
    report(workers, clients, now() - start);
    for (int i = 0; i < clients; i++) PQfinish(workers[i].connection);
}

static void idle(int count, const char *sql) {
    PGconn **connections = calloc(count, sizeof *connections);
    if (!connections) die("out of memory");
    double start = now();
    for (int i = 0; i < count; i++) {
        connections[i] = connect_or_die();
        if (!succeeded(PQexec(connections[i], sql), PGRES_TUPLES_OK)) die("its SQL failed");
    }
    printf("{\"opened\":%d,\"seconds\":%.3f}\n", count, now() - start);
    fflush(stdout);
    while (getchar() != EOF) {}
    for (int i = 0; i < count; i++) PQfinish(connections[i]);
}

/* Reads a COPY until at least `limit` bytes came (0: no limit). Returns whether more may follow. */
static int read_copy(PGconn *connection, long limit, long *bytes) {
    char *row;
    int length;
    while ((length = PQgetCopyData(connection, &row, 0)) > 0) {
        *bytes += length;
        PQfreemem(row);
        if (limit && *bytes >= limit) return 1;
        if (stopped) return 1;
    }
    if (length == -2) die(PQerrorMessage(connection));
    for (PGresult *result; (result = PQgetResult(connection));) {
        if (!succeeded(result, PGRES_COMMAND_OK)) die(PQerrorMessage(connection));
    }
    return 0;
}

static void start_copy(PGconn *connection, const char *sql) {
    if (!succeeded(PQexec(connection, sql), PGRES_COPY_OUT)) die(PQerrorMessage(connection));
}

static void stall(long limit, const char *sql) {
    PGconn *connection = connect_or_die();
    long bytes = 0;
    start_copy(connection, sql);
    int more = read_copy(connection, limit, &bytes);
    printf("{\"stalled_after\":%ld}\n", bytes);
    fflush(stdout);
    if (getchar() == EOF) exit(0);
    double start = now();
    long before = bytes;
    if (more) read_copy(connection, 0, &bytes);
    printf("{\"total\":%ld,\"rest_mb_s\":%.1f}\n", bytes, (bytes - before) / 1e6 / (now() - start));
    PQfinish(connection);
}

static void copy(const char *sql) {
    PGconn *connection = connect_or_die();
    long bytes = 0;
    double start = now();
    start_copy(connection, sql);
    read_copy(connection, 0, &bytes);
    printf("{\"bytes\":%ld,\"seconds\":%.4f}\n", bytes, now() - start);
    PQfinish(connection);
}

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static void bulk(const char *sql) {
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, 0);
    PGconn *connection = connect_or_die();
    printf("{\"started\":true}\n");
    fflush(stdout);
    long bytes = 0;
    double start = now();
    while (!stopped) {
        start_copy(connection, sql);
        if (read_copy(connection, 0, &bytes)) break;
    }
    printf("{\"bytes\":%ld,\"mb_s\":%.1f}\n", bytes, bytes / 1e6 / (now() - start));
    fflush(stdout);
    _exit(0); /* in the middle of a COPY: closing politely would have to read the rest */
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    if (!strcmp(mode, "latency") && count == 5) {
        prepared = !strcmp(arguments[4], "prepared");
        closed_loop(atoi(arguments[2]), atof(arguments[3]), latency_worker, 1);
    } else if (!strcmp(mode, "connect") && count == 4) {
        closed_loop(atoi(arguments[2]), atof(arguments[3]), connect_worker, 0);
    } else if (!strcmp(mode, "idle") && (count == 3 || count == 4)) {
        idle(atoi(arguments[2]), count == 4 ? arguments[3] : "SELECT 1");
    } else if (!strcmp(mode, "stall") && count == 4) {
        stall(atol(arguments[2]), arguments[3]);
    } else if (!strcmp(mode, "copy") && count == 3) {
        copy(arguments[2]);
    } else if (!strcmp(mode, "bulk") && count == 3) {
        bulk(arguments[2]);
    } else {
        fprintf(stderr, "usage: see the first lines of probe.c\n");
        return 2;
    }
    return 0;
}
