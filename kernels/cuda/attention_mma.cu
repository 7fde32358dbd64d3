/* Causal attention in bf16, forward: a block per tile of queries and head, with running maximum and
 * sum.  Rounded to bf16: the probabilities relative to the running maximum, as they enter the
 * product with the values, and the output. */
#include "kernels/cuda/attention_mma.h"

#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

struct ForwardBf16 {
    Matrix<bf16> out;
    float *lse;
    Matrix<bf16> q, k, v;
    bool is_aligned;
    AttentionShape shape;
};

/* Scores with base 2 of the queries from row i on, for the warp's lane; -inf where one does not
 * see. */
template <class Shape>
static __device__ __forceinline__ void
mask_scores(float (&s)[Shape::PARTS][4], const AttentionShape &shape, const KeyTile &t, int first)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int i = first + lane / QUAD_LANES, j = t.first + lane % QUAD_LANES * 2;
    bool is_whole = t.first + Shape::OTHERS <= t.length &&
                    all_see(shape, first, BAND_ROWS, t.ahead, t.first, Shape::OTHERS);
    bool is_capped = shape.softcap > 0;
    float factor = is_capped ? LOG2_E : shape.scale * LOG2_E;
    if (is_capped)
        FL_UNROLLED (c, Shape::PARTS)
            FL_UNROLLED (e, 4)
                s[c][e] = cap_score(s[c][e] * shape.scale, shape.softcap);
    FL_UNROLLED (c, Shape::PARTS)
        FL_UNROLLED (e, 4)
            s[c][e] *= factor;
    if (is_whole) return;
    FL_UNROLLED (c, Shape::PARTS) {
        FL_UNROLLED (e, 4) {
            int query = i + e / 2 * 8, key = j + c * 8 + e % 2;
            if (key >= t.length || !sees(shape, query, t.ahead, key)) s[c][e] = -INFINITY;
        }
    }
}

/* Scores become probabilities relative to the new maximum, and what was summed before is brought to
 * it.  A row's columns are those of four neighbouring lanes. */
template <class Shape>
static __device__ __forceinline__ void online_softmax(float (&s)[Shape::PARTS][4], float (&max)[2],
                                                      float (&sum)[2], float (&out)[Shape::DIMS][4])
{
    float kept[2];
    FL_UNROLLED (half, 2) {
        float largest = max[half], added = 0;
        FL_UNROLLED (c, Shape::PARTS)
            largest = Largest()(Largest()(largest, s[c][2 * half]), s[c][2 * half + 1]);
        largest = warp_reduce(largest, Largest(), QUAD_LANES);
        float base = largest == -INFINITY ? 0.0f : largest; // nothing seen so far: all terms are 0
        kept[half] = exp2f(max[half] - base);
        FL_UNROLLED (c, Shape::PARTS) {
            FL_UNROLLED (e, 2) {
                s[c][2 * half + e] = exp2f(s[c][2 * half + e] - base);
                added += s[c][2 * half + e];
            }
        }
        sum[half] = sum[half] * kept[half] + added; // of this lane's columns
        max[half] = largest;
    }
    // most tiles change no maximum, and times one is no change
    if (!__any_sync(ALL_LANES, kept[0] != 1.0f || kept[1] != 1.0f)) return;
    FL_UNROLLED (d, Shape::DIMS)
        FL_UNROLLED (e, 4)
            out[d][e] *= kept[e / 2];
}

/* lse, and the output divided by the sums. */
template <class Shape>
static __device__ __forceinline__ void
finish_rows(float (&out)[Shape::DIMS][4], const float (&max)[2], const float (&sum)[2],
            const ForwardBf16 &args, const Place &at, int first, int head)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    FL_UNROLLED (half, 2) {
        float total = warp_reduce(sum[half], Sum(), QUAD_LANES);
        int token = at.first + first + lane / QUAD_LANES + half * 8;
        if (lane % QUAD_LANES == 0 && token < at.length)
            args.lse[(int64_t)(at.start + token) * args.shape.H + head] =
                max[half] * LN_2 + logf(total);
        FL_UNROLLED (d, Shape::DIMS) {
            out[d][2 * half] /= total;
            out[d][2 * half + 1] /= total;
        }
    }
}

