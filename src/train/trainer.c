#include "train/trainer.h"

#include <math.h>
#include <string.h>

struct fl_trainer {
    const fl_model *model;
    const fl_backend_ops *ops;
    const fl_train_config *config;
    fl_decoder *decoder;
    size_t count;                   /* adapter elements */
    float *weights, *grads, *m, *v; /* [count] each, backend memory, one block */
    fl_batch batch;
    uint32_t *order; /* [order_capacity] examples of the running pass */
    size_t order_capacity;
};

enum { ADAPTER_COPIES = 4 }; /* weights, gradients, two moments */

static fl_decoder_limits limits_for(const fl_train_config *config, int64_t longest)
{
    return (fl_decoder_limits){.max_tokens = config->batch_size * longest,
                               .max_sequences = config->batch_size,
                               .backward = true};
}

static fl_status prepare(fl_trainer *t, const fl_lora_config *lora, const fl_trainer_limits *limits)
{
    fl_decoder_limits batch = limits_for(t->config, limits->longest);
    FL_TRY(fl_decoder_create(&t->decoder, t->model, lora, &batch));
    t->count = fl_lora_count(lora, &t->model->config);
    FL_TRY(t->ops->alloc(&t->weights, ADAPTER_COPIES * t->count * sizeof *t->weights));
    t->grads = t->weights + t->count;
    t->m = t->grads + t->count;
    t->v = t->m + t->count;
    fl_decoder_set_adapter(t->decoder, t->weights);
    t->order_capacity = limits->most_examples;
    FL_TRY(fl_alloc(&t->order, t->order_capacity, sizeof *t->order));
    return fl_batch_init(&t->batch, batch.max_sequences, batch.max_tokens);
}

fl_status fl_trainer_create(fl_trainer **out, const fl_model *model, const fl_lora_config *lora,
                            const fl_train_config *config, const fl_trainer_limits *limits)
{
    fl_trainer *t;
    FL_TRY(fl_alloc(&t, 1, sizeof *t));
    *t = (fl_trainer){.model = model, .ops = model->ops, .config = config};
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
    t->ops->release(t->weights);
    fl_decoder_destroy(t->decoder);
    fl_free(t);
}

void fl_trainer_plan(const fl_model *model, const fl_lora_config *lora,
                     const fl_train_config *config, int64_t longest, size_t count,
                     size_t *activation_bytes, size_t *adapter_bytes)
{
    fl_decoder_limits limits = limits_for(config, longest);
    *activation_bytes = fl_decoder_plan_bytes(model, lora, &limits);
    *adapter_bytes = ADAPTER_COPIES * count * sizeof(float);
}

fl_decoder *fl_trainer_decoder(fl_trainer *t)
{
    return t->decoder;
}

void fl_trainer_set_adapter(fl_trainer *t, const float *weights)
{
    t->ops->copy_in(t->weights, weights, t->count * sizeof *weights);
}

void fl_trainer_get_adapter(const fl_trainer *t, float *weights)
{
    t->ops->copy_out(weights, t->weights, t->count * sizeof *weights);
}

/* Adds the gradient of the packed batch's mean loss to grads. */
static fl_status batch_gradient(fl_trainer *t, const fl_dropout_keys *keys, double *loss)
{
    const fl_batch *b = &t->batch;
    fl_tokens_view tokens = {.ids = b->ids, .pos = b->pos, .cu = b->cu, .S = b->S, .T = b->T};
    fl_targets_view targets = {
        .rows = b->loss_rows, .targets = b->targets, .weights = b->weights, .N = b->N};
    return fl_decoder_loss(t->decoder, &tokens, &targets, keys, loss, t->grads);
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

typedef struct step_loss {
    double sum;      /* of the micro-batches' mean losses */
    int64_t counted; /* micro-batches with tokens that count; the others have no loss */
    int64_t tokens;
} step_loss;

/* Gradient sum and losses of one optimiser step. */
static fl_status accumulate(fl_trainer *t, walk *w, int64_t step, step_loss *out)
{
    int64_t micro_steps = t->config->gradient_accumulation_steps;
    *out = (step_loss){0};
    t->ops->zero(t->grads, t->count * sizeof *t->grads);
    for (int64_t i = 0; i < micro_steps; i++) {
        const uint32_t *picked;
        size_t count = next_examples(t, w, &picked);
        FL_TRY(fl_batch_pack(&t->batch, w->job->examples, picked, count));
        out->tokens += t->batch.T;
        if (t->batch.N == 0) continue;
        fl_dropout_keys keys = {.seed = w->seed,
                                .round = w->job->round,
                                .client = w->job->client,
                                .step = (uint64_t)(step * micro_steps + i)};
        double micro_loss;
        FL_TRY(batch_gradient(t, &keys, &micro_loss));
        out->sum += micro_loss;
        out->counted++;
    }
    return FL_OK;
}

/* One AdamW step on the averaged, clipped gradient.  Returns the norm before clipping. */
static double update_weights(fl_trainer *t, double learning_rate, int64_t step)
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
    t->ops->adamw(t->weights, t->m, t->v, t->grads, (int64_t)t->count, &opt);
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
    double norm = update_weights(t, job->learning_rate, step);
    if (hooks->after_step && isfinite(norm))
        hooks->after_step(hooks->context, t->weights, job->learning_rate);
    return norm;
}

fl_status fl_trainer_run(fl_trainer *t, const fl_local_job *job, fl_local_result *result)
{
    FL_CHECK(job->count >= 1 && job->count <= t->order_capacity, FL_ERR_INTERNAL,
             "client %llu has %zu examples for a plan of %zu", (unsigned long long)job->client,
             job->count, t->order_capacity);
    memcpy(t->order, job->indices, job->count * sizeof *t->order);
    t->ops->zero(t->m, 2 * t->count * sizeof *t->m); /* m and v are neighbours */
    *result = (fl_local_result){.finite = true};
    walk w = {.job = job, .seed = (uint64_t)t->config->seed};
    double sum = 0;
    int64_t counted = 0;
    for (int64_t step = 0; step < t->config->max_steps && result->finite; step++) {
        step_loss losses;
        FL_TRY(accumulate(t, &w, step, &losses));
        result->tokens += losses.tokens;
        result->steps++;
        if (losses.counted == 0) continue; /* nothing to learn from in this step */
        double loss = losses.sum / (double)losses.counted;
        result->grad_norm = finish_step(t, job, step + 1, &loss);
        result->updates++;
        result->finite = isfinite(loss) && isfinite(result->grad_norm);
        sum += loss;
        counted++;
    }
    result->loss = counted ? sum / (double)counted : NAN;
    return t->ops->status();
}

fl_status fl_trainer_gradient(fl_trainer *t, const fl_examples *examples, const uint32_t *indices,
                              size_t count, double *loss, float *gradient)
{
    t->ops->zero(t->grads, t->count * sizeof *t->grads);
    FL_TRY(fl_batch_pack(&t->batch, examples, indices, count));
    FL_TRY(batch_gradient(t, NULL, loss));
    if (gradient) t->ops->copy_out(gradient, t->grads, t->count * sizeof *gradient);
    return FL_OK;
}
