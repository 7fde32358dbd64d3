/* Dropout whose mask is a function of the stream and the element's number, as on the cpu. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"

namespace FL_DEVICE
{

struct Words {
    uint32_t w[4];
};

/* Philox 4x32-10: fl_rng_block of base/rng.c on the device; the tests hold one against the other.
 */
static __device__ Words philox(const Words &counter, uint32_t key0, uint32_t key1)
{
    uint32_t c0 = counter.w[0], c1 = counter.w[1], c2 = counter.w[2], c3 = counter.w[3];
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53 * c0, product1 = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ key0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ key1;
        c3 = (uint32_t)product0;
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
    return {{c0, c1, c2, c3}};
}

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
        Words words =
            philox({{(uint32_t)block, (uint32_t)(block >> 32), rng->counter[2], rng->counter[3]}},
                   rng->key[0], rng->key[1]);
        for (int64_t i = 4 * block; i < 4 * block + 4 && i < n; i++) {
            float uniform = (float)(words.w[i % 4] >> 8) * 0x1p-24f;
            float kept = uniform >= p ? x[i] * factor : 0.0f;
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
