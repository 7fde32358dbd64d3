/* The factors that a client keeps to itself (fl_lora_method.client), on the disk like every client
 * state (io/client_state.h): clients/ID/B.ROUND holds the tensors one after the other. */
#ifndef FL_FED_OWN_FACTOR_H
#define FL_FED_OWN_FACTOR_H

#include "fed/lora_method.h"
#include "io/client_state.h"

typedef struct fl_own_factor {
    const fl_params *layout; /* borrowed */
    unsigned factors;
    float *packed; /* [fl_factors_count] */
    fl_client_store store;
} fl_own_factor;

/* All arguments are borrowed; method->client is not NULL.  Errors: FL_ERR_MEMORY. */
fl_status fl_own_factor_init(fl_own_factor *out, const fl_lora_method *method,
                             const fl_params *layout, const char *output_dir);
void fl_own_factor_fini(fl_own_factor *own); /* accepts a zeroed struct */

/* Puts the client's factors, as of that many completed rounds, into adapter[layout->count].
 * round = 0: it has none yet and starts from what is there.  Errors: those of
 * fl_client_store_load. */
fl_status fl_own_factor_load(fl_own_factor *own, uint32_t client, int64_t round, float *adapter);
/* Keeps those of adapter[layout->count].  Errors: those of fl_client_store_save. */
fl_status fl_own_factor_save(fl_own_factor *own, uint32_t client, int64_t round,
                             const float *adapter);

#endif
