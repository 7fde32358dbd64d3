/* How the attention kernels cut their work (flash attention, Dao et al. 2022, in fp32).
 *
 * A block of 128 threads owns a tile of TILE neighbouring tokens of one sequence, for one head, and
 * walks over tiles of the other side in order.  Tiles are counted from the start of the sequence,
 * so the order of every sum depends on the sequence alone.  Thread (row, col) = (number / 8, number
 * % 8) holds rows row * TILE/16 + 0.. and columns col + 0, 8, 16 ..., so that the eight threads
 * with the rows of one tile row are neighbours in a warp.  Heads are padded with zeros to D, one of
 * the sizes that kernels are made for.
 */
#ifndef FL_KERNELS_CUDA_ATTENTION_H
#define FL_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/warp.h"

namespace FL_DEVICE
{

enum { ATT_THREADS = 128, ATT_COLS = 8, ATT_ROWS = ATT_THREADS / ATT_COLS, ATT_MOST_D = 256 };

template <int D_> struct Tile {
    enum {
        D = D_,
        TILE = D > 128 ? 16 : 32,
        ROWS = TILE / ATT_ROWS, /* of a thread */
        KEYS = TILE / ATT_COLS, /* scores of a thread in a row */
        DIMS = D / ATT_COLS,    /* elements of a head of a thread in a row */
        STRIDE = D + 1,         /* of a tile's rows: neighbouring rows in different banks */
        FLOATS = TILE * STRIDE,
        SCORES = TILE * (TILE + 1),
        /* that a multiprocessor holds at a time: what shared memory allows, and so few that the
         * compiler does not spill registers for more */
        BLOCKS = D > 64 ? 3 : 4,
        BLOCKS_DKV = D > 64 ? 2 : 4
    };
};

/* Arguments that all kernels share. */
struct AttentionShape {
    const int32_t *cu;
    int S, H, KV, D, group;
    int64_t window;
    float scale, softcap;
};

inline AttentionShape shape_of(const fl_attn_shape *s)
{
    return {s->cu,     (int)s->S, (int)s->H, (int)s->KV, (int)s->D, (int)(s->H / s->KV),
            s->window, s->scale,  s->softcap};
}

/* Tiles of a batch: sequence s has the places cu[s]/TILE + s up to cu[s+1]/TILE + s of the grid,
 * which are enough for its tiles and at most one more. */
inline unsigned tiles_of(const fl_attn_shape *s, int tile)
{
    return (unsigned)(s->T / tile + s->S);
}

struct Place {
    int64_t start, length; /* of the sequence */
    int64_t first;         /* token of the tile, counted from start; >= length: nothing to do */
};

static __device__ inline Place find_place(const AttentionShape &s, int64_t place, int tile)
{
    int low = 0, high = s.S; // the sequence is one of low .. high-1
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (s.cu[middle] / tile + middle <= place)
            low = middle;
        else
            high = middle;
    }
    int64_t start = s.cu[low];
    return {start, s.cu[low + 1] - start, (place - start / tile - low) * tile};
}

/* Query i sees key j; both counted from the start of their sequence. */
static __device__ __forceinline__ bool sees(const AttentionShape &s, const Place &at, int64_t i,
                                            int64_t j)
{
    return i < at.length && j <= i && (s.window == 0 || j > i - s.window);
}

/* Tile of x[T, heads, D]: tokens first .. of the sequence, one head, times factor; zeros where
 * there is nothing. */
template <class Shape>
static __device__ void load_tile(const fl_shared<float> &tile, const float *x, const Place &at,
                                 int64_t first, int heads, int head, int D, float factor)
{
    for (int i = (int)threadIdx.x; i < Shape::TILE * Shape::D; i += ATT_THREADS) {
        int row = i / Shape::D, d = i % Shape::D;
        bool is_there = first + row < at.length && d < D;
        const float *from = x + ((at.start + first + row) * heads + head) * D + d;
        tile[row * Shape::STRIDE + d] = is_there ? *from * factor : 0.0f;
    }
}

