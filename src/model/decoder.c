#include "model/decoder.h"

#include "model/decoder_internal.h"

#include <string.h>

/* Place and size of every A and B in the adapter: the order of fl_lora_create.  side_rank: the
 * ranks of the base's change, whose slots are placed then; NULL: the adapter's are. */
static void place_slots(fl_decoder *d, const int64_t *side_rank)
{
    const fl_model_config *c = &d->model->config;
    size_t offset = 0;
    for (int64_t l = 0; l < c->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++) {
            if (!d->lora.target[m]) continue;
            int64_t rows, cols;
            fl_module holder = c->family->linear[m].holder;
            fl_lora_slot *slot = side_rank ? d->layers[l].side : d->layers[l].slot;
            if (!side_rank)
                slot[m].r = fl_lora_rank(&d->lora, l, holder);
            else
                slot[m].r = (int)holder == m ? *side_rank++ : slot[holder].r;
            slot[m].scale = fl_lora_scale(&d->lora, l, holder);
            slot[m].shares_a = (int)holder != m;
            slot[m].stream = l * FL_NUM_MODULES + (int)holder;
            if (side_rank) slot[m].t = d->side_t;
            slot[m].t.stride = slot[m].r;
            size_t R = (size_t)slot[m].r;
            fl_module_shape((fl_module)m, c, &rows, &cols);
            if ((int)holder == m) {
                slot[m].a = offset;
                slot[m].b = offset + R * (size_t)cols;
                offset = slot[m].b + R * (size_t)fl_holder_rows(holder, c);
            } else {
                slot[m].a = slot[holder].a;
                slot[m].b = slot[holder].b + R * (size_t)fl_module_row((fl_module)m, c);
            }
        }
}

static fl_status prepare(fl_decoder *d)
{
    FL_TRY(fl_arena_create(&d->arena));
    FL_TRY(fl_arena_alloc(d->arena, &d->layers, (size_t)d->model->config.num_layers,
                          sizeof *d->layers));
    place_slots(d, NULL);
    fl_decoder_plan plan = fl_decoder_layout(d, NULL);
    FL_TRY(d->ops->alloc(&d->block, fl_decoder_plan_total(&plan)));
    fl_decoder_layout(d, d->block);
    return fl_decoder_open_clients(d);
}

fl_status fl_decoder_create(fl_decoder **out, const fl_model *model, const fl_lora_config *lora,
                            const fl_decoder_limits *limits)
{
    fl_decoder *d;
    FL_TRY(fl_alloc(&d, 1, sizeof *d));
    *d = (fl_decoder){.model = model, .ops = model->ops, .lora = *lora, .limits = *limits};
    if (d->limits.max_clients == 0) d->limits.max_clients = 1;
    fl_status status = prepare(d);
    if (status != FL_OK) {
        fl_decoder_destroy(d);
        return status;
    }
    *out = d;
    return FL_OK;
}

void fl_decoder_destroy(fl_decoder *d)
{
    if (!d) return;
    d->ops->release(d->block);
    fl_arena_destroy(d->arena);
    fl_free(d);
}

static size_t scratch_bytes(const fl_decoder *d)
{
    const fl_model_config *c = &d->model->config;
    const fl_decoder_limits *limits = &d->limits;
    if (!d->ops->scratch_bytes) return 0;
    int64_t chunk = limits->max_tokens < FL_LOSS_CHUNK ? limits->max_tokens : FL_LOSS_CHUNK;
    int64_t linears = limits->max_tokens * fl_decoder_widest(c), head = chunk * c->vocab_size;
    fl_scratch_need need = {.product = linears > head ? linears : head,
                            .longest = limits->max_tokens / limits->max_sequences,
                            .H = c->num_heads,
                            .KV = c->num_kv_heads,
                            .D = c->head_dim};
    return d->ops->scratch_bytes(&need);
}

