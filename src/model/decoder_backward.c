/* The backward pass.  The base is frozen: only dX chains through it; gradients exist for A and B.
 */
#include "model/decoder_internal.h"

/* From dy [T, rows] of one linear with input x [T, cols]: adds dA, dB to grads, and unless dx is
 * NULL gives it dy W + LoRA's part (accumulate: +=).  x is what the linear saw, before dropout. */
static void linear_backward(fl_decoder *d, int64_t layer, fl_module module, const float *dy,
                            const float *x, float *dx, bool accumulate, float *grads)
{
    const fl_backend_ops *ops = d->ops;
    const fl_weight *w = &d->model->layers[layer].linear[module];
    const fl_lora_slot *slot = &d->layers[layer].slot[module];
    int64_t T = d->shape.T, R = d->lora.r, rows = w->rows, cols = w->cols;
    if (dx) ops->linear_bwd(dx, dy, w, T, accumulate);
    if (!d->lora.target[module]) return;

    float scale = (float)(d->lora.alpha / (double)R);
    const float *a = d->adapter + slot->a, *b = d->adapter + slot->b;
    ops->gemm(grads + slot->b, dy, slot->t, rows, R, T, true, false, scale, 1.0f);
    ops->gemm(d->dt, dy, b, T, R, rows, false, false, scale, 0.0f);
    if (!d->keys) {
        ops->gemm(grads + slot->a, d->dt, x, R, cols, T, true, false, 1.0f, 1.0f);
        if (dx) ops->gemm(dx, d->dt, a, T, cols, R, false, false, 1.0f, 1.0f);
        return;
    }
    fl_rng stream = fl_decoder_dropout_stream(d, layer, module);
    ops->dropout(d->dropped, x, T * cols, d->lora.dropout, &stream, false);
    ops->gemm(grads + slot->a, d->dt, d->dropped, R, cols, T, true, false, 1.0f, 1.0f);
    if (!dx) return;
    ops->gemm(d->dropped, d->dt, a, T, cols, R, false, false, 1.0f, 0.0f);
    ops->dropout(dx, d->dropped, T * cols, d->lora.dropout, &stream, true);
}

/* dx is the gradient of the layer's output on entry and of x_mid on return. */
static void backward_mlp(fl_decoder *d, int64_t l, float *grads)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model_config *c = &d->model->config;
    const fl_layer *w = &d->model->layers[l];
    const fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size, TF = T * c->intermediate_size;

    if (d->lora.target[FL_DOWN_PROJ]) ops->swiglu_fwd(d->act, s->gate, s->up, TF);
    linear_backward(d, l, FL_DOWN_PROJ, d->dx, d->act, d->dact, false, grads);
    ops->swiglu_bwd(d->dact, d->dup, d->dact, s->gate, s->up, TF);
    ops->rmsnorm_fwd(d->norm, NULL, s->x_mid, w->post_norm, T, C, c->rms_norm_eps);
    linear_backward(d, l, FL_GATE_PROJ, d->dact, d->norm, d->dnorm, false, grads);
    linear_backward(d, l, FL_UP_PROJ, d->dup, d->norm, d->dnorm, true, grads);
    ops->rmsnorm_bwd(d->dx, d->dnorm, s->x_mid, w->post_norm, s->rstd2, T, C);
}

/* dx is the gradient of x_mid on entry and of x_in on return; nothing below layer 0 is trained. */
static void backward_attention(fl_decoder *d, int64_t l, float *grads)
{
    const fl_backend_ops *ops = d->ops;
    const fl_model *m = d->model;
    const fl_model_config *c = &m->config;
    const fl_layer *w = &m->layers[l];
    const fl_layer_state *s = &d->layers[l];
    int64_t T = d->shape.T, C = c->hidden_size, D = c->head_dim;

    linear_backward(d, l, FL_O_PROJ, d->dx, s->att, d->datt, false, grads);
    ops->attention_bwd(d->dq, d->dk, d->dv, d->datt, s->att, s->lse, s->q, s->k, s->v, &d->shape,
                       d->attn_scratch);
    ops->rope(d->dq, d->pos, m->cos_table, m->sin_table, T, c->num_heads, D, true);
    ops->rope(d->dk, d->pos, m->cos_table, m->sin_table, T, c->num_kv_heads, D, true);
    ops->rmsnorm_fwd(d->norm, NULL, s->x_in, w->input_norm, T, C, c->rms_norm_eps);
    float *dnorm = l > 0 ? d->dnorm : NULL;
    linear_backward(d, l, FL_Q_PROJ, d->dq, d->norm, dnorm, false, grads);
    linear_backward(d, l, FL_K_PROJ, d->dk, d->norm, dnorm, true, grads);
    linear_backward(d, l, FL_V_PROJ, d->dv, d->norm, dnorm, true, grads);
    if (dnorm) ops->rmsnorm_bwd(d->dx, dnorm, s->x_in, w->input_norm, s->rstd1, T, C);
}

void fl_decoder_backward_layers(fl_decoder *d, float *grads)
{
    for (int64_t l = d->model->config.num_layers; l-- > 0;) {
        backward_mlp(d, l, grads);
        backward_attention(d, l, grads);
    }
}
