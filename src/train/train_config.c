#include "train/train_config.h"

#include <stddef.h>

#define AT(field) offsetof(fl_train_config, field)

// clang-format off
const fl_conf_row fl_train_rows[] = {
    {"objective", FL_CONF_WORD, AT(objective), "sft", 0, 0, "sft|dpo",
     "what local training learns: sft the responses, dpo which of two answers is preferred"},
    {"batch_size", FL_CONF_INT, AT(batch_size), "16", 1, 65536, NULL,
     "sequences per micro-batch"},
    {"gradient_accumulation_steps", FL_CONF_INT, AT(gradient_accumulation_steps), "1", 1, 65536, NULL,
     "micro-batches per optimiser step; their mean losses are averaged"},
    {"gradient_checkpointing", FL_CONF_BOOL, AT(gradient_checkpointing), "false", 0, 0, NULL,
     "keep only the input of each layer and compute the rest again in the backward pass: the same "
     "result in less memory and a third more time"},
    {"max_steps", FL_CONF_INT, AT(max_steps), "10", 1, 1e9, NULL,
     "optimiser steps per client and round"},
    {"learning_rate", FL_CONF_FLOAT, AT(learning_rate), "2e-5", 0, 10, NULL,
     "learning rate of the first round"},
    {"learning_rate_min", FL_CONF_FLOAT, AT(learning_rate_min), "1e-6", 0, 10, NULL,
     "what the cosine over the rounds falls towards; with objective dpo 1e-5 where it is not set"},
    {"max_grad_norm", FL_CONF_FLOAT, AT(max_grad_norm), "1.0", 0, 1e9, NULL,
     "gradient norm above which a step is scaled down; 0 = never"},
    {"weight_decay", FL_CONF_FLOAT, AT(weight_decay), "0.0", 0, 1, NULL,
     "decoupled weight decay of AdamW"},
    {"adam_beta1", FL_CONF_FLOAT, AT(adam_beta1), "0.9", 0, 0.999999, NULL,
     "decay of AdamW's first moment"},
    {"adam_beta2", FL_CONF_FLOAT, AT(adam_beta2), "0.999", 0, 0.999999999, NULL,
     "decay of AdamW's second moment"},
    {"adam_epsilon", FL_CONF_FLOAT, AT(adam_epsilon), "1e-8", 1e-30, 1, NULL,
     "term that keeps AdamW's denominator from zero"},
    {"seed", FL_CONF_INT, AT(seed), "2023", 0, 1e15, NULL,
     "of the data split, LoRA initialisation, dropout and client sampling"},
    {"dpo_loss", FL_CONF_WORD, AT(dpo_loss), "dpo", 0, 0, "dpo|cdpo|ipo",
     "loss of objective dpo; cdpo allows for wrong labels, ipo is a square over means per token"},
    {"dpo_beta", FL_CONF_FLOAT, AT(dpo_beta), "0.1", 1e-6, 1000, NULL,
     "beta of the losses: how far the adapter may lead away from the base"},
    {"dpo_label_smoothing", FL_CONF_FLOAT, AT(dpo_label_smoothing), "0.1", 0, 0.5, NULL,
     "share of wrong labels that cdpo expects"},
    {"dpo_max_length", FL_CONF_INT, AT(dpo_max_length), "512", 2, 1048576, NULL,
     "tokens of prompt and answer together at the most"},
    {"dpo_max_prompt_length", FL_CONF_INT, AT(dpo_max_prompt_length), "128", 1, 1048576, NULL,
     "what a prompt is cut to where that is too long; it loses its front"},
    {"dpo_compat", FL_CONF_BOOL, AT(dpo_compat), "false", 0, 0, NULL,
     "token ids and truncation as the reference has them (no bos, parts tokenised one by one)"},
};
// clang-format on
const size_t fl_train_row_count = sizeof fl_train_rows / sizeof fl_train_rows[0];