fl_status fl_decoder_plan_for(fl_decoder_plan *out, const fl_model_config *config,
                              const fl_backend_ops *ops, const fl_lora_config *lora,
                              const fl_decoder_limits *limits)
{
    fl_model model = {.config = *config, .ops = ops};
    fl_decoder d = {.model = &model, .ops = ops, .lora = *lora, .limits = *limits};
    if (d.limits.max_clients == 0) d.limits.max_clients = 1;
    FL_TRY(fl_alloc(&d.layers, (size_t)config->num_layers, sizeof *d.layers));
    *out = fl_decoder_layout(&d, NULL);
    out->kernels = scratch_bytes(&d);
    fl_free(d.layers);
    return FL_OK;
}

size_t fl_decoder_plan_total(const fl_decoder_plan *plan)
{
    return plan->layers + plan->workspace + plan->loss;
}

void fl_decoder_set_side(fl_decoder *d, const float *values, const int64_t *rank)
{
    FL_ASSERT(!values || d->lora.has_side);
    d->side = values;
    if (values) place_slots(d, rank);
}

void fl_decoder_freeze(fl_decoder *d, unsigned factors)
{
    d->adapters.frozen = factors;
}

/* The gradient of the logits, which takes their place in the type of activations. */
static fl_act logits_gradient(const fl_decoder *d)
{
    int64_t V = d->model->config.vocab_size;
    fl_dtype dtype = d->ops->act_dtype();
    return (fl_act){.data = d->logits, .dtype = dtype, .stride = dtype == FL_F32 ? V : 2 * V};
}

/* Loss of rows [begin, begin + n); adds their part to dx when grad. */
static void loss_chunk(fl_decoder *d, int64_t begin, int64_t n, bool grad)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model *m = d->model;
    int64_t C = m->config.hidden_size, V = m->config.vocab_size;
    float cap = m->config.final_softcap;
    fl_act slope = grad ? logits_gradient(d) : (fl_act){0}, rows_dx = fl_f32(d->rows_dx, C);
    fl_decoder_head(d, d->loss_rows + begin, n);
    if (grad && cap > 0) ops->copy(d->capped, d->logits, (size_t)(n * V) * sizeof(float));
    ops->cross_entropy(d->rows_loss, slope, d->logits, d->targets + begin, d->weights + begin, n,
                       V);
    if (!grad) return;
    if (cap > 0) ops->softcap_bwd(slope, d->capped, cap, n, V);
    ops->linear_bwd(d->rows_norm, slope, &m->head, n, false);
    ops->zero(d->rows_dx, (size_t)(n * C) * sizeof(float));
    ops->rmsnorm_bwd(rows_dx, d->rows_norm, fl_f32(d->rows_x, C), m->final_norm, d->rows_rstd, n, 1,
                     C);
    ops->scatter_add_rows(d->dx, d->rows_dx, d->loss_rows + begin, n, C);
}

/* nll[N] of all target rows, chunk by chunk, into host memory through visit. */
typedef void visit_losses(void *context, int64_t begin, const double *losses, int64_t n);

static void all_losses(fl_decoder *d, int64_t N, bool grad, visit_losses *visit, void *context)
{
    double losses[FL_LOSS_CHUNK];
    for (int64_t begin = 0; begin < N; begin += FL_LOSS_CHUNK) {
        int64_t n = N - begin < FL_LOSS_CHUNK ? N - begin : FL_LOSS_CHUNK;
        loss_chunk(d, begin, n, grad);
        d->ops->copy_out(losses, d->rows_loss, (size_t)n * sizeof *losses);
        visit(context, begin, losses, n);
    }
}

/* Where the rows of the next client begin, the sums grow to that client's: row by row, so that a
 * sum's bits do not depend on what else is in a chunk. */
typedef struct weighted_sums {
    const int32_t *rows, *first; /* of the targets; of the clients */
    const float *weights;
    double *sums;
    int64_t client;
} weighted_sums;

static void add_weighted(void *context, int64_t begin, const double *losses, int64_t n)
{
    weighted_sums *all = context;
    for (int64_t i = 0; i < n; i++) {
        while (all->rows[begin + i] >= all->first[all->client + 1])
            all->client++;
        all->sums[all->client] += (double)all->weights[begin + i] * losses[i];
    }
}

