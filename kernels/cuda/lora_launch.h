/* Which engine and tile of r a LoRA kernel is launched with, and how it leaves its sums. */
#ifndef FL_KERNELS_CUDA_LORA_LAUNCH_H
#define FL_KERNELS_CUDA_LORA_LAUNCH_H

#include "kernels/cuda/lora_engine.h"

namespace FL_DEVICE
{

/* out[row][col] = the block's sums, as far as there are rows and columns */
template <class Engine, int N>
static __device__ __forceinline__ void write_sums(float *out, const float (&sum)[N], int64_t stride,
                                                  int64_t rows, int64_t cols)
{
    Engine::each_sum(sum, [&](int, int row, int col, float value) {
        if (row < rows && col < cols) out[row * stride + col] = value;
    });
}

template <int R_> struct TileOfR {
    enum { R = R_ };
};

/* Bytes of two tiles [64][cols] and [rows][others] in dynamic shared memory. */
template <class Engine> constexpr size_t tile_bytes(int cols, int rows, int others)
{
    return (size_t)(LORA_TILE * (cols + Engine::PAD) + rows * (others + Engine::PAD)) *
           sizeof(typename Engine::Element);
}

/* run(engine, tile of r): the smaller tile where r fits into it. */
template <int SMALL, int LARGE, class Run> void with_engine(int64_t r, const Run &run)
{
    bool is_narrow = compute_dtype() == FL_BF16, is_small = r <= SMALL;
    if (is_narrow && is_small) return run(TensorEngine(), TileOfR<SMALL>());
    if (is_narrow) return run(TensorEngine(), TileOfR<LARGE>());
    if (is_small) return run(FloatEngine(), TileOfR<SMALL>());
    run(FloatEngine(), TileOfR<LARGE>());
}

} // namespace FL_DEVICE

#endif
