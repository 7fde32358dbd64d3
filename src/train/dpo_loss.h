/* Losses over h = [log pi(chosen) - log ref(chosen)] - [log pi(rejected) - log ref(rejected)] of a
 * pair (Rafailov et al. 2023, arXiv 2305.18290).
 *
 * dpo   -log s(beta h),  s the logistic function
 * cdpo  -(1 - epsilon) log s(beta h) - epsilon log s(-beta h): labels are wrong at the rate epsilon
 * ipo   (h - 1 / (2 beta))^2 with log-probabilities per token (Azar et al. 2023, arXiv 2310.12036)
 */
#ifndef FL_TRAIN_DPO_LOSS_H
#define FL_TRAIN_DPO_LOSS_H

#include "train/train_config.h"

typedef struct fl_dpo_loss {
    const char *name;
    bool per_token; /* log-probabilities are means over the answer's tokens, else sums */
    /* Returns the loss; *slope = d loss / d h. */
    double (*value)(const fl_train_config *config, double h, double *slope);
} fl_dpo_loss;

/* The loss of this name, which is one of the key's words. */
const fl_dpo_loss *fl_dpo_loss_find(const char *name);

#endif
