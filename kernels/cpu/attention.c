/* Causal attention, forward: for each strip, all scores of its rows, softmax, times V.  A row of
 * scores is complete before its softmax, which keeps it as plain as the formula; a strip's scores
 * stay in the cache up to some thousand keys. */
#include "attention.h"

#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>
#include <string.h>

typedef struct forward_call {
    float *out, *lse;
    const float *q, *k, *v;
    const fl_attn_shape *shape;
    int64_t tokens; /* per strip */
} forward_call;

static int64_t strips_of(const forward_call *call, int64_t sequence)
{
    const int32_t *cu = call->shape->cu;
    return (cu[sequence + 1] - cu[sequence] + call->tokens - 1) / call->tokens;
}

/* Task number -> strip: sequence, then strip (long ones first, for balance), then KV head. */
static fl_strip find_strip(const forward_call *call, int64_t task)
{
    const fl_attn_shape *shape = call->shape;
    int64_t kv = task % shape->KV, index = task / shape->KV, sequence = 0;
    while (index >= strips_of(call, sequence))
        index -= strips_of(call, sequence++);
    index = strips_of(call, sequence) - 1 - index;
    fl_strip s = {.start = shape->cu[sequence], .kv = kv, .group = shape->H / shape->KV};
    int64_t length = shape->cu[sequence + 1] - s.start;
    s.q0 = index * call->tokens;
    s.q1 = s.q0 + call->tokens < length ? s.q0 + call->tokens : length;
    s.rows = (s.q1 - s.q0) * s.group;
    fl_strip_set_keys(&s, shape);
    return s;
}

/* scores[rows, keys] become probabilities; keys that a row does not see become zeros. */
static void softmax_strip(const forward_call *call, const fl_strip *s, float *scores)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t r = 0; r < s->rows; r++) {
        int64_t count, first = fl_strip_visible(s, call->shape, r, &count);
        float *line = scores + r * s->keys, *row = line + first;
        if (call->shape->softcap > 0) vec->softcap(row, call->shape->softcap, count);
        float max = vec->max(row, count);
        double sum = vec->exp_shift(row, max, count);
        vec->scale(row, row, (float)(1.0 / sum), count);
        memset(line, 0, (size_t)first * sizeof(float));
        memset(row + count, 0, (size_t)(s->keys - first - count) * sizeof(float));
        int64_t token = s->q0 + r / s->group, head = s->kv * s->group + r % s->group;
        call->lse[(s->start + token) * call->shape->H + head] = (float)((double)max + log(sum));
    }
}

static void forward_strip(int64_t task, int slot, void *arg)
{
    const forward_call *call = arg;
    const fl_attn_shape *shape = call->shape;
    fl_strip s = find_strip(call, task);
    int64_t size = s.rows * shape->D;
    float *q = fl_scratch(slot, FL_SCRATCH_OP, 2 * size + s.rows * s.keys);
    float *out = q + size, *scores = out + size;
    fl_strip_read(q, call->q, &s, shape, shape->scale);
    fl_strip_times_keys(scores, q, call->k, &s, shape, slot);
    softmax_strip(call, &s, scores);
    fl_strip_mix_keys(out, scores, call->v, 1.0f, &s, shape, slot);
    fl_strip_write(call->out, out, &s, shape);
}

void fl_cpu_attention_fwd(float *out, float *lse, const float *q, const float *k, const float *v,
                          const fl_attn_shape *shape)
{
    forward_call call = {.out = out,
                         .lse = lse,
                         .q = q,
                         .k = k,
                         .v = v,
                         .shape = shape,
                         .tokens = fl_strip_tokens(shape)};
    int64_t strips = 0;
    for (int64_t s = 0; s < shape->S; s++)
        strips += strips_of(&call, s);
    fl_parallel_tasks(strips * shape->KV, forward_strip, &call);
}
