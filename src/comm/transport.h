/* How the ranks of a run talk: messages between two ranks, and collectives.
 *
 * A run opens one transport first and closes it last.  "mpi" starts and ends MPI itself, so nothing
 * else in the program knows MPI; started without mpirun it has one rank.  "self" is one rank
 * without any library.  What holds for all of them:
 *
 * 1. Sizes are size_t; an implementation that cannot carry so much at once gets it in pieces.
 * 2. A rank that waits sleeps: it leaves its core to the ranks that work.
 * 3. Every message names run, round and client, and the receiver checks them.
 * 4. Sums are of integers, so they are exact and the same in any order.
 * 5. All ranks are of one architecture: values travel as they lie in memory.
 *
 * Collective means that all ranks call it in the same order with the same sizes and root.  A
 * failure inside a collective leaves the others waiting: then call fl_transport_abort.  Every other
 * failure is brought to fl_transport_agree, so that all ranks leave together.  One thread per rank
 * calls these functions.
 *
 *     FL_TRY(fl_transport_open(&transport, "mpi"));
 *     FL_TRY_GOTO(fl_transport_bcast(transport, 0, weights, bytes), out);
 *     fl_transport_close(transport);
 */
#ifndef FL_COMM_TRANSPORT_H
#define FL_COMM_TRANSPORT_H

#include "base/buf.h"

#include <stdint.h>

typedef struct fl_transport fl_transport;

enum { FL_ANY_RANK = -1, FL_ANY_CLIENT = -1 };

/* Opens "mpi" or "self".  Owned by the caller, ended by fl_transport_close.  Collective.
 * Errors: FL_ERR_USAGE for an unknown name (the text lists the known ones), FL_ERR_COMM. */
fl_status fl_transport_open(fl_transport **out, const char *name);

/* Waits for all ranks, then ends the transport (and MPI, if open started it).  Accepts NULL.
 * Collective. */
void fl_transport_close(fl_transport *transport);

const char *fl_transport_name(const fl_transport *transport); /* "mpi" */
int fl_transport_rank(const fl_transport *transport);         /* [0, size) */
int fl_transport_size(const fl_transport *transport);

/* The ranks that share this rank's memory. */
typedef struct fl_node {
    int ranks; /* how many, this one included */
    int first; /* the lowest of their numbers */
    int rank;  /* this rank's place among them, from 0 */
} fl_node;
fl_node fl_transport_node(const fl_transport *transport);

/* The run id that every message carries from now on; 0 before.  The same on all ranks.
 * Not collective. */
void fl_transport_set_run(fl_transport *transport, uint64_t run_id);

/* Sends `bytes` bytes (0 is fine) about a client of a round to rank `to`, which may be this rank:
 * then they are copied and wait for recv.  Returns when `data` may be used again, which may be only
 * after the receiver calls recv.  Messages between two ranks arrive in the order they were sent,
 * and must be received before both ranks meet in a collective.  Not collective.  Errors:
 * FL_ERR_COMM. */
fl_status fl_transport_send(fl_transport *transport, int to, int64_t round, int64_t client,
                            const void *data, size_t bytes);

/* Receives the next message from rank `from` (not FL_ANY_RANK) into data[bytes].  A message of
 * another run, round, client (unless FL_ANY_CLIENT) or length is taken off the line and refused
 * with FL_ERR_COMM, the text naming what came and what was expected; data is then unchanged. Not
 * collective. */
fl_status fl_transport_recv(fl_transport *transport, int from, int64_t round, int64_t client,
                            void *data, size_t bytes);

/* What a waiting message says about itself. */
typedef struct fl_message {
    int from; /* rank */
    int64_t round, client;
    size_t bytes;
} fl_message;

/* Waits for a message from rank `from` or FL_ANY_RANK and tells about it; the message stays, and
 * the next call that touches messages must be fl_transport_recv from message->from (or peek again,
 * with the same answer).  Not collective.  Errors: FL_ERR_COMM (also for a message of another run),
 * FL_ERR_UNSUPPORTED for FL_ANY_RANK where the transport cannot. */
fl_status fl_transport_peek(fl_transport *transport, int from, fl_message *message);

/* data[bytes] of the root becomes data[bytes] of every rank.  Collective. */
fl_status fl_transport_bcast(fl_transport *transport, int root, void *data, size_t bytes);

/* values[count] at the root becomes the element-wise sum over all ranks, modulo 2^64; at the other
 * ranks it stays as it is.  Collective. */
fl_status fl_transport_reduce_i64(fl_transport *transport, int root, int64_t *values, size_t count);

/* all[size][bytes] at the root gets mine[bytes] of every rank, in rank order; `all` is not looked
 * at elsewhere and may be NULL there.  mine and all do not overlap.  Collective. */
fl_status fl_transport_gather(fl_transport *transport, int root, const void *mine, size_t bytes,
                              void *all);

/* Returns after every rank has called it.  Collective. */
fl_status fl_transport_barrier(fl_transport *transport);

/* Tells every rank whether any of them failed.  `mine` is how this rank fares, its text being
 * fl_error_text.  *all, *text (emptied first) and *failed_rank become status, error text and number
 * of the lowest rank that failed, or FL_OK, "" and -1.  text and failed_rank may be NULL.
 * Collective.  Errors of the agreement itself: FL_ERR_COMM, FL_ERR_MEMORY. */
fl_status fl_transport_agree(fl_transport *transport, fl_status mine, fl_status *all, fl_buf *text,
                             int *failed_rank);

/* Ends all ranks at once with this exit code: for failures inside a collective, when the other
 * ranks can no longer be reached in good order.  Nothing is flushed or closed. Accepts NULL.  Not
 * collective. */
_Noreturn void fl_transport_abort(fl_transport *transport, int exit_code);

/* What this rank has moved and waited since open, payload only, counted as if every rank spoke with
 * the root directly (a bcast of n bytes sends n * (size - 1) at the root and receives n elsewhere).
 */
typedef struct fl_comm_stats {
    uint64_t bytes_sent, bytes_received;
    double seconds; /* inside the functions above: waiting for others, and transfer */
} fl_comm_stats;
fl_comm_stats fl_transport_stats(const fl_transport *transport);

#endif
