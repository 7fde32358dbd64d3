/* The part of the adapter that travels in a round (fl_lora_sent, fl_lora_moved): broadcast, summed
 * and aggregated as a vector of its own.  With both factors it is the adapter as it is. */
#ifndef FL_FED_SENT_H
#define FL_FED_SENT_H

#include "comm/transport.h"
#include "fed/lora_method.h"
#include "fed/update.h"

typedef struct fl_sent {
    const fl_params *layout; /* borrowed */
    unsigned down, up;       /* factors of this round */
    size_t down_count, up_count;
    float *scratch; /* [1 + FL_MAX_SERVER_STATES][layout->count]; NULL where all of the adapter
                       travels in every round */
} fl_sent;

/* layout is borrowed.  Errors: FL_ERR_MEMORY. */
fl_status fl_sent_init(fl_sent *out, const fl_params *layout, const fl_lora_method *method);
/* Bytes that it takes for an adapter of `count` numbers. */
size_t fl_sent_bytes(const fl_lora_method *method, size_t count);
void fl_sent_fini(fl_sent *sent); /* accepts a zeroed struct */
void fl_sent_plan(fl_sent *sent, const fl_lora_method *method, int64_t round);

/* Collective: these factors of rank 0's values[layout->count]. */
fl_status fl_sent_bcast(fl_sent *sent, fl_transport *transport, float *values, unsigned factors);

/* fl_update_add over what goes up, to sum[up_count]; what stays with the client has to be usable
 * too.  Vectors are in the backend's memory. */
fl_update_fault fl_sent_add(const fl_sent *sent, const fl_backend_ops *ops, int64_t *sum,
                            const float *w, const float *y, double weight, int grid);

/* The algorithm's rule on what goes up: of the adapter and of every server state
 * [num_states]. */
void fl_sent_aggregate(fl_sent *sent, const fl_algorithm *algorithm, const fl_aggregation *round,
                       size_t num_states);

#endif
