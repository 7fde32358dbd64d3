/* Attention of one new token per sequence against its cache: a block per sequence and head, 128
 * keys at a time, a thread per key for the scores and per element for the values. */
#include "kernels/cuda/attention.h"

#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

enum { DECODE_KEYS = 128, DECODE_DIMS = ATT_MOST_D / DECODE_KEYS };

struct DecodeArgs {
    float *out;
    const float *q, *k, *v;
    const int32_t *lengths;
    int64_t capacity;
    AttentionShape shape;
};

static __device__ __forceinline__ float key_score(const fl_shared<float> &query, const float *key,
                                                  const AttentionShape &shape)
{
    float sum = 0;
    for (int d = 0; d < shape.D; d++)
        sum += query[d] * key[d];
    return cap_score(shape.scale * sum, shape.softcap);
}

static __global__ void __launch_bounds__(DECODE_KEYS) attention_decode_kernel(DecodeArgs args)
{
    const AttentionShape &shape = args.shape;
    FL_SHARED(float, query, ATT_MOST_D);
    FL_SHARED(float, shares, DECODE_KEYS);
    int64_t s = blockIdx.x, head = blockIdx.y, kv = head / shape.group, length = args.lengths[s];
    int64_t first = shape.window > 0 && length > shape.window ? length - shape.window : 0;
    int64_t step = (int64_t)shape.KV * shape.D, tid = threadIdx.x;
    const float *q = args.q + (s * shape.H + head) * shape.D;
    const float *k = args.k + (s * args.capacity * shape.KV + kv) * shape.D;
    const float *v = args.v + (s * args.capacity * shape.KV + kv) * shape.D;
    for (int64_t d = tid; d < shape.D; d += DECODE_KEYS)
        query[d] = q[d];
    __syncthreads();

    float max = -INFINITY, sum = 0, out[DECODE_DIMS] = {};
    for (int64_t begin = first; begin < length; begin += DECODE_KEYS) {
        int64_t rest = length - begin, count = rest < blockDim.x ? rest : blockDim.x;
        float score = -INFINITY;
        if (tid < count) score = key_score(query, k + (begin + tid) * step, shape);
        float largest = Largest()(max, block_reduce(score, -INFINITY, Largest()));
        float share = tid < count ? expf(score - largest) : 0.0f;
        float kept = max == -INFINITY ? 0.0f : expf(max - largest);
        shares[tid] = share;
        sum = sum * kept + block_reduce(share, 0.0f, Sum()); // its barriers show the shares to all
        max = largest;
        for (int i = 0; i < DECODE_DIMS; i++) {
            int64_t d = tid + i * DECODE_KEYS;
            out[i] *= kept;
            for (int64_t j = 0; j < count && d < shape.D; j++)
                out[i] += shares[j] * v[(begin + j) * step + d];
        }
        __syncthreads(); // the shares have been used
    }
    for (int i = 0; i < DECODE_DIMS; i++) {
        int64_t d = tid + i * DECODE_KEYS;
        if (d < shape.D) args.out[(s * shape.H + head) * shape.D + d] = out[i] / sum;
    }
}

void op_attention_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                         const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape)
{
    if (shape->S == 0) return;
    if (shape->D > ATT_MOST_D)
        return fail_op(FL_ERR_UNSUPPORTED, "attention heads of more than 256 elements");
    int64_t HD = shape->H * shape->D, KVD = shape->KV * shape->D;
    DecodeArgs args = {dense(out, HD), dense(q, HD), dense(k_cache, KVD), dense(v_cache, KVD),
                       lengths,        capacity,     shape_of(shape)};
    FL_LAUNCH(attention_decode_kernel, dim3((unsigned)shape->S, (unsigned)shape->H), DECODE_KEYS, 0,
              args);
}

} // namespace FL_DEVICE
