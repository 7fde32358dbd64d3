/* Causal attention, forward: for each strip, all scores of its rows, softmax, times V.  A row of
 * scores is complete before its softmax, which keeps it as plain as the formula; a strip's scores
 * stay in the cache up to some thousand keys. */
#include "attention.h"

#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>

typedef struct forward_call {
    fl_act out;
    float *lse;
    fl_act q, k, v;
    const fl_attn_shape *shape;
} forward_call;

static int64_t count_strips(const fl_attn_shape *shape, int64_t sequence)
{
    int64_t tokens = fl_strip_tokens(shape);
    return (shape->cu[sequence + 1] - shape->cu[sequence] + tokens - 1) / tokens;
}

/* Task number -> strip: by sequence, then strip (long ones first, for balance), then KV head. */
static fl_strip find_strip(const fl_attn_shape *shape, int64_t task)
{
    int64_t index = task / shape->KV, sequence = 0;
    while (index >= count_strips(shape, sequence))
        index -= count_strips(shape, sequence++);
    return fl_strip_make(shape, sequence, task % shape->KV,
                         count_strips(shape, sequence) - 1 - index);
}

/* scores[rows, keys] become probabilities; places that a row does not see become zeros, as far as
 * they are read. */
static void softmax_strip(const forward_call *call, const fl_strip *s, float *scores)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t r = 0; r < s->rows; r++) {
        float *row = scores + r * s->stride;
        fl_score_row at = fl_strip_row(s, r);
        if (s->shape->softcap > 0) vec->softcap(row, s->shape->softcap, at.used);
        fl_strip_hide(s, row, &at, -INFINITY);
        float max = vec->max(row, at.used);
        double sum = vec->exp_shift(row, max, at.used);
        vec->scale(row, row, (float)(1.0 / sum), at.used);
        fl_strip_clear(row, at.used, s);
        float lse = (float)((double)max + log(sum));
        call->lse[(s->start + at.token) * s->shape->H + at.head] = lse;
    }
}

static void forward_strip(int64_t task, int slot, void *arg)
{
    const forward_call *call = arg;
    fl_strip s = find_strip(call->shape, task);
    int64_t size = s.rows * call->shape->D;
    float *q = fl_scratch(slot, FL_SCRATCH_OP, 2 * size + s.rows * s.stride);
    float *out = q + size, *scores = out + size;
    fl_strip_read(q, call->q, &s, call->shape->scale);
    fl_strip_times_keys(scores, q, call->k, &s, slot);
    softmax_strip(call, &s, scores);
    fl_strip_mix_keys(out, scores, call->v, &s, slot);
    fl_strip_write(call->out, out, &s);
}

void fl_cpu_attention_fwd(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *shape)
{
    forward_call call = {.out = out, .lse = lse, .q = q, .k = k, .v = v, .shape = shape};
    int64_t strips = 0;
    for (int64_t s = 0; s < shape->S; s++)
        strips += count_strips(shape, s);
    fl_parallel_tasks(strips * shape->KV, forward_strip, &call);
}
