/* The forward pass, layer by layer (pre-norm Llama decoder; RMSNorm, RoPE, SwiGLU, no biases). */
#include "model/decoder_internal.h"

fl_rng fl_decoder_dropout_stream(const fl_decoder *d, int64_t layer, fl_module module)
{
    const fl_dropout_keys *keys = d->keys;
    return fl_rng_make(keys->seed, FL_PURPOSE_DROPOUT, keys->round, keys->client, keys->step,
                       (uint64_t)(layer * FL_NUM_MODULES + (int64_t)module));
}

void fl_decoder_linear(fl_decoder *d, int64_t layer, fl_module module, float *y, const float *x,
                       bool accumulate)
{
    const fl_backend_ops *ops = d->ops;
    const fl_weight *w = &d->model->layers[layer].linear[module];
    int64_t T = d->shape.T, R = d->lora.r;
    ops->linear_fwd(y, x, w, T, accumulate);
    if (!d->adapter || !d->lora.target[module]) return;
    fl_lora_slot *slot = &d->layers[layer].slot[module];
    if (d->keys) {
        fl_rng stream = fl_decoder_dropout_stream(d, layer, module);
        ops->dropout(d->dropped, x, T * w->cols, d->lora.dropout, &stream, false);
        x = d->dropped;
    }
    float scale = (float)(d->lora.alpha / (double)R);
    ops->gemm(slot->t, x, d->adapter + slot->a, T, R, w->cols, false, true, 1.0f, 0.0f);
    ops->gemm(y, slot->t, d->adapter + slot->b, T, w->rows, R, false, true, scale, 1.0f);
}

void fl_decoder_attend_packed(fl_decoder *d, int64_t l, void *context)
{
    (void)context;
    fl_layer_state *s = &d->layers[l];
    d->ops->attention_fwd(s->att, s->lse, s->q, s->k, s->v, &d->shape);
}

static void rope_all(fl_decoder *d, fl_layer_state *s)
{
    const fl_model *m = d->model;
    int64_t T = d->shape.T, D = m->config.head_dim;
    d->ops->rope(s->q, d->pos, m->cos_table, m->sin_table, T, m->config.num_heads, D, false);
    d->ops->rope(s->k, d->pos, m->cos_table, m->sin_table, T, m->config.num_kv_heads, D, false);
}

/* out[T, C] may be the next layer's x_in; without backward it is this layer's own x_in. */
static void forward_layer(fl_decoder *d, int64_t l, float *out, fl_attend *attend, void *context)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size;
    size_t residual_bytes = (size_t)(T * C) * sizeof(float);

    ops->rmsnorm_fwd(d->norm, s->rstd1, s->x_in, w->input_norm, T, C, c->rms_norm_eps);
    fl_decoder_linear(d, l, FL_Q_PROJ, s->q, d->norm, false);
    fl_decoder_linear(d, l, FL_K_PROJ, s->k, d->norm, false);
    fl_decoder_linear(d, l, FL_V_PROJ, s->v, d->norm, false);
    rope_all(d, s);
    attend(d, l, context);
    ops->copy(s->x_mid, s->x_in, residual_bytes);
    fl_decoder_linear(d, l, FL_O_PROJ, s->x_mid, s->att, true);

    ops->rmsnorm_fwd(d->norm, s->rstd2, s->x_mid, w->post_norm, T, C, c->rms_norm_eps);
    fl_decoder_linear(d, l, FL_GATE_PROJ, s->gate, d->norm, false);
    fl_decoder_linear(d, l, FL_UP_PROJ, s->up, d->norm, false);
    ops->swiglu_fwd(d->act, s->gate, s->up, T * c->intermediate_size);
    ops->copy(out, s->x_mid, residual_bytes);
    fl_decoder_linear(d, l, FL_DOWN_PROJ, out, d->act, true);
}

void fl_decoder_run_layers(fl_decoder *d, fl_attend *attend, void *context)
{
    int64_t num_layers = d->model->config.num_layers;
    d->ops->embedding(d->layers[0].x_in, &d->model->embedding, d->ids, d->shape.T);
    for (int64_t l = 0; l < num_layers; l++) {
        float *out = l + 1 < num_layers ? d->layers[l + 1].x_in : d->x_out;
        forward_layer(d, l, out, attend, context);
    }
}

void fl_decoder_head(fl_decoder *d, const int32_t *rows, int64_t N)
{
    const fl_model *m = d->model;
    int64_t C = m->config.hidden_size;
    d->ops->gather_rows(d->rows_x, d->x_out, rows, N, C);
    d->ops->rmsnorm_fwd(d->rows_norm, d->rows_rstd, d->rows_x, m->final_norm, N, C,
                        m->config.rms_norm_eps);
    d->ops->linear_fwd(d->logits, d->rows_norm, &m->head, N, false);
}
