/* How the attention kernels for bf16 cut their work (flash attention 2, Dao 2023, on tensor cores).
 *
 * A block of four warps owns ROWS neighbouring tokens of one sequence (attention_shape.h), a warp
 * 16 of them, and walks over tiles of tokens of the other side, which are copied into shared memory
 * while the tile before is computed.  A warp's scores are fragments in its registers: their rows
 * are its own tokens, their columns the tile's.  As sums of one product they have the layout that a
 * left operand of the next one wants, so scores never go through memory.
 *
 * Lane l holds of a fragment [16, 8] the rows l / 4 and l / 4 + 8, and in each the columns 2 (l %
 * 4) and the next: fragment[2 * half + e] is row l / 4 + 8 half, column 2 (l % 4) + e.
 *
 * Heads are padded with zeros to D, one of the sizes that kernels are made for; rows of tiles are
 * D + 8 elements apart, so that eight rows of 16 bytes lie in different banks. */
#ifndef FL_KERNELS_CUDA_ATTENTION_MMA_H
#define FL_KERNELS_CUDA_ATTENTION_MMA_H

#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/mma.h"

namespace FL_DEVICE
{

enum { MMA_THREADS = 128, MMA_ROWS = 64, WARP_ROWS = 16, QUAD_LANES = 4 };

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

/* Heads of D_ elements; OTHERS_ tokens in a tile of the other side, STAGES_ such tiles (and their
 * companions) at a time; BLOCKS_ that a multiprocessor of sm_90 can hold at a time. */
template <int D_, int OTHERS_, int STAGES_, int BLOCKS_> struct MmaTile {
    enum {
        D = D_,
        OTHERS = OTHERS_,
        STAGES = STAGES_,
        BLOCKS = BLOCKS_,
        STRIDE = D + 8,
        OWN = MMA_ROWS * STRIDE, /* elements of a tile of own tokens */
        OTHER = OTHERS * STRIDE, /* of one of others */
        PARTS = OTHERS / 8,      /* fragments of a row of scores */
        DIMS = D / 8             /* fragments of a row of a head */
    };
};

/* One head of x[T, heads, D]. */
struct Heads {
    const bf16 *x;
    int heads, head, D;
    bool is_aligned; /* D is a multiple of 8 and x on a boundary of 16 bytes */
};

template <class... T> bool all_aligned(int64_t D, const T *...arrays)
{
    return D % 8 == 0 && (((uintptr_t)arrays % 16 == 0) && ...);
}

static __device__ __forceinline__ int64_t place_of_token(const Heads &from, int token)
{
    return ((int64_t)token * from.heads + from.head) * from.D;
}

/* The first `count` elements at `from`, then zeros: where copies of 16 bytes cannot be. */
static __device__ __forceinline__ void copy_elements(const fl_shared<bf16> &tile, int at,
                                                     const bf16 *from, int count)
{
    for (int e = 0; e < 8; e++)
        tile[at + e] = e < count ? from[e] : __float2bfloat16(0.0f);
}

/* Starts a tile of ROWS tokens from at.first on, of a sequence at.start with at.length; zeros where
 * there is nothing.  It is there after the group that it belongs to, and a barrier. */
template <class Shape, int ROWS, class At>
static __device__ __forceinline__ void fetch_rows(const fl_shared<bf16> &tile, const Heads &from,
                                                  const At &at)
{
    constexpr int chunks = Shape::D / 8;
    for (int i = (int)threadIdx.x; i < ROWS * chunks; i += MMA_THREADS) {
        int row = i / chunks, d = i % chunks * 8, token = at.first + row;
        bool is_there = token < at.length && d < from.D;
        const bf16 *place = from.x + (is_there ? place_of_token(from, at.start + token) + d : 0);
        if (from.is_aligned)
            copy_async(tile, row * Shape::STRIDE + d, place, is_there);
        else
            copy_elements(tile, row * Shape::STRIDE + d, place, is_there ? from.D - d : 0);
    }
}

/* out[16, OTHERS] = rows first .. first+15 of `own` times the rows of `other`. */
template <class Shape>
static __device__ __forceinline__ void multiply_rows(float (&out)[Shape::PARTS][4],
                                                     const fl_shared<bf16> &own, int first,
                                                     const fl_shared<bf16> &other)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int left_at = (first + lane % 16) * Shape::STRIDE + lane / 16 * 8;
    int right_at = (lane / 16 * 8 + lane % 8) * Shape::STRIDE + lane / 8 % 2 * 8;
    FL_UNROLLED (c, Shape::PARTS)
        FL_UNROLLED (e, 4)
            out[c][e] = 0;
    FL_UNROLLED (k, Shape::D / 16) {
        uint32_t left[4];
        load_matrices(left, own, left_at + k * 16);
        FL_UNROLLED (c, Shape::PARTS / 2) {
            uint32_t right[4];
            load_matrices(right, other, right_at + c * 16 * Shape::STRIDE + k * 16);
            multiply_add(out[2 * c], left, right[0], right[1]);
            multiply_add(out[2 * c + 1], left, right[2], right[3]);
        }
    }
}

