/* Causal attention, backward (Dao et al. 2022, appendix B.2): with P = exp(S - lse),
 *   dV = P^T dO,  dP = dO V^T,  dS = P * (dP - delta),  delta = rowsum(dO * O),
 *   dQ = scale dS K,  dK = dS^T (scale Q);  a cap multiplies dS by its slope.
 * One kernel gives dQ, a block per tile of queries; one gives dK and dV, a block per tile of keys,
 * which walks over the heads of its group and their queries.  Scores are computed in both: that
 * costs a third more than sharing them, and no sum is shared between blocks. */
#include "kernels/cuda/attention.h"

#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

struct BackwardArgs {
    float *dq, *dk, *dv;
    const float *dout, *lse, *delta, *q, *k, *v;
    AttentionShape shape;
};

enum { DELTA_ROWS = 8, DELTA_THREADS = DELTA_ROWS * WARP_LANES };

/* delta[rows], a warp per row of dout[rows, D] and out. */
static __global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta_kernel(float *delta, const float *dout, const float *out, int64_t rows,
                           int64_t D)
{
    int64_t row = (int64_t)blockIdx.x * DELTA_ROWS + threadIdx.x / WARP_LANES;
    if (row >= rows) return; // the whole warp
    float sum = 0;
    for (int64_t d = threadIdx.x % WARP_LANES; d < D; d += WARP_LANES)
        sum += dout[row * D + d] * out[row * D + d];
    sum = warp_reduce(sum, Sum());
    if (threadIdx.x % WARP_LANES == 0) delta[row] = sum;
}

/* A tile of P and dS [TILE, TILE+1] from the tiles of scaled queries, keys, dO and values; query i
 * of the tile is token first_q + i, key j first_k + j.  P is left out when it is not asked for. */
template <class Shape, bool WANTS_P>
static __device__ __forceinline__ void
backward_scores(const fl_shared<float> &p, const fl_shared<float> &ds, const BackwardArgs &args,
                const Place &at, int head, int64_t first_q, int64_t first_k,
                const fl_shared<float> &queries, const fl_shared<float> &keys,
                const fl_shared<float> &douts, const fl_shared<float> &values)
{
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float s[Shape::ROWS][Shape::KEYS], dp[Shape::ROWS][Shape::KEYS];
    multiply_rows<Shape>(s, queries, keys, row, col);
    multiply_rows<Shape>(dp, douts, values, row, col);
    FL_UNROLLED (r, Shape::ROWS) {
        int64_t i = first_q + row * Shape::ROWS + r, at_row = (at.start + i) * args.shape.H + head;
        float lse = i < at.length ? args.lse[at_row] : 0.0f;
        float delta = i < at.length ? args.delta[at_row] : 0.0f;
        FL_UNROLLED (c, Shape::KEYS) {
            float score = cap_score(s[r][c], args.shape.softcap);
            bool is_seen = sees(args.shape, at, i, first_k + col + c * ATT_COLS);
            float share = is_seen ? expf(score - lse) : 0.0f;
            float slope = share * (dp[r][c] - delta) * cap_slope(score, args.shape.softcap);
            int place = (row * Shape::ROWS + r) * (Shape::TILE + 1) + col + c * ATT_COLS;
            if (WANTS_P) p[place] = share;
            ds[place] = is_seen ? slope : 0.0f;
        }
    }
}

