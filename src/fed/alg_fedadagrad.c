/* FedAdagrad (Reddi et al. 2021, arXiv 2003.00295) with beta1 = 0, both variants:
 *   d = (1/K) sum_k (y_k - w);   v <- v + d^2;   w <- w + eta d / (sqrt(v) + tau);   v_0 = tau^2
 *
 * The reference's trainer knows it by a misspelt name and then runs FedAvg; the name is taken, the
 * algorithm is this one. */
#include "fed/fedopt.h"

static void fedadagrad_init(const fl_fed_config *config, fl_params *server)
{
    fl_fedopt_start(config, &server[0]);
}

static void fedadagrad_aggregate(const fl_aggregation *a)
{
    float *w = a->global->data, *second = a->server[0].data;
    for (size_t i = 0; i < a->global->count; i++) {
        double d = fl_mean_of(&a->update, i), v = (double)second[i] + d * d;
        second[i] = (float)v;
        w[i] = (float)fl_fedopt_step(a, (double)w[i], d, v);
    }
}

const fl_algorithm fl_algorithm_fedadagrad = {.name = "fedadagrad",
                                              .alias = "fedadgrad",
                                              .rows = fl_fedopt_rows,
                                              .row_count = FL_FEDOPT_ROWS,
                                              .weighting = FL_WEIGH_EQUAL,
                                              .server = {"v"},
                                              .init = fedadagrad_init,
                                              .aggregate = fedadagrad_aggregate};
