/* A federated algorithm: one const table, one file.
 *
 * To add one: copy alg_fedavg.c, fill the members, add one line to the list in algorithm.c and the
 * name to fed_alg in fed_config.c, add it to the golden aggregation test.
 */
#ifndef FL_FED_ALGORITHM_H
#define FL_FED_ALGORITHM_H

#include "fed/fed_config.h"
#include "tensor/tensor.h"

/* What the server has after a round: the exact sum of the updates that were kept. */
typedef struct fl_round_sum {
    const int64_t *sum; /* [count] on the grid, see fed/update.h */
    int grid;
    uint64_t total_weight; /* of the clients in the sum; >= 1 */
} fl_round_sum;

typedef struct fl_algorithm {
    const char *name; /* as in fed_alg, without digits */

    /* Optional: chooses the round's clients instead of fl_participation_choose (clients ascending,
     * *count of them), and checks its options at the start of a run (round = 0). */
    fl_status (*choose)(const fl_fed_config *config, int64_t round, uint32_t *clients,
                        int64_t *count);

    /* Required: moves the global adapter.  Not called when no update was kept. */
    void (*aggregate)(const fl_fed_config *config, fl_params *global, const fl_round_sum *sum);
} fl_algorithm;

/* The algorithm of this fed_alg.  Errors: FL_ERR_USAGE with the list of names. */
fl_status fl_algorithm_find(const fl_algorithm **out, const char *fed_alg);

extern const fl_algorithm fl_algorithm_fedavg, fl_algorithm_local;

/* global += mean change: FedAvg's rule, also of algorithms that only change the client. */
void fl_aggregate_mean(const fl_fed_config *config, fl_params *global, const fl_round_sum *sum);

#endif
