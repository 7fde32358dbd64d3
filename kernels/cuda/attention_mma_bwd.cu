/* Causal attention in bf16, backward; the formulas and the two kernels as in attention_bwd.cu.  The
 * kernel for dK and dV computes the scores transposed, so that its warps own rows of keys.  Rounded
 * to bf16: P and dS as they enter a product, and the results; P is the fp32 exponential where dS is
 * computed. */
#include "kernels/cuda/attention_mma.h"

#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

struct BackwardBf16 {
    Matrix<bf16> dq, dk, dv, dout, q, k, v;
    const float *lse, *delta;
    bool is_aligned;
    AttentionShape shape;
};

/* Lanes of a row of delta, and rows of a block. */
enum { DELTA_LANES = 8, DELTA_THREADS = 256, DELTA_ROWS = DELTA_THREADS / DELTA_LANES };

/* The product of the first `count` of eight elements. */
static __device__ __forceinline__ float dot_eight(const bf16 *a, const bf16 *b, int count,
                                                  bool is_aligned)
{
    bf16 left[8], right[8];
    if (is_aligned) {
        uint4 words[2] = {*reinterpret_cast<const uint4 *>(a), *reinterpret_cast<const uint4 *>(b)};
        memcpy(left, &words[0], sizeof left);
        memcpy(right, &words[1], sizeof right);
    } else {
        FL_UNROLLED (e, 8) {
            left[e] = a[e < count ? e : 0];
            right[e] = b[e < count ? e : 0];
        }
    }
    float sum = 0;
    FL_UNROLLED (e, 8)
        if (e < count) sum += __bfloat162float(left[e]) * __bfloat162float(right[e]);
    return sum;
}

/* delta[T, H] from dout[T, H * D] and out. */
static __global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta_bf16_kernel(float *delta, Matrix<bf16> dout, Matrix<bf16> out, int64_t rows,
                                int H, int D, bool is_aligned)
{
    int64_t row = (int64_t)blockIdx.x * DELTA_ROWS + threadIdx.x / DELTA_LANES;
    int lane = (int)threadIdx.x % DELTA_LANES, column = (int)(row % H) * D;
    float sum = 0;
    for (int d = lane * 8; row < rows && d < D; d += DELTA_LANES * 8)
        sum +=
            dot_eight(dout.at(row / H, column + d), out.at(row / H, column + d), D - d, is_aligned);
    sum = warp_reduce(sum, Sum(), DELTA_LANES);
    if (row < rows && lane == 0) delta[row] = sum;
}

/* s: a product of query and key -> P; dp: dP -> dS, without the scale.  Zeros if not is_seen. */
static __device__ __forceinline__ void backward_score(float &s, float &dp,
                                                      const AttentionShape &shape, bool is_seen,
                                                      float lse, float delta)
{
    float score = cap_score(s * shape.scale, shape.softcap);
    float share = is_seen ? exp2f((score - lse) * LOG2_E) : 0.0f;
    dp = is_seen ? share * (dp - delta) * cap_slope(score, shape.softcap) : 0.0f;
    s = share;
}

/* dS of a band, whose first query is `first`, and a tile of keys. */
template <class Shape>
static __device__ __forceinline__ void
query_slopes(float (&s)[Shape::PARTS][4], float (&dp)[Shape::PARTS][4], const AttentionShape &shape,
             const KeyTile &t, int first, const float (&lse)[2], const float (&delta)[2])
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int i = first + lane / QUAD_LANES, j = t.first + lane % QUAD_LANES * 2;
    bool is_whole = t.first + Shape::OTHERS <= t.length &&
                    all_see(shape, first, BAND_ROWS, t.ahead, t.first, Shape::OTHERS);
    FL_UNROLLED (c, Shape::PARTS) {
        FL_UNROLLED (e, 4) {
            int query = i + e / 2 * 8, key = j + c * 8 + e % 2;
            bool is_seen = is_whole || (key < t.length && sees(shape, query, t.ahead, key));
            backward_score(s[c][e], dp[c][e], shape, is_seen, lse[e / 2], delta[e / 2]);
        }
    }
}

/* What the forward pass left for the lane's queries, of the warp's rows `first` on. */
template <class Shape>
static __device__ __forceinline__ void
read_query_rows(float (&lse)[Shape::BANDS][2], float (&delta)[Shape::BANDS][2],
                const BackwardBf16 &args, const Place &at, int first, int head)
{
    FL_UNROLLED (b, Shape::BANDS) {
        FL_UNROLLED (half, 2) {
            int of_warp = b * BAND_ROWS + half * 8 + (int)threadIdx.x % WARP_LANES / QUAD_LANES;
            int token = at.first + first + of_warp;
            int64_t row = (int64_t)(at.start + token) * args.shape.H + head;
            lse[b][half] = token < at.length ? args.lse[row] : 0.0f;
            delta[b][half] = token < at.length ? args.delta[row] : 0.0f;
        }
    }
}

