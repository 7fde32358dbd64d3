/* Softmax with cross-entropy over rows, and argmax: a block per row. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/warp.h"

#include <limits.h>

namespace FL_DEVICE
{

enum { ROW_THREADS = 512 };

/* The sum is taken the same way with and without grad: the same bits. */
static __global__ void __launch_bounds__(ROW_THREADS)
    cross_entropy_kernel(double *loss, float *grad, const float *logits, const int32_t *target,
                         const float *weight, int64_t V)
{
    const float *row = logits + blockIdx.x * V;
    int32_t at = target[blockIdx.x];
    float max = -INFINITY;
    for (int64_t v = threadIdx.x; v < V; v += ROW_THREADS)
        max = Largest()(max, row[v]);
    max = block_reduce(max, -INFINITY, Largest());
    double sum = 0;
    for (int64_t v = threadIdx.x; v < V; v += ROW_THREADS)
        sum += (double)expf(row[v] - max);
    sum = block_reduce(sum, 0.0, Sum());
    float correct = row[at] - max;
    if (threadIdx.x == 0) loss[blockIdx.x] = log(sum) - ((double)row[at] - (double)max);
    if (!grad) return;
    __syncthreads(); // everybody has read the target's logit
    double scale = (double)weight[blockIdx.x];
    float factor = (float)(scale / sum), share = (float)(scale * ((double)expf(correct) / sum - 1));
    for (int64_t v = threadIdx.x; v < V; v += ROW_THREADS)
        grad[blockIdx.x * V + v] = v == at ? share : expf(row[v] - max) * factor;
}

/* NaN compares false and is passed over; a row of NaN gives 0. */
static __global__ void __launch_bounds__(ROW_THREADS)
    argmax_kernel(int32_t *out, const float *logits, int64_t V)
{
    const float *row = logits + blockIdx.x * V;
    float max = -INFINITY;
    for (int64_t v = threadIdx.x; v < V; v += ROW_THREADS)
        max = Largest()(max, row[v]);
    max = block_reduce(max, -INFINITY, Largest());
    int32_t first = INT_MAX;
    for (int64_t v = threadIdx.x; v < V && first == INT_MAX; v += ROW_THREADS)
        first = row[v] == max ? (int32_t)v : first;
    first = block_reduce(first, (int32_t)INT_MAX, Smallest());
    if (threadIdx.x == 0) out[blockIdx.x] = first == INT_MAX ? 0 : first;
}

void op_cross_entropy(double *loss, fl_act grad, const float *logits, const int32_t *target,
                      const float *weight, int64_t N, int64_t V)
{
    if (N > 0)
        FL_LAUNCH(cross_entropy_kernel, (unsigned)N, ROW_THREADS, 0, loss, dense(grad, V), logits,
                  target, weight, V);
}

void op_argmax(int32_t *out, const float *logits, int64_t N, int64_t V)
{
    if (N > 0) FL_LAUNCH(argmax_kernel, (unsigned)N, ROW_THREADS, 0, out, logits, V);
}

} // namespace FL_DEVICE
