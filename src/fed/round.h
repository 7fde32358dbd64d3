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

/* One client's training in a round. */
typedef struct fl_client_task {
    uint32_t client;
    const fl_train_hooks *hooks; /* NULL: none */
    const float *w;              /* [count] what it starts from, in the backend's memory */
    float *y;                    /* [count] likewise: what it makes of it, set */
    fl_local_result result;      /* set */
} fl_client_task;

/* Trains these clients, at most clients_per_pass, calling their hooks inside. */
typedef fl_status fl_train_clients(void *context, int64_t round, double learning_rate,
                                   fl_client_task *tasks, size_t count);

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
    int64_t clients_per_pass;  /* of a rank that train at once; 0: 1 */
    fl_train_clients *train_clients;
    /* Called on every rank after the change of the base (server->side) has grown; NULL: nobody
     * needs to know. */
    fl_status (*base_moved)(void *context);
    void *context; /* of train_clients and base_moved */
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
/* Clients of a rank that train at once: clients_per_pass, but no more than a round may have. */
int64_t fl_round_slots(const fl_fed_config *fed, const fl_privacy *privacy,
                       int64_t clients_per_pass);

/* Bytes that it takes, but for small tables and the clients' side (fl_client_side_bytes, for each
 * slot). */
typedef struct fl_round_need {
    const fl_algorithm *algorithm;
    const fl_backend_ops *ops; /* NULL: a rank that trains nobody */
    size_t count;              /* numbers of the adapter */
    int64_t slots;             /* fl_round_slots */
    bool alone;                /* one rank trains and aggregates */
    bool own_start;            /* clients do not start from the global adapter as it is */
} fl_round_need;
size_t fl_round_bytes(const fl_round_need *need);
void fl_round_destroy(fl_round *round); /* accepts NULL */

/* Collective.  Runs round t (from 0) and moves env->global on rank 0.  `result` is filled on rank
 * 0. A client whose update is not usable is warned about and left out; the round goes on. An error
 * of any rank is returned on all ranks. */
fl_status fl_round_run(fl_round *round, int64_t t, double learning_rate, fl_round_result *result);

#endif
