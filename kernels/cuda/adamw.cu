/* AdamW (Loshchilov and Hutter 2019) in the form of ops.h. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"

extern "C" {
#include "backend/adamw.h"
}

namespace FL_DEVICE
{

/* grad_scale, m, v, step, decay: in the order of ops.h. */
struct AdamW {
    static constexpr int COUNT = chunk_count<View<float>>();
    View<float> p, m, v;
    View<const float> g;
    fl_adamw_factors k;
    __device__ void operator()(const Chunk &at) const
    {
        float param[COUNT], first[COUNT], second[COUNT], grad[COUNT];
        load(param, p, at);
        load(first, m, at);
        load(second, v, at);
        load(grad, g, at);
        FL_UNROLLED (i, COUNT) {
            float step = grad[i] * k.grad_scale;
            first[i] = k.beta1 * first[i] + k.rest1 * step;
            second[i] = k.beta2 * second[i] + k.rest2 * step * step;
            float next = param[i] - k.step_size * first[i] / (sqrtf(second[i]) + k.eps);
            param[i] = next - k.decay * next;
        }
        store(m, first, at);
        store(v, second, at);
        store(p, param, at);
    }
};

void op_adamw(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt)
{
    Span span =
        span_of(1, n, AdamW::COUNT, {fl_f32(p, n), fl_f32(m, n), fl_f32(v, n), fl_f32(g, n)});
    each_chunk(span, AdamW{{p, n}, {m, n}, {v, n}, {g, n}, fl_adamw_prepare(opt)});
}

} // namespace FL_DEVICE
