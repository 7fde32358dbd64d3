/* FedSA-LoRA (Guo et al. 2024, arXiv 2410.01463): both factors are trained, only A is sent,
 * A <- mean of A_k; B_k stays with client k, which goes on with it when it takes part again.
 * A client's model is its B_k with the global A; evaluation judges each of them. */
#include "fed/lora_method.h"

static const char *const algorithms[] = {"fedavg",  "fedprox", "fedavgm", "fedadagrad", "fedyogi",
                                         "fedadam", "fednova", "diloco",  NULL};

const fl_lora_method fl_lora_fedsa = {
    .name = "fedsa",
    .trained = {FL_FACTORS, FL_FACTORS},
    .sent = {FL_FACTOR_A, FL_FACTOR_A},
    .client = "B",
    .algorithms = algorithms,
    .reason = "every client keeps a B of its own, and there is no second client state beside it; "
              "a single client would share its A with nobody"};
