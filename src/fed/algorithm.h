/* A federated algorithm: one const table, one file.
 *
 * To add one: copy alg_fedavg.c (server side) or alg_fedprox.c (client side), fill the members, add
 * one line to the list in algorithm.c; --help, docs/config.md and the tests that go over all
 * algorithms then know it.  A transcription of its formulas goes into
 * tests/golden/golden_fedalg.py.
 *
 * Everything the server learns is an exact sum over the round's clients (fed/update.h): of their
 * updates and, where the algorithm has it, of one more vector.  So no hook can depend on ranks or
 * on the order of arrival.
 */
#ifndef FL_FED_ALGORITHM_H
#define FL_FED_ALGORITHM_H

#include "backend/ops.h"
#include "fed/fed_config.h"
#include "tensor/tensor.h"
#include "train/trainer.h"

enum { FL_MAX_SERVER_STATES = 2 };

/* How much a client counts in the mean of the updates. */
typedef enum fl_weighting {
    FL_WEIGH_RECORDS,       /* as many times as it has records */
    FL_WEIGH_EQUAL,         /* once */
    FL_WEIGH_EQUAL_IN_PAPER /* once with fed_variant = "paper", by records with "openfedllm" */
} fl_weighting;

/* One exact sum over the clients that were kept. */
typedef struct fl_round_sum {
    const int64_t *sum; /* [count] on the grid, see fed/update.h */
    int grid;
    uint64_t total_weight; /* of the clients in the sum; >= 1 */
} fl_round_sum;

/* What the server has after a round. */
typedef struct fl_aggregation {
    const fl_fed_config *config;
    int64_t round;       /* from 0 */
    fl_params *global;   /* the adapter */
    fl_params *server;   /* the states of fl_algorithm.server, in that order */
    fl_round_sum update; /* of y - w, times the scale that finish_client chose */
    fl_round_sum extra;  /* of what finish_client made, every client once */
    uint64_t clients;    /* in the sums; >= 1 */
    double mean_steps;   /* steps of the clients, weighted like their updates */
} fl_aggregation;

/* What the hooks on the client's side work on.  All vectors are [count]. */
typedef struct fl_client {
    const fl_fed_config *config;
    const fl_backend_ops *ops;
    size_t count;
    double learning_rate;

    /* backend memory, for hooks inside training */
    float *received; /* the adapter that the client received */
    float *sent;     /* the first server state; NULL unless it is sent */
    float *own;      /* the client's state; NULL if it keeps none */
    float *scratch;

    /* host memory, for finish_client */
    const float *host_received, *host_sent;
    float *host_own; /* in: the state so far, zeros at first; out: the new one */
    float *extra;    /* out, when the algorithm has an extra sum */
    double scale;    /* out: of the update, in [0, 1]; 1 unless changed */
} fl_client;

typedef struct fl_algorithm {
    const char *name;        /* as in fed_alg, without digits */
    const char *alias;       /* another name that is taken with a warning; NULL: none */
    bool numbered;           /* digits follow the name */
    const fl_conf_row *rows; /* its keys, in fl_fed_config; algorithms may share a table */
    size_t row_count;

    fl_weighting weighting;
    const char *server[FL_MAX_SERVER_STATES]; /* names of vectors like the adapter that the server
                                                 keeps; saved and resumed */
    bool sends_state;                         /* clients receive the first of them */
    const char *client; /* name of the vector each client keeps, on the disk; NULL: none */
    bool extra_sum;

    /* Optional: chooses the round's clients instead of fl_participation_choose (clients ascending,
     * *count of them), and checks its options at the start of a run (round = 0). */
    fl_status (*choose)(const fl_fed_config *config, int64_t round, uint32_t *clients,
                        int64_t *count);
    /* Optional: server states of a new run; without it they are zeros. */
    void (*init)(const fl_fed_config *config, fl_params *server);

    /* Optional, inside a client's training: see fl_train_hooks. */
    double (*after_backward)(const fl_client *client, const float *weights, float *grads,
                             double copies);
    void (*after_step)(const fl_client *client, float *weights, double learning_rate);
    /* Optional, after it: makes the client's new state and what else it sends.  y: its result.
     * A client whose update is left out keeps its old state. */
    void (*finish_client)(fl_client *client, const float *y, const fl_local_result *local);

    /* Required: moves the global adapter.  Not called when no update was kept. */
    void (*aggregate)(const fl_aggregation *round);
} fl_algorithm;

/* All of them; *count algorithms. */
const fl_algorithm *const *fl_algorithms(size_t *count);
/* The algorithm of this fed_alg.  Errors: FL_ERR_USAGE with the list of names. */
fl_status fl_algorithm_find(const fl_algorithm **out, const char *fed_alg);
/* Rows of group fed: those of fed_config.c, of all algorithms and of all LoRA methods, the words of
 * fed_alg and lora_aggregation filled in. */
const fl_conf_row *fl_algorithm_rows(size_t *count);
/* Does it do something on the client's side? */
bool fl_algorithm_has_client_side(const fl_algorithm *algorithm);
/* Do all clients of a round count once? */
bool fl_algorithm_weighs_equal(const fl_algorithm *algorithm, const fl_fed_config *config);

/* The mean of element i. */
double fl_mean_of(const fl_round_sum *sum, size_t i);
/* global += mean update: FedAvg's rule, also of algorithms that only change the client. */
void fl_aggregate_mean(const fl_aggregation *round);

extern const fl_algorithm fl_algorithm_fedavg, fl_algorithm_local, fl_algorithm_fedprox,
    fl_algorithm_scaffold, fl_algorithm_fedavgm, fl_algorithm_fedadagrad, fl_algorithm_fedyogi,
    fl_algorithm_fedadam, fl_algorithm_fednova, fl_algorithm_feddyn, fl_algorithm_diloco;

#endif
