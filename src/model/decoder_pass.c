/* The passes: layers, loss and gradients.
 *
 * A pass is three bodies that call ops alone: the layers, the loss of all targets, the layers
 * backwards.  Where the backend repeats bodies (ops->replay), a batch is filled up so that few
 * different ones occur; everything else that changes from step to step is in backend memory.  Rows
 * that fill a batch up belong to no client and have weight 0. */
#include "model/decoder_internal.h"

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
    ops->cross_entropy(d->rows_loss + begin, slope, d->logits, d->targets + begin,
                       d->weights + begin, n, V);
    if (!grad) return;
    if (cap > 0) ops->softcap_bwd(slope, d->capped, cap, n, V);
    ops->linear_bwd(d->rows_norm, slope, &m->head, n, false);
    ops->zero(d->rows_dx, (size_t)(n * C) * sizeof(float));
    ops->rmsnorm_bwd(rows_dx, d->rows_norm, fl_f32(d->rows_x, C), m->final_norm, d->rows_rstd, n, 1,
                     C);
    ops->scatter_add_rows(d->dx, d->rows_dx, d->loss_rows + begin, n, C);
}

/* ---- bodies --------------------------------------------------------------------------------- */

enum body_kind { BODY_LAYERS = 1, BODY_LOSSES, BODY_SLOPES, BODY_BACKWARD };

static void layers_body(void *context)
{
    fl_decoder_run_layers(context, fl_decoder_attend_packed, NULL);
}

static void all_chunks(fl_decoder *d, bool grad)
{
    int64_t N = d->num_targets, most = d->ops->loss_rows;
    for (int64_t begin = 0; begin < N; begin += most)
        loss_chunk(d, begin, N - begin < most ? N - begin : most, grad);
}

static void losses_body(void *context)
{
    all_chunks(context, false);
}

/* Losses, and dx = their gradient behind the layers. */
static void slopes_body(void *context)
{
    fl_decoder *d = context;
    d->ops->zero(d->dx, (size_t)(d->shape.T * d->model->config.hidden_size) * sizeof(float));
    all_chunks(d, true);
}

static void backward_body(void *context)
{
    fl_decoder_backward_layers(context);
}

/* What the launches of a body depend on besides backend memory. */
static void run_body(fl_decoder *d, enum body_kind kind, void (*body)(void *context))
{
    const fl_adapters *a = &d->adapters;
    bool is_loss = kind == BODY_LOSSES || kind == BODY_SLOPES;
    uint64_t flags = (uint64_t)kind | (a->streams ? 8u : 0u) | (d->shape.prefix ? 16u : 0u) |
                     (uint64_t)a->frozen << 8 | (uint64_t)a->clients << 16;
    fl_replay_key key = {{flags, (uint64_t)d->shape.T, is_loss ? (uint64_t)d->num_targets : 0,
                          (uintptr_t)d, (uintptr_t)a->weights, (uintptr_t)a->grads, d->side_number,
                          a->stride}};
    fl_backend_replay(d->ops, &key, body, d);
}

/* Loads a batch and runs the layers. */
static fl_status begin(fl_decoder *d, const fl_tokens_view *tokens, const fl_targets_view *targets,
                       const fl_dropout_keys *keys)
{
    FL_TRY(fl_decoder_load_tokens(d, tokens));
    FL_TRY(fl_decoder_load_targets(d, targets));
    fl_decoder_set_dropout(d, keys);
    fl_decoder_fill_up(d, targets);
    run_body(d, BODY_LAYERS, layers_body);
    return FL_OK;
}

/* dx = the gradient behind the layers becomes that of the adapters. */
static void run_backward(fl_decoder *d, float *grads)
{
    d->adapters.grads = grads;
    run_body(d, BODY_BACKWARD, backward_body);
    d->adapters.grads = NULL;
}

/* ---- passes --------------------------------------------------------------------------------- */

/* Row by row, so that the bits of a client's sum do not depend on what else is in the batch. */
static void add_weighted(const fl_decoder *d, const fl_targets_view *targets, double *sums)
{
    int64_t client = 0;
    for (int64_t n = 0; n < targets->N; n++) {
        while (targets->rows[n] >= d->host_first[client + 1])
            client++;
        sums[client] += (double)targets->weights[n] * d->host_loss[n];
    }
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
    run_body(d, grads ? BODY_SLOPES : BODY_LOSSES, grads ? slopes_body : losses_body);
    if (grads) run_backward(d, grads);
    d->ops->copy_out(d->host_loss, d->rows_loss, (size_t)targets->N * sizeof *d->host_loss);
    add_weighted(d, targets, loss);
    return d->ops->status();
}

fl_status fl_decoder_forward(fl_decoder *d, const fl_tokens_view *tokens,
                             const fl_targets_view *targets, const fl_dropout_keys *keys,
                             double *nll)
{
    d->num_targets = 0;
    if (targets->N == 0) return FL_OK;
    FL_TRY(begin(d, tokens, targets, keys));
    run_body(d, BODY_LOSSES, losses_body);
    d->ops->copy_out(nll, d->rows_loss, (size_t)targets->N * sizeof *nll);
    return d->ops->status();
}

fl_status fl_decoder_nll(fl_decoder *d, const fl_tokens_view *tokens,
                         const fl_targets_view *targets, double *nll)
{
    return fl_decoder_forward(d, tokens, targets, NULL, nll);
}

void fl_decoder_backward(fl_decoder *d, const float *weights, float *grads)
{
    FL_ASSERT(d->limits.backward && d->adapters.weights);
    if (d->num_targets == 0) return;
    d->ops->copy_in(d->weights, weights, (size_t)d->asked_targets * sizeof *weights);
    run_body(d, BODY_SLOPES, slopes_body);
    run_backward(d, grads);
}

fl_status fl_decoder_logits(fl_decoder *d, const fl_tokens_view *tokens, const int32_t *rows,
                            int64_t N, float *out)
{
    size_t V = (size_t)d->model->config.vocab_size;
    FL_TRY(fl_decoder_load_tokens(d, tokens));
    FL_CHECK(N <= tokens->T, FL_ERR_INTERNAL, "more rows than tokens");
    d->ops->copy_in(d->loss_rows, rows, (size_t)N * sizeof *rows);
    fl_decoder_run_layers(d, fl_decoder_attend_packed, NULL);
    for (int64_t begin = 0, most = d->ops->loss_rows; begin < N; begin += most) {
        int64_t n = N - begin < most ? N - begin : most;
        fl_decoder_head(d, d->loss_rows + begin, n);
        d->ops->copy_out(out + (size_t)begin * V, d->logits, (size_t)n * V * sizeof(float));
    }
    return d->ops->status();
}
