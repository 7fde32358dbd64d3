/* Local training: from the adapter a client received to the adapter it returns.
 *
 * One trainer per rank serves all clients of that rank, one after the other or several in
 * lock-step: their micro-batches go through the base as one packed batch, everything else (order of
 * the examples, accumulation, hooks, clipping, AdamW) is each client's own, in a slot of its own.
 * Nothing of one client is left for the next (fresh AdamW moments, random streams keyed by round
 * and client) and none sees another, so the result does not depend on the rank, the order or the
 * company; to the bit where the decoder's does not (model/decoder.h).  No allocation after
 * fl_trainer_create.
 */
#ifndef FL_TRAIN_TRAINER_H
#define FL_TRAIN_TRAINER_H

#include "train/objective.h"

typedef struct fl_trainer fl_trainer;

typedef struct fl_trainer_limits {
    int64_t longest;      /* tokens of the longest example that will be trained on, as packed */
    size_t most_examples; /* of one job */
    int64_t clients;      /* slots: that train in one pass; 0: 1 */
} fl_trainer_limits;

/* model, config: borrowed.  Errors: FL_ERR_MEMORY. */
fl_status fl_trainer_create(fl_trainer **out, const fl_model *model, const fl_lora_config *lora,
                            const fl_train_config *config, const fl_trainer_limits *limits);
void fl_trainer_destroy(fl_trainer *trainer); /* accepts NULL */

/* Bytes that fl_trainer_create would take, for a model that need not be open. */
typedef struct fl_trainer_plan {
    fl_decoder_limits limits;
    fl_decoder_plan decoder; /* activations */
    size_t adapter;          /* weights, gradients, moments of all slots */
    size_t host;             /* batch, order of the examples */
} fl_trainer_plan;
fl_status fl_trainer_plan_for(fl_trainer_plan *out, const fl_model_config *model,
                              const fl_backend_ops *ops, const fl_lora_config *lora,
                              const fl_train_config *config, const fl_trainer_limits *limits);

/* What the clients are trained on: config->objective. */
const fl_objective *fl_trainer_objective(const fl_trainer *trainer);

/* The workspace, for evaluation between clients. */
fl_decoder *fl_trainer_decoder(fl_trainer *trainer);

/* Tokens that a pass may have at the most. */
int64_t fl_trainer_capacity(const fl_trainer *trainer);
/* One pass of the first slot, forwards and backwards, over made-up tokens, 1 .. the capacity, of
 * which the first `targets`, 1 .. tokens, count: for backends that choose how to make the products
 * of each size when they meet it.  Leaves nothing of worth in the gradients. */
fl_status fl_trainer_rehearse(fl_trainer *trainer, int64_t tokens, int64_t targets);

/* The adapter of the first slot, in the order of fl_lora_create; host memory on our side. */
void fl_trainer_set_adapter(fl_trainer *trainer, const float *weights);
void fl_trainer_get_adapter(const fl_trainer *trainer, float *weights);
/* The same of any slot with backend memory on our side. */
void fl_trainer_load_adapter(fl_trainer *trainer, size_t slot, const float *weights);
void fl_trainer_store_adapter(const fl_trainer *trainer, size_t slot, float *weights);

/* The change of the base from now on, for training and for the decoder: see fl_decoder_set_side;
 * values [count] and rank are in host memory and copied.  Not inside a step.  Errors:
 * FL_ERR_MEMORY. */
fl_status fl_trainer_set_side(fl_trainer *trainer, const float *values, size_t count,
                              const int64_t *rank);

/* What the caller may do inside local training.  Pointers are to backend memory; either function
 * may be NULL.  Both must be functions of their arguments and of what the caller set up for this
 * job. */
typedef struct fl_train_hooks {
    void *context;
    /* After the backward passes of a step, before clipping: adds the gradient of a further term of
     * the objective to grads [count], which is the sum over `copies` micro-batches, so that the
     * term is added `copies` times.  Returns the term's value, for the reported loss. */
    double (*after_backward)(void *context, const float *weights, float *grads, double copies);
    /* After an optimiser step. */
    void (*after_step)(void *context, float *weights, double learning_rate);
} fl_train_hooks;

/* What one client does in one round. */
typedef struct fl_local_job {
    fl_train_data data;
    const uint32_t *indices; /* [count] examples of this round, in the order of the first pass;
                                later passes shuffle them.  count >= 1 */
    size_t count;
    double learning_rate;
    uint64_t round, client;      /* keys of the random streams */
    const fl_train_hooks *hooks; /* NULL: none */
    double scale;                /* times the adapter's scale; 0: 1 */
    unsigned frozen;             /* factors that are not trained: FL_FACTOR_A, FL_FACTOR_B */
    double *losses;              /* [max_steps] gets the loss of each step; NULL: not wanted */
} fl_local_job;

typedef struct fl_local_result {
    double loss;      /* mean over the optimiser steps of their accumulated mean loss; NaN when no
                         step had a token that counts */
    int64_t tokens;   /* trained on, prompts included */
    int64_t steps;    /* optimiser steps done */
    int64_t updates;  /* of these, those that moved the weights: with a token that counts */
    double grad_norm; /* of the last step, before clipping */
    int64_t reference_needed;         /* examples that need the reference model */
    int64_t reference_made;           /* of these, those for which it had to be run */
    double measures[FL_MAX_MEASURES]; /* of the objective: means over the examples of all steps */
    bool finite; /* false: a loss or gradient was NaN or infinite and training stopped there */
} fl_local_result;

/* Trains `count` clients in lock-step, max_steps steps each, job c from the adapter last set in
 * slot c to the one left there.  One whose loss or gradient is not finite leaves; the others go on.
 * frozen is the same in all jobs.  Errors: FL_ERR_INTERNAL outside the limits, those of the
 * backend. */
fl_status fl_trainer_run_many(fl_trainer *trainer, const fl_local_job *jobs, size_t count,
                              fl_local_result *results);
/* The same with one. */
fl_status fl_trainer_run(fl_trainer *trainer, const fl_local_job *job, fl_local_result *result);

/* One optimiser step's gradient without the step: mean loss and gradient (host, may be NULL) of one
 * micro-batch without dropout. For checks. */
fl_status fl_trainer_gradient(fl_trainer *trainer, const fl_train_data *data,
                              const uint32_t *indices, size_t count, double *loss, float *gradient);

#endif
