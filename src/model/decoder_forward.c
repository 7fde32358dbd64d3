/* The forward pass, layer by layer: a pre-norm decoder with RMSNorm, RoPE and a gated MLP; what
 * families add is read from the model's config and from the norms that are there. */
#include "model/decoder_internal.h"

fl_linears fl_decoder_linears(fl_decoder *d, int64_t layer, fl_module module, int count)
{
    fl_layer_state *s = &d->layers[layer];
    fl_linears group = {.count = count,
                        .adapters = d->adapters.weights ? &d->adapters : NULL,
                        .side = d->side,
                        .dropped = d->dropped,
                        .dt = d->dt};
    for (int i = 0; i < count; i++) {
        int m = (int)module + i;
        group.w[i] = &d->model->layers[layer].linear[m];
        group.slot[i] = &s->slot[m];
        group.side_slot[i] = &s->side[m];
    }
    return group;
}

void fl_decoder_activate(fl_decoder *d, fl_act out, fl_act gate, fl_act up)
{
    const fl_model_config *c = &d->model->config;
    if (c->family->activation == FL_GELU_TANH)
        d->ops->geglu_fwd(out, gate, up, d->shape.T, c->intermediate_size);
    else
        d->ops->swiglu_fwd(out, gate, up, d->shape.T, c->intermediate_size);
}

void fl_decoder_attend_packed(fl_decoder *d, int64_t l, void *context)
{
    (void)context;
    fl_layer_state *s = &d->layers[l];
    d->shape.window = fl_model_window(&d->model->config, l);
    d->ops->attention_fwd(s->att, s->lse, s->q, s->k, s->v, &d->shape);
}

/* q, k and v of the normalised input; where heads have a norm, through what stands before it. */
static void project_heads(fl_decoder *d, int64_t l)
{
    const fl_model_config *c = &d->model->config;
    const fl_layer_state *s = &d->layers[l];
    float *const *w = d->model->layers[l].norm;
    int64_t T = d->shape.T, D = c->head_dim;
    fl_linears group = fl_decoder_linears(d, l, FL_Q_PROJ, 3);
    group.y[0] = w[FL_NORM_QUERY] ? s->before[FL_NORM_QUERY] : s->q;
    group.y[1] = w[FL_NORM_KEY] ? s->before[FL_NORM_KEY] : s->k;
    group.y[2] = s->v;
    fl_linears_fwd(d->ops, &group, d->norm, T);
    if (w[FL_NORM_QUERY])
        d->ops->rmsnorm_fwd(s->q, s->rstd[FL_NORM_QUERY], group.y[0], w[FL_NORM_QUERY], T,
                            c->num_heads, D, c->rms_norm_eps);
    if (w[FL_NORM_KEY])
        d->ops->rmsnorm_fwd(s->k, s->rstd[FL_NORM_KEY], group.y[1], w[FL_NORM_KEY], T,
                            c->num_kv_heads, D, c->rms_norm_eps);
}

/* out[T, C] = residual + the linear of x, through the norm behind the block if any. */
static void add_block(fl_decoder *d, int64_t l, fl_module module, fl_norm norm, float *out,
                      const float *residual, fl_act x)
{
    const fl_model_config *c = &d->model->config;
    const fl_layer_state *s = &d->layers[l];
    const float *w = d->model->layers[l].norm[norm];
    int64_t T = d->shape.T, C = c->hidden_size;
    fl_linears group = fl_decoder_linears(d, l, module, 1);
    group.y[0] = w ? s->before[norm] : fl_f32(out, C);
    if (!w) group.add = fl_f32(residual, C);
    fl_linears_fwd(d->ops, &group, x, T);
    if (!w) return;
    d->ops->rmsnorm_fwd(d->norm, s->rstd[norm], group.y[0], w, T, 1, C, c->rms_norm_eps);
    d->ops->copy(out, residual, (size_t)(T * C) * sizeof(float));
    d->ops->add(fl_f32(out, C), d->norm, T, C);
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
    int64_t T = d->shape.T, C = c->hidden_size;

    ops->rmsnorm_fwd(d->norm, s->rstd1, fl_f32(s->x_in, C), w->norm[FL_NORM_ATTENTION], T, 1, C,
                     c->rms_norm_eps);
    project_heads(d, l);
    rope_all(d, s);
    attend(d, l, context);
    add_block(d, l, FL_O_PROJ, FL_NORM_AFTER_ATTENTION, s->x_mid, s->x_in, s->att);

    ops->rmsnorm_fwd(d->norm, s->rstd2, fl_f32(s->x_mid, C), w->norm[FL_NORM_MLP], T, 1, C,
                     c->rms_norm_eps);
    fl_linears group = fl_decoder_linears(d, l, FL_GATE_PROJ, 2);
    group.y[0] = s->gate;
    group.y[1] = s->up;
    fl_linears_fwd(ops, &group, d->norm, T);
    fl_decoder_activate(d, d->act, s->gate, s->up);
    add_block(d, l, FL_DOWN_PROJ, FL_NORM_AFTER_MLP, output_of(d, l), s->x_mid, d->act);
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
    d->ops->rmsnorm_fwd(d->rows_norm, d->rows_rstd, fl_f32(d->rows_x, C), m->final_norm, N, 1, C,
                        m->config.rms_norm_eps);
    d->ops->linear_fwd(fl_f32(d->logits, m->config.vocab_size), d->rows_norm, &m->head, N,
                       (fl_act){0});
    if (m->config.final_softcap > 0)
        d->ops->softcap_fwd(d->logits, m->config.final_softcap, N * m->config.vocab_size);
}
