/* FedAvg (McMahan et al. 2017, arXiv 1602.05629): w <- w + sum_k p_k (w_k - w), p_k = n_k / sum n.
 *
 * Use this file as the starting point for another algorithm: a comment with source and formula, the
 * hooks, the table, one line in algorithm.c. */
#include "fed/algorithm.h"
#include "fed/update.h"

void fl_aggregate_mean(const fl_fed_config *config, fl_params *global, const fl_round_sum *sum)
{
    (void)config;
    for (size_t i = 0; i < global->count; i++) {
        double change = fl_update_mean(sum->sum[i], sum->grid, sum->total_weight);
        global->data[i] = (float)((double)global->data[i] + change);
    }
}

const fl_algorithm fl_algorithm_fedavg = {.name = "fedavg", .aggregate = fl_aggregate_mean};
