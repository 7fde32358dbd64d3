/* Life of a trainer, its adapters, and checks; training itself is in trainer_run.c. */
#include "train/trainer_internal.h"

/* weights, gradients, two moments; the arrays of an fl_batch with an entry per token */
enum { ADAPTER_COPIES = 4, BATCH_ARRAYS = 5, ALIGNED = 16 /* floats */ };

static int64_t slots_of(const fl_trainer_limits *limits)
{
    return limits->clients > 0 ? limits->clients : 1;
}

static fl_decoder_limits limits_for(const fl_train_config *config, const fl_trainer_limits *limits)
{
    int64_t examples = slots_of(limits) * config->batch_size;
    return (fl_decoder_limits){.max_tokens = examples * limits->longest,
                               .max_sequences =
                                   examples * fl_objective_find(config->objective)->sequences,
                               .max_clients = slots_of(limits),
                               .backward = true,
                               .recompute = config->gradient_checkpointing};
}

/* A slot begins like the only one would: kernels may look at alignment. */
static size_t stride_of(size_t count)
{
    return (count + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static fl_status open_slots(fl_trainer *t)
{
    size_t slab = t->num_slots * t->stride;
    FL_TRY(fl_arena_alloc(t->arena, &t->slots, t->num_slots, sizeof *t->slots));
    FL_TRY(t->ops->alloc(&t->slabs, ADAPTER_COPIES * slab * sizeof *t->slabs));
    for (size_t c = 0; c < t->num_slots; c++) {
        fl_train_slot *slot = &t->slots[c];
        slot->weights = t->slabs + c * t->stride;
        slot->grads = slot->weights + slab;
        slot->m = slot->grads + slab;
        slot->v = slot->m + slab;
        FL_TRY(fl_arena_alloc(t->arena, &slot->order, t->order_capacity, sizeof *slot->order));
    }
    return FL_OK;
}

static fl_status open_pass(fl_trainer *t, const fl_decoder_limits *batch)
{
    size_t slots = t->num_slots, tokens = (size_t)batch->max_tokens;
    FL_TRY(fl_arena_alloc(t->arena, &t->parts, slots, sizeof *t->parts));
    FL_TRY(fl_arena_alloc(t->arena, &t->first, slots + 1, sizeof *t->first));
    FL_TRY(fl_arena_alloc(t->arena, &t->keys, slots, sizeof *t->keys));
    FL_TRY(fl_arena_alloc(t->arena, &t->loss, slots, sizeof *t->loss));
    FL_TRY(fl_arena_alloc(t->arena, &t->factor, slots, sizeof *t->factor));
    FL_TRY(fl_arena_alloc(t->arena, &t->nll, tokens, sizeof *t->nll));
    FL_TRY(fl_arena_alloc(t->arena, &t->logp, (size_t)batch->max_sequences, sizeof *t->logp));
    return fl_batch_init(&t->batch, batch->max_sequences, batch->max_tokens);
}

static fl_status prepare(fl_trainer *t, const fl_lora_config *lora, const fl_trainer_limits *limits)
{
    const fl_model_config *model = &t->model->config;
    fl_decoder_limits batch = limits_for(t->config, limits);
    FL_TRY(fl_arena_create(&t->arena));
    FL_TRY(fl_decoder_create(&t->decoder, t->model, lora, &batch));
    t->num_slots = (size_t)slots_of(limits);
    t->count = fl_lora_count(lora, model);
    t->stride = stride_of(t->count);
    t->num_tensors = fl_lora_tensors(lora, model, NULL);
    FL_TRY(fl_arena_alloc(t->arena, &t->tensors, t->num_tensors, sizeof *t->tensors));
    fl_lora_tensors(lora, model, t->tensors);
    t->order_capacity = limits->most_examples;
    FL_TRY(open_slots(t));
    FL_TRY(open_pass(t, &batch));
    t->factor[0] = 1;
    fl_trainer_use_adapters(t, 1);
    return FL_OK;
}

fl_status fl_trainer_create(fl_trainer **out, const fl_model *model, const fl_lora_config *lora,
                            const fl_train_config *config, const fl_trainer_limits *limits)
{
    fl_trainer *t;
    FL_TRY(fl_alloc(&t, 1, sizeof *t));
    *t = (fl_trainer){.model = model,
                      .ops = model->ops,
                      .config = config,
                      .objective = fl_objective_find(config->objective)};
    FL_ASSERT(t->objective);
    fl_status status = prepare(t, lora, limits);
    if (status != FL_OK) {
        fl_trainer_destroy(t);
        return status;
    }
    *out = t;
    return FL_OK;
}

void fl_trainer_destroy(fl_trainer *t)
{
    if (!t) return;
    fl_batch_fini(&t->batch);
    t->ops->release(t->slabs);
    t->ops->release(t->side);
    fl_decoder_destroy(t->decoder);
    fl_arena_destroy(t->arena);
    fl_free(t);
}

fl_status fl_trainer_plan_for(fl_trainer_plan *out, const fl_model_config *model,
                              const fl_backend_ops *ops, const fl_lora_config *lora,
                              const fl_train_config *config, const fl_trainer_limits *limits)
{
    fl_decoder_limits batch = limits_for(config, limits);
    size_t tokens = (size_t)batch.max_tokens, slots = (size_t)slots_of(limits);
    out->adapter = slots * ADAPTER_COPIES * stride_of(fl_lora_count(lora, model)) * sizeof(float);
    out->host =
        slots * limits->most_examples * sizeof(uint32_t) + BATCH_ARRAYS * tokens * sizeof(int32_t);
    out->limits = batch;
    return fl_decoder_plan_for(&out->decoder, model, ops, lora, &batch);
}

const fl_objective *fl_trainer_objective(const fl_trainer *t)
{
    return t->objective;
}

fl_decoder *fl_trainer_decoder(fl_trainer *t)
{
    return t->decoder;
}

void fl_trainer_use_adapters(fl_trainer *t, size_t clients)
{
    fl_decoder_set_adapters(t->decoder, t->slots[0].weights, t->stride, t->factor,
                            (int64_t)clients);
}

void fl_trainer_set_adapter(fl_trainer *t, const float *weights)
{
    t->ops->copy_in(t->slots[0].weights, weights, t->count * sizeof *weights);
    t->factor[0] = 1; /* a job may say otherwise */
    fl_trainer_use_adapters(t, 1);
}

void fl_trainer_get_adapter(const fl_trainer *t, float *weights)
{
    t->ops->copy_out(weights, t->slots[0].weights, t->count * sizeof *weights);
}

void fl_trainer_load_adapter(fl_trainer *t, size_t slot, const float *weights)
{
    FL_ASSERT(slot < t->num_slots);
    t->ops->copy(t->slots[slot].weights, weights, t->count * sizeof *weights);
}

void fl_trainer_store_adapter(const fl_trainer *t, size_t slot, float *weights)
{
    FL_ASSERT(slot < t->num_slots);
    t->ops->copy(weights, t->slots[slot].weights, t->count * sizeof *weights);
}

fl_status fl_trainer_set_side(fl_trainer *t, const float *values, size_t count, const int64_t *rank)
{
    float *side = NULL;
    if (count) {
        FL_TRY(t->ops->alloc(&side, count * sizeof *side));
        t->ops->copy_in(side, values, count * sizeof *side);
    }
    t->ops->release(t->side);
    t->side = side;
    fl_decoder_set_side(t->decoder, side, rank);
    return FL_OK;
}

/* ---- batches of one client ------------------------------------------------------------------ */

fl_micro_batch fl_trainer_micro(fl_trainer *t, size_t clients)
{
    fl_batch_clear(&t->batch);
    t->first[0] = 0;
    return (fl_micro_batch){.config = t->config,
                            .decoder = t->decoder,
                            .batch = &t->batch,
                            .clients = (int64_t)clients,
                            .parts = t->parts,
                            .first = t->first,
                            .loss = t->loss,
                            .grads = t->slots[0].grads,
                            .nll = t->nll,
                            .logp = t->logp};
}

fl_status fl_trainer_pack_one(fl_trainer *t, const fl_micro_part *part, fl_micro_batch *micro)
{
    *micro = fl_trainer_micro(t, 1);
    t->parts[0] = *part;
    FL_TRY(t->objective->pack(&t->batch, part));
    t->first[1] = (int32_t)t->batch.T;
    return FL_OK;
}

static fl_status reference_of(fl_trainer *t, const fl_train_data *data, size_t count)
{
    size_t size = t->num_slots * (size_t)t->config->batch_size; /* there is room for that many */
    for (size_t at = 0; at < count; at += size) {
        fl_micro_part part = {.data = data,
                              .picked = t->slots[0].order + at,
                              .count = count - at < size ? count - at : size};
        fl_micro_batch micro;
        FL_TRY(fl_trainer_pack_one(t, &part, &micro));
        FL_TRY(t->objective->make_reference(&micro));
    }
    return FL_OK;
}

/* The first slot's `order` is free. */
fl_status fl_trainer_prepare_reference(fl_trainer *t, const fl_train_data *data,
                                       const uint32_t *indices, size_t count,
                                       fl_local_result *result)
{
    size_t missing = 0;
    if (!t->objective->has_reference) return FL_OK;
    for (size_t i = 0; i < count; i++)
        if (!t->objective->has_reference(data, indices[i]))
            t->slots[0].order[missing++] = indices[i];
    result->reference_needed = (int64_t)count;
    result->reference_made = (int64_t)missing;
    fl_decoder_set_adapter(t->decoder, NULL);
    fl_status status = reference_of(t, data, missing);
    fl_trainer_use_adapters(t, 1);
    return status;
}

fl_status fl_trainer_gradient(fl_trainer *t, const fl_train_data *data, const uint32_t *indices,
                              size_t count, double *loss, float *gradient)
{
    fl_decoder_freeze(t->decoder, 0);
    double measures[FL_MAX_MEASURES] = {0};
    fl_local_result unused;
    fl_micro_batch micro;
    fl_micro_part part = {.data = data, .picked = indices, .count = count, .measures = measures};
    float *grads = t->slots[0].grads;
    FL_ASSERT(count <= t->order_capacity);
    FL_TRY(fl_trainer_prepare_reference(t, data, indices, count, &unused));
    t->ops->zero(grads, t->count * sizeof *grads);
    t->loss[0] = 0;
    FL_TRY(fl_trainer_pack_one(t, &part, &micro));
    if (t->batch.N) FL_TRY(t->objective->gradient(&micro));
    if (gradient) t->ops->copy_out(gradient, grads, t->count * sizeof *gradient);
    *loss = t->loss[0];
    return FL_OK;
}

/* ---- passes for their sizes ----------------------------------------------------------------- */

int64_t fl_trainer_capacity(const fl_trainer *t)
{
    return t->batch.max_tokens;
}

fl_status fl_trainer_rehearse(fl_trainer *t, int64_t tokens, int64_t targets)
{
    fl_batch *b = &t->batch;
    int64_t longest = (b->max_tokens + b->max_sequences - 1) / b->max_sequences;
    FL_ASSERT(tokens >= 1 && tokens <= b->max_tokens && targets >= 1 && targets <= tokens);
    fl_batch_clear(b);
    for (; b->T < tokens; b->T++) {
        if (b->T % longest == 0) b->cu[b->S++] = (int32_t)b->T;
        b->ids[b->T] = 0;
        b->pos[b->T] = (int32_t)(b->T % longest);
    }
    b->cu[b->S] = (int32_t)tokens;
    for (; b->N < targets; b->N++) {
        b->loss_rows[b->N] = (int32_t)b->N;
        b->targets[b->N] = 0;
        b->weights[b->N] = 0;
    }
    const fl_tokens_view view = {.ids = b->ids, .pos = b->pos, .cu = b->cu, .S = b->S, .T = b->T};
    const fl_targets_view wanted = {
        .rows = b->loss_rows, .targets = b->targets, .weights = b->weights, .N = b->N};
    fl_trainer_use_adapters(t, 1);
    return fl_decoder_loss(t->decoder, &view, &wanted, NULL, t->loss, t->slots[0].grads);
}
