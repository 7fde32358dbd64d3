/* The interface: checks arguments, cuts into pieces, counts and times, and dispatches to the
 * implementation or to the default.  The one list of transports is here.
 */
#include "comm/transport.h"

#include "base/clock.h"
#include "base/mem.h"
#include "comm/transport_ops.h"

#include <stdlib.h>
#include <string.h>

static const fl_transport_ops *const transports[] = {&fl_transport_mpi, &fl_transport_self};
enum { NUM_TRANSPORTS = sizeof transports / sizeof transports[0] };

static fl_status unknown_transport(const char *name)
{
    fl_buf known = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < NUM_TRANSPORTS && status == FL_OK; i++)
        status = fl_buf_addf(&known, "%s%s", i ? ", " : "", transports[i]->name);
    if (status == FL_OK)
        status =
            fl_fail(FL_ERR_USAGE, "unknown transport \"%s\"; known: %s", name, fl_buf_text(&known));
    fl_buf_fini(&known);
    return status;
}

fl_status fl_transport_open(fl_transport **out, const char *name)
{
    const fl_transport_ops *ops = NULL;
    for (size_t i = 0; i < NUM_TRANSPORTS; i++)
        if (strcmp(transports[i]->name, name) == 0) ops = transports[i];
    if (!ops) return unknown_transport(name);
    fl_transport *transport;
    FL_TRY(fl_alloc(&transport, 1, sizeof *transport));
    transport->ops = ops;
    transport->max_piece = ops->max_piece;
    transport->pending_from = -1;
    transport->last = &transport->first;
    fl_status status = ops->open(transport);
    if (status != FL_OK) {
        fl_free(transport);
        return status;
    }
    if (transport->node.ranks == 0)
        transport->node = (fl_node){.ranks = 1, .first = transport->rank};
    *out = transport;
    return FL_OK;
}

void fl_transport_close(fl_transport *transport)
{
    if (!transport) return;
    // Ranks end at different times; the early ones wait here asleep and not inside the library.
    (void)fl_transport_barrier(transport);
    transport->ops->close(transport);
    fl_message_drop_all(transport);
    fl_free(transport);
}

const char *fl_transport_name(const fl_transport *transport)
{
    return transport->ops->name;
}

int fl_transport_rank(const fl_transport *transport)
{
    return transport->rank;
}

int fl_transport_size(const fl_transport *transport)
{
    return transport->size;
}

fl_node fl_transport_node(const fl_transport *transport)
{
    return transport->node;
}

void fl_transport_set_run(fl_transport *transport, uint64_t run_id)
{
    transport->run_id = run_id;
}

fl_comm_stats fl_transport_stats(const fl_transport *transport)
{
    return transport->stats;
}

/* Closes the account of one call that began at `start`. */
static void account(fl_transport *transport, double start, uint64_t sent, uint64_t received)
{
    transport->stats.bytes_sent += sent;
    transport->stats.bytes_received += received;
    transport->stats.seconds += fl_clock_seconds() - start;
}

/* For collectives in which everything flows from the root, or everything to it. */
static void account_rooted(fl_transport *transport, double start, int root, size_t bytes,
                           bool from_root)
{
    bool is_root = transport->rank == root;
    uint64_t volume = is_root ? (uint64_t)bytes * (uint64_t)(transport->size - 1) : bytes;
    bool sends = is_root == from_root;
    account(transport, start, sends ? volume : 0, sends ? 0 : volume);
}

static fl_status check_rank(const fl_transport *transport, int rank)
{
    FL_CHECK(rank >= 0 && rank < transport->size, FL_ERR_INTERNAL, "there is no rank %d in [0, %d)",
             rank, transport->size);
    return FL_OK;
}

/* A read frame whose bytes are still on the line would be taken for part of the collective. */
static fl_status check_collective(const fl_transport *transport, int root)
{
    FL_TRY(check_rank(transport, root));
    FL_CHECK(transport->pending_from < 0, FL_ERR_INTERNAL,
             "collective before the announced message from rank %d is received",
             transport->pending_from);
    return FL_OK;
}

fl_status fl_transport_send(fl_transport *transport, int to, int64_t round, int64_t client,
                            const void *data, size_t bytes)
{
    FL_TRY(check_rank(transport, to));
    double start = fl_clock_seconds();
    FL_TRY(fl_message_send(transport, to, round, client, data, bytes));
    account(transport, start, bytes, 0);
    return FL_OK;
}

fl_status fl_transport_recv(fl_transport *transport, int from, int64_t round, int64_t client,
                            void *data, size_t bytes)
{
    FL_TRY(check_rank(transport, from));
    double start = fl_clock_seconds();
    FL_TRY(fl_message_recv(transport, from, round, client, data, bytes));
    account(transport, start, 0, bytes);
    return FL_OK;
}

