/* Collectives made from messages, for transports that bring none of their own: the root speaks with
 * each rank in turn.  Plain, and right for a handful of ranks.
 *
 * Their messages carry rounds that no run has, one per kind of collective, so that a rank which is
 * in another collective, or still sending, is refused instead of being misread.
 */
#include "base/mem.h"
#include "comm/transport_ops.h"

#include <string.h>

static const int64_t round_bcast = INT64_MIN + 1;
static const int64_t round_reduce = INT64_MIN + 2;
static const int64_t round_gather = INT64_MIN + 3;
static const int64_t round_barrier = INT64_MIN + 4;

fl_status fl_default_bcast(fl_transport *transport, int root, void *data, size_t bytes)
{
    if (transport->rank != root)
        return fl_message_recv(transport, root, round_bcast, root, data, bytes);
    for (int rank = 0; rank < transport->size; rank++)
        if (rank != root) FL_TRY(fl_message_send(transport, rank, round_bcast, root, data, bytes));
    return FL_OK;
}

/* values[i] += part[i] without the undefined overflow of signed integers. */
static void add_i64(int64_t *values, const int64_t *part, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (int64_t)((uint64_t)values[i] + (uint64_t)part[i]);
}

fl_status fl_default_reduce_i64(fl_transport *transport, int root, int64_t *values, size_t count)
{
    size_t bytes = count * sizeof *values;
    if (transport->rank != root)
        return fl_message_send(transport, root, round_reduce, root, values, bytes);
    if (transport->size == 1) return FL_OK;
    int64_t *part;
    FL_TRY(fl_alloc(&part, count, sizeof *part));
    fl_status status = FL_OK;
    for (int rank = 0; rank < transport->size; rank++) {
        if (rank == root) continue;
        FL_TRY_GOTO(fl_message_recv(transport, rank, round_reduce, root, part, bytes), out);
        add_i64(values, part, count);
    }
out:
    fl_free(part);
    return status;
}

fl_status fl_default_gather(fl_transport *transport, int root, const void *mine, size_t bytes,
                            void *all, size_t stride)
{
    if (transport->rank != root)
        return fl_message_send(transport, root, round_gather, root, mine, bytes);
    for (int rank = 0; rank < transport->size; rank++) {
        char *slot = (char *)all + (size_t)rank * stride;
        if (rank == root)
            memcpy(slot, mine, bytes);
        else
            FL_TRY(fl_message_recv(transport, rank, round_gather, root, slot, bytes));
    }
    return FL_OK;
}

fl_status fl_default_barrier(fl_transport *transport)
{
    if (transport->rank != 0) {
        FL_TRY(fl_message_send(transport, 0, round_barrier, 0, NULL, 0));
        return fl_message_recv(transport, 0, round_barrier, 0, NULL, 0);
    }
    for (int rank = 1; rank < transport->size; rank++)
        FL_TRY(fl_message_recv(transport, rank, round_barrier, 0, NULL, 0));
    for (int rank = 1; rank < transport->size; rank++)
        FL_TRY(fl_message_send(transport, rank, round_barrier, 0, NULL, 0));
    return FL_OK;
}
