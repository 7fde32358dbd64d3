/* The forward pass, layer by layer: a pre-norm decoder with RMSNorm, RoPE and a gated MLP; what
 * families add is read from the model's config and from the norms that are there. */
#include "model/decoder_internal.h"

fl_rng fl_decoder_dropout_stream(const fl_decoder *d, int64_t layer, fl_module module)
{
    const fl_dropout_keys *keys = d->keys;
    return fl_rng_make(keys->seed, FL_PURPOSE_DROPOUT, keys->round, keys->client, keys->step,
                       (uint64_t)(layer * FL_NUM_MODULES +
                                  (int64_t)d->model->config.family->linear[module].holder));
}

/* y += (x A^T) B^T of the base's change */
static void add_side(fl_decoder *d, const fl_lora_slot *side, const fl_weight *w, float *y,
                     const float *x)
{
    int64_t T = d->shape.T, R = side->r;
    if (!d->side || R == 0) return;
    d->ops->gemm(d->side_t, x, d->side + side->a, T, R, w->cols, false, true, 1.0f, 0.0f);
    d->ops->gemm(y, d->side_t, d->side + side->b, T, w->rows, R, false, true, 1.0f, 1.0f);
}

float fl_decoder_lora_scale(const fl_decoder *d, const fl_lora_slot *slot)
{
    return d->factor == 1 ? slot->scale : (float)(d->factor * (double)slot->scale);
}

void fl_decoder_linear(fl_decoder *d, int64_t layer, fl_module module, float *y, const float *x,
                       bool accumulate)
{
    const fl_backend_ops *ops = d->ops;
    const fl_weight *w = &d->model->layers[layer].linear[module];
    int64_t T = d->shape.T;
    ops->linear_fwd(y, x, w, T, accumulate);
    if (!d->adapter || !d->lora.target[module]) return;
    fl_lora_slot *slot = &d->layers[layer].slot[module];
    int64_t R = slot->r;
    add_side(d, &d->layers[layer].side[module], w, y, x);
    if (d->model->config.family->linear[module].holder == module) {
        if (d->keys) {
            fl_rng stream = fl_decoder_dropout_stream(d, layer, module);
            ops->dropout(d->dropped, x, T * w->cols, d->lora.dropout, &stream, false);
            x = d->dropped;
        }
        ops->gemm(slot->t, x, d->adapter + slot->a, T, R, w->cols, false, true, 1.0f, 0.0f);
    } /* else the holder, which came first, has left x A^T in the t they share */
    ops->gemm(y, slot->t, d->adapter + slot->b, T, w->rows, R, false, true,
              fl_decoder_lora_scale(d, slot), 1.0f);
}

void fl_decoder_activate(fl_decoder *d, float *out, const float *gate, const float *up)
{
    const fl_model_config *c = &d->model->config;
    int64_t n = d->shape.T * c->intermediate_size;
    if (c->family->activation == FL_GELU_TANH)
        d->ops->geglu_fwd(out, gate, up, n);
    else
        d->ops->swiglu_fwd(out, gate, up, n);
}

void fl_decoder_attend_packed(fl_decoder *d, int64_t l, void *context)
{
    (void)context;
    fl_layer_state *s = &d->layers[l];
    d->shape.window = fl_model_window(&d->model->config, l);
    d->ops->attention_fwd(s->att, s->lse, s->q, s->k, s->v, &d->shape);
}

/* out[T, heads*D] = the linear of the normalised input, through the norm of each head if any. */
static void project_heads(fl_decoder *d, int64_t l, fl_module module, fl_norm norm, float *out)
{
    const fl_model_config *c = &d->model->config;
    const fl_layer_state *s = &d->layers[l];
    const float *w = d->model->layers[l].norm[norm];
    fl_decoder_linear(d, l, module, w ? s->before[norm] : out, d->norm, false);
    int64_t heads = norm == FL_NORM_QUERY ? c->num_heads : c->num_kv_heads;
    if (w)
        d->ops->rmsnorm_fwd(out, s->rstd[norm], s->before[norm], w, d->shape.T * heads, c->head_dim,
                            c->rms_norm_eps);
}

