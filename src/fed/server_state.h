/* What a run keeps besides the adapter: the algorithm's server states, and for every client the
 * round in which it last wrote its own state, and the change of the base if it moves.  All of it
 * goes into state.h5 as named parameters.
 */
#ifndef FL_FED_SERVER_STATE_H
#define FL_FED_SERVER_STATE_H

#include "fed/algorithm.h"
#include "fed/side.h"
#include "io/state.h"

typedef struct fl_server_state {
    fl_params states[FL_MAX_SERVER_STATES]; /* laid out like the adapter */
    size_t num_states;
    fl_params client_round; /* one vector [num_clients]: the completed rounds when the client wrote
                               its state, 0 if it never did; exact in fp32 below 2^24 */
    fl_side side; /* the base's change, on all ranks; zeroed when the base does not move */
    fl_named_params named[FL_MAX_SERVER_STATES + 3]; /* for fl_state.server; rank 0 */
    size_t num_named;
} fl_server_state;

/* As at the start of a run.  keeper: rank 0, which holds all of it; other ranks get room for the
 * state that the algorithm sends to clients, if it does.  Errors: FL_ERR_MEMORY. */
fl_status fl_server_state_init(fl_server_state *out, const fl_algorithm *algorithm,
                               const fl_fed_config *config, const fl_params *adapter, bool keeper);
void fl_server_state_fini(fl_server_state *state); /* accepts a zeroed struct */

#endif
