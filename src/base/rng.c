#include "base/rng.h"

/* Philox 4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011, section 4; constants as published with Random123. */
enum { ROUNDS = 10 };
static const uint32_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
static const uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;

void fl_rng_block(const fl_rng *rng, uint64_t index, uint32_t out[4])
{
    uint32_t k0 = rng->key[0], k1 = rng->key[1];
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = rng->counter[2], c3 = rng->counter[3];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t product0 = (uint64_t)multiplier0 * c0;
        uint64_t product1 = (uint64_t)multiplier1 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += weyl0;
        k1 += weyl1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014), variant 13 of Stafford.  For a fixed hash it is one-to-one in the
 * value, so lists that differ in their last member only never meet. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    uint64_t z = (hash ^ value) + 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

fl_rng fl_rng_make(uint64_t seed, fl_purpose purpose, uint64_t key0, uint64_t key1, uint64_t key2,
                   uint64_t key3)
{
    uint64_t key = mix(mix(mix(mix(0, seed), (uint64_t)purpose), key0), key1);
    uint64_t counter = mix(mix(0, key2), key3);
    return (fl_rng){.key = {(uint32_t)key, (uint32_t)(key >> 32)},
                    .counter = {0, 0, (uint32_t)counter, (uint32_t)(counter >> 32)},
                    .used = 4};
}

uint32_t fl_rng_u32(fl_rng *rng)
{
    if (rng->used == 4) {
        uint64_t index = rng->counter[0] | (uint64_t)rng->counter[1] << 32;
        fl_rng_block(rng, index, rng->block);
        index++;
        rng->counter[0] = (uint32_t)index;
        rng->counter[1] = (uint32_t)(index >> 32);
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

float fl_rng_uniform(fl_rng *rng)
{
    return (float)(fl_rng_u32(rng) >> 8) * 0x1p-24f;
}

/* Draws below the next power of two until one fits: no bias, fewer than two draws on average. */
uint64_t fl_rng_below(fl_rng *rng, uint64_t n)
{
    FL_ASSERT(n > 0);
    uint64_t mask = n - 1;
    for (int shift = 1; shift < 64; shift *= 2)
        mask |= mask >> shift;
    for (;;) {
        uint64_t draw = fl_rng_u32(rng);
        if (mask > UINT32_MAX) draw |= (uint64_t)fl_rng_u32(rng) << 32;
        draw &= mask;
        if (draw < n) return draw;
    }
}

void fl_rng_shuffle(fl_rng *rng, uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)fl_rng_below(rng, i);
        uint32_t item = items[i - 1];
        items[i - 1] = items[other];
        items[other] = item;
    }
}
