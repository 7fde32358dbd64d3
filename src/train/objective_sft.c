/* Supervised fine-tuning: the mean negative log-probability of the micro-batch's counted tokens. */
#include "train/objective.h"

static fl_status pack(const fl_micro_batch *m)
{
    return fl_batch_pack(m->batch, m->data->examples, m->picked, m->count);
}

static fl_status gradient(const fl_micro_batch *m, double *loss, double *measures)
{
    (void)measures;
    fl_tokens_view tokens = fl_micro_tokens(m);
    fl_targets_view targets = fl_micro_targets(m);
    return fl_decoder_loss(m->decoder, &tokens, &targets, m->keys, loss, m->grads);
}

const fl_objective fl_objective_sft = {
    .name = "sft",
    .pack = pack,
    .gradient = gradient,
};
