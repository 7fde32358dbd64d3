/* The exact sums of a round: where they are made, and how they get to rank 0.
 *
 * A rank that trains adds its clients' changes up in its backend's memory.  Then devices add with
 * one another and the first rank that trains hands the result to rank 0 (comm/device_sum.h), or
 * every rank hands its own to the transport, which adds.  Integers: the same bits either way.
 * What leaves a device passes through a piece of host memory that copies are fast with.
 */
#ifndef FL_FED_SUMS_H
#define FL_FED_SUMS_H

#include "backend/ops.h"
#include "comm/device_sum.h"

/* Of the updates; of what else clients send. */
enum { FL_SUM_UPDATES, FL_SUM_EXTRA, FL_MOST_SUMS };

/* Everything borrowed. */
typedef struct fl_sums_env {
    fl_transport *transport;
    const fl_backend_ops *ops; /* NULL: this rank trains nobody */
    fl_device_sum *devices;    /* NULL: the transport adds */
    size_t piece;              /* integers that leave a device at a time, the same on all ranks; 0:
                                  as many as is usual */
} fl_sums_env;

typedef struct fl_sums {
    fl_sums_env env;
    int num_sums;
    size_t count;
    int64_t *mine[FL_MOST_SUMS];  /* [count] backend memory, of this rank's clients */
    int64_t *total[FL_MOST_SUMS]; /* [count] host memory, rank 0; may be the same as mine */
    int64_t *piece;               /* host memory; NULL where the backend's is the host's */
} fl_sums;

/* num_sums: 1, or 2 with FL_SUM_EXTRA.  Errors: FL_ERR_MEMORY. */
fl_status fl_sums_init(fl_sums *out, const fl_sums_env *env, size_t count, int num_sums);
void fl_sums_fini(fl_sums *sums); /* accepts a zeroed struct */
/* Bytes that it takes; alone: one rank does everything. */
size_t fl_sums_bytes(const fl_backend_ops *ops, size_t count, int num_sums, bool alone);

/* Sets them to zero, before a round. */
void fl_sums_clear(fl_sums *sums);
/* total[which][0 .. count) on rank 0 becomes the sum of all ranks.  Collective; `round` as in
 * fl_transport_send.  A backend that has failed is not noticed here: ask its status.  Errors:
 * FL_ERR_COMM. */
fl_status fl_sums_collect(fl_sums *sums, int which, size_t count, int64_t round);

#endif
