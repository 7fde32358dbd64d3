/* How the attention kernels cut their work (flash attention, Dao et al. 2022, in fp32).
 *
 * A block of 128 threads owns a tile of TILE neighbouring tokens of one sequence, for one head, and
 * walks over tiles of the other side (attention_walk.h).  Thread (row, col) = (number / 8, number
 * % 8) holds rows row * TILE/16 + 0.. and columns col + 0, 8, 16 ..., so that the eight threads
 * with the rows of one tile row are neighbours in a warp.  Heads are padded with zeros to D, one of
 * the sizes that kernels are made for.
 */
#ifndef FL_KERNELS_CUDA_ATTENTION_H
#define FL_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/attention_walk.h"

namespace FL_DEVICE
{

enum { ATT_THREADS = 128, ATT_COLS = 8, ATT_ROWS = ATT_THREADS / ATT_COLS };

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

/* Tile of x[T, heads, D]: tokens `first` .. of a sequence, one head, times factor; zeros where
 * there is nothing.  From has the sequence's start and length. */
template <class Shape, class From>
static __device__ void load_tile(const fl_shared<float> &tile, const Matrix<float> &x,
                                 const From &at, int head, int D, float factor)
{
    for (int i = (int)threadIdx.x; i < Shape::TILE * Shape::D; i += ATT_THREADS) {
        int row = i / Shape::D, d = i % Shape::D;
        bool is_there = at.first + row < at.length && d < D;
        const float *from = x.at(at.start + at.first + row, head * D + d);
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

/* Writes out[r][d] times factor to x[T, heads * D]. */
template <class Shape>
static __device__ void store_rows(const Matrix<float> &x,
                                  const float (&out)[Shape::ROWS][Shape::DIMS], const Place &at,
                                  int head, int D, float factor)
{
    int row = (int)threadIdx.x / ATT_COLS, col = (int)threadIdx.x % ATT_COLS;
    FL_UNROLLED (r, Shape::ROWS) {
        int token = at.first + row * Shape::ROWS + r;
        float *to = x.at(at.start + token, head * D);
        FL_UNROLLED (d, Shape::DIMS)
            if (token < at.length && col + d * ATT_COLS < D)
                to[col + d * ATT_COLS] = out[r][d] * factor;
    }
}

/* run(Tile<D>()) for the smallest size that holds `D`; a larger one is reported. */
template <class Run> void with_tile(int64_t D, const Run &run)
{
    if (D <= 32) return run(Tile<32>());
    if (D <= 64) return run(Tile<64>());
    if (D <= 96) return run(Tile<96>());
    if (D <= 128) return run(Tile<128>());
    if (D <= ATT_MOST_D) return run(Tile<256>());
    refuse_heads();
}

} // namespace FL_DEVICE

#endif