template <class Shape>
static __global__ void __launch_bounds__(Shape::THREADS, Shape::BLOCKS)
    attention_bwd_dq_bf16_kernel(BackwardBf16 args)
{
    const AttentionShape &shape = args.shape;
    constexpr int stages = Shape::STAGES, others = stages * Shape::OTHER;
    FL_SHARED_DYNAMIC(bf16, memory);
    fl_shared<bf16> queries = fl_part(memory, 0, Shape::OWN);
    fl_shared<bf16> douts = fl_part(memory, Shape::OWN, Shape::OWN);
    fl_shared<bf16> keys = fl_part(memory, 2 * Shape::OWN, others);
    fl_shared<bf16> values = fl_part(memory, 2 * Shape::OWN + others, others);
    Place at = find_place(shape, (int)(gridDim.x - 1 - blockIdx.x), Shape::ROWS);
    if (at.first >= at.length) return; // the whole block
    int head = (int)blockIdx.y, kv = head / shape.group;
    int first = (int)threadIdx.x / WARP_LANES * Shape::WARP_ROWS;
    Head q = {args.q, head, shape.D, args.is_aligned};
    Head dout = {args.dout, head, shape.D, args.is_aligned};
    Head k = {args.k, kv, shape.D, args.is_aligned};
    Head v = {args.v, kv, shape.D, args.is_aligned};
    typename Shape::Sums dq = {};
    float lse[Shape::BANDS][2], delta[Shape::BANDS][2];
    read_query_rows<Shape>(lse, delta, args, at, first, head);

    KeyTile t = first_keys(shape, at, Shape::ROWS, Shape::OTHERS);
    auto fetch = [&](const KeyTile &tile, int stage) {
        if (!is_there(tile, at, Shape::ROWS)) return;
        int place = stage * Shape::OTHER;
        fetch_rows<Shape, Shape::OTHERS>(fl_part(keys, place, Shape::OTHER), k, tile);
        fetch_rows<Shape, Shape::OTHERS>(fl_part(values, place, Shape::OTHER), v, tile);
    };
    fetch_rows<Shape, Shape::ROWS>(queries, q, at);
    fetch_rows<Shape, Shape::ROWS>(douts, dout, at);
    fetch(t, 0);
    copy_commit();
    for (int stage = 0; is_there(t, at, Shape::ROWS); stage = (stage + 1) % stages) {
        KeyTile next = next_keys(shape, at, Shape::ROWS, Shape::OTHERS, t);
        if (stages == 2) {
            fetch(next, stage ^ 1);
            copy_commit();
        }
        copy_wait<stages - 1>();
        __syncthreads(); // the tile is there
        typename Shape::Scores s, dp;
        fl_shared<bf16> key_tile = fl_part(keys, stage * Shape::OTHER, Shape::OTHER);
        multiply_rows<Shape>(s, queries, first, key_tile);
        multiply_rows<Shape>(dp, douts, first, fl_part(values, stage * Shape::OTHER, Shape::OTHER));
        FL_UNROLLED (b, Shape::BANDS)
            query_slopes<Shape>(s[b], dp[b], shape, t, at.first + first + b * BAND_ROWS, lse[b],
                                delta[b]);
        mix_rows<Shape>(dq, dp, key_tile);
        __syncthreads(); // it has been used
        if (stages == 1) {
            fetch(next, 0);
            copy_commit();
        }
        t = next;
    }
    Head to = {args.dq, head, shape.D, args.is_aligned};
    store_rows<Shape>(to, queries, dq, shape.scale, at, first);
}

/* What the queries of a tile were left by the forward pass. */
struct QueryRows {
    fl_shared<float> lse, delta;
};

template <class Shape>
static __device__ __forceinline__ void
fetch_query_rows(const QueryRows &rows, int stage, const BackwardBf16 &args, const QueryTile &t)
{
    static_assert((int)Shape::OTHERS <= (int)Shape::THREADS, "a thread has one query at most");
    int i = (int)threadIdx.x;
    if (i >= Shape::OTHERS) return;
    int64_t row = (int64_t)(t.start + t.first + i) * args.shape.H + t.head;
    bool is_there = t.first + i < t.length;
    rows.lse[stage * Shape::OTHERS + i] = is_there ? args.lse[row] : 0.0f;
    rows.delta[stage * Shape::OTHERS + i] = is_there ? args.delta[row] : 0.0f;
}

