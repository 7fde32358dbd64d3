/* What transport.h promises, for any transport and number of ranks:
 *
 *     mpirun -np 3 test_transport mpi          all checks; exit code 1 if one fails on any rank
 *     mpirun -np 3 test_transport mpi abort    the last rank ends the job with exit code 3
 *
 * Every check runs with the transport's own collectives and with the defaults made from send and
 * recv, each time whole and cut into small pieces.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "comm/transport_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int rank, size;
static int failures;
static const char *variant; // for the message of a failed check

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            failures++;                                                                     \
            fprintf(stderr, "rank %d of %d, %s: line %d: %s; last error: %s\n", rank, size, \
                    variant, __LINE__, #condition, fl_error_text());                        \
        }                                                                                   \
    } while (0)
#define CHECK_OK(call) CHECK((call) == FL_OK)

/* Lengths around the piece sizes (16 and 24576) and MPI's switch to large messages (16384). */
static const size_t lengths[] = {0, 1, 15, 16, 17, 64, 1000, 16384, 16385, 200003};
enum { NUM_LENGTHS = sizeof lengths / sizeof lengths[0], MAX_LENGTH = 200003, MAX_RANKS = 8 };

static unsigned char data[MAX_LENGTH];
static unsigned char collected[MAX_RANKS * MAX_LENGTH];

static unsigned char byte_of(int from, size_t index)
{
    return (unsigned char)((size_t)from * 37 + index * 11 + index / 256);
}

static void fill(int from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = byte_of(from, i);
}

static bool is_from(const unsigned char *bytes, int from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != byte_of(from, i)) return false;
    return true;
}

static bool text_has(const char *part)
{
    return strstr(fl_error_text(), part) != NULL;
}

static void test_bcast(fl_transport *t)
{
    for (int root = 0; root < size; root++) {
        for (size_t l = 0; l < NUM_LENGTHS; l++) {
            memset(data, 0xee, sizeof data);
            if (rank == root) fill(root, lengths[l]);
            CHECK_OK(fl_transport_bcast(t, root, data, lengths[l]));
            CHECK(is_from(data, root, lengths[l]));
            CHECK(lengths[l] == MAX_LENGTH || data[lengths[l]] == 0xee);
        }
    }
}

/* Sum over ranks of (rank + 1) * (i - 3) is size * (size + 1) / 2 * (i - 3). */
static void test_reduce(fl_transport *t)
{
    static int64_t values[20001];
    static const size_t counts[] = {0, 1, 2, 3, 2048, 2049, 20001};
    for (int root = 0; root < size; root++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (size_t i = 0; i < counts[c]; i++)
                values[i] = (rank + 1) * ((int64_t)i - 3);
            CHECK_OK(fl_transport_reduce_i64(t, root, values, counts[c]));
            int64_t factor = rank == root ? size * (size + 1) / 2 : rank + 1;
            bool same = true;
            for (size_t i = 0; i < counts[c]; i++)
                same = same && values[i] == factor * ((int64_t)i - 3);
            CHECK(same);
        }
    }
}

/* Sums wrap: 2^62 from each rank. */
static void test_reduce_wraps(fl_transport *t)
{
    int64_t value = INT64_C(1) << 62;
    CHECK_OK(fl_transport_reduce_i64(t, 0, &value, 1));
    if (rank == 0) CHECK((uint64_t)value == (uint64_t)size << 62);
}

static void test_gather(fl_transport *t)
{
    for (int root = 0; root < size; root++) {
        for (size_t l = 0; l < NUM_LENGTHS; l++) {
            size_t bytes = lengths[l];
            fill(rank, bytes);
            memset(collected, 0xee, sizeof collected);
            CHECK_OK(fl_transport_gather(t, root, data, bytes, rank == root ? collected : NULL));
            for (int from = 0; from < size && rank == root; from++)
                CHECK(is_from(collected + (size_t)from * bytes, from, bytes));
            CHECK(size == MAX_RANKS || collected[(size_t)size * bytes] == 0xee);
        }
    }
}

/* Around the ring, one link after the other, since a send may wait for its recv. */
static void test_ring(fl_transport *t)
{
    int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    for (size_t l = 0; l < NUM_LENGTHS; l++) {
        int64_t round = (int64_t)l;
        fill(rank, lengths[l]);
        if (rank == 0) CHECK_OK(fl_transport_send(t, next, round, rank, data, lengths[l]));
        CHECK_OK(fl_transport_recv(t, previous, round, previous, collected, lengths[l]));
        CHECK(is_from(collected, previous, lengths[l]));
        if (rank != 0) CHECK_OK(fl_transport_send(t, next, round, rank, data, lengths[l]));
    }
}

static void send_wrong_ones(fl_transport *t, int to)
{
    fill(rank, MAX_LENGTH);
    CHECK_OK(fl_transport_send(t, to, 4, 2, data, MAX_LENGTH));
    CHECK_OK(fl_transport_send(t, to, 5, 3, data, 100));
    CHECK_OK(fl_transport_send(t, to, 5, 2, data, 99));
    fl_transport_set_run(t, 7);
    CHECK_OK(fl_transport_send(t, to, 5, 2, data, 100));
    fl_transport_set_run(t, 1);
    CHECK_OK(fl_transport_send(t, to, 5, 2, data, 100));
    CHECK_OK(fl_transport_send(t, to, 5, 2, data, 0));
}

