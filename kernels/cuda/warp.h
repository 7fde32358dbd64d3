/* Sums and maxima over the lanes of a warp and the threads of a block, in an order that depends on
 * nothing but their number: the same bits in every run. */
#ifndef FL_KERNELS_CUDA_WARP_H
#define FL_KERNELS_CUDA_WARP_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

struct Sum {
    template <class T> __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

/* NaN is passed over. */
struct Largest {
    __device__ float operator()(float a, float b) const
    {
        return b > a ? b : a;
    }
};

struct Smallest {
    __device__ int32_t operator()(int32_t a, int32_t b) const
    {
        return b < a ? b : a;
    }
};

/* All lanes get the result; `lanes` neighbours, a power of two, are reduced with one another. */
template <class T, class Op> __device__ T warp_reduce(T value, Op op, int lanes = WARP_LANES)
{
    for (int bit = lanes / 2; bit > 0; bit /= 2)
        value = op(value, __shfl_xor_sync(ALL_LANES, value, bit));
    return value;
}

/* All threads of a block of whole warps get the result. */
template <class T, class Op> __device__ T block_reduce(T value, T identity, Op op)
{
    FL_SHARED(T, parts, WARP_LANES);
    int lane = (int)threadIdx.x % WARP_LANES, warp = (int)threadIdx.x / WARP_LANES;
    value = warp_reduce(value, op);
    __syncthreads(); // the parts of the reduction before this one have been read
    if (lane == 0) parts[warp] = value;
    __syncthreads();
    value = lane < (int)blockDim.x / WARP_LANES ? T(parts[lane]) : identity;
    return warp_reduce(value, op);
}

} // namespace FL_DEVICE

#endif
