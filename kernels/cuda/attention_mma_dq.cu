/* Causal attention in bf16, backward: dQ, a block per tile of queries and head. */
#include "kernels/cuda/attention_mma_bwd.h"

namespace FL_DEVICE
{

/* P and dS of a band, whose first query is `first`, and a tile of keys; IS_WHOLE: all see all. */
template <class Shape, bool IS_CAPPED, bool IS_WHOLE>
static __device__ __forceinline__ void
query_slopes(float (&s)[Shape::PARTS][4], float (&dp)[Shape::PARTS][4], const AttentionShape &shape,
             const KeyTile &t, int first, const float (&lse)[2], const float (&delta)[2])
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int i = first + lane / QUAD_LANES, j = t.first + lane % QUAD_LANES * 2;
    FL_UNROLLED (c, Shape::PARTS) {
        FL_UNROLLED (e, 4) {
            int query = i + e / 2 * 8, key = j + c * 8 + e % 2;
            bool is_seen = IS_WHOLE || (key < t.length && sees(shape, query, t.ahead, key));
            backward_score<IS_CAPPED>(s[c][e], dp[c][e], shape, is_seen, lse[e / 2], delta[e / 2]);
        }
    }
}

template <class Shape>
static __device__ __forceinline__ void
choose_query_slopes(float (&s)[Shape::PARTS][4], float (&dp)[Shape::PARTS][4],
                    const AttentionShape &shape, const KeyTile &t, int first, const float (&lse)[2],
                    const float (&delta)[2])
{
    bool is_whole = t.first + Shape::OTHERS <= t.length &&
                    all_see(shape, first, BAND_ROWS, t.ahead, t.first, Shape::OTHERS);
    if (shape.softcap > 0)
        query_slopes<Shape, true, false>(s, dp, shape, t, first, lse, delta);
    else if (is_whole)
        query_slopes<Shape, false, true>(s, dp, shape, t, first, lse, delta);
    else
        query_slopes<Shape, false, false>(s, dp, shape, t, first, lse, delta);
}

/* What the forward pass left for the lane's queries, of the warp's rows `first` on; lse with
 * base 2. */
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
            lse[b][half] = token < at.length ? args.lse[row] * LOG2_E : 0.0f;
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
            choose_query_slopes<Shape>(s[b], dp[b], shape, t, at.first + first + b * BAND_ROWS,
                                       lse[b], delta[b]);
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

template <class Shape> static void run(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    auto attention_dq = attention_bwd_dq_bf16_kernel<Shape>;
    if (allow_shared(attention_dq, Shape::BACKWARD_BYTES))
        FL_LAUNCH(attention_dq, dim3(tiles_of(shape, Shape::ROWS), (unsigned)shape->H),
                  Shape::THREADS, Shape::BACKWARD_BYTES, args);
}

void attention_dq_bf16(const BackwardBf16 &args, const fl_attn_shape *shape)
{
    if (shape->D <= 64) return run<MmaTile<64, 2, 2, 32, 2, 4>>(args, shape);
    if (shape->D <= 96) return run<MmaTile<96, 2, 2, 32, 2, 3>>(args, shape);
    if (shape->D <= 128) return run<MmaTile<128, 4, 1, 32, 2, 3>>(args, shape);
    run<MmaTile<256, 4, 1, 32, 1, 2>>(args, shape);
}

} // namespace FL_DEVICE
