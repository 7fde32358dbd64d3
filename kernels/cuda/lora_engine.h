/* Products of tiles in shared memory for the LoRA kernels: 64 rows, N columns.  Tiles hold rows of
 * COLS + PAD elements; a tile is "inner" when the index that is summed over runs along its rows. */
#ifndef FL_KERNELS_CUDA_LORA_ENGINE_H
#define FL_KERNELS_CUDA_LORA_ENGINE_H

#include "kernels/cuda/lora_tile.h"

namespace FL_DEVICE
{

static __device__ __forceinline__ float widen_element(float x)
{
    return x;
}

static __device__ __forceinline__ float widen_element(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

static __device__ __forceinline__ void put_element(const fl_shared<float> &tile, int at, float x)
{
    tile[at] = x;
}

static __device__ __forceinline__ void put_element(const fl_shared<__nv_bfloat16> &tile, int at,
                                                   float x)
{
    tile[at] = __float2bfloat16(x);
}

/* Multiply-adds in fp32: thread (row, col) = (number / 8, number % 8) has the rows 4 row + 0..3 and
 * the columns col + 0, 8, 16 ... */
template <class Element_> struct AddEngine {
    typedef Element_ Element;
    typedef fl_shared<Element> Tile;
    enum { PAD = 4 / sizeof(Element), ROWS = 4, COLS = 8 };

    static __device__ __forceinline__ void put(const Tile &tile, int at, const Four &x)
    {
        FL_UNROLLED (e, FOUR)
            put_element(tile, at + e, x[e]);
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
                a[i] = widen_element(Element(left[LEFT_INNER ? (row + i) * (DEPTH + PAD) + k
                                                             : k * (LORA_TILE + PAD) + row + i]));
            FL_UNROLLED (j, N / COLS)
                b[j] =
                    widen_element(Element(right[RIGHT_INNER ? (col + j * COLS) * (DEPTH + PAD) + k
                                                            : k * (N + PAD) + col + j * COLS]));
            FL_UNROLLED (i, ROWS)
                FL_UNROLLED (j, N / COLS)
                    sum[i * (N / COLS) + j] += a[i] * b[j];
        }
    }

    /* run(number, row, col, sum) for the thread's sums */
    template <int N, class Run>
    static __device__ __forceinline__ void each_sum(const float (&sum)[N], const Run &run)
    {
        constexpr int columns = N * 2 / COLS;
        int row = (int)threadIdx.x / COLS * ROWS, col = (int)threadIdx.x % COLS;
        FL_UNROLLED (i, ROWS)
            FL_UNROLLED (j, columns)
                run(i * columns + j, row + i, col + j * COLS, sum[i * columns + j]);
    }
};

typedef AddEngine<float> FloatEngine;
typedef AddEngine<__nv_bfloat16> NarrowEngine;

} // namespace FL_DEVICE

#endif
