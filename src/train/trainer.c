#include "train/trainer.h"

#include <math.h>
#include <string.h>

struct fl_trainer {
    const fl_model *model;
    const fl_backend_ops *ops;
    const fl_train_config *config;
    const fl_objective *objective;
    fl_decoder *decoder;
    size_t count;                   /* adapter elements */
    float *weights, *grads, *m, *v; /* [count] each, backend memory, one block */
    size_t *tensors;                /* [num_tensors] numbers in each; A and B in turn */
    size_t num_tensors;
    float *side; /* change of the base, backend memory; NULL: none */
    fl_batch batch;
    double *nll, *logp; /* [max_tokens], [max_sequences] scratch of the objective */
    uint32_t *order;    /* [order_capacity] examples of the running pass */
    size_t order_capacity;
};

/* weights, gradients, two moments; the arrays of an fl_batch with an entry per token */
enum { ADAPTER_COPIES = 4, BATCH_ARRAYS = 5 };

static fl_decoder_limits limits_for(const fl_train_config *config, int64_t longest)
{
    return (fl_decoder_limits){.max_tokens = config->batch_size * longest,
                               .max_sequences = config->batch_size *
                                                fl_objective_find(config->objective)->sequences,
                               .backward = true,
                               .recompute = config->gradient_checkpointing};
}

static fl_status prepare(fl_trainer *t, const fl_lora_config *lora, const fl_trainer_limits *limits)
{
    fl_decoder_limits batch = limits_for(t->config, limits->longest);
    FL_TRY(fl_decoder_create(&t->decoder, t->model, lora, &batch));
    t->count = fl_lora_count(lora, &t->model->config);
    t->num_tensors = fl_lora_tensors(lora, &t->model->config, NULL);
    FL_TRY(fl_alloc(&t->tensors, t->num_tensors, sizeof *t->tensors));
    fl_lora_tensors(lora, &t->model->config, t->tensors);
    FL_TRY(t->ops->alloc(&t->weights, ADAPTER_COPIES * t->count * sizeof *t->weights));
    t->grads = t->weights + t->count;
    t->m = t->grads + t->count;
    t->v = t->m + t->count;
    fl_decoder_set_adapter(t->decoder, t->weights);
    t->order_capacity = limits->most_examples;
    FL_TRY(fl_alloc(&t->order, t->order_capacity, sizeof *t->order));
    FL_TRY(fl_alloc(&t->nll, (size_t)batch.max_tokens, sizeof *t->nll));
    FL_TRY(fl_alloc(&t->logp, (size_t)batch.max_sequences, sizeof *t->logp));
    return fl_batch_init(&t->batch, batch.max_sequences, batch.max_tokens);
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
    fl_free(t->order);
    fl_free(t->tensors);
    fl_free(t->nll);
    fl_free(t->logp);
    t->ops->release(t->weights);
    t->ops->release(t->side);
    fl_decoder_destroy(t->decoder);
    fl_free(t);
}

