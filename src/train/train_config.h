/* Keys of local training: the reference's names and defaults. */
#ifndef FL_TRAIN_TRAIN_CONFIG_H
#define FL_TRAIN_TRAIN_CONFIG_H

#include "base/conf.h"

#define FL_DPO_LEARNING_RATE_MIN "1e-5" /* the reference's with DPO, where none is set */

typedef struct fl_train_config {
    const char *objective;               /* "sft", "dpo" */
    int64_t batch_size;                  /* sequences per micro-batch */
    int64_t gradient_accumulation_steps; /* micro-batches per optimiser step */
    bool gradient_checkpointing;         /* keep only each layer's input for the backward pass */
    int64_t max_steps;                   /* optimiser steps per client and round */
    double learning_rate;                /* of the first round */
    double learning_rate_min;            /* what the cosine over the rounds falls towards */
    double max_grad_norm;                /* 0: no clipping */
    double weight_decay, adam_beta1, adam_beta2, adam_epsilon;
    int64_t seed;
    const char *dpo_loss; /* "dpo", "cdpo", "ipo" */
    double dpo_beta;
    double dpo_label_smoothing; /* epsilon of cdpo */
    int64_t dpo_max_length, dpo_max_prompt_length;
    bool dpo_compat;
} fl_train_config;

extern const fl_conf_row fl_train_rows[];
extern const size_t fl_train_row_count;

#endif
