/* Inside of fl_round, for round*.c only. */
#ifndef FL_FED_ROUND_INTERNAL_H
#define FL_FED_ROUND_INTERNAL_H

#include "fed/client.h"
#include "fed/client_vectors.h"
#include "fed/lora_server.h"
#include "fed/own_factor.h"
#include "fed/round.h"
#include "fed/sent.h"
#include "fed/sums.h"

typedef struct fl_rank_report {
    double seconds_train;
    uint64_t peak_memory;
} fl_rank_report;

/* Where one of the clients that train at once is. */
typedef struct fl_round_slot {
    fl_client_side *side;      /* NULL: the algorithm has none, or this rank hosts no clients */
    float *start;              /* [global->count] what it starts from; NULL: the global adapter */
    fl_client_vectors vectors; /* where the backend computes */
    int64_t i;                 /* number of the client in the round */
} fl_round_slot;

struct fl_round {
    fl_round_env env;
    int64_t max_clients;  /* K, with privacy the most that may be drawn */
    int64_t count;        /* clients of this round */
    uint32_t *clients;    /* [K] ascending */
    int *rank_of;         /* [K] */
    int64_t *state_round; /* [K] when the client wrote its state */
    int32_t *plan;        /* [1 + 3K] count, clients, ranks, state_round: as broadcast */
    double *cost, *load;  /* [K], [size] */
    bool equal;           /* all clients weigh 1 */
    int grid, extra_grid;
    const fl_lora_method *method;
    int64_t next;                  /* the round that the hosts' adapter is ready for; -1: none */
    fl_sent sent;                  /* what of the adapter travels */
    fl_sums sums;                  /* [sent.up_count] of them count */
    fl_lora_server lora;           /* what looks at single clients' factors */
    fl_kept_client *kept;          /* [K] clients with a usable update: rank 0 all, others theirs */
    fl_own_factor own;             /* where the method has clients keep a factor */
    size_t num_slots;              /* clients that train at once */
    fl_round_slot *slots;          /* [num_slots] */
    fl_client_task *tasks;         /* [num_slots] */
    fl_client_report *reports;     /* [K] of this rank */
    fl_client_report *all_reports; /* [size * K] rank 0 */
    fl_rank_report *all_ranks;     /* [size] rank 0 */
    fl_arena *arena;
};

/* Does this rank train clients? */
static inline bool fl_round_hosts(const fl_round *r)
{
    return fl_transport_rank(r->env.transport) > 0 || fl_transport_size(r->env.transport) == 1;
}

/* Does the host look at single clients' results? */
static inline bool fl_round_reads_results(const fl_round *r)
{
    return r->env.algorithm->finish_client || r->env.privacy || r->method->client ||
           r->lora.gathers;
}

/* Do clients have ranks of their own? */
static inline bool fl_round_has_ranks(const fl_round *r)
{
    return r->env.lora && r->env.lora->client_rank;
}

/* How much a client counts. */
static inline uint64_t fl_round_weight(const fl_round *r, uint32_t client)
{
    return r->equal ? 1 : r->env.weight[client];
}

/* The server state that clients receive, NULL if they receive none. */
static inline fl_params *fl_round_sent_state(const fl_round *r)
{
    return r->env.algorithm->sends_state ? &r->env.server->states[0] : NULL;
}

/* The clients of round t, to r->clients and r->count. */
fl_status fl_round_choose(fl_round *r, int64_t t);
/* planned: rank 0 chooses and places, the others learn of it.  Collective. */
fl_status fl_round_plan(fl_round *r, int64_t t);
/* training: this rank's clients. */
fl_status fl_round_train(fl_round *r, int64_t t, double learning_rate);

/* Rank 0, with everybody's reports: moves the used ones to the front, ascending by client, and adds
 * them up. */
void fl_round_summarise(fl_round *r, fl_round_result *result);
/* aggregated: rank 0, while the others send the single factors that it may want. */
fl_status fl_round_aggregate(fl_round *r, fl_round_result *result);
fl_status fl_round_send_factors(fl_round *r, int64_t t);
/* What travelled, per host, or per client where clients are known one by one. */
void fl_round_count_bytes(const fl_round *r, fl_round_result *result);

#endif
