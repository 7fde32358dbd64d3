/* MPI.  The only file of the library that knows it.
 *
 * Waiting.  Blocking MPI calls burn a core while they wait, and there are often more ranks than
 * cores (rank 0 waits for the clients during most of a round).  So every call here is non-blocking
 * and is asked for with MPI_Test between sleeps that grow from 20 us to 2 ms.
 *
 * Moving.  A large transfer makes progress only when both sides ask, so with such sleeps it would
 * crawl.  Therefore the ranks of a large transfer first meet with small messages (a barrier, or
 * "ready" from the receiver), asleep; once everyone is there it moves at full speed with yields
 * instead of sleeps.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "comm/transport_ops.h"

#include <mpi.h>

#include <sched.h>

enum { TAG_DATA = 1, TAG_READY = 2 };

/* Longer than EAGER_BYTES is a large transfer.  A wait asks NUM_SPINS times before its first sleep,
 * a large transfer NUM_YIELDS times (about a second, so that only a stuck one ever sleeps). */
enum { EAGER_BYTES = 1 << 14, NUM_SPINS = 64, NUM_YIELDS = 1 << 20 };

/* Pieces bound what MPI allocates for its own copies, and keep counts far below INT_MAX. */
enum { MAX_PIECE = 1 << 26, REDUCE_COUNT = 1 << 17 };

typedef struct mpi_impl {
    MPI_Comm comm;     /* our own, so that our tags meet nobody else's */
    bool owns_library; /* MPI was started here, so it is ended here */
} mpi_impl;

static MPI_Comm comm_of(const fl_transport *transport)
{
    return ((const mpi_impl *)transport->impl)->comm;
}

static fl_status mpi_check(int code, const char *call)
{
    if (code == MPI_SUCCESS) return FL_OK;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
    FL_FAIL(FL_ERR_COMM, "%s: %.*s", call, length, text);
}

#define MPI_TRY(call) FL_TRY(mpi_check((call), #call))

/* Between two questions whether something is done. */
typedef struct pause_state {
    bool moving; /* a large transfer whose ranks are all there */
    int asked;
    double seconds; /* of the next sleep */
} pause_state;

static pause_state pause_start(bool moving)
{
    return (pause_state){.moving = moving, .seconds = 20e-6};
}

static void pause_once(pause_state *pause)
{
    pause->asked++;
    if (pause->moving && pause->asked < NUM_YIELDS) sched_yield();
    if (pause->asked < (pause->moving ? NUM_YIELDS : NUM_SPINS)) return;
    fl_sleep_seconds(pause->seconds);
    // Each sleep is an eighth of the wait so far, which bounds the share of time overslept.
    if (pause->seconds < 2e-3) pause->seconds *= 1.125;
}

/* Waits for the request.  All waiting of this file is here and in mpi_wait_any. */
static fl_status finish(MPI_Request *request, bool moving)
{
    pause_state pause = pause_start(moving);
    for (;;) {
        int done = 0;
        MPI_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) return FL_OK;
        pause_once(&pause);
    }
}

static fl_status mpi_barrier(fl_transport *transport)
{
    MPI_Request request;
    MPI_TRY(MPI_Ibarrier(comm_of(transport), &request));
    return finish(&request, false);
}

/* Makes a collective over this many bytes fast: all ranks are in it when it starts. */
static fl_status meet(fl_transport *transport, size_t bytes, bool *moving)
{
    *moving = bytes > EAGER_BYTES;
    return *moving ? mpi_barrier(transport) : FL_OK;
}

/* A large piece waits asleep until the receiver says that it is in recv. */
static fl_status mpi_send(fl_transport *transport, int to, const void *data, size_t bytes)
{
    MPI_Comm comm = comm_of(transport);
    MPI_Request request;
    bool moving = bytes > EAGER_BYTES;
    if (moving) {
        MPI_TRY(MPI_Irecv(NULL, 0, MPI_BYTE, to, TAG_READY, comm, &request));
        FL_TRY(finish(&request, false));
    }
    MPI_TRY(MPI_Isend(data, (int)bytes, MPI_BYTE, to, TAG_DATA, comm, &request));
    return finish(&request, moving);
}

/* The mirror of mpi_send: both know the length, so both know whether it is large. */
static fl_status mpi_recv(fl_transport *transport, int from, void *data, size_t bytes)
{
    MPI_Comm comm = comm_of(transport);
    MPI_Request request;
    bool moving = bytes > EAGER_BYTES;
    if (moving) {
        MPI_TRY(MPI_Isend(NULL, 0, MPI_BYTE, from, TAG_READY, comm, &request));
        FL_TRY(finish(&request, false));
    }
    MPI_TRY(MPI_Irecv(data, (int)bytes, MPI_BYTE, from, TAG_DATA, comm, &request));
    return finish(&request, moving);
}

static fl_status mpi_wait_any(fl_transport *transport, int *from)
{
    pause_state pause = pause_start(false);
    for (;;) {
        int found = 0;
        MPI_Status status;
        MPI_TRY(MPI_Iprobe(MPI_ANY_SOURCE, TAG_DATA, comm_of(transport), &found, &status));
        if (found) {
            *from = status.MPI_SOURCE;
            return FL_OK;
        }
        pause_once(&pause);
    }
}