template <class Shape>
static __global__ void __launch_bounds__(ATT_THREADS, Shape::BLOCKS)
    attention_bwd_dq_kernel(BackwardArgs args)
{
    const AttentionShape &shape = args.shape;
    FL_SHARED_DYNAMIC(float, memory);
    fl_shared<float> queries = fl_part(memory, 0, Shape::FLOATS);
    fl_shared<float> douts = fl_part(memory, Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> keys = fl_part(memory, 2 * Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> values = fl_part(memory, 3 * Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> ds = fl_part(memory, 4 * Shape::FLOATS, Shape::SCORES);
    Place at = find_place(shape, blockIdx.x, Shape::TILE);
    if (at.first >= at.length) return; // the whole block
    int head = (int)blockIdx.y, kv = head / shape.group;
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float dq[Shape::ROWS][Shape::DIMS] = {};

    load_tile<Shape>(queries, args.q, at, at.first, shape.H, head, shape.D, shape.scale);
    load_tile<Shape>(douts, args.dout, at, at.first, shape.H, head, shape.D, 1.0f);
    int64_t first = shape.window > 0 && at.first >= shape.window ? at.first + 1 - shape.window : 0;
    for (int64_t j = first / Shape::TILE * Shape::TILE; j < at.first + Shape::TILE;
         j += Shape::TILE) {
        __syncthreads(); // the tile before has been used
        load_tile<Shape>(keys, args.k, at, j, shape.KV, kv, shape.D, 1.0f);
        load_tile<Shape>(values, args.v, at, j, shape.KV, kv, shape.D, 1.0f);
        __syncthreads();
        backward_scores<Shape, false>(ds, ds, args, at, head, at.first, j, queries, keys, douts,
                                      values);
        __syncthreads();
        mix_rows<Shape, false>(dq, ds, keys, row, col);
    }
    store_rows<Shape>(args.dq, dq, at, shape.H, head, shape.D, shape.scale);
}

/* Queries behind the last one that sees a key of the tile are left out. */
static __device__ __forceinline__ int64_t last_query(const AttentionShape &shape, const Place &at,
                                                     int tile)
{
    int64_t end = at.first + tile - 1 + shape.window;
    return shape.window > 0 && end < at.length ? end : at.length;
}

template <class Shape>
static __global__ void __launch_bounds__(ATT_THREADS, Shape::BLOCKS_DKV)
    attention_bwd_dkv_kernel(BackwardArgs args)
{
    const AttentionShape &shape = args.shape;
    FL_SHARED_DYNAMIC(float, memory);
    fl_shared<float> queries = fl_part(memory, 0, Shape::FLOATS);
    fl_shared<float> douts = fl_part(memory, Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> keys = fl_part(memory, 2 * Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> values = fl_part(memory, 3 * Shape::FLOATS, Shape::FLOATS);
    fl_shared<float> p = fl_part(memory, 4 * Shape::FLOATS, Shape::SCORES);
    fl_shared<float> ds = fl_part(memory, 4 * Shape::FLOATS + Shape::SCORES, Shape::SCORES);
    Place at = find_place(shape, blockIdx.x, Shape::TILE);
    if (at.first >= at.length) return; // the whole block
    int kv = (int)blockIdx.y;
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float dk[Shape::ROWS][Shape::DIMS] = {}, dv[Shape::ROWS][Shape::DIMS] = {};

    load_tile<Shape>(keys, args.k, at, at.first, shape.KV, kv, shape.D, 1.0f);
    load_tile<Shape>(values, args.v, at, at.first, shape.KV, kv, shape.D, 1.0f);
    int64_t end = last_query(shape, at, Shape::TILE);
    for (int head = kv * shape.group; head < (kv + 1) * shape.group; head++) {
        for (int64_t i = at.first; i < end; i += Shape::TILE) {
            __syncthreads(); // the tile before has been used
            load_tile<Shape>(queries, args.q, at, i, shape.H, head, shape.D, shape.scale);
            load_tile<Shape>(douts, args.dout, at, i, shape.H, head, shape.D, 1.0f);
            __syncthreads();
            backward_scores<Shape, true>(p, ds, args, at, head, i, at.first, queries, keys, douts,
                                         values);
            __syncthreads();
            mix_rows<Shape, true>(dv, p, douts, row, col);
            mix_rows<Shape, true>(dk, ds, queries, row, col);
        }
    }
    store_rows<Shape>(args.dk, dk, at, shape.KV, kv, shape.D, 1.0f);
    store_rows<Shape>(args.dv, dv, at, shape.KV, kv, shape.D, 1.0f);
}

template <class Shape>
static void run_backward(const BackwardArgs &args, const fl_attn_shape *shape)
{
    auto dq = attention_bwd_dq_kernel<Shape>;
    auto dkv = attention_bwd_dkv_kernel<Shape>;
    constexpr int dq_bytes = (4 * Shape::FLOATS + Shape::SCORES) * (int)sizeof(float);
    constexpr int dkv_bytes = dq_bytes + Shape::SCORES * (int)sizeof(float);
    if (!allow_shared(dq, dq_bytes) || !allow_shared(dkv, dkv_bytes)) return;
    unsigned tiles = tiles_of(shape, Shape::TILE);
    FL_LAUNCH(dq, dim3(tiles, (unsigned)shape->H), ATT_THREADS, dq_bytes, args);
    FL_LAUNCH(dkv, dim3(tiles, (unsigned)shape->KV), ATT_THREADS, dkv_bytes, args);
}

void op_attention_bwd(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out, const float *lse,
                      fl_act q, fl_act k, fl_act v, const fl_attn_shape *shape, float *scratch)
{
    int64_t rows = shape->T * shape->H, HD = shape->H * shape->D, KVD = shape->KV * shape->D;
    if (rows == 0) return;
    FL_LAUNCH(attention_delta_kernel, (unsigned)((rows + DELTA_ROWS - 1) / DELTA_ROWS),
              DELTA_THREADS, 0, scratch, dense(dout, HD), dense(out, HD), rows, shape->D);
    BackwardArgs args = {dense(dq, HD), dense(dk, KVD), dense(dv, KVD), dense(dout, HD),
                         lse,           scratch,        dense(q, HD),   dense(k, KVD),
                         dense(v, KVD), shape_of(shape)};
    with_tile(shape->D, [&](auto tile) { run_backward<decltype(tile)>(args, shape); });
}

/* delta */
int64_t op_attention_bwd_scratch(const fl_attn_shape *shape)
{
    return shape->T * shape->H;
}

} // namespace FL_DEVICE
