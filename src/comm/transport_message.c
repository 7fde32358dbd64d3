/* Messages with frames over the required send and recv, and messages of a rank to itself.
 *
 * On the line a message is its frame (one piece of sizeof(fl_frame) bytes) and then its bytes in
 * pieces of at most max_piece.  The receiver reads the frame first, so it can refuse a message
 * before it overwrites anything.  At most one frame is read ahead (peek); pending_from says of
 * which rank.
 */
#include "base/mem.h"
#include "comm/transport_ops.h"

#include <inttypes.h>
#include <string.h>

static const uint64_t frame_magic = UINT64_C(0x3167736d6d6c6466); // "fdlmmsg1" in memory

struct fl_parcel {
    fl_parcel *next;
    fl_frame frame;
    unsigned char data[];
};

static fl_status send_pieces(fl_transport *transport, int to, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        size_t piece = fl_piece(bytes, transport->max_piece);
        FL_TRY(transport->ops->send(transport, to, at, piece));
        at += piece;
        bytes -= piece;
    }
    return FL_OK;
}

static fl_status recv_pieces(fl_transport *transport, int from, void *data, size_t bytes)
{
    char *at = data;
    while (bytes > 0) {
        size_t piece = fl_piece(bytes, transport->max_piece);
        FL_TRY(transport->ops->recv(transport, from, at, piece));
        at += piece;
        bytes -= piece;
    }
    return FL_OK;
}

static fl_status keep_for_myself(fl_transport *transport, const fl_frame *frame, const void *data)
{
    fl_parcel *parcel;
    FL_CHECK(frame->bytes <= SIZE_MAX - sizeof *parcel, FL_ERR_MEMORY,
             "cannot keep a message of %" PRIu64 " bytes", frame->bytes);
    FL_TRY(fl_alloc(&parcel, 1, sizeof *parcel + (size_t)frame->bytes));
    parcel->frame = *frame;
    if (frame->bytes) memcpy(parcel->data, data, (size_t)frame->bytes);
    *transport->last = parcel;
    transport->last = &parcel->next;
    return FL_OK;
}

/* Takes the oldest message to oneself off the list; data NULL throws its bytes away. */
static void take_from_myself(fl_transport *transport, void *data)
{
    fl_parcel *parcel = transport->first;
    if (data && parcel->frame.bytes) memcpy(data, parcel->data, (size_t)parcel->frame.bytes);
    transport->first = parcel->next;
    if (!transport->first) transport->last = &transport->first;
    fl_free(parcel);
}

void fl_message_drop_all(fl_transport *transport)
{
    while (transport->first)
        take_from_myself(transport, NULL);
}

fl_status fl_message_send(fl_transport *transport, int to, int64_t round, int64_t client,
                          const void *data, size_t bytes)
{
    const fl_frame frame = {.magic = frame_magic,
                            .run_id = transport->run_id,
                            .round = round,
                            .client = client,
                            .bytes = bytes};
    if (to == transport->rank) return keep_for_myself(transport, &frame, data);
    FL_TRY(send_pieces(transport, to, &frame, sizeof frame));
    return send_pieces(transport, to, data, bytes);
}

/* Takes the bytes of the pending message off the line; data NULL throws them away, so that the
 * sender, who may be waiting in send, gets on. */
static fl_status take_pending(fl_transport *transport, void *data)
{
    int from = transport->pending_from;
    transport->pending_from = -1;
    if (from == transport->rank) {
        take_from_myself(transport, data);
        return FL_OK;
    }
    size_t bytes = (size_t)transport->pending.bytes;
    if (data || bytes == 0) return recv_pieces(transport, from, data, bytes);
    char *waste;
    FL_TRY(fl_alloc(&waste, bytes, 1));
    fl_status status = recv_pieces(transport, from, waste, bytes);
    fl_free(waste);
    return status;
}

/* Reads the frame of the next message from that rank ahead. */
static fl_status read_frame(fl_transport *transport, int from)
{
    fl_frame *frame = &transport->pending;
    if (from == transport->rank) {
        FL_CHECK(transport->first, FL_ERR_COMM,
                 "rank %d waits for a message from itself that it has not sent", from);
        *frame = transport->first->frame;
    } else {
        FL_TRY(recv_pieces(transport, from, frame, sizeof *frame));
    }
    FL_CHECK(frame->magic == frame_magic, FL_ERR_COMM,
             "rank %d got bytes from rank %d that are no message", transport->rank, from);
    transport->pending_from = from;
    if (frame->run_id == transport->run_id) return FL_OK;
    uint64_t run_id = frame->run_id;
    FL_TRY(take_pending(transport, NULL));
    FL_FAIL(FL_ERR_COMM,
            "message from rank %d is of run %016" PRIx64 ", rank %d is in run %016" PRIx64, from,
            run_id, transport->rank, transport->run_id);
}

fl_status fl_message_peek(fl_transport *transport, int from, fl_message *message)
{
    if (transport->pending_from < 0) {
        if (from == FL_ANY_RANK && transport->first) from = transport->rank;
        if (from == FL_ANY_RANK) {
            FL_CHECK(transport->size > 1, FL_ERR_COMM,
                     "the only rank waits for a message that it has not sent");
            FL_CHECK(transport->ops->wait_any, FL_ERR_UNSUPPORTED,
                     "transport %s cannot wait for any rank", transport->ops->name);
            FL_TRY(transport->ops->wait_any(transport, &from));
        }
        FL_TRY(read_frame(transport, from));
    }
    FL_CHECK(from == FL_ANY_RANK || from == transport->pending_from, FL_ERR_COMM,
             "message from rank %d was announced and not received, now rank %d is asked",
             transport->pending_from, from);
    *message = (fl_message){.from = transport->pending_from,
                            .round = transport->pending.round,
                            .client = transport->pending.client,
                            .bytes = (size_t)transport->pending.bytes};
    return FL_OK;
}

fl_status fl_message_recv(fl_transport *transport, int from, int64_t round, int64_t client,
                          void *data, size_t bytes)
{
    fl_message got;
    FL_TRY(fl_message_peek(transport, from, &got));
    bool fits = got.round == round && (client == FL_ANY_CLIENT || got.client == client) &&
                got.bytes == bytes;
    if (fits) return take_pending(transport, data);
    FL_TRY(take_pending(transport, NULL));
    FL_FAIL(FL_ERR_COMM,
            "message from rank %d is of round %" PRId64 ", client %" PRId64
            ", %zu bytes; rank %d expects round %" PRId64 ", client %" PRId64 ", %zu bytes",
            from, got.round, got.client, got.bytes, transport->rank, round, client, bytes);
}
