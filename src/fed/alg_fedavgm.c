/* FedAvgM (Hsu et al. 2019, arXiv 1909.06335): d = sum_k p_k (y_k - w), p_k = n_k / sum n, b =
 * beta1. paper:       m <- b m + d;                                    w <- w + m openfedllm:  m <-
 * d in the first round, b m + (1 - b) d later;  w <- w + m */
#include "fed/fedopt.h"

static void fedavgm_aggregate(const fl_aggregation *a)
{
    bool reference = fl_fed_is_reference(a->config);
    float *w = a->global->data, *momentum = a->server[0].data;
    for (size_t i = 0; i < a->global->count; i++) {
        double m = (double)momentum[i], d = fl_mean_of(&a->update, i);
        m = reference ? fl_fedopt_momentum(a, m, d) : a->config->fedopt_beta1 * m + d;
        momentum[i] = (float)m;
        w[i] = (float)((double)w[i] + m);
    }
}

const fl_algorithm fl_algorithm_fedavgm = {.name = "fedavgm",
                                           .rows = fl_fedopt_rows,
                                           .row_count = FL_FEDOPT_ROWS,
                                           .server = {"m"},
                                           .aggregate = fedavgm_aggregate};
