/* Attention of one new token per sequence against its cache: a block per sequence and head, 128
 * keys at a time, a thread per key for the scores and per element for the values. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

enum { DECODE_KEYS = 128, DECODE_DIMS = ATT_MOST_D / DECODE_KEYS };

template <class T> struct DecodeArgs {
    Matrix<T> out, q, k, v;
    const int32_t *lengths;
    int64_t capacity;
    AttentionShape shape;
};

template <class T>
static __device__ __forceinline__ float key_score(const fl_shared<float> &query, const T *key,
                                                  const AttentionShape &shape)
{
    float sum = 0;
    for (int d = 0; d < shape.D; d++)
        sum += query[d] * read_element(key[d]);
    return cap_score(shape.scale * sum, shape.softcap);
}

template <class T>
static __global__ void __launch_bounds__(DECODE_KEYS) attention_decode_kernel(DecodeArgs<T> args)
{
    const AttentionShape &shape = args.shape;
    FL_SHARED(float, query, ATT_MOST_D);
    FL_SHARED(float, shares, DECODE_KEYS);
    int64_t s = blockIdx.x, head = blockIdx.y, kv = head / shape.group, length = args.lengths[s];
    int64_t first = length > shape.window ? length - shape.window : 0;
    int64_t tid = threadIdx.x, row = s * args.capacity;
    const T *q = args.q.at(s, (int)head * shape.D);
    const T *k = args.k.at(row, (int)kv * shape.D), *v = args.v.at(row, (int)kv * shape.D);
    for (int64_t d = tid; d < shape.D; d += DECODE_KEYS)
        query[d] = read_element(q[d]);
    __syncthreads();

    float max = -INFINITY, sum = 0, out[DECODE_DIMS] = {};
    for (int64_t begin = first; begin < length; begin += DECODE_KEYS) {
        int64_t rest = length - begin, count = rest < blockDim.x ? rest : blockDim.x;
        float score = -INFINITY;
        if (tid < count) score = key_score(query, k + (begin + tid) * args.k.stride, shape);
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
                out[i] += shares[j] * read_element(v[(begin + j) * args.v.stride + d]);
        }
        __syncthreads(); // the shares have been used
    }
    for (int i = 0; i < DECODE_DIMS; i++) {
        int64_t d = tid + i * DECODE_KEYS;
        if (d < shape.D) write_element(args.out.at(s, (int)head * shape.D) + d, out[i] / sum);
    }
}

template <class T>
static void run_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache, const int32_t *lengths,
                       int64_t capacity, const fl_attn_shape *shape)
{
    DecodeArgs<T> args = {matrix_of<T>(out),     matrix_of<T>(q), matrix_of<T>(k_cache),
                          matrix_of<T>(v_cache), lengths,         capacity,
                          shape_of(shape)};
    FL_LAUNCH(attention_decode_kernel<T>, dim3((unsigned)shape->S, (unsigned)shape->H), DECODE_KEYS,
              0, args);
}

void op_attention_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                         const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape)
{
    if (shape->S == 0) return;
    if (shape->D > ATT_MOST_D) return refuse_heads();
    auto run = q.dtype == FL_BF16 ? run_decode<bf16> : run_decode<float>;
    run(out, q, k_cache, v_cache, lengths, capacity, shape);
}

} // namespace FL_DEVICE