/* Loads a batch and runs the layers. */
static fl_status begin(fl_decoder *d, const fl_tokens_view *tokens, const fl_targets_view *targets,
                       const fl_dropout_keys *keys)
{
    FL_TRY(fl_decoder_load_tokens(d, tokens));
    FL_TRY(fl_decoder_load_targets(d, targets));
    fl_decoder_set_dropout(d, keys);
    fl_decoder_run_layers(d, fl_decoder_attend_packed, NULL);
    return FL_OK;
}

static void backward_layers(fl_decoder *d, float *grads)
{
    d->adapters.grads = grads;
    fl_decoder_backward_layers(d);
    d->adapters.grads = NULL;
}

static void clear_dx(fl_decoder *d)
{
    d->ops->zero(d->dx, (size_t)(d->shape.T * d->model->config.hidden_size) * sizeof(float));
}

fl_status fl_decoder_loss(fl_decoder *d, const fl_tokens_view *tokens,
                          const fl_targets_view *targets, const fl_dropout_keys *keys, double *loss,
                          float *grads)
{
    FL_ASSERT(!grads || (d->limits.backward && d->adapters.weights));
    for (int64_t c = 0; c < (tokens->first ? tokens->clients : 1); c++)
        loss[c] = 0;
    if (targets->N == 0) return FL_OK;
    FL_TRY(begin(d, tokens, targets, keys));
    if (grads) clear_dx(d);
    weighted_sums sums = {
        .rows = targets->rows, .first = d->host_first, .weights = targets->weights, .sums = loss};
    all_losses(d, targets->N, grads != NULL, add_weighted, &sums);
    if (grads) backward_layers(d, grads);
    return d->ops->status();
}

static void store_losses(void *context, int64_t begin, const double *losses, int64_t n)
{
    memcpy((double *)context + begin, losses, (size_t)n * sizeof *losses);
}

fl_status fl_decoder_forward(fl_decoder *d, const fl_tokens_view *tokens,
                             const fl_targets_view *targets, const fl_dropout_keys *keys,
                             double *nll)
{
    d->num_targets = targets->N;
    if (targets->N == 0) return FL_OK;
    FL_TRY(begin(d, tokens, targets, keys));
    all_losses(d, targets->N, false, store_losses, nll);
    return d->ops->status();
}

fl_status fl_decoder_nll(fl_decoder *d, const fl_tokens_view *tokens,
                         const fl_targets_view *targets, double *nll)
{
    return fl_decoder_forward(d, tokens, targets, NULL, nll);
}

static void no_losses(void *context, int64_t begin, const double *losses, int64_t n)
{
    (void)context, (void)begin, (void)losses, (void)n;
}

void fl_decoder_backward(fl_decoder *d, const float *weights, float *grads)
{
    FL_ASSERT(d->limits.backward && d->adapters.weights);
    if (d->num_targets == 0) return;
    d->ops->copy_in(d->weights, weights, (size_t)d->num_targets * sizeof *weights);
    clear_dx(d);
    all_losses(d, d->num_targets, true, no_losses, NULL);
    backward_layers(d, grads);
}

fl_status fl_decoder_logits(fl_decoder *d, const fl_tokens_view *tokens, const int32_t *rows,
                            int64_t N, float *out)
{
    size_t V = (size_t)d->model->config.vocab_size;
    FL_TRY(fl_decoder_load_tokens(d, tokens));
    FL_CHECK(N <= tokens->T, FL_ERR_INTERNAL, "more rows than tokens");
    d->ops->copy_in(d->loss_rows, rows, (size_t)N * sizeof *rows);
    fl_decoder_run_layers(d, fl_decoder_attend_packed, NULL);
    for (int64_t begin = 0; begin < N; begin += FL_LOSS_CHUNK) {
        int64_t n = N - begin < FL_LOSS_CHUNK ? N - begin : FL_LOSS_CHUNK;
        fl_decoder_head(d, d->loss_rows + begin, n);
        d->ops->copy_out(out + (size_t)begin * V, d->logits, (size_t)n * V * sizeof(float));
    }
    return d->ops->status();
}
