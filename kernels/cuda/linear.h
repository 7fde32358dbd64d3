/* Row-major products above the seam of gemm.h. */
#ifndef FL_KERNELS_CUDA_LINEAR_H
#define FL_KERNELS_CUDA_LINEAR_H

#include "kernels/cuda/device.h"

extern "C" {
#include "kernels/cuda/gemm.h"
}

namespace FL_DEVICE
{

/* An operand: rows of `stride` elements; is_transposed: as stored it is [K,M] or [N,K]. */
struct Matrix {
    const void *data;
    int64_t stride;
    bool is_transposed;
};

struct Extent {
    int64_t M, N, K;
};

void run_gemm(const fl_blas_gemm &gemm); /* one per build; failures go to check or fail_op */

} // namespace FL_DEVICE

#endif
