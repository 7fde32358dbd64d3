/* Softmax with cross-entropy over rows, and argmax: a block per row. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/warp.h"

#include <limits.h>

namespace FL_DEVICE
{

enum { ROW_THREADS = 512 };

template <class Grad> struct LossArgs {
    double *loss;
    Grad grad;
    const float *logits;
    const int32_t *target;
    const float *weight;
    int64_t V;
    bool is_aligned;
};

/* Gradients of a row.  They may take the place of its logits: element v then lies on element v or
 * v/2 of these, which nobody needs any more once all have read up to v. */
template <class Grad>
static __device__ __forceinline__ void write_slopes(const LossArgs<Grad> &args, const float *row,
                                                    float max, float factor, float share)
{
    constexpr int COUNT = chunk_count<View<float>>();
    auto *grad = args.grad.data + blockIdx.x * args.grad.stride;
    int32_t at = args.target[blockIdx.x];
    for (int64_t begin = 0; begin < args.V; begin += ROW_THREADS * COUNT) {
        int64_t col = begin + (int64_t)threadIdx.x * COUNT;
        float x[COUNT];
        load(x, row + col, args.V - col, args.is_aligned);
        FL_UNROLLED (i, COUNT)
            x[i] = col + i == at ? share : expf(x[i] - max) * factor;
        __syncthreads();
        store(grad + col, x, args.V - col, args.is_aligned);
    }
}

/* The sum is taken the same way with and without grad: the same bits. */
template <class Grad>
static __global__ void __launch_bounds__(ROW_THREADS) cross_entropy_kernel(LossArgs<Grad> args)
{
    int64_t V = args.V;
    const float *row = args.logits + blockIdx.x * V;
    int32_t at = args.target[blockIdx.x];
    float max = -INFINITY;
    for (int64_t v = threadIdx.x; v < V; v += ROW_THREADS)
        max = Largest()(max, row[v]);
    max = block_reduce(max, -INFINITY, Largest());
    double sum = 0;
    for (int64_t v = threadIdx.x; v < V; v += ROW_THREADS)
        sum += (double)expf(row[v] - max);
    sum = block_reduce(sum, 0.0, Sum());
    float correct = row[at] - max;
    if (threadIdx.x == 0) args.loss[blockIdx.x] = log(sum) - ((double)row[at] - (double)max);
    if (!args.grad.data) return;
    __syncthreads(); // everybody has read the target's logit
    double scale = (double)args.weight[blockIdx.x];
    write_slopes(args, row, max, (float)(scale / sum),
                 (float)(scale * ((double)expf(correct) / sum - 1)));
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
    if (N == 0) return;
    with_view(grad, [&](auto to) {
        using Args = LossArgs<decltype(to)>;
        auto kernel = cross_entropy_kernel<decltype(to)>;
        bool aligned = is_aligned({grad, fl_f32(logits, V)}, chunk_count<View<float>>());
        FL_LAUNCH(kernel, (unsigned)N, ROW_THREADS, 0,
                  Args{loss, to, logits, target, weight, V, aligned});
    });
}

void op_argmax(int32_t *out, const float *logits, int64_t N, int64_t V)
{
    if (N > 0) FL_LAUNCH(argmax_kernel, (unsigned)N, ROW_THREADS, 0, out, logits, V);
}

} // namespace FL_DEVICE
