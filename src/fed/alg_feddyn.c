/* FedDyn (Acar et al. 2021, arXiv 2111.04263).  g_k for each client and h on the server, zeros at
 * first; w is the adapter that the client received.
 *
 *   client   minimises L(y) - <g_k, y> + (alpha / 2) ||y - w||^2, then g_k <- g_k - alpha (y - w)
 *   server   h <- h - alpha (1/N) sum_k (y_k - w);   w <- mean of y_k - h / alpha
 *
 * The further terms are part of the objective, so clipping and AdamW see them; the reported loss is
 * that of the task alone, as <g_k, y> has no meaning for a reader. */
#include "fed/algorithm.h"

#include <stddef.h>

static const fl_conf_row rows[] = {
    {"feddyn_alpha", FL_CONF_FLOAT, offsetof(fl_fed_config, feddyn_alpha), "0.01", 1e-9, 1e6, NULL,
     "feddyn: weight alpha of the dynamic regulariser"},
};

static double feddyn_after_backward(const fl_client *c, const float *weights, float *grads,
                                    double copies)
{
    int64_t n = (int64_t)c->count;
    c->ops->copy(c->scratch, weights, c->count * sizeof *weights);
    c->ops->axpy(c->scratch, c->received, -1.0f, n);
    c->ops->axpy(grads, c->scratch, (float)(copies * c->config->feddyn_alpha), n);
    c->ops->axpy(grads, c->own, (float)-copies, n);
    return 0;
}

static void feddyn_finish(fl_client *c, const float *y, const fl_local_result *local)
{
    (void)local;
    for (size_t i = 0; i < c->count; i++) {
        double moved = (double)y[i] - (double)c->host_received[i];
        c->host_own[i] = (float)((double)c->host_own[i] - c->config->feddyn_alpha * moved);
    }
}

static void feddyn_aggregate(const fl_aggregation *a)
{
    double alpha = a->config->feddyn_alpha;
    double share = (double)a->clients / (double)a->config->num_clients;
    float *w = a->global->data, *state = a->server[0].data;
    for (size_t i = 0; i < a->global->count; i++) {
        double moved = fl_mean_of(&a->update, i), h = (double)state[i] - alpha * share * moved;
        state[i] = (float)h;
        w[i] = (float)((double)w[i] + moved - h / alpha);
    }
}

const fl_algorithm fl_algorithm_feddyn = {.name = "feddyn",
                                          .rows = rows,
                                          .row_count = sizeof rows / sizeof rows[0],
                                          .weighting = FL_WEIGH_EQUAL,
                                          .server = {"h"},
                                          .client = "g",
                                          .after_backward = feddyn_after_backward,
                                          .finish_client = feddyn_finish,
                                          .aggregate = feddyn_aggregate};
