#include "fed/lora_round.h"

#include <string.h>

const char *const fl_lora_products_go_with[] = {"fedavg", "fedprox", NULL};
const char fl_lora_products_reason[] =
    "it aggregates products of factors, which server optimisers, control variates and other "
    "weights of the factors' changes are not defined on, and a single client has nothing to "
    "aggregate; fedavg and fedprox are";

void fl_lora_fresh(const fl_lora_round *round, size_t pair)
{
    const fl_param *a = &round->global->params[2 * pair], *b = a + 1;
    fl_rng rng =
        fl_rng_make(round->seed, FL_PURPOSE_LORA_FRESH, 2 * pair, (uint64_t)round->round + 1, 0, 0);
    fl_lora_draw(round->global->data + a->offset, a, &rng);
    memset(round->global->data + b->offset, 0, b->count * sizeof *round->global->data);
}
