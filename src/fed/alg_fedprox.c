/* FedProx (Li et al. 2020, arXiv 1812.06127): the client minimises L(y) + (mu / 2) ||y - w||^2 over
 * the trainable tensors, w the adapter it received; the server is FedAvg's.  Both variants.
 *
 * The starting point for an algorithm that changes the client's objective. */
#include "fed/algorithm.h"

#include <stddef.h>

static const fl_conf_row rows[] = {
    {"prox_mu", FL_CONF_FLOAT, offsetof(fl_fed_config, prox_mu), "0.01", 0, 1e6, NULL,
     "fedprox: weight mu of the proximal term"},
};

static double prox_after_backward(const fl_client *c, const float *weights, float *grads,
                                  double copies)
{
    double mu = c->config->prox_mu;
    int64_t n = (int64_t)c->count;
    c->ops->copy(c->scratch, weights, c->count * sizeof *weights);
    c->ops->axpy(c->scratch, c->received, -1.0f, n);
    c->ops->axpy(grads, c->scratch, (float)(copies * mu), n);
    return 0.5 * mu * c->ops->sum_squares(c->scratch, n);
}

const fl_algorithm fl_algorithm_fedprox = {.name = "fedprox",
                                           .rows = rows,
                                           .row_count = sizeof rows / sizeof rows[0],
                                           .after_backward = prox_after_backward,
                                           .aggregate = fl_aggregate_mean};
