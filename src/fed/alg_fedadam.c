/* FedAdam (Reddi et al. 2021, arXiv 2003.00295): d = (1/K) sum_k (y_k - w), v_0 = tau^2,
 *   m <- b1 m + (1 - b1) d;   v <- b2 v + (1 - b2) s^2;   w <- w + eta m / (sqrt(v) + tau)
 * without bias correction.  paper: s = d.  openfedllm: s = m, and m = d in the first round. */
#include "fed/fedopt.h"

static void fedadam_init(const fl_fed_config *config, fl_params *server)
{
    fl_fedopt_start(config, &server[1]);
}

static void fedadam_aggregate(const fl_aggregation *a)
{
    float *w = a->global->data, *first = a->server[0].data, *second = a->server[1].data;
    double beta2 = a->config->fedopt_beta2;
    for (size_t i = 0; i < a->global->count; i++) {
        double d = fl_mean_of(&a->update, i);
        double m = fl_fedopt_momentum(a, (double)first[i], d);
        double s = fl_fedopt_driver(a, m, d);
        double v = beta2 * (double)second[i] + (1.0 - beta2) * s * s;
        first[i] = (float)m;
        second[i] = (float)v;
        w[i] = (float)fl_fedopt_step(a, (double)w[i], m, v);
    }
}

const fl_algorithm fl_algorithm_fedadam = {.name = "fedadam",
                                           .rows = fl_fedopt_rows,
                                           .row_count = FL_FEDOPT_ROWS,
                                           .weighting = FL_WEIGH_EQUAL,
                                           .server = {"m", "v"},
                                           .init = fedadam_init,
                                           .aggregate = fedadam_aggregate};
