/* DiLoCo (Douillard et al. 2023, arXiv 2311.08105): the server takes the mean update as an outer
 * gradient and does a Nesterov step.
 *   d = -sum_k p_k (y_k - w), p_k = n_k / sum n;   m <- b m + d;   w <- w - eta (d + b m) */
#include "fed/algorithm.h"

#include <stddef.h>

static const fl_conf_row rows[] = {
    {"diloco_eta", FL_CONF_FLOAT, offsetof(fl_fed_config, diloco_eta), "0.7", 0, 1e3, NULL,
     "diloco: outer learning rate"},
    {"diloco_momentum", FL_CONF_FLOAT, offsetof(fl_fed_config, diloco_momentum), "0.9", 0, 0.999999,
     NULL, "diloco: Nesterov momentum of the outer step"},
};

static void diloco_aggregate(const fl_aggregation *a)
{
    double eta = a->config->diloco_eta, b = a->config->diloco_momentum;
    float *w = a->global->data, *momentum = a->server[0].data;
    for (size_t i = 0; i < a->global->count; i++) {
        double d = -fl_mean_of(&a->update, i), m = b * (double)momentum[i] + d;
        momentum[i] = (float)m;
        w[i] = (float)((double)w[i] - eta * (d + b * m));
    }
}

const fl_algorithm fl_algorithm_diloco = {.name = "diloco",
                                          .rows = rows,
                                          .row_count = sizeof rows / sizeof rows[0],
                                          .server = {"m"},
                                          .aggregate = diloco_aggregate};
