/* FFA-LoRA (Sun et al. 2024, arXiv 2403.12313): A stays as it was drawn, B <- mean of B_k.
 * Exact: sum_k p_k B_k A is the mean of B times A.
 *
 * The starting point for a method that is linear in what is sent. */
#include "fed/lora_method.h"

const fl_lora_method fl_lora_ffa = {.name = "ffa",
                                    .trained = {FL_FACTOR_B, FL_FACTOR_B},
                                    .sent = {FL_FACTOR_B, FL_FACTOR_B},
                                    .exact = true};
