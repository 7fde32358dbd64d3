/* RMSNorm (Zhang and Sennrich 2019), a warp per row; the sample for new row-wise ops. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/warp.h"

namespace FL_DEVICE
{

enum { NORM_ROWS = 8, NORM_THREADS = NORM_ROWS * WARP_LANES };

static unsigned norm_grid(int64_t T)
{
    return (unsigned)((T + NORM_ROWS - 1) / NORM_ROWS);
}

static __device__ __forceinline__ int64_t norm_row()
{
    return (int64_t)blockIdx.x * NORM_ROWS + threadIdx.x / WARP_LANES;
}

/* A lane reads its elements of x before it writes the same ones of out, which may be x. */
static __global__ void __launch_bounds__(NORM_THREADS)
    rmsnorm_fwd_kernel(float *out, float *rstd_out, const float *x, const float *w, int64_t T,
                       int64_t C, float eps)
{
    int64_t t = norm_row(), lane = threadIdx.x % WARP_LANES;
    if (t >= T) return; // the whole warp
    x += t * C;
    double sum = 0;
    for (int64_t c = lane; c < C; c += WARP_LANES)
        sum += (double)x[c] * (double)x[c];
    sum = warp_reduce(sum, Sum());
    float rstd = (float)(1.0 / sqrt(sum / (double)C + (double)eps));
    if (lane == 0 && rstd_out) rstd_out[t] = rstd;
    for (int64_t c = lane; c < C; c += WARP_LANES)
        out[t * C + c] = x[c] * rstd * w[c];
}

/* slope = rstd^2 mean(w dout x): the part of the gradient that goes through rstd. */
static __global__ void __launch_bounds__(NORM_THREADS)
    rmsnorm_bwd_kernel(float *dx, const float *dout, const float *x, const float *w,
                       const float *rstd_in, int64_t T, int64_t C)
{
    int64_t t = norm_row(), lane = threadIdx.x % WARP_LANES;
    if (t >= T) return;
    x += t * C;
    dout += t * C;
    double sum = 0;
    for (int64_t c = lane; c < C; c += WARP_LANES)
        sum += (double)(w[c] * dout[c]) * (double)x[c];
    sum = warp_reduce(sum, Sum());
    float rstd = rstd_in[t];
    float slope = (float)(sum / (double)C * (double)rstd * (double)rstd);
    for (int64_t c = lane; c < C; c += WARP_LANES)
        dx[t * C + c] += rstd * (w[c] * dout[c] - x[c] * slope);
}

void op_rmsnorm_fwd(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                    int64_t C, float eps)
{
    if (T > 0)
        FL_LAUNCH(rmsnorm_fwd_kernel, norm_grid(T * G), NORM_THREADS, 0, dense(out, G * C), rstd,
                  dense(x, G * C), w, T * G, C, eps);
}

void op_rmsnorm_bwd(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd, int64_t T,
                    int64_t G, int64_t C)
{
    if (T > 0)
        FL_LAUNCH(rmsnorm_bwd_kernel, norm_grid(T * G), NORM_THREADS, 0, dense(dx, G * C),
                  dense(dout, G * C), dense(x, G * C), w, rstd, T * G, C);
}

} // namespace FL_DEVICE