static fl_status mpi_bcast(fl_transport *transport, int root, void *data, size_t bytes)
{
    bool moving;
    FL_TRY(meet(transport, bytes, &moving));
    MPI_Request request;
    MPI_TRY(MPI_Ibcast(data, (int)bytes, MPI_BYTE, root, comm_of(transport), &request));
    return finish(&request, moving);
}

/* In parts that stay in the cache: Open MPI 4.1 reduces 20 MB on 4 ranks three times faster so. */
static fl_status mpi_reduce_i64(fl_transport *transport, int root, int64_t *values, size_t count)
{
    bool moving;
    FL_TRY(meet(transport, count * sizeof *values, &moving));
    bool is_root = transport->rank == root;
    for (size_t done = 0, part; done < count; done += part) {
        part = fl_piece(count - done, REDUCE_COUNT);
        int64_t *at = values + done;
        MPI_Request request;
        MPI_TRY(MPI_Ireduce(is_root ? MPI_IN_PLACE : at, is_root ? at : NULL, (int)part,
                            MPI_INT64_T, MPI_SUM, root, comm_of(transport), &request));
        FL_TRY(finish(&request, moving));
    }
    return FL_OK;
}

/* At the root a slot is `bytes` long and the slots are `stride` apart: a type says so. */
static fl_status mpi_gather(fl_transport *transport, int root, const void *mine, size_t bytes,
                            void *all, size_t stride)
{
    bool moving;
    FL_TRY(meet(transport, bytes, &moving));
    MPI_Datatype part, slot;
    MPI_TRY(MPI_Type_contiguous((int)bytes, MPI_BYTE, &part));
    MPI_TRY(MPI_Type_create_resized(part, 0, (MPI_Aint)stride, &slot));
    MPI_TRY(MPI_Type_commit(&slot));
    MPI_Request request;
    MPI_TRY(
        MPI_Igather(mine, (int)bytes, MPI_BYTE, all, 1, slot, root, comm_of(transport), &request));
    // MPI keeps what a pending request needs of the types.
    MPI_TRY(MPI_Type_free(&slot));
    MPI_TRY(MPI_Type_free(&part));
    return finish(&request, moving);
}

/* A program that embeds this one may have started MPI itself, and then ends it itself. */
static fl_status start_library(mpi_impl *impl)
{
    int is_up = 0, is_over = 0;
    MPI_TRY(MPI_Initialized(&is_up));
    MPI_TRY(MPI_Finalized(&is_over));
    FL_CHECK(!is_over, FL_ERR_COMM, "MPI was already ended in this process and cannot start again");
    if (is_up) return FL_OK;
    int provided = 0;
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    impl->owns_library = true;
    FL_CHECK(provided >= MPI_THREAD_FUNNELED, FL_ERR_COMM,
             "this MPI does not allow threads beside the one that calls it");
    return FL_OK;
}

static fl_status find_node(fl_transport *transport, MPI_Comm comm)
{
    MPI_Comm node;
    int first =
        transport->rank; /* ranks of the node keep their order, so its rank 0 is the lowest */
    MPI_TRY(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    MPI_TRY(MPI_Comm_size(node, &transport->node.ranks));
    MPI_TRY(MPI_Comm_rank(node, &transport->node.rank));
    MPI_TRY(MPI_Bcast(&first, 1, MPI_INT, 0, node));
    transport->node.first = first;
    return mpi_check(MPI_Comm_free(&node), "MPI_Comm_free");
}

static fl_status open_comm(fl_transport *transport, mpi_impl *impl)
{
    FL_TRY(start_library(impl));
    // Without this MPI would end the job itself, with a text that names no rank of ours.
    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &impl->comm));
    MPI_TRY(MPI_Comm_set_errhandler(impl->comm, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_rank(impl->comm, &transport->rank));
    MPI_TRY(MPI_Comm_size(impl->comm, &transport->size));
    return find_node(transport, impl->comm);
}

static void mpi_close(fl_transport *transport)
{
    mpi_impl *impl = transport->impl;
    if (impl->comm != MPI_COMM_NULL) (void)MPI_Comm_free(&impl->comm);
    if (impl->owns_library) (void)MPI_Finalize();
    fl_free(impl);
}

static fl_status mpi_open(fl_transport *transport)
{
    mpi_impl *impl;
    FL_TRY(fl_alloc(&impl, 1, sizeof *impl));
    impl->comm = MPI_COMM_NULL;
    transport->impl = impl;
    fl_status status = open_comm(transport, impl);
    if (status != FL_OK) mpi_close(transport);
    return status;
}

static void mpi_abort(fl_transport *transport, int exit_code)
{
    (void)MPI_Abort(comm_of(transport), exit_code);
}

const fl_transport_ops fl_transport_mpi = {
    .name = "mpi",
    .max_piece = MAX_PIECE,
    .open = mpi_open,
    .close = mpi_close,
    .send = mpi_send,
    .recv = mpi_recv,
    .bcast = mpi_bcast,
    .reduce_i64 = mpi_reduce_i64,
    .gather = mpi_gather,
    .barrier = mpi_barrier,
    .wait_any = mpi_wait_any,
    .abort = mpi_abort,
};
