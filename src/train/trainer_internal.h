/* Inside of fl_trainer, for trainer*.c only. */
#ifndef FL_TRAIN_TRAINER_INTERNAL_H
#define FL_TRAIN_TRAINER_INTERNAL_H

#include "train/trainer.h"

/* Sums over the micro-batches of a step, or over the steps of a job. */
typedef struct fl_loss_sum {
    double loss;     /* of the micro-batches' mean losses; of the steps' losses */
    int64_t counted; /* micro-batches, steps with tokens that count; the others have no loss */
    double measures[FL_MAX_MEASURES];
    size_t examples; /* in the measures */
} fl_loss_sum;

/* Where one client trains. */
typedef struct fl_train_slot {
    float *weights, *grads, *m, *v; /* [count] in the slabs */
    uint32_t *order;                /* [order_capacity] examples of the running pass */

    /* of the job */
    const fl_local_job *job;
    fl_local_result *result;
    uint64_t pass;         /* through its examples */
    size_t next;           /* example of the pass */
    fl_loss_sum step, all; /* measures are in `all` only */
} fl_train_slot;

struct fl_trainer {
    const fl_model *model;
    const fl_backend_ops *ops;
    const fl_train_config *config;
    const fl_objective *objective;
    fl_decoder *decoder;
    size_t num_slots;
    size_t count;    /* adapter elements */
    size_t stride;   /* from one slot to the next: `count` and what aligns it */
    float *slabs;    /* weights, grads, m, v [num_slots][stride] each, backend memory */
    size_t *tensors; /* [num_tensors] numbers in each; A and B in turn */
    size_t num_tensors;
    float *side; /* change of the base, backend memory; NULL: none */
    fl_batch batch;
    fl_train_slot *slots;  /* [num_slots] */
    size_t order_capacity; /* of each slot */
    fl_arena *arena;       /* owns the slots, the tensors and what follows */

    /* of a pass, [num_slots] unless told otherwise */
    fl_micro_part *parts;
    int32_t *first; /* [num_slots + 1] */
    fl_dropout_keys *keys;
    double *loss, *factor; /* factor: on the scales of the adapters */
    double *nll, *logp;    /* [max_tokens], [max_sequences] scratch of the objective */
};

/* The decoder computes with the adapters of the first `clients` slots. */
void fl_trainer_use_adapters(fl_trainer *trainer, size_t clients);

/* A batch with nothing in it yet, for the first `clients` slots. */
fl_micro_batch fl_trainer_micro(fl_trainer *trainer, size_t clients);
/* The only client's part of a batch without dropout. */
fl_status fl_trainer_pack_one(fl_trainer *trainer, const fl_micro_part *part,
                              fl_micro_batch *micro);

/* An optimiser step with its hooks: the slot's gradients are there, its weights move.  `step` from
 * 1.  Adds to *loss what a hook adds; returns the norm before clipping. */
double fl_trainer_finish_step(fl_trainer *trainer, const fl_train_slot *slot, int64_t step,
                              double *loss);

/* Makes what the reference model says of these examples where it is missing, and tells how often.
 */
fl_status fl_trainer_prepare_reference(fl_trainer *trainer, const fl_train_data *data,
                                       const uint32_t *indices, size_t count,
                                       fl_local_result *result);

#endif
