/* RoLoRA (Chen et al. 2025, arXiv 2502.01755): rounds 1, 3, ... train and average B, rounds 2, 4,
 * ... A.  Exact in both: the other factor is the same at all clients.  B is first, since the
 * gradient of A is zero while B is.
 *
 * The server optimisers keep their states for both factors, and touch those of the one that was
 * trained. */
#include "fed/lora_method.h"

static const char *const algorithms[] = {"fedavg",  "fedprox", "fedavgm", "fedadagrad", "fedyogi",
                                         "fedadam", "fednova", "diloco",  NULL};

const fl_lora_method fl_lora_rolora = {
    .name = "rolora",
    .trained = {FL_FACTOR_B, FL_FACTOR_A},
    .sent = {FL_FACTOR_B, FL_FACTOR_A},
    .exact = true,
    .algorithms = algorithms,
    .reason = "the factors take turns, so control variates of one round are those of the other "
              "factor; it needs an algorithm without client states, and other clients than one"};
