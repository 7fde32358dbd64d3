/* FLoRIST (Ramesh et al. 2025, arXiv 2506.09199): M* = U S V^T by thin factorisations of the
 * stacked factors; B <- U_q S_q / s, A <- V_q^T with the smallest q that keeps the share
 * florist_tau of sum S^2, at most the adapter's rank.  The best rank-q approximation of M*; clients
 * may have different ranks, and a client of rank r_k starts from the best rank-r_k one, with its
 * own s_k.
 *
 * Where q is below the adapter's rank the rows of A that are left are drawn anew, with zeros in B:
 * they change nothing now, and can be learnt with in the next round. */
#include "fed/client_factors.h"
#include "fed/lora_round.h"

#include <stddef.h>

static const fl_conf_row rows[] = {
    {"florist_tau", FL_CONF_FLOAT, offsetof(fl_fed_config, florist_tau), "0.99", 0.01, 1, NULL,
     "florist: share of the squared singular values that is kept"},
};

static void install(const fl_lora_round *round, const fl_svd *svd, size_t pair)
{
    const fl_param *a = &round->global->params[2 * pair], *b = a + 1;
    size_t r = (size_t)a->dim[0], cols = (size_t)a->dim[1], num_rows = (size_t)b->dim[0];
    size_t q = fl_svd_rank(svd, round->config->florist_tau, r);
    double s = fl_matrix_scale(round->clients, pair);
    float *to_a = round->global->data + a->offset, *to_b = round->global->data + b->offset;
    fl_lora_fresh(round, pair);
    for (size_t j = 0; j < q; j++) {
        for (size_t c = 0; c < cols; c++)
            to_a[j * cols + c] = (float)svd->v[j * cols + c];
        for (size_t i = 0; i < num_rows; i++)
            to_b[i * r + j] = (float)(svd->sigma[j] * svd->u[j * num_rows + i] / s);
    }
}

static fl_status florist_matrix(const fl_lora_round *round, size_t pair)
{
    const fl_param *a = &round->global->params[2 * pair];
    fl_low_rank m;
    fl_svd svd = {0};
    FL_TRY(fl_low_rank_init(&m, (size_t)a[1].dim[0], (size_t)a->dim[1],
                            round->clients->clients * (size_t)a->dim[0]));
    fl_client_factors_sum(&m, round->clients, pair);
    fl_status status = fl_low_rank_svd(&svd, &m);
    if (status == FL_OK) install(round, &svd, pair);
    fl_svd_fini(&svd);
    fl_low_rank_fini(&m);
    return status;
}

static fl_status florist_aggregate(const fl_lora_round *round)
{
    for (size_t pair = 0; pair < round->global->num_params / 2; pair++)
        FL_TRY(florist_matrix(round, pair));
    return FL_OK;
}

const fl_lora_method fl_lora_florist = {.name = "florist",
                                        .rows = rows,
                                        .row_count = sizeof rows / sizeof rows[0],
                                        .trained = {FL_FACTORS, FL_FACTORS},
                                        .sent = {FL_FACTORS, FL_FACTORS},
                                        .mixed_ranks = true,
                                        .algorithms = fl_lora_products_go_with,
                                        .reason = fl_lora_products_reason,
                                        .aggregate = florist_aggregate};
