/* AdamW (Loshchilov and Hutter 2019) in the form of ops.h. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"

extern "C" {
#include "backend/adamw.h"
}

namespace FL_DEVICE
{

/* grad_scale, m, v, step, decay: in the order of ops.h. */
struct AdamW {
    float *p, *m, *v;
    const float *g;
    fl_adamw_factors k;
    __device__ void operator()(int64_t i) const
    {
        float grad = g[i] * k.grad_scale;
        float first = k.beta1 * m[i] + k.rest1 * grad;
        float second = k.beta2 * v[i] + k.rest2 * grad * grad;
        float next = p[i] - k.step_size * first / (sqrtf(second) + k.eps);
        m[i] = first;
        v[i] = second;
        p[i] = next - k.decay * next;
    }
};

void op_adamw(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt)
{
    each(n, AdamW{p, m, v, g, fl_adamw_prepare(opt)});
}

} // namespace FL_DEVICE
