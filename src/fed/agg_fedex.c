/* FedEx-LoRA (Singhal et al. 2024, arXiv 2410.09432): A <- mean of A_k, B <- mean of B_k, and the
 * base moves by what these two miss, s (sum p_k B_k A_k - mean B mean A).  Exact.
 *
 * The residual is sum_k (sqrt(p_k) (B_k - mean B)) (sqrt(p_k) (A_k - mean A)), K blocks of which
 * one is too many.  An orthogonal K x K matrix H turns the blocks of both factors without changing
 * the sum; the reflection whose first row is sqrt(p) makes the first block zero and leaves
 *     B'_j = sum_k H_jk sqrt(p_k) B_k,    A'_j likewise,    j = 2 .. K:
 * the means have dropped out, and the rank is (K - 1) r. */
#include "fed/client_factors.h"
#include "fed/lora_round.h"

#include <math.h>

/* Row j of I - 2 v v^T / (v^T v), v = sqrt(p) - e_1, times sqrt(p_k). */
static double weight(const double *p, size_t count, size_t j, size_t k)
{
    double square = 0;
    for (size_t i = 0; i < count; i++) {
        double v = sqrt(p[i]) - (i == 0);
        square += v * v;
    }
    double vj = sqrt(p[j]), vk = sqrt(p[k]) - (k == 0); /* j > 0 */
    return ((double)(j == k) - 2 * vj * vk / square) * sqrt(p[k]);
}

/* Element i of sum_k weight_k times the clients' vectors. */
static double combine(const fl_client_factors *c, const double *weights, size_t i)
{
    double sum = 0;
    for (size_t k = 0; k < c->clients; k++)
        sum += weights[k] * (double)c->adapters[k * c->layout->count + i];
    return sum;
}

/* Block j of the residual's factors, and the scale on its B. */
static void set_block(const fl_lora_round *round, size_t pair, size_t j, const double *weights)
{
    const fl_client_factors *c = round->clients;
    const fl_param *a = &c->layout->params[2 * pair], *b = a + 1;
    size_t r = (size_t)a->dim[0], rank = fl_side_rank(round->change, pair), first = (j - 1) * r;
    float *to_a = fl_side_a(round->change, pair) + first * (size_t)a->dim[1];
    float *to_b = fl_side_b(round->change, pair) + first;
    double s = fl_matrix_scale(c, pair);
    for (size_t i = 0; i < a->count; i++)
        to_a[i] = (float)combine(c, weights, a->offset + i);
    for (size_t i = 0; i < b->count; i++)
        to_b[i / r * rank + i % r] = (float)(s * combine(c, weights, b->offset + i));
}

static fl_status fedex_aggregate(const fl_lora_round *round)
{
    const fl_client_factors *c = round->clients;
    size_t pairs = c->layout->num_params / 2, *rank;
    double *weights;
    FL_TRY(fl_alloc(&rank, pairs, sizeof *rank));
    for (size_t i = 0; i < pairs; i++)
        rank[i] = (c->clients - 1) * (size_t)c->layout->params[2 * i].dim[0];
    fl_status status = fl_side_set_ranks(round->change, rank);
    fl_free(rank);
    FL_TRY(status);
    FL_TRY(fl_alloc(&weights, c->clients, sizeof *weights));
    for (size_t j = 1; j < c->clients; j++) {
        for (size_t k = 0; k < c->clients; k++)
            weights[k] = weight(c->p, c->clients, j, k);
        for (size_t pair = 0; pair < pairs; pair++)
            set_block(round, pair, j, weights);
    }
    fl_free(weights);
    for (size_t i = 0; i < c->layout->count; i++)
        round->global->data[i] = (float)combine(c, c->p, i);
    return FL_OK;
}

const fl_lora_method fl_lora_fedex = {.name = "fedex",
                                      .trained = {FL_FACTORS, FL_FACTORS},
                                      .sent = {FL_FACTORS, FL_FACTORS},
                                      .exact = true,
                                      .moves_base = true,
                                      .algorithms = fl_lora_products_go_with,
                                      .reason = fl_lora_products_reason,
                                      .aggregate = fedex_aggregate};
