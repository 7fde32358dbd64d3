/* Sum of squares in double: pieces of a fixed size first, then the pieces by one block. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/warp.h"

namespace FL_DEVICE
{

enum { SUM_THREADS = 256, SUM_PIECE = 16384 };

static __global__ void __launch_bounds__(SUM_THREADS)
    square_pieces_kernel(double *sums, const float *x, int64_t n)
{
    int64_t begin = (int64_t)blockIdx.x * SUM_PIECE, end = begin + SUM_PIECE;
    double sum = 0;
    for (int64_t i = begin + threadIdx.x; i < (end < n ? end : n); i += SUM_THREADS)
        sum += (double)x[i] * (double)x[i];
    sum = block_reduce(sum, 0.0, Sum());
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(SUM_THREADS)
    add_pieces_kernel(double *out, const double *sums, int64_t n)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += SUM_THREADS)
        sum += sums[i];
    sum = block_reduce(sum, 0.0, Sum());
    if (threadIdx.x == 0) *out = sum;
}

size_t sums_scratch(const fl_scratch_need *need)
{
    int64_t pieces = (need->squares + SUM_PIECE - 1) / SUM_PIECE;
    return pieces > 0 ? (size_t)(pieces + 1) * sizeof(double) : 0;
}

double op_sum_squares(const float *x, int64_t n)
{
    int64_t pieces = (n + SUM_PIECE - 1) / SUM_PIECE;
    double sum = 0;
    if (pieces == 0) return sum;
    auto *sums = static_cast<double *>(scratch(SCRATCH_SUMS, (size_t)(pieces + 1) * sizeof sum));
    FL_LAUNCH(square_pieces_kernel, (unsigned)pieces, SUM_THREADS, 0, sums, x, n);
    FL_LAUNCH(add_pieces_kernel, 1, SUM_THREADS, 0, sums + pieces, sums, pieces);
    op_copy_out(&sum, sums + pieces, sizeof sum);
    return sum;
}

} // namespace FL_DEVICE
