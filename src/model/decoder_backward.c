/* The backward pass.  The base is frozen: only dX chains through it; gradients exist for A and B.
 */
#include "model/decoder_internal.h"

/* dx += (dy B) A of the base's change */
static void add_side(fl_decoder *d, const fl_lora_slot *side, const fl_weight *w, float *dx,
                     const float *dy)
{
    int64_t T = d->shape.T, R = side->r;
    if (!d->side || R == 0) return;
    d->ops->gemm(d->side_t, dy, d->side + side->b, T, R, w->rows, false, false, 1.0f, 0.0f);
    d->ops->gemm(dx, d->side_t, d->side + side->a, T, w->cols, R, false, false, 1.0f, 1.0f);
}

/* From dy [T, rows] of one linear with input x [T, cols]: adds dA, dB to grads, and unless dx is
 * NULL gives it dy W + LoRA's part (accumulate: +=).  x is what the linear saw, before dropout. */
static void linear_backward(fl_decoder *d, int64_t layer, fl_module module, const float *dy,
                            const float *x, float *dx, bool accumulate, float *grads)
{
    const fl_backend_ops *ops = d->ops;
    const fl_weight *w = &d->model->layers[layer].linear[module];
    const fl_lora_slot *slot = &d->layers[layer].slot[module];
    int64_t T = d->shape.T, R = slot->r, rows = w->rows, cols = w->cols;
    if (dx) ops->linear_bwd(dx, dy, w, T, accumulate);
    if (!d->lora.target[module]) return;

    if (dx) add_side(d, &d->layers[layer].side[module], w, dx, dy);
    float scale = fl_decoder_lora_scale(d, slot);
    const float *a = d->adapter + slot->a, *b = d->adapter + slot->b;
    bool grad_a = !(d->frozen & FL_FACTOR_A), grad_b = !(d->frozen & FL_FACTOR_B);
    if (grad_b) ops->gemm(grads + slot->b, dy, slot->t, rows, R, T, true, false, scale, 1.0f);
    ops->gemm(d->dt, dy, b, T, R, rows, false, false, scale, 0.0f);
    if (!d->keys) {
        if (grad_a) ops->gemm(grads + slot->a, d->dt, x, R, cols, T, true, false, 1.0f, 1.0f);
        if (dx) ops->gemm(dx, d->dt, a, T, cols, R, false, false, 1.0f, 1.0f);
        return;
    }
    fl_rng stream = fl_decoder_dropout_stream(d, layer, module);
    if (grad_a) {
        ops->dropout(d->dropped, x, T * cols, d->lora.dropout, &stream, false);
        ops->gemm(grads + slot->a, d->dt, d->dropped, R, cols, T, true, false, 1.0f, 1.0f);
    }
    if (!dx) return;
    ops->gemm(d->dropped, d->dt, a, T, cols, R, false, false, 1.0f, 0.0f);
    ops->dropout(dx, d->dropped, T * cols, d->lora.dropout, &stream, true);
}

/* The gradient of what a block adds to the residual, before the norm behind it: dx itself where
 * there is none. */
static const float *block_gradient(fl_decoder *d, int64_t l, fl_norm norm)
{
    const fl_layer_state *s = &d->layers[l];
    const float *w = d->model->layers[l].norm[norm];
    int64_t T = d->shape.T, C = d->model->config.hidden_size;
    if (!w) return d->dx;
    d->ops->zero(d->dblock, (size_t)(T * C) * sizeof(float));
    d->ops->rmsnorm_bwd(d->dblock, d->dx, s->before[norm], w, s->rstd[norm], T, C);
    return d->dblock;
}

/* From dy [T, heads*D], the gradient of q or k after RoPE (overwritten): back through rotation,
 * head norm and linear.  dx as in linear_backward. */
