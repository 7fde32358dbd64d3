/* The vectors of the client at hand where the backend computes: what it starts from, what it makes
 * of it, and what else it sends.  Where the backend's memory is the host's they are the host's own.
 */
#ifndef FL_FED_CLIENT_VECTORS_H
#define FL_FED_CLIENT_VECTORS_H

#include "backend/ops.h"

typedef struct fl_client_vectors {
    const fl_backend_ops *ops; /* NULL: this rank trains nobody, nothing is there */
    size_t count;
    const float *start;                      /* [count] backend memory */
    float *y;                                /* [count] backend memory */
    float *start_copy, *extra_copy, *y_copy; /* NULL where not needed */
} fl_client_vectors;

/* extra: clients send a further vector; reads: the host will look at results.  Errors:
 * FL_ERR_MEMORY. */
fl_status fl_client_vectors_init(fl_client_vectors *out, const fl_backend_ops *ops, size_t count,
                                 bool extra, bool reads);
void fl_client_vectors_fini(fl_client_vectors *vectors); /* accepts a zeroed struct */
/* Bytes that it takes at the most. */
size_t fl_client_vectors_bytes(const fl_backend_ops *ops, size_t count, bool extra);

/* Makes of this host vector what the client starts from.  It stays as it is as long. */
void fl_client_vectors_start(fl_client_vectors *vectors, const float *start);
/* y in host memory, with `reads`. */
const float *fl_client_vectors_result(fl_client_vectors *vectors);
/* This host vector in backend memory; valid until the next one. */
const float *fl_client_vectors_extra(fl_client_vectors *vectors, const float *extra);

#endif
