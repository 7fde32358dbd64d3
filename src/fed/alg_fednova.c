/* FedNova (Wang et al. 2020, arXiv 2007.07481): a client's update is divided by the length of its
 * local path, so that clients with more steps do not pull the optimum towards theirs.
 *   w <- w + tau_eff sum_k p_k (y_k - w) / tau_k;   tau_eff = sum_k p_k tau_k;   p_k = n_k / sum n
 *
 * tau_k is the number of steps, which is the paper's normaliser ||a_k||_1 for SGD; AdamW steps are
 * counted the same.  While all clients do max_steps steps this is FedAvg. */
#include "fed/algorithm.h"

static void fednova_finish(fl_client *c, const float *y, const fl_local_result *local)
{
    (void)y;
    c->scale = local->updates > 0 ? 1.0 / (double)local->updates : 1.0;
}

static void fednova_aggregate(const fl_aggregation *a)
{
    float *w = a->global->data;
    for (size_t i = 0; i < a->global->count; i++)
        w[i] = (float)((double)w[i] + a->mean_steps * fl_mean_of(&a->update, i));
}

const fl_algorithm fl_algorithm_fednova = {
    .name = "fednova", .finish_client = fednova_finish, .aggregate = fednova_aggregate};
