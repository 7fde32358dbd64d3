/* SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378), option II.  c on the server and c_k for
 * each client, zeros at first.
 *
 *   after every step   y <- y - lr (c - c_k)
 *   at the end         c_k+ = c_k - c + (w - y) / (steps * lr);   sent: c_k+ - c_k
 *   server             w <- w + eta_g sum_k p_k (y_k - w);   c <- c + (1/N) sum_k (c_k+ - c_k)
 *
 * paper: p_k = 1/K, eta_g = scaffold_eta.  openfedllm: p_k = n_k / sum n, eta_g = 1.
 *
 * The unit: with plain SGD (w - y) / (steps * lr) is the mean gradient and the formulas are the
 * paper's.  Our local optimiser is AdamW; there it is the mean AdamW direction, about 1 in each
 * coordinate, and the correction belongs behind the optimiser, where neither clipping nor Adam's
 * moments see it.  The reference does the same. */
#include "fed/algorithm.h"

#include <stddef.h>

static const fl_conf_row rows[] = {
    {"scaffold_eta", FL_CONF_FLOAT, offsetof(fl_fed_config, scaffold_eta), "1.0", 0, 1e3, NULL,
     "scaffold: server learning rate of the paper's variant"},
};

static void scaffold_after_step(const fl_client *c, float *weights, double learning_rate)
{
    c->ops->axpy(weights, c->sent, (float)-learning_rate, (int64_t)c->count);
    c->ops->axpy(weights, c->own, (float)learning_rate, (int64_t)c->count);
}

static void scaffold_finish(fl_client *c, const float *y, const fl_local_result *local)
{
    double length = (double)local->updates * c->learning_rate;
    for (size_t i = 0; i < c->count; i++) {
        double old = (double)c->host_own[i];
        double moved = (double)c->host_received[i] - (double)y[i];
        double next = length > 0 ? old - (double)c->host_sent[i] + moved / length : old;
        c->host_own[i] = (float)next;
        c->extra[i] = (float)((double)c->host_own[i] - old);
    }
}

static void scaffold_aggregate(const fl_aggregation *a)
{
    double eta = fl_fed_is_reference(a->config) ? 1.0 : a->config->scaffold_eta;
    double share = (double)a->clients / (double)a->config->num_clients;
    float *w = a->global->data, *c = a->server[0].data;
    for (size_t i = 0; i < a->global->count; i++) {
        w[i] = (float)((double)w[i] + eta * fl_mean_of(&a->update, i));
        c[i] = (float)((double)c[i] + share * fl_mean_of(&a->extra, i));
    }
}

const fl_algorithm fl_algorithm_scaffold = {.name = "scaffold",
                                            .rows = rows,
                                            .row_count = sizeof rows / sizeof rows[0],
                                            .weighting = FL_WEIGH_EQUAL_IN_PAPER,
                                            .server = {"c"},
                                            .sends_state = true,
                                            .client = "c",
                                            .extra_sum = true,
                                            .after_step = scaffold_after_step,
                                            .finish_client = scaffold_finish,
                                            .aggregate = scaffold_aggregate};
