/* What a transport has to provide.  For authors of transports and their tests; users read
 * transport.h.
 *
 * Use transport_self.c as the starting point for your own: fill a table, add it to the list in
 * transport.c, run tests/mpi/test_transport.c on it.  The functions in transport.c check arguments,
 * cut what is longer than max_piece into pieces, keep messages to oneself, count and time; so an
 * implementation sees ranks that exist, and pieces of 1 to max_piece bytes.
 */
#ifndef FL_COMM_TRANSPORT_OPS_H
#define FL_COMM_TRANSPORT_OPS_H

#include "comm/transport.h"

typedef struct fl_transport_ops {
    const char *name;
    size_t max_piece; /* bytes that one call carries; a multiple of 8 */

    /* Required.  open sets transport->impl, rank and size.  send and recv move bytes to
     * and from another rank, in order, each piece received with the length it was sent with. */
    fl_status (*open)(fl_transport *transport);
    void (*close)(fl_transport *transport);
    fl_status (*send)(fl_transport *transport, int to, const void *data, size_t bytes);
    fl_status (*recv)(fl_transport *transport, int from, void *data, size_t bytes);

    /* Optional; NULL means the default made from send and recv (transport_default.c).  They do what
     * their namesakes in transport.h promise; rank i's part of a gather lies at all + i * stride.
     */
    fl_status (*bcast)(fl_transport *transport, int root, void *data, size_t bytes);
    fl_status (*reduce_i64)(fl_transport *transport, int root, int64_t *values, size_t count);
    fl_status (*gather)(fl_transport *transport, int root, const void *mine, size_t bytes,
                        void *all, size_t stride);
    fl_status (*barrier)(fl_transport *transport);

    /* Optional, without default.  wait_any: the number of some rank from which a piece can be
     * received; only together with all four collectives, because a default collective's message
     * from a rank that is ahead would look like the one waited for.  abort: ends the other ranks;
     * the caller ends this one. */
    fl_status (*wait_any)(fl_transport *transport, int *from);
    void (*abort)(fl_transport *transport, int exit_code);
} fl_transport_ops;

/* One line per implementation; the list is in transport.c. */
extern const fl_transport_ops fl_transport_self;
extern const fl_transport_ops fl_transport_mpi;

/* Stands before the bytes of every message on the line. */
typedef struct fl_frame {
    uint64_t magic;
    uint64_t run_id;
    int64_t round, client;
    uint64_t bytes;
} fl_frame;

typedef struct fl_parcel fl_parcel; /* a message to oneself */

struct fl_transport {
    const fl_transport_ops *ops;
    void *impl; /* the implementation's own */
    int rank, size;
    fl_node node;     /* open may set it; without that each rank has a node of its own */
    size_t max_piece; /* ops->max_piece; tests set it lower to exercise the cutting */
    uint64_t run_id;
    int pending_from;         /* rank whose frame was read and whose bytes were not, or -1 */
    fl_frame pending;         /* that frame */
    fl_parcel *first, **last; /* messages to oneself, oldest first; *last is the closing NULL */
    fl_comm_stats stats;
};

/* Length of the next piece. */
static inline size_t fl_piece(size_t left, size_t max_piece)
{
    return left < max_piece ? left : max_piece;
}

/* transport_message.c: messages with frames, over the required send and recv.  The default
 * collectives use them with rounds of their own, so that a rank which is elsewhere is noticed. */
fl_status fl_message_send(fl_transport *transport, int to, int64_t round, int64_t client,
                          const void *data, size_t bytes);
fl_status fl_message_recv(fl_transport *transport, int from, int64_t round, int64_t client,
                          void *data, size_t bytes);
fl_status fl_message_peek(fl_transport *transport, int from, fl_message *message);
void fl_message_drop_all(fl_transport *transport); /* frees what nobody received */

/* transport_default.c: what NULL in the table stands for. */
fl_status fl_default_bcast(fl_transport *transport, int root, void *data, size_t bytes);
fl_status fl_default_reduce_i64(fl_transport *transport, int root, int64_t *values, size_t count);
fl_status fl_default_gather(fl_transport *transport, int root, const void *mine, size_t bytes,
                            void *all, size_t stride);
fl_status fl_default_barrier(fl_transport *transport);

#endif
