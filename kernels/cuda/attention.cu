/* Causal attention, forward: a block per tile of queries and head, with running maximum and sum. */
#include "kernels/cuda/attention.h"

#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

struct ForwardArgs {
    Matrix<float> out;
    float *lse;
    Matrix<float> q, k, v;
    AttentionShape shape;
};

/* One tile of scores in: s becomes the probabilities relative to the new maximum, and what was
 * summed before is brought to it.  The eight threads of a row are neighbouring lanes. */
template <class Shape>
static __device__ __forceinline__ void online_softmax(float (&s)[Shape::KEYS], float &max,
                                                      float &sum, float (&out)[Shape::DIMS])
{
    float largest = max;
    FL_UNROLLED (c, Shape::KEYS)
        largest = Largest()(largest, s[c]);
    largest = warp_reduce(largest, Largest(), ATT_COLS);
    // nothing seen so far: largest is -inf, and a difference of two of them is no number
    float kept = max == -INFINITY ? 0.0f : expf(max - largest), added = 0;
    FL_UNROLLED (c, Shape::KEYS) {
        s[c] = s[c] == -INFINITY ? 0.0f : expf(s[c] - largest);
        added += s[c];
    }
    sum = sum * kept + warp_reduce(added, Sum(), ATT_COLS);
    max = largest;
    FL_UNROLLED (d, Shape::DIMS)
        out[d] *= kept;
}

template <class Shape>
static __global__ void __launch_bounds__(ATT_THREADS, Shape::BLOCKS)
    attention_fwd_kernel(ForwardArgs args)
{
    const AttentionShape &shape = args.shape;
    FL_SHARED_DYNAMIC(float, memory);
    fl_shared<float> queries = fl_part(memory, 0, Shape::FLOATS);
    fl_shared<float> keys = fl_part(memory, Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> scores = fl_part(memory, 2 * Shape::FLOATS, Shape::SCORES);
    Place at = find_place(shape, (int)blockIdx.x, Shape::TILE);
    if (at.first >= at.length) return; // the whole block
    int head = (int)blockIdx.y, kv = head / shape.group;
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float out[Shape::ROWS][Shape::DIMS] = {}, sum[Shape::ROWS] = {}, max[Shape::ROWS];
    FL_UNROLLED (r, Shape::ROWS)
        max[r] = -INFINITY;

    load_tile<Shape>(queries, args.q, at, head, shape.D, shape.scale);
    for (KeyTile t = first_keys(shape, at, Shape::TILE, Shape::TILE); is_there(t, at, Shape::TILE);
         t = next_keys(shape, at, Shape::TILE, Shape::TILE, t)) {
        float s[Shape::ROWS][Shape::KEYS];
        __syncthreads(); // the values of the tile before have been used
        load_tile<Shape>(keys, args.k, t, kv, shape.D, 1.0f);
        __syncthreads();
        multiply_rows<Shape>(s, queries, keys, row, col);
        FL_UNROLLED (r, Shape::ROWS) {
            int i = at.first + row * Shape::ROWS + r;
            FL_UNROLLED (c, Shape::KEYS) {
                int j = t.first + col + c * ATT_COLS;
                bool is_seen = i < at.length && j < t.length && sees(shape, i, t.ahead, j);
                s[r][c] = is_seen ? cap_score(s[r][c], shape.softcap) : -INFINITY;
            }
            online_softmax<Shape>(s[r], max[r], sum[r], out[r]);
            FL_UNROLLED (c, Shape::KEYS)
                scores[(row * Shape::ROWS + r) * (Shape::TILE + 1) + col + c * ATT_COLS] = s[r][c];
        }
        __syncthreads(); // keys have been used, scores are there
        load_tile<Shape>(keys, args.v, t, kv, shape.D, 1.0f);
        __syncthreads();
        mix_rows<Shape, false>(out, scores, keys, row, col);
    }
    FL_UNROLLED (r, Shape::ROWS) {
        int i = at.first + row * Shape::ROWS + r;
        if (col == 0 && i < at.length)
            args.lse[(int64_t)(at.start + i) * shape.H + head] = max[r] + logf(sum[r]);
        FL_UNROLLED (d, Shape::DIMS)
            out[r][d] /= sum[r];
    }
    store_rows<Shape>(args.out, out, at, head, shape.D, 1.0f);
}

void op_attention_fwd(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                      const fl_attn_shape *shape)
{
    if (shape->T == 0) return;
    if (q.dtype == FL_BF16) return attention_fwd_bf16(out, lse, q, k, v, shape);
    ForwardArgs args = {matrix_of<float>(out), lse,
                        matrix_of<float>(q),   matrix_of<float>(k),
                        matrix_of<float>(v),   shape_of(shape)};
    with_tile(shape->D, [&](auto tile) {
        using Shape = decltype(tile);
        auto attention_fwd = attention_fwd_kernel<Shape>;
        constexpr int bytes = (2 * Shape::FLOATS + Shape::SCORES) * (int)sizeof(float);
        if (allow_shared(attention_fwd, bytes))
            FL_LAUNCH(attention_fwd, dim3(tiles_of(shape, Shape::TILE), (unsigned)shape->H),
                      ATT_THREADS, bytes, args);
    });
}

} // namespace FL_DEVICE
