/* How the server makes one adapter of the clients' adapters: one const table, one file agg_NAME.c.
 *
 * The change of a weight is s B A, so the mean of the factors is not the mean of the products.  The
 * methods differ in which factor is trained and sent, and in what the server does with them; the
 * algorithm (fed/algorithm.h) then works on the vector of what was sent, where the method is linear
 * in it.  Notation: p_k weight of client k, bars weighted means, M* = sum_k p_k s_k B_k A_k.
 *
 * To add one: copy agg_ffa.c, one line in the list of lora_method.c; its formulas in
 * tests/golden/golden_lora.py.
 */
#ifndef FL_FED_LORA_METHOD_H
#define FL_FED_LORA_METHOD_H

#include "fed/algorithm.h"
#include "fed/factors.h"

typedef struct fl_lora_round fl_lora_round; /* fed/lora_round.h */

typedef struct fl_lora_method {
    const char *name;        /* as in lora_aggregation */
    const fl_conf_row *rows; /* its keys, in fl_fed_config */
    size_t row_count;
    unsigned trained[2], sent[2];  /* factors, in rounds 0, 2, ... and 1, 3, ... */
    bool exact;                    /* installs M*, up to rounding */
    bool moves_base;               /* a round may add to the base (fed/side.h) */
    bool mixed_ranks;              /* clients may have smaller ranks than the adapter */
    const char *client;            /* the state that each client keeps: the factors that it trains
                                      and does not send; NULL: none */
    const char *const *algorithms; /* fed_alg that it goes with, NULL at the end; NULL: all */
    const char *reason;            /* why not with others */

    /* Optional: makes the adapter out of the clients' own factors; without it the algorithm does,
     * out of the exact sum of what was sent. */
    fl_status (*aggregate)(const fl_lora_round *round);
} fl_lora_method;

/* All of them; *count methods. */
const fl_lora_method *const *fl_lora_methods(size_t *count);
/* That of config->lora_aggregation, whose words the config has checked; NULL is fedit. */
const fl_lora_method *fl_lora_method_of(const fl_fed_config *config);
/* The names as words of a configuration row. */
const char *fl_lora_method_words(void);
/* Errors: FL_ERR_USAGE with the reason when the two, or the method and an option, do not go
 * together. */
fl_status fl_lora_method_check(const fl_lora_method *method, const fl_algorithm *algorithm,
                               const fl_fed_config *config);

unsigned fl_lora_trained(const fl_lora_method *method, int64_t round);
unsigned fl_lora_sent(const fl_lora_method *method, int64_t round);
/* What the hosts have to be sent before this round: what the one before it moved. */
unsigned fl_lora_moved(const fl_lora_method *method, int64_t round);
/* The factors that a client keeps to itself. */
unsigned fl_lora_kept(const fl_lora_method *method, int64_t round);

extern const fl_lora_method fl_lora_fedit, fl_lora_ffa, fl_lora_rolora, fl_lora_fedsa,
    fl_lora_flora, fl_lora_fedex, fl_lora_florist;

#endif
