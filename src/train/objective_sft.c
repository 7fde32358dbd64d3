/* Supervised fine-tuning: the mean negative log-probability of a micro-batch's counted tokens. */
#include "train/objective.h"

static size_t count_examples(const fl_train_data *data)
{
    return data->examples->count;
}

static int64_t example_tokens(const fl_train_data *data, size_t i)
{
    return fl_example_length(data->examples, i);
}

static int64_t longest_example(const fl_train_data *data)
{
    return data->examples->max_length;
}

static fl_status pack(fl_batch *batch, const fl_micro_part *part)
{
    return fl_batch_add(batch, part->data->examples, part->picked, part->count);
}

static fl_status gradient(const fl_micro_batch *m)
{
    fl_tokens_view tokens = fl_micro_tokens(m);
    fl_targets_view targets = fl_micro_targets(m);
    return fl_decoder_loss(m->decoder, &tokens, &targets, m->keys, m->loss, m->grads);
}

const fl_objective fl_objective_sft = {
    .name = "sft",
    .sequences = 1,
    .count = count_examples,
    .tokens = example_tokens,
    .longest = longest_example,
    .positions = longest_example,
    .pack = pack,
    .gradient = gradient,
};