/* Wrong round (a large one), client, length and run are refused; what follows is received. */
static void test_wrong_messages(fl_transport *t)
{
    int last = size - 1;
    fl_transport_set_run(t, 1);
    if (rank == 0) send_wrong_ones(t, last);
    if (rank == last) {
        memset(collected, 0xee, 100);
        CHECK(fl_transport_recv(t, 0, 5, 2, collected, MAX_LENGTH) == FL_ERR_COMM);
        CHECK(text_has("round 4") && text_has("round 5"));
        CHECK(fl_transport_recv(t, 0, 5, 2, collected, 100) == FL_ERR_COMM);
        CHECK(text_has("client 3") && text_has("client 2"));
        CHECK(fl_transport_recv(t, 0, 5, 2, collected, 100) == FL_ERR_COMM);
        CHECK(text_has("99 bytes") && text_has("100 bytes"));
        CHECK(fl_transport_recv(t, 0, 5, 2, collected, 100) == FL_ERR_COMM);
        CHECK(text_has("0000000000000007") && text_has("0000000000000001"));
        CHECK(collected[0] == 0xee && collected[99] == 0xee);
        CHECK_OK(fl_transport_recv(t, 0, 5, FL_ANY_CLIENT, collected, 100));
        CHECK(is_from(collected, 0, 100));
        CHECK_OK(fl_transport_recv(t, 0, 5, 2, NULL, 0));
    }
    CHECK_OK(fl_transport_barrier(t));
}

/* Rank 0 takes messages of unknown length from all ranks, itself included, as they come. */
static void test_any_rank(fl_transport *t)
{
    fill(rank, MAX_LENGTH);
    if (rank != 0) CHECK_OK(fl_transport_send(t, 0, 1, 10 + rank, data, (size_t)rank * 20000));
    if (rank == 0) {
        CHECK_OK(fl_transport_send(t, 0, 1, 10, data, 50));
        bool seen[MAX_RANKS] = {false};
        for (int i = 0; i < size; i++) {
            fl_message message = {.from = 0}, again;
            CHECK_OK(fl_transport_peek(t, FL_ANY_RANK, &message));
            CHECK_OK(fl_transport_peek(t, message.from, &again));
            CHECK(again.from == message.from && again.bytes == message.bytes);
            CHECK(message.bytes == (message.from ? (size_t)message.from * 20000 : 50));
            CHECK(message.client == 10 + message.from && !seen[message.from]);
            seen[message.from] = true;
            CHECK_OK(
                fl_transport_recv(t, message.from, 1, message.client, collected, message.bytes));
            CHECK(is_from(collected, message.from, message.bytes));
        }
    }
    CHECK_OK(fl_transport_barrier(t));
}

static void agree_with(fl_transport *t, uint32_t failing, int lowest)
{
    fl_buf text = {0};
    fl_status all = FL_ERR_INTERNAL, mine = FL_OK;
    int failed_rank = -5;
    if (failing >> rank & 1) mine = fl_fail(rank % 2 ? FL_ERR_INPUT : FL_ERR_IO, "file %d", rank);
    CHECK_OK(fl_transport_agree(t, mine, &all, &text, &failed_rank));
    CHECK(failed_rank == lowest);
    CHECK(all == (lowest < 0 ? FL_OK : lowest % 2 ? FL_ERR_INPUT : FL_ERR_IO));
    char expected[32] = "";
    if (lowest >= 0) snprintf(expected, sizeof expected, "file %d", lowest);
    CHECK(strcmp(fl_buf_text(&text), expected) == 0);
    CHECK_OK(fl_transport_agree(t, FL_OK, &all, NULL, NULL));
    CHECK(all == FL_OK);
    fl_buf_fini(&text);
}

static void test_agree(fl_transport *t)
{
    agree_with(t, 0, -1);
    for (int failing = 0; failing < size; failing++)
        agree_with(t, UINT32_C(1) << failing, failing);
    agree_with(t, UINT32_C(0xfe), size > 1 ? 1 : -1);
    agree_with(t, UINT32_C(0xff), 0);
}

static void test_misuse(fl_transport *t)
{
    fl_message message;
    CHECK(fl_transport_send(t, size, 0, 0, NULL, 0) == FL_ERR_INTERNAL);
    CHECK(fl_transport_recv(t, -1, 0, 0, NULL, 0) == FL_ERR_INTERNAL);
    CHECK(fl_transport_bcast(t, size, NULL, 0) == FL_ERR_INTERNAL);
    CHECK(fl_transport_peek(t, rank, &message) == FL_ERR_COMM); // nothing can ever come
    CHECK_OK(fl_transport_send(t, rank, 0, 0, "x", 1));
    CHECK_OK(fl_transport_peek(t, rank, &message));
    CHECK(fl_transport_barrier(t) == FL_ERR_INTERNAL);
    CHECK_OK(fl_transport_recv(t, rank, 0, 0, data, 1));
    fl_transport *other;
    CHECK(fl_transport_open(&other, "carrier pigeon") == FL_ERR_USAGE);
    CHECK(text_has("carrier pigeon") && text_has("mpi") && text_has("self"));
}

