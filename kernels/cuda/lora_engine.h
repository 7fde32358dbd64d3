/* Products of tiles in shared memory for the LoRA kernels: 64 rows, N columns.  Tiles hold rows of
 * COLS + PAD elements; a tile is "inner" when the index that is summed over runs along its rows. */
#ifndef FL_KERNELS_CUDA_LORA_ENGINE_H
#define FL_KERNELS_CUDA_LORA_ENGINE_H

#include "kernels/cuda/lora_tile.h"
#include "kernels/cuda/mma.h"

namespace FL_DEVICE
{

/* Multiply-adds in fp32: thread (row, col) = (number / 8, number % 8) has the rows 4 row + 0..3 and
 * the columns col + 0, 8, 16 ... */
struct FloatEngine {
    typedef float Element;
    typedef fl_shared<float> Tile;
    enum { PAD = 1, ROWS = 4, COLS = 8 };

    static __device__ __forceinline__ void put(const Tile &tile, int at, const Four &x)
    {
        FL_UNROLLED (e, FOUR)
            tile[at + e] = x[e];
    }

    /* sum += left right; depth: of DEPTH, what is not zero */
    template <int N, int DEPTH, bool LEFT_INNER, bool RIGHT_INNER>
    static __device__ __forceinline__ void multiply(float (&sum)[N / 2], const Tile &left,
                                                    const Tile &right, int depth)
    {
        int row = (int)threadIdx.x / COLS * ROWS, col = (int)threadIdx.x % COLS;
        for (int k = 0; k < depth; k++) {
            float a[ROWS], b[N / COLS];
            FL_UNROLLED (i, ROWS)
                a[i] = left[LEFT_INNER ? (row + i) * (DEPTH + PAD) + k
                                       : k * (LORA_TILE + PAD) + row + i];
            FL_UNROLLED (j, N / COLS)
                b[j] = right[RIGHT_INNER ? (col + j * COLS) * (DEPTH + PAD) + k
                                         : k * (N + PAD) + col + j * COLS];
            FL_UNROLLED (i, ROWS)
                FL_UNROLLED (j, N / COLS)
                    sum[i * (N / COLS) + j] += a[i] * b[j];
        }
    }

    /* run(number, row, col, sum) for the thread's sums */
    template <int N, class Run>
    static __device__ __forceinline__ void each_sum(const float (&sum)[N], const Run &run)
    {
        constexpr int columns = N / ROWS;
        int row = (int)threadIdx.x / COLS * ROWS, col = (int)threadIdx.x % COLS;
        FL_UNROLLED (i, ROWS)
            FL_UNROLLED (j, columns)
                run(i * columns + j, row + i, col + j * COLS, sum[i * columns + j]);
    }
};

/* Tensor cores (mma.h): warp w has the rows 16 w + 0..15, as fragments [16, 8]. */
struct TensorEngine {
    typedef __nv_bfloat16 Element;
    typedef fl_shared<__nv_bfloat16> Tile;
    enum { PAD = 8, STEP = 16 }; /* rows of 16 bytes lie in different banks */

    static __device__ __forceinline__ void put(const Tile &tile, int at, const Four &x)
    {
        store_pair(tile, at, pack_pair(x[0], x[1]));
        store_pair(tile, at + 2, pack_pair(x[2], x[3]));
    }

    template <int N, int DEPTH, bool LEFT_INNER, bool RIGHT_INNER>
    static __device__ __forceinline__ void multiply(float (&sum)[N / 2], const Tile &left,
                                                    const Tile &right, int depth)
    {
        int lane = (int)threadIdx.x % WARP_LANES, row = (int)threadIdx.x / WARP_LANES * STEP;
        FL_UNROLLED (k, DEPTH / STEP) {
            if (k * STEP >= depth) break;
            uint32_t a[4], b[4];
            if (LEFT_INNER)
                load_matrices(a, left,
                              (row + lane % 16) * (DEPTH + PAD) + k * STEP + lane / 16 * 8);
            else
                load_transposed(a, left,
                                (k * STEP + lane / 16 * 8 + lane % 8) * (LORA_TILE + PAD) + row +
                                    lane / 8 % 2 * 8);
            FL_UNROLLED (c, N / STEP) {
                if (RIGHT_INNER)
                    load_matrices(b, right,
                                  (c * STEP + lane / 16 * 8 + lane % 8) * (DEPTH + PAD) + k * STEP +
                                      lane / 8 % 2 * 8);
                else
                    load_transposed(b, right,
                                    (k * STEP + lane % 16) * (N + PAD) + c * STEP + lane / 16 * 8);
                multiply_add(fragment_of(sum, 2 * c), a, b[0], b[1]);
                multiply_add(fragment_of(sum, 2 * c + 1), a, b[2], b[3]);
            }
        }
    }

    template <int N, class Run>
    static __device__ __forceinline__ void each_sum(const float (&sum)[N], const Run &run)
    {
        int lane = (int)threadIdx.x % WARP_LANES;
        int row = (int)threadIdx.x / WARP_LANES * STEP + lane / 4, col = lane % 4 * 2;
        FL_UNROLLED (c, N / 4)
            FL_UNROLLED (e, 4)
                run(c * 4 + e, row + e / 2 * 8, c * 8 + col + e % 2, sum[c * 4 + e]);
    }

  private:
    template <int N>
    static __device__ __forceinline__ float (&fragment_of(float (&sum)[N], int number))[4]
    {
        return *reinterpret_cast<float(*)[4]>(&sum[number * 4]);
    }
};

} // namespace FL_DEVICE

#endif
