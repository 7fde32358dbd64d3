/* Causal attention in bf16, backward: dK and dV, a block per tile of keys and key/value head, which
 * walks over the heads of its group and their queries. */
#include "kernels/cuda/attention_mma_bwd.h"

namespace FL_DEVICE
{

/* What the forward pass left for the queries of a tile, lse with base 2. */
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
    rows.lse[stage * Shape::OTHERS + i] = is_there ? args.lse[row] * LOG2_E : 0.0f;
    rows.delta[stage * Shape::OTHERS + i] = is_there ? args.delta[row] : 0.0f;
}

/* P and dS, transposed, of a band, whose first key is `first`, and a tile of queries.  Those behind
 * the end of their sequence are zeros in every operand, and so is what they add. */
template <class Shape, bool IS_CAPPED, bool IS_WHOLE>
static __device__ __forceinline__ void
key_slopes(float (&s)[Shape::PARTS][4], float (&dp)[Shape::PARTS][4], const AttentionShape &shape,
           const QueryTile &t, int first, const QueryRows &rows, int stage)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int j = first + lane / QUAD_LANES, column = lane % QUAD_LANES * 2;
    FL_UNROLLED (c, Shape::PARTS) {
        FL_UNROLLED (e, 4) {
            int of_tile = c * 8 + column + e % 2, query = t.first + of_tile, key = j + e / 2 * 8;
            bool is_seen = IS_WHOLE || sees(shape, query, t.ahead, key);
            backward_score<IS_CAPPED>(s[c][e], dp[c][e], shape, is_seen,
                                      rows.lse[stage * Shape::OTHERS + of_tile],
                                      rows.delta[stage * Shape::OTHERS + of_tile]);
        }
    }
}

template <class Shape>
static __device__ __forceinline__ void
choose_key_slopes(float (&s)[Shape::PARTS][4], float (&dp)[Shape::PARTS][4],
                  const AttentionShape &shape, const QueryTile &t, int first, const QueryRows &rows,
                  int stage)
{
    if (shape.softcap > 0)
        key_slopes<Shape, true, false>(s, dp, shape, t, first, rows, stage);
    else if (all_see(shape, t.first, Shape::OTHERS, t.ahead, first, BAND_ROWS))
        key_slopes<Shape, false, true>(s, dp, shape, t, first, rows, stage);
    else
        key_slopes<Shape, false, false>(s, dp, shape, t, first, rows, stage);
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
        choose_key_slopes<Shape>(s[b], dp[b], shape, t, block_first + first + b * BAND_ROWS, rows,
                                 stage);
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

template <class Shape, bool WANTS_DK, bool WANTS_DV>
static void run(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    auto attention_dkv = attention_bwd_dkv_bf16_kernel<Shape, WANTS_DK, WANTS_DV>;
    if (allow_shared(attention_dkv, Shape::BACKWARD_BYTES))
        FL_LAUNCH(attention_dkv, dim3(tiles_of(shape, Shape::ROWS), (unsigned)shape->KV),
                  Shape::THREADS, Shape::BACKWARD_BYTES, args);
}

void attention_dkv_bf16(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    if (shape->D <= 64) return run<MmaTile<64, 4, 1, 32, 2, 3>, true, true>(args, shape);
    if (shape->D <= 96) return run<MmaTile<96, 4, 1, 32, 2, 2>, true, true>(args, shape);
    if (shape->D <= 128) return run<MmaTile<128, 4, 1, 32, 2, 2>, true, true>(args, shape);
    using Longest = MmaTile<256, 4, 1, 16, 1, 2>;
    run<Longest, true, false>(args, shape);
    run<Longest, false, true>(args, shape);
}

} // namespace FL_DEVICE
