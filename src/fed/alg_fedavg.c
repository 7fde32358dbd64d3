/* FedAvg (McMahan et al. 2017, arXiv 1602.05629): w <- w + sum_k p_k (w_k - w), p_k = n_k / sum n.
 *
 * Use this file as the starting point for another algorithm: a comment with source and formula, the
 * hooks, the table, one line in algorithm.c. */
#include "fed/algorithm.h"

void fl_aggregate_mean(const fl_aggregation *a)
{
    for (size_t i = 0; i < a->global->count; i++) {
        double change = fl_mean_of(&a->update, i);
        a->global->data[i] = (float)((double)a->global->data[i] + change);
    }
}

const fl_algorithm fl_algorithm_fedavg = {.name = "fedavg", .aggregate = fl_aggregate_mean};