/* P and dS, transposed, of a band, whose first key is `first`, and a tile of queries.  Those behind
 * the end of their sequence are zeros in every operand, and so is what they add. */
template <class Shape>
static __device__ __forceinline__ void
key_slopes(float (&s)[Shape::PARTS][4], float (&dp)[Shape::PARTS][4], const AttentionShape &shape,
           const QueryTile &t, int first, const QueryRows &rows, int stage)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int j = first + lane / QUAD_LANES, column = lane % QUAD_LANES * 2;
    bool is_whole = all_see(shape, t.first, Shape::OTHERS, t.ahead, first, BAND_ROWS);
    FL_UNROLLED (c, Shape::PARTS) {
        FL_UNROLLED (e, 4) {
            int of_tile = c * 8 + column + e % 2, query = t.first + of_tile, key = j + e / 2 * 8;
            bool is_seen = is_whole || sees(shape, query, t.ahead, key);
            backward_score(s[c][e], dp[c][e], shape, is_seen,
                           rows.lse[stage * Shape::OTHERS + of_tile],
                           rows.delta[stage * Shape::OTHERS + of_tile]);
        }
    }
}

/* What the queries of a tile add to dK and dV of the warp's keys, rows `first` .. of the block. */
template <class Shape, bool WANTS_DK, bool WANTS_DV>
static __device__ __forceinline__ void
add_queries(typename Shape::Sums &dk, typename Shape::Sums &dv, const AttentionShape &shape,
            const QueryTile &t, int block_first, int first, const QueryRows &rows, int stage,
            const fl_shared<bf16> &keys, const fl_shared<bf16> &values,
            const fl_shared<bf16> &queries, const fl_shared<bf16> &douts)
{
    typename Shape::Scores s, dp;
    multiply_rows<Shape>(s, keys, first, queries);
    multiply_rows<Shape>(dp, values, first, douts);
    FL_UNROLLED (b, Shape::BANDS)
        key_slopes<Shape>(s[b], dp[b], shape, t, block_first + first + b * BAND_ROWS, rows, stage);
    if (WANTS_DV) mix_rows<Shape>(dv, s, douts);
    if (WANTS_DK) mix_rows<Shape>(dk, dp, queries);
}

/* dK, dV or both: long heads have sums in registers for one of them only. */
template <class Shape, bool WANTS_DK, bool WANTS_DV>
static __global__ void __launch_bounds__(Shape::THREADS, Shape::BLOCKS)
    attention_bwd_dkv_bf16_kernel(BackwardBf16 args)
{
    const AttentionShape &shape = args.shape;
    constexpr int stages = Shape::STAGES, others = stages * Shape::OTHER;
    FL_SHARED_DYNAMIC(bf16, memory);
    fl_shared<bf16> keys = fl_part(memory, 0, Shape::OWN);
    fl_shared<bf16> values = fl_part(memory, Shape::OWN, Shape::OWN);
    fl_shared<bf16> queries = fl_part(memory, 2 * Shape::OWN, others);
    fl_shared<bf16> douts = fl_part(memory, 2 * Shape::OWN + others, others);
    FL_SHARED(float, lse, stages *Shape::OTHERS);
    FL_SHARED(float, delta, stages *Shape::OTHERS);
    Place at = find_place(shape, (int)blockIdx.x, Shape::ROWS);
    if (at.first >= at.length) return; // the whole block
    int kv = (int)blockIdx.y, first = (int)threadIdx.x / WARP_LANES * Shape::WARP_ROWS;
    Head k = {args.k, kv, shape.D, args.is_aligned};
    Head v = {args.v, kv, shape.D, args.is_aligned};
    QueryRows rows = {lse, delta};
    typename Shape::Sums dk = {}, dv = {};

    QueryTile t = first_queries(shape, at, kv);
    auto fetch = [&](const QueryTile &tile, int stage) {
        if (!is_there(shape, tile, at, Shape::ROWS)) return;
        int place = stage * Shape::OTHER;
        Head q = {args.q, tile.head, shape.D, args.is_aligned};
        Head dout = {args.dout, tile.head, shape.D, args.is_aligned};
        fetch_rows<Shape, Shape::OTHERS>(fl_part(queries, place, Shape::OTHER), q, tile);
        fetch_rows<Shape, Shape::OTHERS>(fl_part(douts, place, Shape::OTHER), dout, tile);
        fetch_query_rows<Shape>(rows, stage, args, tile);
    };
    fetch_rows<Shape, Shape::ROWS>(keys, k, at);
    fetch_rows<Shape, Shape::ROWS>(values, v, at);
    fetch(t, 0);
    copy_commit();
    for (int stage = 0; is_there(shape, t, at, Shape::ROWS); stage = (stage + 1) % stages) {
        QueryTile next = next_queries(shape, at, Shape::ROWS, Shape::OTHERS, t);
        if (stages == 2) {
            fetch(next, stage ^ 1);
            copy_commit();
        }
        copy_wait<stages - 1>();
        __syncthreads(); // the tile is there
        add_queries<Shape, WANTS_DK, WANTS_DV>(dk, dv, shape, t, at.first, first, rows, stage, keys,
                                               values,
                                               fl_part(queries, stage * Shape::OTHER, Shape::OTHER),
                                               fl_part(douts, stage * Shape::OTHER, Shape::OTHER));
        __syncthreads(); // it has been used
        if (stages == 1) {
            fetch(next, 0);
            copy_commit();
        }
        t = next;
    }
    Head to_dk = {args.dk, kv, shape.D, args.is_aligned};
    Head to_dv = {args.dv, kv, shape.D, args.is_aligned};
    if (WANTS_DK) store_rows<Shape>(to_dk, keys, dk, shape.scale, at, first);
    if (WANTS_DV) store_rows<Shape>(to_dv, values, dv, 1.0f, at, first);
}

