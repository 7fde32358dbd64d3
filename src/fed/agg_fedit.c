/* FedIT (Zhang et al. 2023, arXiv 2305.05644): A <- mean of A_k, B <- mean of B_k.  What is
 * installed differs from M* by the weighted covariance of the factors. */
#include "fed/lora_method.h"

const fl_lora_method fl_lora_fedit = {
    .name = "fedit", .trained = {FL_FACTORS, FL_FACTORS}, .sent = {FL_FACTORS, FL_FACTORS}};
