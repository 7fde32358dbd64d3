#include "fed/fedopt.h"

#include <math.h>
#include <stddef.h>

#define AT(field) offsetof(fl_fed_config, field)

// clang-format off
const fl_conf_row fl_fedopt_rows[FL_FEDOPT_ROWS] = {
    {"fedopt_tau", FL_CONF_FLOAT, AT(fedopt_tau), "1e-3", 1e-12, 1e3, NULL,
     "fedadagrad, fedyogi, fedadam: tau in the denominator; the second moment starts at tau^2"},
    {"fedopt_eta", FL_CONF_FLOAT, AT(fedopt_eta), "1e-3", 0, 1e3, NULL,
     "fedadagrad, fedyogi, fedadam: server learning rate"},
    {"fedopt_beta1", FL_CONF_FLOAT, AT(fedopt_beta1), "0.9", 0, 0.999999, NULL,
     "fedavgm, fedyogi, fedadam: decay of the momentum"},
    {"fedopt_beta2", FL_CONF_FLOAT, AT(fedopt_beta2), "0.99", 0, 0.999999, NULL,
     "fedyogi, fedadam: decay of the second moment"},
};
// clang-format on

void fl_fedopt_start(const fl_fed_config *config, fl_params *v)
{
    for (size_t i = 0; i < v->count; i++)
        v->data[i] = (float)(config->fedopt_tau * config->fedopt_tau);
}

double fl_fedopt_momentum(const fl_aggregation *a, double m, double d)
{
    if (a->round == 0 && fl_fed_is_reference(a->config)) return d;
    return a->config->fedopt_beta1 * m + (1.0 - a->config->fedopt_beta1) * d;
}

double fl_fedopt_driver(const fl_aggregation *a, double m, double d)
{
    return fl_fed_is_reference(a->config) ? m : d;
}

double fl_fedopt_step(const fl_aggregation *a, double w, double m, double v)
{
    return w + a->config->fedopt_eta * m / (sqrt(v) + a->config->fedopt_tau);
}
