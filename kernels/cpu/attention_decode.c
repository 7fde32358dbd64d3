/* Attention of one new token per sequence against its cache: memory-bound, each key and value is
 * read once for all query heads of its group. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <string.h>

typedef struct decode_call {
    fl_act out, q, k_cache, v_cache;
    const int32_t *lengths;
    int64_t capacity;
    const fl_attn_shape *shape;
} decode_call;

static void decode_head(int64_t task, int slot, void *arg)
{
    const decode_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    const fl_attn_shape *shape = call->shape;
    int64_t s = task / shape->KV, kv = task % shape->KV, D = shape->D;
    int64_t group = shape->H / shape->KV, length = call->lengths[s];
    int64_t first = shape->window > 0 && length > shape->window ? length - shape->window : 0;
    int64_t at = s * call->capacity + first;
    const float *q = fl_cpu_floats(fl_act_from(call->q, s, kv * group * D));
    float *out = fl_cpu_floats(fl_act_from(call->out, s, kv * group * D));
    const float *k = fl_cpu_floats(fl_act_from(call->k_cache, at, kv * D));
    const float *v = fl_cpu_floats(fl_act_from(call->v_cache, at, kv * D));
    length -= first;
    float *scores = fl_scratch(slot, FL_SCRATCH_OP, group * length); // [group, length]
    // A key is read once and used for all heads of the group while it is in L1; so is a value.
    for (int64_t j = 0; j < length; j++) {
        for (int64_t g = 0; g < group; g++)
            scores[g * length + j] =
                shape->scale * vec->dot(q + g * D, k + j * call->k_cache.stride, D);
    }
    for (int64_t g = 0; g < group; g++) {
        float *row = scores + g * length;
        if (shape->softcap > 0) vec->softcap(row, shape->softcap, length);
        double sum = vec->exp_shift(row, vec->max(row, length), length);
        vec->scale(row, row, (float)(1.0 / sum), length);
    }
    memset(out, 0, (size_t)(group * D) * sizeof(float));
    for (int64_t j = 0; j < length; j++) {
        for (int64_t g = 0; g < group; g++)
            vec->axpy(out + g * D, v + j * call->v_cache.stride, scores[g * length + j], D);
    }
}

void fl_cpu_attention_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                             const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape)
{
    decode_call call = {.out = out,
                        .q = q,
                        .k_cache = k_cache,
                        .v_cache = v_cache,
                        .lengths = lengths,
                        .capacity = capacity,
                        .shape = shape};
    fl_parallel_tasks(shape->S * shape->KV, decode_head, &call);
}
