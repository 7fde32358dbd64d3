/* How the attention kernels for bf16 cut their work (flash attention 2, Dao 2023, on tensor cores).
 *
 * A block of four warps owns ROWS neighbouring tokens of one sequence (attention_walk.h), a warp
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
#include "kernels/cuda/attention_walk.h"
#include "kernels/cuda/mma.h"

namespace FL_DEVICE
{

enum { BAND_ROWS = 16, QUAD_LANES = 4 };

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

/* Heads of D_ elements; WARPS_ warps with BANDS_ times 16 rows each; OTHERS_ tokens in a tile of
 * the other side, STAGES_ such tiles (and their companions) at a time; BLOCKS_ that a
 * multiprocessor of sm_90 shall hold at a time.  With two bands a warp reads the other side's
 * matrices half as often from shared memory, which limits these products as much as the tensor
 * cores do. */
template <int D_, int WARPS_, int BANDS_, int OTHERS_, int STAGES_, int BLOCKS_> struct MmaTile {
    enum {
        D = D_,
        BANDS = BANDS_,
        OTHERS = OTHERS_,
        STAGES = STAGES_,
        BLOCKS = BLOCKS_,
        THREADS = WARPS_ * WARP_LANES,
        WARP_ROWS = BANDS * BAND_ROWS,
        ROWS = WARPS_ * WARP_ROWS,
        STRIDE = D + 8,
        OWN = ROWS * STRIDE,     /* elements of a tile of own tokens */
        OTHER = OTHERS * STRIDE, /* of one of others */
        PARTS = OTHERS / 8,      /* fragments of a band of scores */
        DIMS = D / 8,            /* fragments of a band of a head */
        FORWARD_BYTES = (OWN + 2 * STAGES * OTHER) * (int)sizeof(bf16),
        BACKWARD_BYTES = (2 * OWN + 2 * STAGES * OTHER) * (int)sizeof(bf16)
    };
    typedef float Scores[BANDS][PARTS][4]; /* [rows of the warp, OTHERS] */
    typedef float Sums[BANDS][DIMS][4];    /* [rows of the warp, D] */
};

/* One head of x[T, heads * D]. */
struct Head {
    Matrix<bf16> x;
    int head, D;
    bool is_aligned; /* heads lie on boundaries of 16 bytes and are whole multiples of them */
};

template <class... Act> bool all_aligned(int64_t D, const Act &...x)
{
    return D % 8 == 0 && (((uintptr_t)x.data % 16 == 0 && x.stride % 8 == 0) && ...);
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
static __device__ __forceinline__ void fetch_rows(const fl_shared<bf16> &tile, const Head &from,
                                                  const At &at)
{
    constexpr int chunks = Shape::D / 8;
    for (int i = (int)threadIdx.x; i < ROWS * chunks; i += Shape::THREADS) {
        int row = i / chunks, d = i % chunks * 8, token = at.first + row;
        bool is_there = token < at.length && d < from.D;
        const bf16 *place =
            is_there ? from.x.at(at.start + token, from.head * from.D + d) : from.x.x;
        if (from.is_aligned)
            copy_async(tile, row * Shape::STRIDE + d, place, is_there);
        else
            copy_elements(tile, row * Shape::STRIDE + d, place, is_there ? from.D - d : 0);
    }
}

/* out = rows first .. of `own`, which are the warp's, times the rows of `other`. */
template <class Shape>
static __device__ __forceinline__ void multiply_rows(typename Shape::Scores &out,
                                                     const fl_shared<bf16> &own, int first,
                                                     const fl_shared<bf16> &other)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int left_at = (first + lane % 16) * Shape::STRIDE + lane / 16 * 8;
    int right_at = (lane / 16 * 8 + lane % 8) * Shape::STRIDE + lane / 8 % 2 * 8;
    FL_UNROLLED (b, Shape::BANDS)
        FL_UNROLLED (c, Shape::PARTS)
            FL_UNROLLED (e, 4)
                out[b][c][e] = 0;
    FL_UNROLLED (k, Shape::D / 16) {
        uint32_t left[Shape::BANDS][4];
        FL_UNROLLED (b, Shape::BANDS)
            load_matrices(left[b], own, left_at + b * BAND_ROWS * Shape::STRIDE + k * 16);
        FL_UNROLLED (c, Shape::PARTS / 2) {
            uint32_t right[4];
            load_matrices(right, other, right_at + c * 16 * Shape::STRIDE + k * 16);
            FL_UNROLLED (b, Shape::BANDS) {
                multiply_add(out[b][2 * c], left[b], right[0], right[1]);
                multiply_add(out[b][2 * c + 1], left[b], right[2], right[3]);
            }
        }
    }
}

/* out += p, rounded to bf16, times the rows of `other`. */
template <class Shape>
static __device__ __forceinline__ void
mix_rows(typename Shape::Sums &out, const typename Shape::Scores &p, const fl_shared<bf16> &other)
{
    int lane = (int)threadIdx.x % WARP_LANES;
    int right_at = lane % 16 * Shape::STRIDE + lane / 16 * 8;
    FL_UNROLLED (k, Shape::PARTS / 2) {
        uint32_t left[Shape::BANDS][4];
        FL_UNROLLED (b, Shape::BANDS)
            FL_UNROLLED (e, 4)
                left[b][e] =
                    pack_pair(p[b][2 * k + e / 2][e % 2 * 2], p[b][2 * k + e / 2][e % 2 * 2 + 1]);
        FL_UNROLLED (c, Shape::DIMS / 2) {
            uint32_t right[4];
            load_transposed(right, other, right_at + k * 16 * Shape::STRIDE + c * 16);
            FL_UNROLLED (b, Shape::BANDS) {
                multiply_add(out[b][2 * c], left[b], right[0], right[1]);
                multiply_add(out[b][2 * c + 1], left[b], right[2], right[3]);
            }
        }
    }
}

/* Rounds out times factor and writes it; the warp's rows are tokens at.first + first ...  Its own
 * rows of `tile` are the way: neighbouring lanes write neighbouring bytes. */
template <class Shape>
static __device__ __forceinline__ void store_rows(const Head &to, const fl_shared<bf16> &tile,
                                                  const typename Shape::Sums &out, float factor,
                                                  const Place &at, int first)
{
    constexpr int chunks = Shape::D / 8;
    int lane = (int)threadIdx.x % WARP_LANES;
    int place = (first + lane / QUAD_LANES) * Shape::STRIDE + lane % QUAD_LANES * 2;
    FL_UNROLLED (b, Shape::BANDS)
        FL_UNROLLED (c, Shape::DIMS)
            FL_UNROLLED (half, 2)
                store_pair(
                    tile, place + (b * BAND_ROWS + half * 8) * Shape::STRIDE + c * 8,
                    pack_pair(out[b][c][2 * half] * factor, out[b][c][2 * half + 1] * factor));
    __syncwarp();
    for (int i = lane; i < Shape::WARP_ROWS * chunks; i += WARP_LANES) {
        int row = first + i / chunks, d = i % chunks * 8, token = at.first + row;
        if (token >= at.length || d >= to.D) continue;
        bf16 *x = to.x.at(at.start + token, to.head * to.D + d);
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

} // namespace FL_DEVICE

#endif
