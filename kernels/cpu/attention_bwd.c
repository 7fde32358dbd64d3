/* Causal attention, backward (Dao et al. 2022, appendix B.2): with P = exp(S - lse),
 *   dV = P^T dO,  dP = dO V^T,  dS = P * (dP - delta),  delta = rowsum(dO * O),
 *   dQ = scale dS K,  dK = dS^T (scale Q);  a cap multiplies dS by its slope 1 - (S/cap)^2.
 * A task is one KV head of one sequence, with those that continue it, and walks over their strips
 * in order, so that dK and dV are summed by one thread in one order. */
#include "attention.h"

#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>
#include <string.h>

typedef struct backward_call {
    fl_act dq, dk, dv, dout, out;
    const float *lse;
    fl_act q, k, v;
    const fl_attn_shape *shape;
} backward_call;

/* Scratch of a strip: [rows, D] each, p and ds [rows, keys], capped [keys]. */
typedef struct backward_strip {
    float *q, *dout, *out, *p, *ds, *capped;
} backward_strip;

/* p: scores -> probabilities, ds: dP -> dS; zeros where a row does not see, as far as they are
 * read. */
static void softmax_rows(const backward_call *call, const fl_strip *s, const backward_strip *strip)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    int64_t D = s->shape->D;
    for (int64_t r = 0; r < s->rows; r++) {
        fl_score_row at = fl_strip_row(s, r);
        float lse = call->lse[(s->start + at.token) * s->shape->H + at.head],
              cap = s->shape->softcap;
        float delta = vec->dot(strip->dout + r * D, strip->out + r * D, D);
        float *p = strip->p + r * s->stride, *ds = strip->ds + r * s->stride;
        if (cap > 0) {
            vec->softcap(p, cap, at.used);
            memcpy(strip->capped, p, (size_t)at.used * sizeof *p);
        }
        fl_strip_hide(s, p, &at, -INFINITY);
        fl_strip_hide(s, ds, &at, 0.0f);
        vec->softmax_bwd_row(p, ds, lse, delta, at.used);
        int64_t seen = at.last + 1 - at.first;
        if (cap > 0) vec->softcap_bwd(ds + at.first, strip->capped + at.first, cap, seen);
        fl_strip_clear(p, at.used, s);
        fl_strip_clear(ds, at.used, s);
    }
}

static void backward_one(const backward_call *call, const fl_strip *s, int slot)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    int64_t size = s->rows * s->shape->D, scores = s->rows * s->stride;
    float *scratch = fl_scratch(slot, FL_SCRATCH_OP, 3 * size + 2 * scores + s->stride);
    backward_strip strip = {.q = scratch,
                            .dout = scratch + size,
                            .out = scratch + 2 * size,
                            .p = scratch + 3 * size,
                            .ds = scratch + 3 * size + scores,
                            .capped = scratch + 3 * size + 2 * scores};
    fl_strip_read(strip.q, call->q, s, s->shape->scale);
    fl_strip_read(strip.dout, call->dout, s, 1.0f);
    fl_strip_read(strip.out, call->out, s, 1.0f);
    fl_strip_times_keys(strip.p, strip.q, call->k, s, slot);
    fl_strip_times_keys(strip.ds, strip.dout, call->v, s, slot);
    softmax_rows(call, s, &strip);
    fl_strip_add_to_keys(call->dv, strip.p, strip.dout, s, slot);
    fl_strip_add_to_keys(call->dk, strip.ds, strip.q, s, slot);
    float *dq = strip.out; // delta is done, its place is free
    fl_strip_mix_keys(dq, strip.ds, call->k, s, slot);
    vec->scale(dq, dq, s->shape->scale, size);
    fl_strip_write(call->dq, dq, s);
}

static void backward_sequence(const backward_call *call, int64_t sequence, int64_t kv, int slot)
{
    const fl_attn_shape *shape = call->shape;
    for (int64_t t = shape->cu[sequence]; t < shape->cu[sequence + 1]; t++) {
        size_t bytes = (size_t)shape->D * sizeof(float);
        memset(fl_act_from(call->dk, t, kv * shape->D).data, 0, bytes);
        memset(fl_act_from(call->dv, t, kv * shape->D).data, 0, bytes);
    }
    int64_t length = shape->cu[sequence + 1] - shape->cu[sequence];
    for (int64_t index = 0; index * fl_strip_tokens(shape) < length; index++) {
        fl_strip s = fl_strip_make(shape, sequence, kv, index);
        backward_one(call, &s, slot);
    }
}

static void backward_head(int64_t task, int slot, void *arg)
{
    const backward_call *call = arg;
    const fl_attn_shape *shape = call->shape;
    int64_t first = task / shape->KV, kv = task % shape->KV;
    if (fl_prefix_of(shape, first) != first) return; // done with the one that it continues
    backward_sequence(call, first, kv, slot);
    for (int64_t s = first + 1; s < shape->S && fl_prefix_of(shape, s) == first; s++)
        backward_sequence(call, s, kv, slot);
}

void fl_cpu_attention_bwd(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out,
                          const float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *shape, float *scratch)
{
    (void)scratch; // scores live in the threads' own scratch, as in the forward pass
    backward_call call = {.dq = dq,
                          .dk = dk,
                          .dv = dv,
                          .dout = dout,
                          .out = out,
                          .lse = lse,
                          .q = q,
                          .k = k,
                          .v = v,
                          .shape = shape};
    fl_parallel_tasks(shape->S * shape->KV, backward_head, &call);
}

int64_t fl_cpu_attention_bwd_scratch(const fl_attn_shape *shape)
{
    (void)shape;
    return 0;
}
