/* The part of a round that looks at single clients' factors: methods with an `aggregate` of their
 * own, the change of the base, and the figures of the round.  round.c calls it in this order on
 * every rank; it does nothing where none of that is asked for.
 */
#ifndef FL_FED_LORA_SERVER_H
#define FL_FED_LORA_SERVER_H

#include "fed/lora_error.h"
#include "fed/lora_round.h"

typedef struct fl_lora_server {
    const fl_lora_method *method;
    const fl_fed_config *config;
    fl_transport *transport;
    uint64_t seed;
    fl_params *global;
    fl_side *side; /* of the run; NULL: the base does not move */
    bool gathers;  /* single clients' factors go to rank 0 */
    bool figures;  /* and are looked at */
    fl_client_factors clients;
    fl_side change; /* of the round */
} fl_lora_server;

/* Everything is borrowed. */
typedef struct fl_lora_server_env {
    const fl_fed_config *config;
    fl_transport *transport;
    uint64_t seed;
    fl_params *global;
    fl_side *side; /* NULL where the method does not move the base */
    const fl_lora_setup *setup;
} fl_lora_server_env;

/* Errors: FL_ERR_MEMORY. */
fl_status fl_lora_server_init(fl_lora_server *out, const fl_lora_server_env *env,
                              int64_t max_clients);
void fl_lora_server_fini(fl_lora_server *server); /* accepts a zeroed struct */

/* Bytes of single clients' factors that rank 0 holds at once; count: numbers of an adapter. */
size_t fl_lora_server_bytes(const fl_fed_config *config, size_t count, int64_t max_clients);

/* Collective, before a round after a restart: rank 0's change of the base goes to all. */
fl_status fl_lora_server_restart(fl_lora_server *server);

/* A client of this rank has answered with y.  Errors: FL_ERR_MEMORY. */
fl_status fl_lora_server_take(fl_lora_server *server, const fl_sent *sent, const float *y);

/* The kept clients' factors to rank 0: there all of them, elsewhere this rank's own, ascending. */
fl_status fl_lora_server_collect(fl_lora_server *server, const fl_sent *sent, int64_t round,
                                 const fl_kept_client *kept, size_t count);

/* Rank 0, with at least one client: the method's own rule. */
fl_status fl_lora_server_aggregate(fl_lora_server *server, int64_t round);
/* Rank 0, after the adapter has moved. */
fl_status fl_lora_server_figures(const fl_lora_server *server, fl_lora_figures *out);

/* Collective, at the end of a round: every rank's change of the base grows. */
fl_status fl_lora_server_finish(fl_lora_server *server);

/* Numbers of the round's change, which every host received. */
size_t fl_lora_server_change_count(const fl_lora_server *server);

#endif
