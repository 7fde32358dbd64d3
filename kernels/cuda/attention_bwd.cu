/* Causal attention, backward (Dao et al. 2022, appendix B.2): with P = exp(S - lse),
 *   dV = P^T dO,  dP = dO V^T,  dS = P * (dP - delta),  delta = rowsum(dO * O),
 *   dQ = scale dS K,  dK = dS^T (scale Q);  a cap multiplies dS by its slope.
 * One kernel gives dQ, a block per tile of queries; one gives dK and dV, a block per tile of keys,
 * which walks over the heads of its group and their queries, those of sequences that continue its
 * own included.  Scores are computed in both: that costs a third more than sharing them, and no sum
 * is shared between blocks. */
#include "kernels/cuda/attention.h"

#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

struct BackwardArgs {
    Matrix<float> dq, dk, dv, dout, q, k, v;
    const float *lse, *delta;
    AttentionShape shape;
};

enum { DELTA_ROWS = 8, DELTA_THREADS = DELTA_ROWS * WARP_LANES };

/* delta[T, H], a warp per head of a row of dout[T, H * D] and out. */
static __global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta_kernel(float *delta, Matrix<float> dout, Matrix<float> out, int64_t rows, int H,
                           int D)
{
    int64_t row = (int64_t)blockIdx.x * DELTA_ROWS + threadIdx.x / WARP_LANES;
    if (row >= rows) return; // the whole warp
    const float *a = dout.at(row / H, (int)(row % H) * D), *b = out.at(row / H, (int)(row % H) * D);
    float sum = 0;
    for (int d = (int)threadIdx.x % WARP_LANES; d < D; d += WARP_LANES)
        sum += a[d] * b[d];
    sum = warp_reduce(sum, Sum());
    if (threadIdx.x % WARP_LANES == 0) delta[row] = sum;
}

/* A tile of P and dS [TILE, TILE+1] from the tiles of scaled queries, keys, dO and values;
 * `queries` and `keys` say which tokens these are, P is left out when it is not asked for. */
