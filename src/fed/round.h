/* One communication round.  See the state diagram in round.c.
 *
 * fl_round_create once per run (all buffers), fl_round_run per round on every rank (Collective),
 * fl_round_destroy.
 */
#ifndef FL_FED_ROUND_H
#define FL_FED_ROUND_H

#include "comm/device_sum.h"
#include "fed/algorithm.h"
#include "fed/lora_error.h"
#include "fed/lora_method.h"
#include "fed/privacy.h"
#include "fed/server_state.h"
#include "fed/update.h"
#include "train/trainer.h"

/* Trains one client: y [count] is what it makes of w [count], both in the backend's memory, calling
 * the hooks (NULL: none) inside its training. */
typedef fl_status fl_train_client(void *context, int64_t round, uint32_t client,
                                  double learning_rate, const fl_train_hooks *hooks, const float *w,
                                  float *y, fl_local_result *result);

/* What a round needs; everything borrowed. */
typedef struct fl_round_env {
    fl_transport *transport;
    const fl_algorithm *algorithm;
    const fl_fed_config *fed;
    uint64_t seed;
    const uint64_t *weight;    /* [num_clients] records of each client: its weight in the mean */
    const double *cost;        /* [num_clients] expected work of a round, for placement */
    fl_params *global;         /* the adapter; rank 0 owns the truth, the others receive it */
    fl_server_state *server;   /* likewise; NULL: the algorithm has no state on either side */
    const fl_privacy *privacy; /* clients are drawn, clipped and noised by it; NULL: no */
    const fl_backend_ops *ops; /* of the trainer; only ranks that train use it */
    fl_device_sum *devices;    /* adds between devices; NULL: the transport adds */
    const char *output_dir;    /* for client states, the same folder on all ranks; may be NULL */
    const fl_lora_setup *lora; /* how the adapter is applied; NULL: scale 1, the same ranks */
    fl_train_client *train_client;
    /* Called on every rank after the change of the base (server->side) has grown; NULL: nobody
     * needs to know. */
    fl_status (*base_moved)(void *context);
    void *context; /* of train_client and base_moved */
} fl_round_env;

/* What became of one client. */
typedef struct fl_client_report {
    int64_t client; /* -1: unused entry */
    int64_t rank, samples, tokens, steps, updates;
    int64_t reference_needed, reference_made; /* as in fl_local_result, like the measures */
    double loss, grad_norm, seconds;
    double measures[FL_MAX_MEASURES];
    int64_t fault; /* fl_update_fault */
} fl_client_report;

/* Sum over the rounds is not kept: constant memory. */
typedef struct fl_round_result {
    int64_t round; /* counted from 0 */
    double learning_rate;
    double loss; /* sample-weighted mean over the clients that answered; NaN if none */
    double measures[FL_MAX_MEASURES]; /* likewise */
    int64_t tokens;
    int64_t num_clients;             /* selected */
    int64_t num_answered;            /* kept in the sum */
    const fl_client_report *reports; /* [num_clients] ascending by client; valid until the next
                                        round */
    double seconds_train;            /* longest of any rank */
    double seconds_transfer;         /* rank 0: broadcast and reduction */
    double seconds_wait;             /* rank 0: until the slowest rank had trained */
    double seconds_aggregate;
    uint64_t bytes_down, bytes_up; /* adapter bytes sent to, and update bytes taken from, hosts */
    uint64_t bytes_figures;        /* what travelled for `lora` alone */
    uint64_t peak_memory;          /* bytes, largest of any rank */
    fl_lora_figures lora;          /* matrices = 0: not looked at */
} fl_round_result;

typedef struct fl_round fl_round;

/* Errors: FL_ERR_MEMORY, FL_ERR_USAGE (options of the algorithm). */
fl_status fl_round_create(fl_round **out, const fl_round_env *env);
/* Bytes that it takes for an adapter of `count` numbers, but for small tables and the client's side
 * (fl_client_side_bytes).  ops: NULL for a rank that trains nobody; alone: one rank does both. */
size_t fl_round_bytes(const fl_algorithm *algorithm, const fl_backend_ops *ops, size_t count,
                      bool alone);
void fl_round_destroy(fl_round *round); /* accepts NULL */

/* Collective.  Runs round t (from 0) and moves env->global on rank 0.  `result` is filled on rank
 * 0. A client whose update is not usable is warned about and left out; the round goes on. An error
 * of any rank is returned on all ranks. */
fl_status fl_round_run(fl_round *round, int64_t t, double learning_rate, fl_round_result *result);

#endif