/* out[16, D] += p[16, OTHERS], rounded to bf16, times the rows of `other`. */
template <class Shape>
static __device__ __forceinline__ void mix_rows(float (&out)[Shape::DIMS][4],
                                                const float (&p)[Shape::PARTS][4],
                                                const fl_shared<bf16> &other)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int right_at = lane % 16 * Shape::STRIDE + lane / 16 * 8;
    FL_UNROLLED (k, Shape::PARTS / 2) {
        const float(&a)[4] = p[2 * k], (&b)[4] = p[2 * k + 1];
        uint32_t left[4] = {pack_pair(a[0], a[1]), pack_pair(a[2], a[3]), pack_pair(b[0], b[1]),
                            pack_pair(b[2], b[3])};
        FL_UNROLLED (c, Shape::DIMS / 2) {
            uint32_t right[4];
            load_transposed(right, other, right_at + k * 16 * Shape::STRIDE + c * 16);
            multiply_add(out[2 * c], left, right[0], right[1]);
            multiply_add(out[2 * c + 1], left, right[2], right[3]);
        }
    }
}

/* Rounds out[16, D] of a warp, whose rows are tokens at.first + first .., and writes it.  The
 * warp's own rows of `tile` are the way: neighbouring lanes write neighbouring bytes. */
template <class Shape>
static __device__ __forceinline__ void store_rows(const Heads &to, const fl_shared<bf16> &tile,
                                                  const float (&out)[Shape::DIMS][4],
                                                  const Place &at, int first)
{
    constexpr int chunks = Shape::D / 8;
    int lane = (int)threadIdx.x % WARP_LANES;
    int place = (first + lane / QUAD_LANES) * Shape::STRIDE + lane % QUAD_LANES * 2;
    FL_UNROLLED (c, Shape::DIMS) {
        store_pair(tile, place + c * 8, pack_pair(out[c][0], out[c][1]));
        store_pair(tile, place + c * 8 + 8 * Shape::STRIDE, pack_pair(out[c][2], out[c][3]));
    }
    __syncwarp();
    for (int i = lane; i < WARP_ROWS * chunks; i += WARP_LANES) {
        int row = first + i / chunks, d = i % chunks * 8, token = at.first + row;
        if (token >= at.length || d >= to.D) continue;
        bf16 *x = const_cast<bf16 *>(to.x) + place_of_token(to, at.start + token) + d;
        if (to.is_aligned)
            *reinterpret_cast<uint4 *>(x) = load_eight(tile, row * Shape::STRIDE + d);
        else
            for (int e = 0; e < 8 && d + e < to.D; e++)
                x[e] = tile[row * Shape::STRIDE + d + e];
    }
}

/* All `count_i` queries from i on see all `count_j` keys from j on. */
static __device__ __forceinline__ bool all_see(const AttentionShape &s, int i, int count_i,
                                               int ahead, int j, int count_j)
{
    return sees(s, i, ahead, j + count_j - 1) && sees(s, i + count_i - 1, ahead, j);
}

/* A product of a query and a key as a score with base 2: exp2 of it is the exponential. */
static __device__ __forceinline__ float score_of(const AttentionShape &s, float product)
{
    return cap_score(product * s.scale, s.softcap) * LOG2_E;
}

} // namespace FL_DEVICE

#endif