/* residual[T, C] += the linear of x, through the norm behind the block if any. */
static void add_block(fl_decoder *d, int64_t l, fl_module module, fl_norm norm, float *residual,
                      const float *x)
{
    const fl_model_config *c = &d->model->config;
    const fl_layer_state *s = &d->layers[l];
    const float *w = d->model->layers[l].norm[norm];
    int64_t T = d->shape.T, C = c->hidden_size;
    fl_decoder_linear(d, l, module, w ? s->before[norm] : residual, x, !w);
    if (!w) return;
    d->ops->rmsnorm_fwd(d->norm, s->rstd[norm], s->before[norm], w, T, C, c->rms_norm_eps);
    d->ops->add(residual, d->norm, T * C);
}

static void rope_all(fl_decoder *d, fl_layer_state *s)
{
    const fl_model *m = d->model;
    int64_t T = d->shape.T, D = m->config.head_dim;
    d->ops->rope(s->q, d->pos, m->cos_table, m->sin_table, T, m->config.num_heads, D, false);
    d->ops->rope(s->k, d->pos, m->cos_table, m->sin_table, T, m->config.num_kv_heads, D, false);
}

/* The residual behind layer l: the next layer's x_in; without backward that is layer l's own. */
static float *output_of(const fl_decoder *d, int64_t l)
{
    return l + 1 < d->model->config.num_layers ? d->layers[l + 1].x_in : d->x_out;
}

static void forward_layer(fl_decoder *d, int64_t l, fl_attend *attend, void *context)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    fl_layer_state *s = &d->layers[l];
    float *out = output_of(d, l);
    int64_t T = d->shape.T, C = c->hidden_size;
    size_t residual_bytes = (size_t)(T * C) * sizeof(float);

    ops->rmsnorm_fwd(d->norm, s->rstd1, s->x_in, w->norm[FL_NORM_ATTENTION], T, C, c->rms_norm_eps);
    project_heads(d, l, FL_Q_PROJ, FL_NORM_QUERY, s->q);
    project_heads(d, l, FL_K_PROJ, FL_NORM_KEY, s->k);
    fl_decoder_linear(d, l, FL_V_PROJ, s->v, d->norm, false);
    rope_all(d, s);
    attend(d, l, context);
    ops->copy(s->x_mid, s->x_in, residual_bytes);
    add_block(d, l, FL_O_PROJ, FL_NORM_AFTER_ATTENTION, s->x_mid, s->att);

    ops->rmsnorm_fwd(d->norm, s->rstd2, s->x_mid, w->norm[FL_NORM_MLP], T, C, c->rms_norm_eps);
    fl_decoder_linear(d, l, FL_GATE_PROJ, s->gate, d->norm, false);
    fl_decoder_linear(d, l, FL_UP_PROJ, s->up, d->norm, false);
    fl_decoder_activate(d, d->act, s->gate, s->up);
    ops->copy(out, s->x_mid, residual_bytes);
    add_block(d, l, FL_DOWN_PROJ, FL_NORM_AFTER_MLP, out, d->act);
}

void fl_decoder_run_layers(fl_decoder *d, fl_attend *attend, void *context)
{
    const fl_model_config *c = &d->model->config;
    float *x = d->layers[0].x_in;
    d->ops->embedding(x, &d->model->embedding, d->ids, d->shape.T);
    if (c->embedding_scale != 1) d->ops->scale(x, c->embedding_scale, d->shape.T * c->hidden_size);
    for (int64_t l = 0; l < c->num_layers; l++)
        forward_layer(d, l, attend, context);
}

/* What it writes behind the layer is what stands there already, bit for bit, or was used up. */
void fl_decoder_rerun_layer(fl_decoder *d, int64_t l)
{
    forward_layer(d, l, fl_decoder_attend_packed, NULL);
}

void fl_decoder_head(fl_decoder *d, const int32_t *rows, int64_t N)
{
    const fl_model *m = d->model;
    int64_t C = m->config.hidden_size;
    d->ops->gather_rows(d->rows_x, d->x_out, rows, N, C);
    d->ops->rmsnorm_fwd(d->rows_norm, d->rows_rstd, d->rows_x, m->final_norm, N, C,
                        m->config.rms_norm_eps);
    d->ops->linear_fwd(d->logits, d->rows_norm, &m->head, N, false);
    if (m->config.final_softcap > 0)
        d->ops->softcap_fwd(d->logits, m->config.final_softcap, N * m->config.vocab_size);
}
