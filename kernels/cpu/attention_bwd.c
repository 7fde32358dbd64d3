/* Causal attention, backward (Dao et al. 2022, appendix B.2): with P = exp(S - lse),
 *   dV = P^T dO,  dP = dO V^T,  dS = P * (dP - delta),  delta = rowsum(dO * O),
 *   dQ = scale dS K,  dK = dS^T (scale Q);  with a cap dS is also times its slope 1 - (S/cap)^2.
 * A task is one KV head of one sequence and walks over its strips in order, so that dK and dV are
 * summed by one thread in one order. */
#include "attention.h"

#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <string.h>

typedef struct backward_call {
    float *dq, *dk, *dv;
    const float *dout, *out, *lse, *q, *k, *v;
    const fl_attn_shape *shape;
    int64_t tokens; /* per strip */
} backward_call;

/* Scratch of a strip, [rows, D] each but p and ds, which are [rows, keys], and capped [keys]. */
typedef struct backward_strip {
    float *q, *dout, *out, *p, *ds, *capped;
} backward_strip;

static void clear_outside(float *row, int64_t first, int64_t count, int64_t keys)
{
    memset(row, 0, (size_t)first * sizeof(float));
    memset(row + first + count, 0, (size_t)(keys - first - count) * sizeof(float));
}

/* p: scores -> probabilities, ds: dP -> dS; zeros where a row does not see. */
static void softmax_rows(const backward_call *call, const fl_strip *s, const backward_strip *strip)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    const fl_attn_shape *shape = call->shape;
    for (int64_t r = 0; r < s->rows; r++) {
        int64_t count, first = fl_strip_visible(s, shape, r, &count);
        int64_t token = s->q0 + r / s->group, head = s->kv * s->group + r % s->group;
        float lse = call->lse[(s->start + token) * shape->H + head];
        float delta = vec->dot(strip->dout + r * shape->D, strip->out + r * shape->D, shape->D);
        float *p = strip->p + r * s->keys, *ds = strip->ds + r * s->keys;
        if (shape->softcap > 0) {
            vec->softcap(p + first, shape->softcap, count);
            memcpy(strip->capped, p + first, (size_t)count * sizeof(float));
        }
        vec->softmax_bwd_row(p + first, ds + first, lse, delta, count);
        if (shape->softcap > 0) vec->softcap_bwd(ds + first, strip->capped, shape->softcap, count);
        clear_outside(p, first, count, s->keys);
        clear_outside(ds, first, count, s->keys);
    }
}

/* d[keys,D] of the strip's KV head += p[rows,keys]^T x[rows,D] */
static void add_to_keys(float *d, const float *p, const float *x, const fl_strip *s,
                        const fl_attn_shape *shape, int slot)
{
    fl_product product = {
        .a = {.data = p, .dtype = FL_F32, .stride = s->keys, .k_inner = false},
        .b = {.data = x, .dtype = FL_F32, .stride = shape->D, .k_inner = false},
        .c = d + ((s->start + s->k0) * shape->KV + s->kv) * shape->D,
        .c_row = shape->KV * shape->D,
        .c_col = 1,
        .M = s->keys,
        .N = shape->D,
        .K = s->rows,
        .alpha = 1.0f,
        .accumulate = true,
    };
    fl_product_serial(&product, slot);
}

static void backward_one(const backward_call *call, const fl_strip *s, int slot)
{
    const fl_attn_shape *shape = call->shape;
    int64_t size = s->rows * shape->D, scores = s->rows * s->keys;
    float *scratch = fl_scratch(slot, FL_SCRATCH_OP, 3 * size + 2 * scores + s->keys);
    backward_strip strip = {.q = scratch,
                            .dout = scratch + size,
                            .out = scratch + 2 * size,
                            .p = scratch + 3 * size,
                            .ds = scratch + 3 * size + scores,
                            .capped = scratch + 3 * size + 2 * scores};
    fl_strip_read(strip.q, call->q, s, shape, shape->scale);
    fl_strip_read(strip.dout, call->dout, s, shape, 1.0f);
    fl_strip_read(strip.out, call->out, s, shape, 1.0f);
    fl_strip_times_keys(strip.p, strip.q, call->k, s, shape, slot);
    fl_strip_times_keys(strip.ds, strip.dout, call->v, s, shape, slot);
    softmax_rows(call, s, &strip);
    add_to_keys(call->dv, strip.p, strip.dout, s, shape, slot);
    add_to_keys(call->dk, strip.ds, strip.q, s, shape, slot);
    float *dq = strip.out; // delta is done, its place is free
    fl_strip_mix_keys(dq, strip.ds, call->k, shape->scale, s, shape, slot);
    fl_strip_write(call->dq, dq, s, shape);
}

static void backward_head(int64_t task, int slot, void *arg)
{
    const backward_call *call = arg;
    const fl_attn_shape *shape = call->shape;
    int64_t sequence = task / shape->KV;
    int64_t start = shape->cu[sequence], length = shape->cu[sequence + 1] - start;
    fl_strip s = {.start = start, .kv = task % shape->KV, .group = shape->H / shape->KV};
    for (int64_t t = start; t < start + length; t++) {
        int64_t at = (t * shape->KV + s.kv) * shape->D;
        memset(call->dk + at, 0, (size_t)shape->D * sizeof(float));
        memset(call->dv + at, 0, (size_t)shape->D * sizeof(float));
    }
    for (s.q0 = 0; s.q0 < length; s.q0 = s.q1) {
        s.q1 = s.q0 + call->tokens < length ? s.q0 + call->tokens : length;
        s.rows = (s.q1 - s.q0) * s.group;
        fl_strip_set_keys(&s, shape);
        backward_one(call, &s, slot);
    }
}

void fl_cpu_attention_bwd(float *dq, float *dk, float *dv, const float *dout, const float *out,
                          const float *lse, const float *q, const float *k, const float *v,
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
                          .shape = shape,
                          .tokens = fl_strip_tokens(shape)};
    fl_parallel_tasks(shape->S * shape->KV, backward_head, &call);
}

int64_t fl_cpu_attention_bwd_scratch(const fl_attn_shape *shape)
{
    (void)shape;
    return 0;
}
