/* The training workloads of scripts/gpu_check.sh: what is trained, on which made-up data, and the
 * operations that no implementation can do without. */
#ifndef FL_TESTS_BENCH_WORKLOAD_H
#define FL_TESTS_BENCH_WORKLOAD_H

#include "train/trainer.h"

/* One row of the table.  Token ids are drawn uniformly from the vocabulary. */
typedef struct workload {
    const char *name;
    const char *objective; /* "sft", "dpo" */
    int64_t batch;         /* examples per optimiser step */
    int64_t prompt;        /* tokens in front that do not count in the loss */
    int64_t answer;        /* tokens that do; of a pair, each of both */
    double spread;         /* 0: all examples are as long.  Otherwise lengths are log-normal with
                              median prompt + answer and this deviation of the logarithm, ... */
    int64_t longest;       /* ... cut here; the prompt keeps its share of each */
    int64_t r;
    double alpha, dropout;
    bool all_linears; /* false: q and v */
    fl_format format; /* of the base */
    int64_t layers;   /* that the model it is measured on has; for scripts/gpu_check.sh */
} workload;

extern const workload workloads[];
extern const size_t workload_count;
const workload *workload_find(const char *name); /* NULL: none */

/* The same in a size for tests. */
workload workload_tiny(const workload *w);

/* `steps` batches of examples or pairs; the other is NULL. */
typedef struct workload_data {
    fl_examples *examples;
    fl_pairs *pairs;
    double *reference;
    uint32_t *indices; /* 0, 1, 2, ... */
    size_t count;
    int64_t longest;   /* tokens of one example in a packed batch */
    int64_t positions; /* of the longest sequence */
    bool share_prompts;
} workload_data;

fl_status workload_make_data(workload_data *out, const workload *w, int64_t steps, int64_t vocab,
                             bool share_prompts);
void workload_free_data(workload_data *data);
fl_train_data workload_train_data(const workload_data *data);

/* Steps first, first + 1, ... of the data. */
typedef struct workload_steps {
    int64_t first, count;
} workload_steps;

/* Tokens of all sequences of these steps, without padding.  A pair counts as two sequences with the
 * prompt in both. */
double workload_tokens(const workload *w, const workload_data *data, workload_steps steps);

/* Operations of these steps: the linears forward and towards their input, loss and attention where
 * they count, LoRA; nothing twice, prompts of pairs once, references known.  The first layer's q,
 * k, v need no gradient of their input, the last layer's q, o and MLP no other tokens than those
 * that predict.  adapter: numbers in it. */
double workload_flops(const workload *w, const workload_data *data, workload_steps steps,
                      const fl_model_config *model, size_t adapter);

/* What a peer needs to do the same: DIR/workload.json with settings and ids, DIR/adapter in PEFT's
 * layout with the values that training starts from. */
typedef struct workload_start {
    const workload *w;
    const fl_train_config *train;
    const fl_lora_config *lora;
    const fl_model_config *model;
    const fl_params *adapter;
    const char *model_dir;
} workload_start;
fl_status workload_export(const char *dir, const workload_start *start, const workload_data *data);

#endif
