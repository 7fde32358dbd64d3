/* Row-major products above the seam of gemm.h. */
#ifndef FL_KERNELS_CUDA_LINEAR_H
#define FL_KERNELS_CUDA_LINEAR_H

#include "kernels/cuda/device.h"

extern "C" {
#include "backend/linears.h"
#include "kernels/cuda/gemm.h"
}

namespace FL_DEVICE
{

/* An operand: rows of `stride` elements of the type that products have (compute_dtype);
 * is_transposed: as stored it is [K,M] or [N,K]. */
struct Matrix {
    const void *data;
    int64_t stride;
    bool is_transposed;
};

struct Extent {
    int64_t M, N, K;
};

/* Where a product goes: d = alpha op(A) op(B) + beta c + bias, in fp32, rounded once; d and c in
 * any type.  c may be d, and is not read with beta = 0. */
struct Target {
    fl_act d, c;
    float beta;
    const float *bias; /* [N]; NULL: none */
};

/* Frozen matrices of one input, multiplied as if they were one with their rows one after the other.
 * Either all are stored as products want them and lie one behind the other, or none is. */
struct Joined {
    const fl_weight *w[FL_MOST_LINEARS];
    int count;
    int64_t rows, cols;
};

fl_dtype compute_dtype(); /* of the operands of products: F32 or BF16 */
void multiply(const Matrix &a, const Matrix &b, const Extent &size, float alpha,
              const Target &target);
/* x [T, cols] as an operand: as it is, or converted into scratch memory. */
Matrix operand(fl_act x, int64_t T, int64_t cols, scratch_use use);

/* Some matrix is widened piece by piece, and the parts of dx are added up in fp32. */
bool may_be_cut(const fl_scratch_need *need);
bool can_join(const fl_weight *w, const fl_weight *next);
/* y[T, rows] = x W^T + bias + add; add.data NULL: nothing. */
void joined_fwd(const Joined &joined, fl_act y, fl_act x, int64_t T, fl_act add);
/* dx[T, cols] = dy W (+ dx) */
void joined_bwd(const Joined &joined, fl_act dx, fl_act dy, int64_t T, bool accumulate);

void run_gemm(const fl_blas_gemm &gemm); /* one per build; failures go to check or fail_op */

} // namespace FL_DEVICE

#endif
