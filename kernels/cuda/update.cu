/* Changes of an adapter: their size, and their sum as integers. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/warp.h"

namespace FL_DEVICE
{

enum { CHANGE_THREADS = 256, CHANGE_PIECE = 16384 };

struct Change {
    const float *y, *from;
    __device__ double operator()(int64_t i) const
    {
        return from ? (double)y[i] - (double)from[i] : (double)y[i];
    }
};

struct LargestSize {
    __device__ double operator()(double a, double b) const
    {
        return b > a ? b : a;
    }
};

static __global__ void __launch_bounds__(CHANGE_THREADS)
    largest_pieces_kernel(double *largest, Change change, int64_t n)
{
    int64_t begin = (int64_t)blockIdx.x * CHANGE_PIECE, end = begin + CHANGE_PIECE;
    double most = 0;
    for (int64_t i = begin + threadIdx.x; i < (end < n ? end : n); i += CHANGE_THREADS) {
        double size = fabs(change(i));
        most = LargestSize()(most, size < (double)INFINITY ? size : (double)INFINITY);
    }
    most = block_reduce(most, 0.0, LargestSize());
    if (threadIdx.x == 0) largest[blockIdx.x] = most;
}

static __global__ void __launch_bounds__(CHANGE_THREADS)
    largest_of_kernel(double *out, const double *largest, int64_t n)
{
    double most = 0;
    for (int64_t i = threadIdx.x; i < n; i += CHANGE_THREADS)
        most = LargestSize()(most, largest[i]);
    most = block_reduce(most, 0.0, LargestSize());
    if (threadIdx.x == 0) *out = most;
}

double op_largest_change(const float *y, const float *from, int64_t n)
{
    int64_t pieces = (n + CHANGE_PIECE - 1) / CHANGE_PIECE;
    double most = 0;
    if (pieces == 0) return most;
    auto *largest =
        static_cast<double *>(scratch(SCRATCH_SUMS, (size_t)(pieces + 1) * sizeof most));
    FL_LAUNCH(largest_pieces_kernel, (unsigned)pieces, CHANGE_THREADS, 0, largest, Change{y, from},
              n);
    FL_LAUNCH(largest_of_kernel, 1, CHANGE_THREADS, 0, largest + pieces, largest, pieces);
    op_copy_out(&most, largest + pieces, sizeof most);
    return most;
}

/* A difference and a product: nothing that a compiler could join into one rounding. */
struct AddChange {
    int64_t *sum;
    Change change;
    double factor;
    __device__ void operator()(int64_t i) const
    {
        sum[i] += (int64_t)llrint(change(i) * factor);
    }
};

void op_add_change(int64_t *sum, const float *y, const float *from, double factor, int64_t n)
{
    each(n, AddChange{sum, Change{y, from}, factor});
}

} // namespace FL_DEVICE
