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
    bool expanded;    /* the base, see fl_model_open_as */
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
    int devices;      /* that the training ranks of this node share; not read with host_memory */
    bool server;      /* rank 0 is on this node, and does not train */
    bool alone;       /* one rank does everything */
    uint64_t process; /* private bytes that a rank holds already: program, MPI, tokenizer, data */
} fl_memory_input;

/* Bytes.  On a backend with host_memory all of it is the node's; else what the backend computes on
 * is memory of its device, and there is no map to share. */
typedef struct fl_memory_plan {
    uint64_t mapped; /* pages of the weight files: once per node */
    /* of one training rank, where it computes */
    uint64_t base;      /* norms, tables, linears quantised at load; on a device all weights */
    uint64_t staged;    /* of an expanded base while it is read, before the rest is there */
    uint64_t adapter;   /* weights, gradients, moments, the algorithm's client side */
    uint64_t side;      /* what the base has moved by, at the end of the run */
    uint64_t layers;    /* activations kept for the backward pass */
    uint64_t workspace; /* activations that all layers share */
    uint64_t loss;      /* logits and what belongs to them */
    uint64_t cache;     /* keys and values of the evaluation */
    uint64_t kernels;   /* what ops keep for themselves */
    uint64_t device;    /* sum of these where they are a device's, else 0 */
    /* of one training rank, always the node's */
    uint64_t round;   /* global adapter, result, sums, batch, client's state */
    uint64_t copies;  /* buffers between host and device */
    uint64_t saving;  /* server states, single clients' factors, image of state.h5; rank 0 only */
    uint64_t process; /* as in the input */
    uint64_t rank;    /* sum of what the node has of one */
    uint64_t server;  /* of a rank 0 that does not train; 0: none on this node */
    uint64_t node;    /* all ranks of this node, and the map */
    fl_scratch_need scratch; /* what `kernels` is for */
} fl_memory_plan;

/* What there is, in bytes; UINT64_MAX: as much as one likes.  Whose word it is, for people. */
typedef struct fl_memory_limits {
    uint64_t node, device;
    const char *node_source, *device_source;
} fl_memory_limits;

fl_status fl_memory_plan_make(fl_memory_plan *out, const fl_memory_input *input);

/* Prints the plan.  all: every line of a training rank. */
void fl_memory_plan_print(const fl_memory_plan *plan, const fl_memory_input *input, bool all);

/* Of one device: all ranks that share it. */
uint64_t fl_memory_plan_device(const fl_memory_plan *plan, const fl_memory_input *input);

/* FL_ERR_USAGE unless the plan is within the limits, with one line: what it needs, what there is,
 * and with which keys it would fit. */
fl_status fl_memory_plan_check(const fl_memory_plan *plan, const fl_memory_input *input,
                               const fl_memory_limits *limits);

#endif
