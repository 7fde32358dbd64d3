/* How much memory a run takes, worked out before it takes any: a function of config.json, the
 * headers of the weights, the sizes of the data and the options.
 */
#ifndef FL_APP_MEMORY_PLAN_H
#define FL_APP_MEMORY_PLAN_H

#include "fed/algorithm.h"
#include "fed/evaluate.h"
#include "model/model.h"
#include "train/trainer.h"

/* What the plan is a function of.  Pointers are borrowed. */
typedef struct fl_memory_input {
    const fl_backend_ops *ops;
    const fl_model_config *model;
    fl_model_sizes sizes;
    fl_format format; /* asked for */
    fl_lora_config lora;
    fl_train_config train;
    const fl_eval_config *eval;
    const fl_algorithm *algorithm;
    const fl_fed_config *fed;
    int64_t seq_length, longest_example, longest_prompt;
    int64_t shortest; /* seq_length that leaves no example without a token to learn */
    size_t most_examples, eval_items;
    int64_t clients;  /* of a training rank that train at once */
    int hosts;        /* training ranks of this node */
    int trainers;     /* training ranks of the run */
    bool server;      /* rank 0 is on this node, and does not train */
    bool alone;       /* one rank does everything */
    uint64_t process; /* private bytes that a rank holds already: program, MPI, tokenizer, data */
} fl_memory_input;

/* Bytes.  On the cpu backend all of it is the node's memory. */
typedef struct fl_memory_plan {
    uint64_t mapped; /* pages of the weight files: once per node */
    /* of one training rank */
    uint64_t base;      /* norms, tables, linears quantised at load */
    uint64_t adapter;   /* weights, gradients, moments, the algorithm's client side */
    uint64_t side;      /* what the base has moved by, at the end of the run */
    uint64_t layers;    /* activations kept for the backward pass */
    uint64_t workspace; /* activations that all layers share */
    uint64_t loss;      /* logits and what belongs to them */
    uint64_t cache;     /* keys and values of the evaluation */
    uint64_t kernels;   /* panels that products pack */
    uint64_t round;     /* global adapter, result, sums, batch */
    uint64_t saving;    /* server states, single clients' factors, image of state.h5; rank 0 only */
    uint64_t process;   /* as in the input */
    uint64_t rank;      /* sum of these */
    uint64_t server;    /* of a rank 0 that does not train; 0: none on this node */
    uint64_t node;      /* all ranks of this node, and the map */
} fl_memory_plan;

fl_status fl_memory_plan_make(fl_memory_plan *out, const fl_memory_input *input);

/* Prints the plan.  all: every line of a training rank. */
void fl_memory_plan_print(const fl_memory_plan *plan, const fl_memory_input *input, bool all);

/* FL_ERR_USAGE unless plan->node <= available, with one line: what it needs, what there is
 * (`source` says whose word that is), and with which keys it would fit. */
fl_status fl_memory_plan_check(const fl_memory_plan *plan, const fl_memory_input *input,
                               uint64_t available, const char *source);

#endif
