/* What the server optimisers of Reddi et al. 2021 (arXiv 2003.00295) and FedAvgM share.  d is the
 * mean update of the round, m and v are server states, v_0 = tau^2. */
#ifndef FL_FED_FEDOPT_H
#define FL_FED_FEDOPT_H

#include "fed/algorithm.h"

enum { FL_FEDOPT_ROWS = 4 };
extern const fl_conf_row fl_fedopt_rows[FL_FEDOPT_ROWS]; /* tau, eta, beta1, beta2 */

/* v = tau^2 */
void fl_fedopt_start(const fl_fed_config *config, fl_params *v);

/* The new m of FedYogi and FedAdam, and of the reference's FedAvgM: b1 m + (1 - b1) d; with
 * openfedllm it is d in the first round. */
double fl_fedopt_momentum(const fl_aggregation *round, double m, double d);

/* What the second moment follows: d in the paper, m in the reference. */
double fl_fedopt_driver(const fl_aggregation *round, double m, double d);

/* w + eta m / (sqrt(v) + tau) */
double fl_fedopt_step(const fl_aggregation *round, double w, double m, double v);

#endif
