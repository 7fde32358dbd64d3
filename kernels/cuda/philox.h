/* Random words on the device, as on the host. */
#ifndef FL_KERNELS_CUDA_PHILOX_H
#define FL_KERNELS_CUDA_PHILOX_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

struct Words {
    uint32_t w[4];
};

/* Philox 4x32-10: fl_rng_block of base/rng.c on the device; the tests hold one against the other.
 */
static __device__ inline Words philox(const Words &counter, uint32_t key0, uint32_t key1)
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

/* Words 4 block .. 4 block + 3 of the stream. */
static __device__ inline Words stream_block(const fl_rng &rng, int64_t block)
{
    return philox({{(uint32_t)block, (uint32_t)(block >> 32), rng.counter[2], rng.counter[3]}},
                  rng.key[0], rng.key[1]);
}

/* [0, 1) with 24 bits */
static __device__ __forceinline__ float uniform_of(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

} // namespace FL_DEVICE

#endif