template <class Shape>
static __global__ void __launch_bounds__(Shape::THREADS, Shape::BLOCKS)
    attention_fwd_bf16_kernel(ForwardBf16 args)
{
    const AttentionShape &shape = args.shape;
    FL_SHARED_DYNAMIC(bf16, memory);
    fl_shared<bf16> queries = fl_part(memory, 0, Shape::OWN);
    fl_shared<bf16> keys = fl_part(memory, Shape::OWN, Shape::STAGES * Shape::OTHER);
    fl_shared<bf16> values =
        fl_part(memory, Shape::OWN + Shape::STAGES * Shape::OTHER, Shape::STAGES * Shape::OTHER);
    // the longest walks begin first
    Place at = find_place(shape, (int)(gridDim.x - 1 - blockIdx.x), Shape::ROWS);
    if (at.first >= at.length) return; // the whole block
    int head = (int)blockIdx.y, kv = head / shape.group;
    int first = (int)threadIdx.x / WARP_LANES * Shape::WARP_ROWS; // row of the warp
    Head q = {args.q, head, shape.D, args.is_aligned};
    Head k = {args.k, kv, shape.D, args.is_aligned};
    Head v = {args.v, kv, shape.D, args.is_aligned};
    typename Shape::Sums out = {};
    float sum[Shape::BANDS][2] = {}, max[Shape::BANDS][2];
    FL_UNROLLED (b, Shape::BANDS)
        max[b][0] = max[b][1] = -INFINITY;

    KeyTile t = first_keys(shape, at, Shape::ROWS, Shape::OTHERS);
    fetch_rows<Shape, Shape::ROWS>(queries, q, at);
    fetch_rows<Shape, Shape::OTHERS>(keys, k, t);
    fetch_rows<Shape, Shape::OTHERS>(values, v, t);
    copy_commit();
    for (int stage = 0; is_there(t, at, Shape::ROWS); stage ^= 1) {
        KeyTile next = next_keys(shape, at, Shape::ROWS, Shape::OTHERS, t);
        if (is_there(next, at, Shape::ROWS)) {
            int other = (stage ^ 1) * Shape::OTHER;
            fetch_rows<Shape, Shape::OTHERS>(fl_part(keys, other, Shape::OTHER), k, next);
            fetch_rows<Shape, Shape::OTHERS>(fl_part(values, other, Shape::OTHER), v, next);
        }
        copy_commit();
        copy_wait<1>();
        __syncthreads(); // the tile is there
        typename Shape::Scores s;
        multiply_rows<Shape>(s, queries, first, fl_part(keys, stage * Shape::OTHER, Shape::OTHER));
        FL_UNROLLED (b, Shape::BANDS) {
            mask_scores<Shape>(s[b], shape, t, at.first + first + b * BAND_ROWS);
            online_softmax<Shape>(s[b], max[b], sum[b], out[b]);
        }
        mix_rows<Shape>(out, s, fl_part(values, stage * Shape::OTHER, Shape::OTHER));
        __syncthreads(); // it has been used
        t = next;
    }
    FL_UNROLLED (b, Shape::BANDS)
        finish_rows<Shape>(out[b], max[b], sum[b], args, at, first + b * BAND_ROWS, head);
    Head to = {args.out, head, shape.D, args.is_aligned};
    store_rows<Shape>(to, queries, out, 1.0f, at, first);
}

template <class Shape> static void run_forward(const ForwardBf16 &args, const fl_attn_shape *shape)
{
    static_assert((int)Shape::STAGES == 2, "a tile is copied while the one before is used");
    auto attention_fwd = attention_fwd_bf16_kernel<Shape>;
    if (allow_shared(attention_fwd, Shape::FORWARD_BYTES))
        FL_LAUNCH(attention_fwd, dim3(tiles_of(shape, Shape::ROWS), (unsigned)shape->H),
                  Shape::THREADS, Shape::FORWARD_BYTES, args);
}

void attention_fwd_bf16(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                        const fl_attn_shape *shape)
{
    if (shape->T == 0) return;
    ForwardBf16 args = {matrix_of<bf16>(out), lse,
                        matrix_of<bf16>(q),   matrix_of<bf16>(k),
                        matrix_of<bf16>(v),   all_aligned(shape->D, out, q, k, v),
                        shape_of(shape)};
    if (shape->D <= 64) return run_forward<MmaTile<64, 2, 2, 64, 2, 4>>(args, shape);
    if (shape->D <= 96) return run_forward<MmaTile<96, 2, 2, 32, 2, 4>>(args, shape);
    if (shape->D <= 128) return run_forward<MmaTile<128, 2, 2, 32, 2, 4>>(args, shape);
    if (shape->D <= ATT_MOST_D) return run_forward<MmaTile<256, 4, 1, 32, 2, 2>>(args, shape);
    refuse_heads();
}

} // namespace FL_DEVICE
