/* What a method that works on single clients' factors gets and gives at the server. */
#ifndef FL_FED_LORA_ROUND_H
#define FL_FED_LORA_ROUND_H

#include "fed/client_factors.h"
#include "fed/side.h"

struct fl_lora_round {
    const fl_fed_config *config;
    uint64_t seed;
    int64_t round;                    /* from 0 */
    const fl_client_factors *clients; /* at least one */
    fl_params *global;                /* the adapter; out */
    fl_side *change;                  /* out: what the base moves by; NULL unless it may */
};

/* Matrix `pair` of the adapter as at the start of a run, but drawn for the next round: A uniform in
 * +-1/sqrt(in), B zero. */
void fl_lora_fresh(const fl_lora_round *round, size_t pair);

/* Products of factors are not linear in what is sent: the algorithms that only average. */
extern const char *const fl_lora_products_go_with[];
extern const char fl_lora_products_reason[];

#endif
