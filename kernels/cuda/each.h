/* Ops that treat one element after another: a struct with the arguments and operator()(i). */
#ifndef FL_KERNELS_CUDA_EACH_H
#define FL_KERNELS_CUDA_EACH_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

enum { EACH_THREADS = 256 };

template <class Op> static __global__ void each_kernel(int64_t n, Op op)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        op(i);
}

template <class Op> void each(int64_t n, const Op &op)
{
    if (n > 0) FL_LAUNCH(each_kernel<Op>, grid_for(n, EACH_THREADS), EACH_THREADS, 0, n, op);
}

} // namespace FL_DEVICE

#endif