template <class Shape, bool WANTS_P, class Queries, class Keys>
static __device__ __forceinline__ void
backward_scores(const fl_shared<float> &p, const fl_shared<float> &ds, const BackwardArgs &args,
                int head, int ahead, const Queries &queries, const Keys &keys,
                const fl_shared<float> &query_tile, const fl_shared<float> &key_tile,
                const fl_shared<float> &dout_tile, const fl_shared<float> &value_tile)
{
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float s[Shape::ROWS][Shape::KEYS], dp[Shape::ROWS][Shape::KEYS];
    multiply_rows<Shape>(s, query_tile, key_tile, row, col);
    multiply_rows<Shape>(dp, dout_tile, value_tile, row, col);
    FL_UNROLLED (r, Shape::ROWS) {
        int i = queries.first + row * Shape::ROWS + r;
        int64_t at_row = (int64_t)(queries.start + i) * args.shape.H + head;
        float lse = i < queries.length ? args.lse[at_row] : 0.0f;
        float delta = i < queries.length ? args.delta[at_row] : 0.0f;
        FL_UNROLLED (c, Shape::KEYS) {
            float score = cap_score(s[r][c], args.shape.softcap);
            int j = keys.first + col + c * ATT_COLS;
            bool is_seen = i < queries.length && j < keys.length && sees(args.shape, i, ahead, j);
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
    Place at = find_place(shape, (int)blockIdx.x, Shape::TILE);
    if (at.first >= at.length) return; // the whole block
    int head = (int)blockIdx.y, kv = head / shape.group;
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float dq[Shape::ROWS][Shape::DIMS] = {};

    load_tile<Shape>(queries, args.q, at, head, shape.D, shape.scale);
    load_tile<Shape>(douts, args.dout, at, head, shape.D, 1.0f);
    for (KeyTile t = first_keys(shape, at, Shape::TILE, Shape::TILE); is_there(t, at, Shape::TILE);
         t = next_keys(shape, at, Shape::TILE, Shape::TILE, t)) {
        __syncthreads(); // the tile before has been used
        load_tile<Shape>(keys, args.k, t, kv, shape.D, 1.0f);
        load_tile<Shape>(values, args.v, t, kv, shape.D, 1.0f);
        __syncthreads();
        backward_scores<Shape, false>(ds, ds, args, head, t.ahead, at, t, queries, keys, douts,
                                      values);
        __syncthreads();
        mix_rows<Shape, false>(dq, ds, keys, row, col);
    }
    store_rows<Shape>(args.dq, dq, at, head, shape.D, shape.scale);
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
    Place at = find_place(shape, (int)blockIdx.x, Shape::TILE);
    if (at.first >= at.length) return; // the whole block
    int kv = (int)blockIdx.y;
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    float dk[Shape::ROWS][Shape::DIMS] = {}, dv[Shape::ROWS][Shape::DIMS] = {};

    load_tile<Shape>(keys, args.k, at, kv, shape.D, 1.0f);
    load_tile<Shape>(values, args.v, at, kv, shape.D, 1.0f);
    for (QueryTile t = first_queries(shape, at, kv); is_there(shape, t, at, Shape::TILE);
         t = next_queries(shape, at, Shape::TILE, Shape::TILE, t)) {
        __syncthreads(); // the tile before has been used
        load_tile<Shape>(queries, args.q, t, t.head, shape.D, shape.scale);
        load_tile<Shape>(douts, args.dout, t, t.head, shape.D, 1.0f);
        __syncthreads();
        backward_scores<Shape, true>(p, ds, args, t.head, t.ahead, t, at, queries, keys, douts,
                                     values);
        __syncthreads();
        mix_rows<Shape, true>(dv, p, douts, row, col);
        mix_rows<Shape, true>(dk, ds, queries, row, col);
    }
    store_rows<Shape>(args.dk, dk, at, kv, shape.D, 1.0f);
    store_rows<Shape>(args.dv, dv, at, kv, shape.D, 1.0f);
}

template <class Shape>
static void run_backward(const BackwardArgs &args, const fl_attn_shape *shape)
{
    auto attention_dq = attention_bwd_dq_kernel<Shape>;
    auto attention_dkv = attention_bwd_dkv_kernel<Shape>;
    constexpr int dq_bytes = (4 * Shape::FLOATS + Shape::SCORES) * (int)sizeof(float);
    constexpr int dkv_bytes = dq_bytes + Shape::SCORES * (int)sizeof(float);
    if (!allow_shared(attention_dq, dq_bytes) || !allow_shared(attention_dkv, dkv_bytes)) return;
    unsigned tiles = tiles_of(shape, Shape::TILE);
    FL_LAUNCH(attention_dq, dim3(tiles, (unsigned)shape->H), ATT_THREADS, dq_bytes, args);
    FL_LAUNCH(attention_dkv, dim3(tiles, (unsigned)shape->KV), ATT_THREADS, dkv_bytes, args);
}

void op_attention_bwd(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out, const float *lse,
                      fl_act q, fl_act k, fl_act v, const fl_attn_shape *shape, float *scratch)
{
    if (q.dtype == FL_BF16)
        return attention_bwd_bf16(dq, dk, dv, dout, out, lse, q, k, v, shape, scratch);
    int64_t rows = shape->T * shape->H;
    if (rows == 0) return;
    FL_LAUNCH(attention_delta_kernel, (unsigned)((rows + DELTA_ROWS - 1) / DELTA_ROWS),
              DELTA_THREADS, 0, scratch, matrix_of<float>(dout), matrix_of<float>(out), rows,
              (int)shape->H, (int)shape->D);
    BackwardArgs args = {matrix_of<float>(dq),
                         matrix_of<float>(dk),
                         matrix_of<float>(dv),
                         matrix_of<float>(dout),
                         matrix_of<float>(q),
                         matrix_of<float>(k),
                         matrix_of<float>(v),
                         lse,
                         scratch,
                         shape_of(shape)};
    with_tile(shape->D, [&](auto tile) { run_backward<decltype(tile)>(args, shape); });
}

/* delta */
int64_t op_attention_bwd_scratch(const fl_attn_shape *shape)
{
    return shape->T * shape->H;
}

} // namespace FL_DEVICE