/* out[r][c] = row row*ROWS + r of a times row col + 8 c of b. */
template <class Shape>
static __device__ __forceinline__ void multiply_rows(float (&out)[Shape::ROWS][Shape::KEYS],
                                                     const fl_shared<float> &a,
                                                     const fl_shared<float> &b, int row, int col)
{
    FL_UNROLLED (r, Shape::ROWS)
        FL_UNROLLED (c, Shape::KEYS)
            out[r][c] = 0;
    for (int d = 0; d < Shape::D; d++) {
        float left[Shape::ROWS], right[Shape::KEYS];
        FL_UNROLLED (r, Shape::ROWS)
            left[r] = a[(row * Shape::ROWS + r) * Shape::STRIDE + d];
        FL_UNROLLED (c, Shape::KEYS)
            right[c] = b[(col + c * ATT_COLS) * Shape::STRIDE + d];
        FL_UNROLLED (r, Shape::ROWS)
            FL_UNROLLED (c, Shape::KEYS)
                out[r][c] += left[r] * right[c];
    }
}

/* out[r][d] += sum over j of p(row*ROWS + r, j) times element col + 8 d of row j of x; p is
 * [TILE, TILE+1], or its transpose. */
template <class Shape, bool TRANSPOSED>
static __device__ __forceinline__ void mix_rows(float (&out)[Shape::ROWS][Shape::DIMS],
                                                const fl_shared<float> &p,
                                                const fl_shared<float> &x, int row, int col)
{
    constexpr int stride = Shape::TILE + 1;
    for (int j = 0; j < Shape::TILE; j++) {
        float left[Shape::ROWS];
        FL_UNROLLED (r, Shape::ROWS) {
            int i = row * Shape::ROWS + r;
            left[r] = TRANSPOSED ? p[j * stride + i] : p[i * stride + j];
        }
        FL_UNROLLED (d, Shape::DIMS) {
            float right = x[j * Shape::STRIDE + col + d * ATT_COLS];
            FL_UNROLLED (r, Shape::ROWS)
                out[r][d] += left[r] * right;
        }
    }
}

/* Writes out[r][d] times factor to x[T, heads, D]. */
template <class Shape>
static __device__ void store_rows(float *x, const float (&out)[Shape::ROWS][Shape::DIMS],
                                  const Place &at, int heads, int head, int D, float factor)
{
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    FL_UNROLLED (r, Shape::ROWS) {
        int64_t token = at.first + row * Shape::ROWS + r;
        float *to = x + ((at.start + token) * heads + head) * D;
        FL_UNROLLED (d, Shape::DIMS)
            if (token < at.length && col + d * ATT_COLS < D)
                to[col + d * ATT_COLS] = out[r][d] * factor;
    }
}

static __device__ __forceinline__ float cap_score(float score, float cap)
{
    return cap > 0 ? cap * tanhf(score / cap) : score;
}

/* The slope of cap_score where it gave `score`. */
static __device__ __forceinline__ float cap_slope(float score, float cap)
{
    return cap > 0 ? 1.0f - score / cap * (score / cap) : 1.0f;
}

/* run(Tile<D>()) for the smallest size that holds `D`; a larger one is reported. */
template <class Run> void with_tile(int64_t D, const Run &run)
{
    if (D <= 32) return run(Tile<32>());
    if (D <= 64) return run(Tile<64>());
    if (D <= 96) return run(Tile<96>());
    if (D <= 128) return run(Tile<128>());
    if (D <= ATT_MOST_D) return run(Tile<256>());
    fail_op(FL_ERR_UNSUPPORTED, "attention heads of more than 256 elements");
}

/* Announces dynamic shared memory above 48 KB. */
template <class Kernel> bool allow_shared(Kernel *kernel, int bytes)
{
    return check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                 "shared memory for attention");
}

} // namespace FL_DEVICE

#endif
