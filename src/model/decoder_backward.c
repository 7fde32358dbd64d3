/* The backward pass.  The base is frozen: only dX chains through it; gradients exist for A and B.
 */
#include "model/decoder_internal.h"

/* The gradient of what a block adds to the residual, before the norm behind it: dx itself where
 * there is none. */
static fl_act block_gradient(fl_decoder *d, int64_t l, fl_norm norm)
{
    const fl_layer_state *s = &d->layers[l];
    const float *w = d->model->layers[l].norm[norm];
    int64_t T = d->shape.T, C = d->model->config.hidden_size;
    if (!w) return fl_f32(d->dx, C);
    d->ops->zero(d->dblock.data, (size_t)(T * C) * fl_dtype_size(d->dblock.dtype));
    d->ops->rmsnorm_bwd(d->dblock, fl_f32(d->dx, C), s->before[norm], w, s->rstd[norm], T, 1, C);
    return d->dblock;
}

/* One linear with input x and output gradient dy; dx [T, cols] is overwritten. */
static void linear_backward(fl_decoder *d, int64_t l, fl_module module, fl_act dy, fl_act x,
                            fl_act dx)
{
    fl_linears group = fl_decoder_linears(d, l, module, 1);
    group.y[0] = dy;
    fl_linears_bwd(d->ops, &group, dx, x, d->shape.T, false);
}

/* From dy [T, heads*D], the gradient of q or k after RoPE (overwritten), back through rotation and
 * head norm, which adds it to `before` where there is one. */
static fl_act backward_head(fl_decoder *d, int64_t l, fl_norm norm, fl_act dy, fl_act before)
{
    const fl_model *m = d->model;
    const fl_layer_state *s = &d->layers[l];
    const float *w = m->layers[l].norm[norm];
    int64_t T = d->shape.T, D = m->config.head_dim;
    int64_t heads = norm == FL_NORM_QUERY ? m->config.num_heads : m->config.num_kv_heads;
    d->ops->rope(dy, d->pos, m->cos_table, m->sin_table, T, heads, D, true);
    if (!w) return dy;
    d->ops->rmsnorm_bwd(before, dy, s->before[norm], w, s->rstd[norm], T, heads, D);
    return before;
}

/* dx is the gradient of the layer's output on entry and of x_mid on return. */
static void backward_mlp(fl_decoder *d, int64_t l)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    const fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size, F = c->intermediate_size;
    fl_act x_mid = fl_f32(s->x_mid, C);

    if (d->lora.target[FL_DOWN_PROJ]) fl_decoder_activate(d, d->act, s->gate, s->up);
    linear_backward(d, l, FL_DOWN_PROJ, block_gradient(d, l, FL_NORM_AFTER_MLP), d->act, d->dact);
    if (c->family->activation == FL_GELU_TANH)
        ops->geglu_bwd(d->dact, d->dup, d->dact, s->gate, s->up, T, F);
    else
        ops->swiglu_bwd(d->dact, d->dup, d->dact, s->gate, s->up, T, F);
    ops->rmsnorm_fwd(d->norm, NULL, x_mid, w->norm[FL_NORM_MLP], T, 1, C, c->rms_norm_eps);
    fl_linears group = fl_decoder_linears(d, l, FL_GATE_PROJ, 2);
    group.y[0] = d->dact;
    group.y[1] = d->dup;
    fl_linears_bwd(ops, &group, d->dnorm, d->norm, T, false);
    ops->rmsnorm_bwd(fl_f32(d->dx, C), d->dnorm, x_mid, w->norm[FL_NORM_MLP], s->rstd2, T, 1, C);
}

/* dq, dk, dv, and zeros where the norms of heads add what they send back. */
static void backward_scores(fl_decoder *d, int64_t l)
{
    const fl_layer_state *s = &d->layers[l];
    float *const *w = d->model->layers[l].norm;
    int64_t count = d->shape.T * d->dheads.stride;
    if (w[FL_NORM_QUERY] || w[FL_NORM_KEY])
        d->ops->zero(d->dheads.data, (size_t)count * fl_dtype_size(d->dheads.dtype));
    d->shape.window = fl_model_window(&d->model->config, l);
    d->ops->attention_bwd(d->dq, d->dk, d->dv, d->datt, s->att, s->lse, s->q, s->k, s->v, &d->shape,
                          d->attn_scratch);
}

/* dx is the gradient of x_mid on entry and of x_in on return; nothing below layer 0 is trained. */
static void backward_attention(fl_decoder *d, int64_t l)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    const fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size;

    fl_act x_in = fl_f32(s->x_in, C), dnorm = l > 0 ? d->dnorm : (fl_act){0};

    linear_backward(d, l, FL_O_PROJ, block_gradient(d, l, FL_NORM_AFTER_ATTENTION), s->att,
                    d->datt);
    backward_scores(d, l);
    ops->rmsnorm_fwd(d->norm, NULL, x_in, w->norm[FL_NORM_ATTENTION], T, 1, C, c->rms_norm_eps);
    fl_linears group = fl_decoder_linears(d, l, FL_Q_PROJ, 3);
    group.y[0] = backward_head(d, l, FL_NORM_QUERY, d->dq, d->dq_before);
    group.y[1] = backward_head(d, l, FL_NORM_KEY, d->dk, d->dk_before);
    group.y[2] = d->dv;
    fl_linears_bwd(ops, &group, dnorm, d->norm, T, false);
    if (dnorm.data)
        ops->rmsnorm_bwd(fl_f32(d->dx, C), dnorm, x_in, w->norm[FL_NORM_ATTENTION], s->rstd1, T, 1,
                         C);
}

void fl_decoder_backward_layers(fl_decoder *d)
{
    int64_t num_layers = d->model->config.num_layers;
    for (int64_t l = num_layers; l-- > 0;) {
        /* the last layer's activations are still there */
        if (d->limits.recompute && l + 1 < num_layers) fl_decoder_rerun_layer(d, l);
        backward_mlp(d, l);
        backward_attention(d, l);
    }
}
