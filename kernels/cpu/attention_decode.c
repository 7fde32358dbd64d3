/* Attention of one new token per sequence against its cache: memory-bound, each key and value is
 * read once for all query heads of its group. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <string.h>

typedef struct decode_call {
    float *out;
    const float *q, *k_cache, *v_cache;
    const int32_t *lengths;
    int64_t capacity, H, KV, D;
    float scale;
} decode_call;

static void decode_head(int64_t task, int slot, void *arg)
{
    const decode_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    int64_t s = task / call->KV, kv = task % call->KV, D = call->D;
    int64_t group = call->H / call->KV, length = call->lengths[s], step = call->KV * D;
    const float *q = call->q + (s * call->H + kv * group) * D;
    float *out = call->out + (s * call->H + kv * group) * D;
    const float *k = call->k_cache + (s * call->capacity * call->KV + kv) * D;
    const float *v = call->v_cache + (s * call->capacity * call->KV + kv) * D;
    float *scores = fl_scratch(slot, FL_SCRATCH_OP, group * length); // [group, length]
    // A key is read once and used for all heads of the group while it is in L1; so is a value.
    for (int64_t j = 0; j < length; j++) {
        for (int64_t g = 0; g < group; g++)
            scores[g * length + j] = call->scale * vec->dot(q + g * D, k + j * step, D);
    }
    for (int64_t g = 0; g < group; g++) {
        float *row = scores + g * length;
        double sum = vec->exp_shift(row, vec->max(row, length), length);
        vec->scale(row, row, (float)(1.0 / sum), length);
    }
    memset(out, 0, (size_t)(group * D) * sizeof(float));
    for (int64_t j = 0; j < length; j++) {
        for (int64_t g = 0; g < group; g++)
            vec->axpy(out + g * D, v + j * step, scores[g * length + j], D);
    }
}

void fl_cpu_attention_decode(float *out, const float *q, const float *k_cache, const float *v_cache,
                             const int32_t *lengths, int64_t S, int64_t capacity, int64_t H,
                             int64_t KV, int64_t D, float scale)
{
    decode_call call = {.out = out,
                        .q = q,
                        .k_cache = k_cache,
                        .v_cache = v_cache,
                        .lengths = lengths,
                        .capacity = capacity,
                        .H = H,
                        .KV = KV,
                        .D = D,
                        .scale = scale};
    fl_parallel_tasks(S * KV, decode_head, &call);
}