template <class Shape> static void run_dq(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    auto attention_dq = attention_bwd_dq_bf16_kernel<Shape>;
    if (allow_shared(attention_dq, Shape::BACKWARD_BYTES))
        FL_LAUNCH(attention_dq, dim3(tiles_of(shape, Shape::ROWS), (unsigned)shape->H),
                  Shape::THREADS, Shape::BACKWARD_BYTES, args);
}

template <class Shape, bool WANTS_DK, bool WANTS_DV>
static void run_dkv(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    auto attention_dkv = attention_bwd_dkv_bf16_kernel<Shape, WANTS_DK, WANTS_DV>;
    if (allow_shared(attention_dkv, Shape::BACKWARD_BYTES))
        FL_LAUNCH(attention_dkv, dim3(tiles_of(shape, Shape::ROWS), (unsigned)shape->KV),
                  Shape::THREADS, Shape::BACKWARD_BYTES, args);
}

template <class ForDq, class ForDkv>
static void run_backward(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    run_dq<ForDq>(args, shape);
    if constexpr ((int)ForDkv::D <= 128) {
        run_dkv<ForDkv, true, true>(args, shape);
    } else {
        run_dkv<ForDkv, true, false>(args, shape);
        run_dkv<ForDkv, false, true>(args, shape);
    }
}

void attention_bwd_bf16(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out, const float *lse,
                        fl_act q, fl_act k, fl_act v, const fl_attn_shape *shape, float *scratch)
{
    int64_t rows = shape->T * shape->H;
    if (rows == 0) return;
    bool is_aligned = all_aligned(shape->D, dq, dk, dv, dout, out, q, k, v);
    FL_LAUNCH(attention_delta_bf16_kernel, (unsigned)((rows + DELTA_ROWS - 1) / DELTA_ROWS),
              DELTA_THREADS, 0, scratch, matrix_of<bf16>(dout), matrix_of<bf16>(out), rows,
              (int)shape->H, (int)shape->D, is_aligned);
    BackwardBf16 args = {matrix_of<bf16>(dq),
                         matrix_of<bf16>(dk),
                         matrix_of<bf16>(dv),
                         matrix_of<bf16>(dout),
                         matrix_of<bf16>(q),
                         matrix_of<bf16>(k),
                         matrix_of<bf16>(v),
                         lse,
                         scratch,
                         is_aligned,
                         shape_of(shape)};
    using Dq64 = MmaTile<64, 2, 2, 32, 2, 4>;
    using Dq96 = MmaTile<96, 2, 2, 32, 2, 3>;
    using Dq128 = MmaTile<128, 2, 2, 32, 2, 3>;
    using Dq256 = MmaTile<256, 4, 1, 32, 1, 2>;
    using Dkv64 = MmaTile<64, 4, 1, 32, 2, 3>;
    using Dkv96 = MmaTile<96, 4, 1, 32, 2, 2>;
    using Dkv128 = MmaTile<128, 4, 1, 32, 2, 2>;
    using Dkv256 = MmaTile<256, 4, 1, 16, 1, 2>;
    if (shape->D <= 64) return run_backward<Dq64, Dkv64>(args, shape);
    if (shape->D <= 96) return run_backward<Dq96, Dkv96>(args, shape);
    if (shape->D <= 128) return run_backward<Dq128, Dkv128>(args, shape);
    if (shape->D <= ATT_MOST_D) return run_backward<Dq256, Dkv256>(args, shape);
    refuse_heads();
}

} // namespace FL_DEVICE
