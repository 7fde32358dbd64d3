#include "train/objective.h"

#include <string.h>

static const fl_objective *const objectives[] = {&fl_objective_sft, &fl_objective_dpo};

const fl_objective *fl_objective_find(const char *name)
{
    for (size_t i = 0; i < sizeof objectives / sizeof objectives[0]; i++)
        if (strcmp(objectives[i]->name, name) == 0) return objectives[i];
    return NULL;
}

fl_tokens_view fl_micro_tokens(const fl_micro_batch *micro)
{
    const fl_batch *b = micro->batch;
    return (fl_tokens_view){.ids = b->ids,
                            .pos = b->pos,
                            .cu = b->cu,
                            .S = b->S,
                            .T = b->T,
                            .prefix = b->has_prefixes ? b->prefix : NULL,
                            .first = micro->first,
                            .clients = micro->clients};
}

fl_targets_view fl_micro_targets(const fl_micro_batch *micro)
{
    const fl_batch *b = micro->batch;
    return (fl_targets_view){
        .rows = b->loss_rows, .targets = b->targets, .weights = b->weights, .N = b->N};
}
