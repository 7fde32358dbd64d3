/* Dropout whose mask is a function of the stream and the element's number, as on the cpu. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/philox.h"

namespace FL_DEVICE
{

/* One block of the stream: four elements. */
struct Dropout {
    float *out;
    const float *x;
    int64_t n;
    float p, factor;
    const fl_rng *rng;
    bool accumulate;
    __device__ void operator()(int64_t block) const
    {
        Words words = stream_block(*rng, block);
        for (int64_t i = 4 * block; i < 4 * block + 4 && i < n; i++) {
            float kept = uniform_of(words.w[i % 4]) >= p ? x[i] * factor : 0.0f;
            out[i] = accumulate ? out[i] + kept : kept;
        }
    }
};

void op_dropout(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                bool accumulate)
{
    float factor = (float)(1.0 / (1.0 - (double)p));
    each((T * C + 3) / 4, Dropout{dense(out, C), dense(x, C), T * C, p, factor, rng, accumulate});
}

} // namespace FL_DEVICE
