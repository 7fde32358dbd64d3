/* The sums of a round on any number of ranks, with a backend whose memory is the host's and with
 * one that only copies leave, piece by piece. */
#include "fed/sums.h"

#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1000, PIECE = 96, USED = 901, ROUNDS = 3 };

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: %s failed (%s)\n", __FILE__, __LINE__, #condition, \
                    fl_error_text());                                                  \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static int num_copies, num_pieces;

static void copy_out(void *host, const void *device, size_t bytes)
{
    num_copies++;
    fl_backend_cpu.copy_out(host, device, bytes);
}

static fl_status alloc_host(void *out, size_t bytes)
{
    num_pieces++;
    CHECK(bytes == PIECE * sizeof(int64_t));
    return fl_backend_cpu.alloc(out, bytes);
}

static void release_host(void *data)
{
    num_pieces--;
    fl_backend_cpu.release(data);
}

static const fl_device_ops device = {.alloc_host = alloc_host, .release_host = release_host};

/* What a rank adds, with all bits in use. */
static int64_t part_of(int rank, int which, int64_t round, size_t i)
{
    return ((int64_t)i * 7919 - 500000) * (INT64_C(1) << 38) + rank * 1000003 + which + round;
}

static void check_total(const fl_sums *sums, int which, int64_t round, int size)
{
    for (size_t i = 0; i < USED; i++) {
        uint64_t want = 0;
        for (int rank = size > 1 ? 1 : 0; rank < size; rank++)
            want += (uint64_t)part_of(rank, which, round, i);
        CHECK((uint64_t)sums->total[which][i] == want);
    }
}

static void run(fl_transport *transport, const fl_backend_ops *backend, int num_sums)
{
    int rank = fl_transport_rank(transport), size = fl_transport_size(transport);
    bool trains = rank > 0 || size == 1;
    fl_sums_env env = {.transport = transport, .ops = trains ? backend : NULL, .piece = PIECE};
    fl_sums sums;
    CHECK(fl_sums_init(&sums, &env, COUNT, num_sums) == FL_OK);
    CHECK((sums.total[0] != NULL) == (rank == 0) && (sums.mine[0] != NULL) == trains);
    for (int64_t round = 0; round < ROUNDS; round++) {
        fl_sums_clear(&sums);
        for (int which = 0; which < num_sums; which++) {
            for (size_t i = 0; trains && i < USED; i++)
                sums.mine[which][i] += part_of(rank, which, round, i);
            CHECK(fl_sums_collect(&sums, which, USED, round) == FL_OK);
            if (rank == 0) check_total(&sums, which, round, size);
        }
    }
    fl_sums_fini(&sums);
}

int main(int argc, char **argv)
{
    fl_transport *transport;
    fl_backend_ops far = fl_backend_cpu;
    CHECK(fl_transport_open(&transport, argc > 1 ? argv[1] : "mpi") == FL_OK);
    far.device = &device;
    far.copy_out = copy_out;
    run(transport, &fl_backend_cpu, 2);
    CHECK(num_copies == 0);
    run(transport, &far, 1);
    run(transport, &far, 2);
    int size = fl_transport_size(transport), pieces = size > 1 ? (USED + PIECE - 1) / PIECE : 1;
    bool trains = fl_transport_rank(transport) > 0 || size == 1;
    CHECK(num_copies == (trains ? 3 * ROUNDS * pieces : 0) && num_pieces == 0);
    fl_transport_close(transport);
    return 0;
}