fl_status fl_trainer_plan_for(fl_trainer_plan *out, const fl_model_config *model,
                              const fl_backend_ops *ops, const fl_lora_config *lora,
                              const fl_train_config *config, const fl_trainer_limits *limits)
{
    fl_decoder_limits batch = limits_for(config, limits->longest);
    size_t tokens = (size_t)batch.max_tokens;
    out->adapter = ADAPTER_COPIES * fl_lora_count(lora, model) * sizeof(float);
    out->host = limits->most_examples * sizeof(uint32_t) + BATCH_ARRAYS * tokens * sizeof(int32_t);
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

void fl_trainer_set_adapter(fl_trainer *t, const float *weights)
{
    t->ops->copy_in(t->weights, weights, t->count * sizeof *weights);
    fl_decoder_scale(t->decoder, 1); /* a job may say otherwise */
}

void fl_trainer_get_adapter(const fl_trainer *t, float *weights)
{
    t->ops->copy_out(weights, t->weights, t->count * sizeof *weights);
}

void fl_trainer_load_adapter(fl_trainer *t, const float *weights)
{
    t->ops->copy(t->weights, weights, t->count * sizeof *weights);
    fl_decoder_scale(t->decoder, 1); /* as above */
}

void fl_trainer_store_adapter(const fl_trainer *t, float *weights)
{
    t->ops->copy(weights, t->weights, t->count * sizeof *weights);
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

static fl_micro_batch micro_batch(fl_trainer *t, const fl_train_data *data, const uint32_t *picked,
                                  size_t count)
{
    return (fl_micro_batch){.config = t->config,
                            .decoder = t->decoder,
                            .data = data,
                            .picked = picked,
                            .count = count,
                            .batch = &t->batch,
                            .grads = t->grads,
                            .nll = t->nll,
                            .logp = t->logp};
}

/* Walks over the client's examples: draw order first, then a new shuffle for every pass. */
typedef struct walk {
    const fl_local_job *job;
    uint64_t seed, pass;
    size_t next;
} walk;

/* The next micro-batch's examples; the last of a pass may be short, none is dropped. */
static size_t next_examples(fl_trainer *t, walk *w, const uint32_t **picked)
{
    if (w->next == w->job->count) {
        fl_rng rng =
            fl_rng_make(w->seed, FL_PURPOSE_ORDER, w->job->round, w->job->client, ++w->pass, 0);
        fl_rng_shuffle(&rng, t->order, w->job->count);
        w->next = 0;
    }
    size_t left = w->job->count - w->next, size = (size_t)t->config->batch_size;
    size_t count = left < size ? left : size;
    *picked = t->order + w->next;
    w->next += count;
    return count;
}

/* Sums over the micro-batches of a step, or over the steps of a job. */
typedef struct loss_sum {
    double loss;     /* of the micro-batches' mean losses; of the steps' losses */
    int64_t counted; /* micro-batches, steps with tokens that count; the others have no loss */
    int64_t tokens;
    double measures[FL_MAX_MEASURES];
    size_t examples; /* in the measures */
} loss_sum;

/* Gradient sum and losses of one optimiser step; measures go to those of the job. */
static fl_status accumulate(fl_trainer *t, walk *w, int64_t step, loss_sum *out, loss_sum *job)
{
    int64_t micro_steps = t->config->gradient_accumulation_steps;
    *out = (loss_sum){0};
    t->ops->zero(t->grads, t->count * sizeof *t->grads);
    for (int64_t i = 0; i < micro_steps; i++) {
        const uint32_t *picked;
        size_t count = next_examples(t, w, &picked);
        fl_micro_batch micro = micro_batch(t, &w->job->data, picked, count);
        FL_TRY(t->objective->pack(&micro));
        out->tokens += t->batch.T;
        if (t->batch.N == 0) continue;
        fl_dropout_keys keys = {.seed = w->seed,
                                .round = w->job->round,
                                .client = w->job->client,
                                .step = (uint64_t)(step * micro_steps + i)};
        micro.keys = &keys;
        double micro_loss;
        FL_TRY(t->objective->gradient(&micro, &micro_loss, job->measures));
        out->loss += micro_loss;
        out->counted++;
        job->examples += count;
    }
    return FL_OK;
}

/* What is frozen has no gradient, but would decay. */
static void move_weights(fl_trainer *t, const fl_adamw *opt, unsigned frozen)
{
    if (!frozen) {
        t->ops->adamw(t->weights, t->m, t->v, t->grads, (int64_t)t->count, opt);
        return;
    }
    size_t at = 0;
    for (size_t i = 0; i < t->num_tensors; at += t->tensors[i++])
        if (!(frozen & (i % 2 == 0 ? FL_FACTOR_A : FL_FACTOR_B)))
            t->ops->adamw(t->weights + at, t->m + at, t->v + at, t->grads + at,
                          (int64_t)t->tensors[i], opt);
}

/* One AdamW step on the averaged, clipped gradient.  Returns the norm before clipping. */
static double update_weights(fl_trainer *t, double learning_rate, int64_t step, unsigned frozen)
{
    const fl_train_config *c = t->config;
    double average = 1.0 / (double)c->gradient_accumulation_steps;
    double norm = sqrt(t->ops->sum_squares(t->grads, (int64_t)t->count)) * average;
    if (!isfinite(norm)) return norm;
    double clip = c->max_grad_norm > 0 ? c->max_grad_norm / (norm + 1e-6) : 1.0;
    fl_adamw opt = {.lr = learning_rate,
                    .beta1 = c->adam_beta1,
                    .beta2 = c->adam_beta2,
                    .eps = c->adam_epsilon,
                    .weight_decay = c->weight_decay,
                    .grad_scale = clip < 1.0 ? average * clip : average,
                    .step = step};
    move_weights(t, &opt, frozen);
    return norm;
}

/* A step with its hooks: gradients are there, weights move.  Adds to `loss` what a hook adds. */
static double finish_step(fl_trainer *t, const fl_local_job *job, int64_t step, double *loss)
{
    static const fl_train_hooks none = {0};
    const fl_train_hooks *hooks = job->hooks ? job->hooks : &none;
    double copies = (double)t->config->gradient_accumulation_steps;
    if (hooks->after_backward)
        *loss += hooks->after_backward(hooks->context, t->weights, t->grads, copies);
    double norm = update_weights(t, job->learning_rate, step, job->frozen);
    if (hooks->after_step && isfinite(norm))
        hooks->after_step(hooks->context, t->weights, job->learning_rate);
    return norm;
}

static fl_status reference_of(fl_trainer *t, const fl_train_data *data, size_t count)
{
    size_t size = (size_t)t->config->batch_size;
    for (size_t at = 0; at < count; at += size) {
        fl_micro_batch micro =
            micro_batch(t, data, t->order + at, count - at < size ? count - at : size);
        FL_TRY(t->objective->pack(&micro));
        FL_TRY(t->objective->make_reference(&micro));
    }
    return FL_OK;
}

/* Makes what the reference model says where it is missing, and tells how often.  `order` is
 * free. */
static fl_status prepare_reference(fl_trainer *t, const fl_train_data *data,
                                   const uint32_t *indices, size_t count, fl_local_result *result)
{
    size_t missing = 0;
    if (!t->objective->has_reference) return FL_OK;
    for (size_t i = 0; i < count; i++)
        if (!t->objective->has_reference(data, indices[i])) t->order[missing++] = indices[i];
    result->reference_needed = (int64_t)count;
    result->reference_made = (int64_t)missing;
    fl_decoder_set_adapter(t->decoder, NULL);
    fl_status status = reference_of(t, data, missing);
    fl_decoder_set_adapter(t->decoder, t->weights);
    return status;
}

fl_status fl_trainer_run(fl_trainer *t, const fl_local_job *job, fl_local_result *result)
{
    FL_CHECK(job->count >= 1 && job->count <= t->order_capacity, FL_ERR_INTERNAL,
             "client %llu has %zu examples for a plan of %zu", (unsigned long long)job->client,
             job->count, t->order_capacity);
    *result = (fl_local_result){.finite = true};
    FL_TRY(prepare_reference(t, &job->data, job->indices, job->count, result));
    fl_decoder_freeze(t->decoder, job->frozen);
    fl_decoder_scale(t->decoder, job->scale > 0 ? job->scale : 1);
    memcpy(t->order, job->indices, job->count * sizeof *t->order);
    t->ops->zero(t->m, 2 * t->count * sizeof *t->m); /* m and v are neighbours */
    walk w = {.job = job, .seed = (uint64_t)t->config->seed};
    loss_sum all = {0};
    for (int64_t step = 0; step < t->config->max_steps && result->finite; step++) {
        loss_sum micro;
        FL_TRY(accumulate(t, &w, step, &micro, &all));
        result->tokens += micro.tokens;
        result->steps++;
        if (micro.counted == 0) continue; /* nothing to learn from in this step */
        double loss = micro.loss / (double)micro.counted;
        result->grad_norm = finish_step(t, job, step + 1, &loss);
        result->updates++;
        result->finite = isfinite(loss) && isfinite(result->grad_norm);
        if (job->losses) job->losses[step] = loss;
        all.loss += loss;
        all.counted++;
    }
    result->loss = all.counted ? all.loss / (double)all.counted : NAN;
    for (int i = 0; i < FL_MAX_MEASURES; i++)
        result->measures[i] = all.examples ? all.measures[i] / (double)all.examples : NAN;
    return t->ops->status();
}

fl_status fl_trainer_gradient(fl_trainer *t, const fl_train_data *data, const uint32_t *indices,
                              size_t count, double *loss, float *gradient)
{
    fl_decoder_freeze(t->decoder, 0);
    double measures[FL_MAX_MEASURES] = {0};
    fl_local_result unused;
    FL_ASSERT(count <= t->order_capacity);
    FL_TRY(prepare_reference(t, data, indices, count, &unused));
    fl_micro_batch micro = micro_batch(t, data, indices, count);
    t->ops->zero(t->grads, t->count * sizeof *t->grads);
    *loss = 0;
    FL_TRY(t->objective->pack(&micro));
    if (t->batch.N) FL_TRY(t->objective->gradient(&micro, loss, measures));
    if (gradient) t->ops->copy_out(gradient, t->grads, t->count * sizeof *gradient);
    return FL_OK;
}
