/* FLoRA, stacking (Wang et al. 2024, arXiv 2409.05976): the base moves by M* itself, as the stack
 * [B_1 ... B_K] [p_1 s_1 A_1; ...; p_K s_K A_K]: the weight stands on one factor only.  Every round
 * then starts from a fresh A and B = 0.  Exact; clients may have different ranks. */
#include "fed/client_factors.h"
#include "fed/lora_round.h"

/* Client i's block of the stack, behind `first` others. */
static void set_block(const fl_lora_round *round, size_t pair, size_t i, size_t first)
{
    const fl_client_factors *c = round->clients;
    const fl_param *a = &c->layout->params[2 * pair], *b = a + 1;
    size_t r = (size_t)a->dim[0], cols = (size_t)a->dim[1], num_rows = (size_t)b->dim[0];
    size_t own = fl_client_matrix_rank(c, i, pair), rank = fl_side_rank(round->change, pair);
    const float *adapter = c->adapters + i * c->layout->count;
    float *to_a = fl_side_a(round->change, pair) + first * cols;
    float *to_b = fl_side_b(round->change, pair) + first;
    double weight = c->p[i] * fl_client_matrix_scale(c, i, pair);
    for (size_t e = 0; e < own * cols; e++)
        to_a[e] = (float)(weight * (double)adapter[a->offset + e]);
    for (size_t row = 0; row < num_rows; row++)
        for (size_t j = 0; j < own; j++)
            to_b[row * rank + j] = adapter[b->offset + row * r + j];
}

static void set_pair(const fl_lora_round *round, size_t pair)
{
    size_t first = 0;
    for (size_t i = 0; i < round->clients->clients; i++) {
        set_block(round, pair, i, first);
        first += fl_client_matrix_rank(round->clients, i, pair);
    }
    fl_lora_fresh(round, pair);
}

static fl_status flora_aggregate(const fl_lora_round *round)
{
    const fl_client_factors *c = round->clients;
    size_t pairs = c->layout->num_params / 2, *rank;
    FL_TRY(fl_alloc(&rank, pairs, sizeof *rank));
    for (size_t pair = 0; pair < pairs; pair++)
        for (size_t i = 0; i < c->clients; i++)
            rank[pair] += fl_client_matrix_rank(c, i, pair);
    fl_status status = fl_side_set_ranks(round->change, rank);
    fl_free(rank);
    FL_TRY(status);
    for (size_t pair = 0; pair < pairs; pair++)
        set_pair(round, pair);
    return FL_OK;
}

const fl_lora_method fl_lora_flora = {.name = "flora",
                                      .trained = {FL_FACTORS, FL_FACTORS},
                                      .sent = {FL_FACTORS, FL_FACTORS},
                                      .exact = true,
                                      .moves_base = true,
                                      .mixed_ranks = true,
                                      .algorithms = fl_lora_products_go_with,
                                      .reason = fl_lora_products_reason,
                                      .aggregate = flora_aggregate};