static void backward_heads(fl_decoder *d, int64_t l, fl_module module, fl_norm norm, float *dy,
                           float *dx, float *grads)
{
    const fl_model *m = d->model;
    const fl_layer_state *s = &d->layers[l];
    const float *w = m->layers[l].norm[norm];
    bool query = norm == FL_NORM_QUERY;
    int64_t T = d->shape.T, D = m->config.head_dim;
    int64_t heads = query ? m->config.num_heads : m->config.num_kv_heads;
    d->ops->rope(dy, d->pos, m->cos_table, m->sin_table, T, heads, D, true);
    if (w) {
        d->ops->zero(d->dheads, (size_t)(T * heads * D) * sizeof(float));
        d->ops->rmsnorm_bwd(d->dheads, dy, s->before[norm], w, s->rstd[norm], T * heads, D);
        dy = d->dheads;
    }
    linear_backward(d, l, module, dy, d->norm, dx, !query, grads);
}

/* dx is the gradient of the layer's output on entry and of x_mid on return. */
static void backward_mlp(fl_decoder *d, int64_t l, float *grads)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    const fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size, TF = T * c->intermediate_size;

    if (d->lora.target[FL_DOWN_PROJ]) fl_decoder_activate(d, d->act, s->gate, s->up);
    linear_backward(d, l, FL_DOWN_PROJ, block_gradient(d, l, FL_NORM_AFTER_MLP), d->act, d->dact,
                    false, grads);
    if (c->family->activation == FL_GELU_TANH)
        ops->geglu_bwd(d->dact, d->dup, d->dact, s->gate, s->up, TF);
    else
        ops->swiglu_bwd(d->dact, d->dup, d->dact, s->gate, s->up, TF);
    ops->rmsnorm_fwd(d->norm, NULL, s->x_mid, w->norm[FL_NORM_MLP], T, C, c->rms_norm_eps);
    linear_backward(d, l, FL_GATE_PROJ, d->dact, d->norm, d->dnorm, false, grads);
    linear_backward(d, l, FL_UP_PROJ, d->dup, d->norm, d->dnorm, true, grads);
    ops->rmsnorm_bwd(d->dx, d->dnorm, s->x_mid, w->norm[FL_NORM_MLP], s->rstd2, T, C);
}

/* dx is the gradient of x_mid on entry and of x_in on return; nothing below layer 0 is trained. */
static void backward_attention(fl_decoder *d, int64_t l, float *grads)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    const fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size;

    linear_backward(d, l, FL_O_PROJ, block_gradient(d, l, FL_NORM_AFTER_ATTENTION), s->att, d->datt,
                    false, grads);
    d->shape.window = fl_model_window(c, l);
    ops->attention_bwd(d->dq, d->dk, d->dv, d->datt, s->att, s->lse, s->q, s->k, s->v, &d->shape,
                       d->attn_scratch);
    ops->rmsnorm_fwd(d->norm, NULL, s->x_in, w->norm[FL_NORM_ATTENTION], T, C, c->rms_norm_eps);
    float *dnorm = l > 0 ? d->dnorm : NULL;
    backward_heads(d, l, FL_Q_PROJ, FL_NORM_QUERY, d->dq, dnorm, grads);
    backward_heads(d, l, FL_K_PROJ, FL_NORM_KEY, d->dk, dnorm, grads);
    linear_backward(d, l, FL_V_PROJ, d->dv, d->norm, dnorm, true, grads);
    if (dnorm) ops->rmsnorm_bwd(d->dx, dnorm, s->x_in, w->norm[FL_NORM_ATTENTION], s->rstd1, T, C);
}

void fl_decoder_backward_layers(fl_decoder *d, float *grads)
{
    int64_t num_layers = d->model->config.num_layers;
    for (int64_t l = num_layers; l-- > 0;) {
        /* the last layer's activations are still there */
        if (d->limits.recompute && l + 1 < num_layers) fl_decoder_rerun_layer(d, l);
        backward_mlp(d, l, grads);
        backward_attention(d, l, grads);
    }
}
