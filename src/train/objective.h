/* What local training learns from a micro-batch: one const table, one file.
 *
 * The trainer's loop (accumulation, hooks of the federated algorithm, clipping, AdamW) is the same
 * for all objectives.  To add one: copy objective_sft.c, fill the members, add one line to the list
 * in objective.c and a word to the key in train_config.c.
 */
#ifndef FL_TRAIN_OBJECTIVE_H
#define FL_TRAIN_OBJECTIVE_H

#include "data/batch.h"
#include "model/decoder.h"
#include "train/train_config.h"

enum { FL_MAX_MEASURES = 4 };

/* The records of a run in the form that its objective takes; the rest is NULL. */
typedef struct fl_train_data {
    const fl_examples *examples; /* sft */
    const fl_pairs *pairs;       /* dpo */
    double *reference;  /* dpo: [pairs->count][2] summed log-probabilities of chosen and rejected
                           under the reference; NaN until they are computed */
    bool share_prompts; /* dpo: compute the tokens of a prompt once for both answers; where the
                           backend shares prefixes */
} fl_train_data;

/* What one client puts into a packed batch, and what it gets back. */
typedef struct fl_micro_part {
    const fl_train_data *data;
    const uint32_t *picked; /* [count] examples of its micro-batch */
    size_t count;           /* 0: nothing of it is in the batch */
    double *measures;       /* [FL_MAX_MEASURES] += the sum of each over the examples */
} fl_micro_part;

/* The micro-batches of some clients, one behind the other, and what they are computed with;
 * everything borrowed. */
typedef struct fl_micro_batch {
    const fl_train_config *config;
    fl_decoder *decoder; /* with an adapter for each client, or none */
    fl_batch *batch;
    int64_t clients;
    const fl_micro_part *parts;  /* [clients] */
    const int32_t *first;        /* [clients + 1] tokens of each, as in fl_tokens_view */
    const fl_dropout_keys *keys; /* [clients]; NULL: no dropout */
    double *loss;                /* [clients] of each, set */
    float *grads;                /* [clients][stride] backend memory, added to */
    double *nll;                 /* scratch: one for each token of the batch */
    double *logp;                /* scratch: one for each sequence of the batch */
} fl_micro_batch;

/* A number that is told besides the loss: the mean over the examples that were trained on. */
typedef struct fl_measure {
    const char *name;  /* its key in metrics.jsonl; NULL: none */
    const char *label; /* on the terminal; NULL: not there */
} fl_measure;

typedef struct fl_objective {
    const char *name;
    int64_t sequences; /* that an example is packed as */
    fl_measure measures[FL_MAX_MEASURES];

    size_t (*count)(const fl_train_data *data);
    int64_t (*tokens)(const fl_train_data *data, size_t i); /* of example i in a packed batch */
    int64_t (*longest)(const fl_train_data *data);          /* the largest of these */
    int64_t (*positions)(const fl_train_data *data);        /* of the longest sequence */

    /* Adds a client's examples to the batch.  Where no token of them counts, the trainer takes
     * them out again. */
    fl_status (*pack)(fl_batch *batch, const fl_micro_part *part);
    /* Of every client the mean loss of its micro-batch, its gradient and measures. */
    fl_status (*gradient)(const fl_micro_batch *micro);

    /* Optional, both or none: what is needed of the reference model before an example is trained
     * on.  The decoder has no adapter then: the reference is the base as it was loaded, also where
     * an aggregation method has moved the weights that are trained on. */
    bool (*has_reference)(const fl_train_data *data, uint32_t example);
    fl_status (*make_reference)(const fl_micro_batch *micro);
} fl_objective;

/* The packed batch as the decoder takes it. */
fl_tokens_view fl_micro_tokens(const fl_micro_batch *micro);
fl_targets_view fl_micro_targets(const fl_micro_batch *micro);

/* The objective of this name, which is one of the key's words. */
const fl_objective *fl_objective_find(const char *name);

extern const fl_objective fl_objective_sft, fl_objective_dpo;

#endif