static void test_stats(fl_transport *t)
{
    uint64_t others = (uint64_t)size - 1;
    CHECK_OK(fl_transport_barrier(t));
    fl_comm_stats before = fl_transport_stats(t);
    CHECK_OK(fl_transport_bcast(t, 0, data, 1000));
    CHECK_OK(fl_transport_gather(t, 0, data, 10, collected));
    fl_comm_stats after = fl_transport_stats(t);
    CHECK(after.bytes_sent - before.bytes_sent == (rank == 0 ? 1000 * others : 10));
    CHECK(after.bytes_received - before.bytes_received == (rank == 0 ? 10 * others : 1000));
    CHECK(after.seconds > before.seconds);
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void wait_in_bcast(fl_transport *t)
{
    CHECK_OK(fl_transport_bcast(t, size - 1, data, MAX_LENGTH));
}

static void wait_in_reduce(fl_transport *t)
{
    int64_t value = 1;
    CHECK_OK(fl_transport_reduce_i64(t, 0, &value, 1));
    CHECK_OK(fl_transport_barrier(t));
}

static void wait_in_recv(fl_transport *t)
{
    fl_message message;
    if (rank == size - 1) CHECK_OK(fl_transport_send(t, 0, 0, 0, data, MAX_LENGTH));
    if (rank == 0) {
        CHECK_OK(fl_transport_peek(t, t->ops->wait_any ? FL_ANY_RANK : size - 1, &message));
        CHECK_OK(fl_transport_recv(t, message.from, 0, 0, collected, MAX_LENGTH));
    }
    CHECK_OK(fl_transport_barrier(t));
}

/* The last rank comes half a second late: nobody leaves before, and the wait costs no core. */
static void check_wait(fl_transport *t, void (*wait)(fl_transport *))
{
    CHECK_OK(fl_transport_barrier(t));
    double start = fl_clock_seconds(), cpu = cpu_seconds();
    if (rank == size - 1) fl_sleep_seconds(0.5);
    wait(t);
    CHECK(fl_clock_seconds() - start > 0.4);
    CHECK(cpu_seconds() - cpu < 0.25);
}

/* Messages of one kind of call are not taken for another's. */
static void test_out_of_step(fl_transport *t)
{
    if (rank == 1) CHECK_OK(fl_transport_send(t, 0, 9, 0, data, 8));
    if (rank == 0) CHECK(fl_transport_bcast(t, 1, data, 8) == FL_ERR_COMM && text_has("round 9"));
    CHECK_OK(fl_transport_barrier(t));
}

static void test_all(fl_transport *t)
{
    const size_t pieces[] = {t->ops->max_piece, 16, 24576};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        t->max_piece = pieces[i];
        test_bcast(t);
        test_reduce(t);
        test_reduce_wraps(t);
        test_gather(t);
        test_ring(t);
        test_wrong_messages(t);
        if (t->ops->wait_any || size == 1) test_any_rank(t);
        test_agree(t);
        test_misuse(t);
        test_stats(t);
        CHECK_OK(fl_transport_barrier(t));
    }
    t->max_piece = t->ops->max_piece;
    if (size == 1) return;
    check_wait(t, wait_in_bcast);
    check_wait(t, wait_in_reduce);
    check_wait(t, wait_in_recv);
}

int main(int argc, char **argv)
{
    fl_transport *t;
    if (argc < 2 || fl_transport_open(&t, argv[1]) != FL_OK) {
        fprintf(stderr, "%s\n", argc < 2 ? "usage: test_transport NAME [abort]" : fl_error_text());
        return 1;
    }
    rank = fl_transport_rank(t);
    size = fl_transport_size(t);
    variant = "own collectives";
    CHECK(strcmp(fl_transport_name(t), argv[1]) == 0 && rank >= 0 && rank < size);
    CHECK(size <= MAX_RANKS);
    fl_node node = fl_transport_node(t); /* the tests run on one machine */
    CHECK(node.ranks == size && node.first == 0);
    CHECK(node.rank == rank);
    const fl_transport_ops *full = t->ops;
    CHECK(!full->wait_any || (full->bcast && full->reduce_i64 && full->gather && full->barrier));
    if (argc > 2 && rank == size - 1) fl_transport_abort(t, 3);
    test_all(t);

    variant = "default collectives";
    fl_transport_ops required = *full;
    required.bcast = NULL;
    required.reduce_i64 = NULL;
    required.gather = NULL;
    required.barrier = NULL;
    required.wait_any = NULL;
    t->ops = &required;
    test_all(t);
    if (size > 1) test_out_of_step(t);
    t->ops = full;
    fl_transport_close(t);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