fl_status fl_transport_peek(fl_transport *transport, int from, fl_message *message)
{
    if (from != FL_ANY_RANK) FL_TRY(check_rank(transport, from));
    double start = fl_clock_seconds();
    FL_TRY(fl_message_peek(transport, from, message));
    account(transport, start, 0, 0);
    return FL_OK;
}

fl_status fl_transport_bcast(fl_transport *transport, int root, void *data, size_t bytes)
{
    FL_TRY(check_collective(transport, root));
    double start = fl_clock_seconds();
    fl_status (*bcast)(fl_transport *, int, void *, size_t) =
        transport->ops->bcast ? transport->ops->bcast : fl_default_bcast;
    char *at = data;
    for (size_t left = bytes, piece; left > 0; left -= piece, at += piece) {
        piece = fl_piece(left, transport->max_piece);
        FL_TRY(bcast(transport, root, at, piece));
    }
    account_rooted(transport, start, root, bytes, true);
    return FL_OK;
}

fl_status fl_transport_reduce_i64(fl_transport *transport, int root, int64_t *values, size_t count)
{
    FL_TRY(check_collective(transport, root));
    double start = fl_clock_seconds();
    fl_status (*reduce)(fl_transport *, int, int64_t *, size_t) =
        transport->ops->reduce_i64 ? transport->ops->reduce_i64 : fl_default_reduce_i64;
    int64_t *at = values;
    for (size_t left = count, piece; left > 0; left -= piece, at += piece) {
        piece = fl_piece(left, transport->max_piece / sizeof *values);
        FL_TRY(reduce(transport, root, at, piece));
    }
    account_rooted(transport, start, root, count * sizeof *values, false);
    return FL_OK;
}

fl_status fl_transport_gather(fl_transport *transport, int root, const void *mine, size_t bytes,
                              void *all)
{
    FL_TRY(check_collective(transport, root));
    double start = fl_clock_seconds();
    fl_status (*gather)(fl_transport *, int, const void *, size_t, void *, size_t) =
        transport->ops->gather ? transport->ops->gather : fl_default_gather;
    for (size_t done = 0, piece; done < bytes; done += piece) {
        piece = fl_piece(bytes - done, transport->max_piece);
        char *slots = transport->rank == root ? (char *)all + done : NULL;
        FL_TRY(gather(transport, root, (const char *)mine + done, piece, slots, bytes));
    }
    account_rooted(transport, start, root, bytes, false);
    return FL_OK;
}

fl_status fl_transport_barrier(fl_transport *transport)
{
    FL_TRY(check_collective(transport, 0));
    double start = fl_clock_seconds();
    FL_TRY(transport->ops->barrier ? transport->ops->barrier(transport)
                                   : fl_default_barrier(transport));
    account(transport, start, 0, 0);
    return FL_OK;
}

/* One rank's say in an agreement, and the outcome. */
typedef struct verdict {
    int32_t status; /* fl_status */
    int32_t rank;   /* whose it is */
    char text[1016];
} verdict;

fl_status fl_transport_agree(fl_transport *transport, fl_status mine, fl_status *all, fl_buf *text,
                             int *failed_rank)
{
    verdict say = {.status = (int32_t)mine, .rank = transport->rank};
    if (mine != FL_OK) {
        const char *error = fl_error_text();
        size_t length = strlen(error);
        memcpy(say.text, error, length < sizeof say.text ? length : sizeof say.text - 1);
    }
    verdict *says = NULL;
    fl_status status = FL_OK;
    if (transport->rank == 0) FL_TRY(fl_alloc(&says, (size_t)transport->size, sizeof *says));
    FL_TRY_GOTO(fl_transport_gather(transport, 0, &say, sizeof say, says), out);
    for (int rank = 0; says && rank < transport->size && say.status == FL_OK; rank++)
        say = says[rank];
    FL_TRY_GOTO(fl_transport_bcast(transport, 0, &say, sizeof say), out);
    if (text) {
        fl_buf_clear(text);
        FL_TRY_GOTO(fl_buf_add_text(text, say.text), out);
    }
    if (failed_rank) *failed_rank = say.status == FL_OK ? -1 : say.rank;
    *all = (fl_status)say.status;
out:
    fl_free(says);
    return status;
}

_Noreturn void fl_transport_abort(fl_transport *transport, int exit_code)
{
    if (transport && transport->ops->abort) transport->ops->abort(transport, exit_code);
    _Exit(exit_code); // not exit: handlers may wait for ranks that are gone
}
