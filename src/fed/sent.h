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
    float *scratch; /* [1 + FL_MAX_SERVER_STATES][layout->count] */
} fl_sent;

/* layout is borrowed.  Errors: FL_ERR_MEMORY. */
fl_status fl_sent_init(fl_sent *out, const fl_params *layout);
void fl_sent_fini(fl_sent *sent); /* accepts a zeroed struct */
void fl_sent_plan(fl_sent *sent, const fl_lora_method *method, int64_t round);

/* Collective: these factors of rank 0's values[layout->count]. */
fl_status fl_sent_bcast(fl_sent *sent, fl_transport *transport, float *values, unsigned factors);

/* fl_update_add over what goes up, to sum[up_count]; what stays with the client has to be usable
 * too. */
fl_update_fault fl_sent_add(fl_sent *sent, int64_t *sum, const float *w, const float *y,
                            double weight, int grid);

/* The algorithm's rule on what goes up: of the adapter and of every server state
 * [num_states]. */
void fl_sent_aggregate(fl_sent *sent, const fl_algorithm *algorithm, const fl_aggregation *round,
                       size_t num_states);

#endif
