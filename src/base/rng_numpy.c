/* numpy.random.default_rng(seed).permutation(n).
 *
 * Seeding: NumPy's SeedSequence (after M. O'Neill's seed_seq alternative), bit_generator.pyx.
 * Generator: PCG64 = PCG XSL-RR 128/64, M. O'Neill, HMC-CS-2014-0905.  The shuffle takes 32-bit
 * draws and rejects by mask, as Generator.shuffle does for a one-dimensional array. */
#include "base/rng.h"

enum { POOL = 4, SEED_WORDS = 8 };

__extension__ typedef unsigned __int128 uint128; /* every 64-bit gcc and clang has it */

typedef struct pcg64 {
    uint128 state, increment;
    uint32_t high; /* upper half of the last output, not yet given out */
    bool has_high;
} pcg64;

static uint32_t hash_word(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ (value >> 16);
}

static uint32_t mix_words(uint32_t x, uint32_t y)
{
    uint32_t result = 0xca01f9ddU * x - 0x4973f715U * y;
    return result ^ (result >> 16);
}

/* SeedSequence(seed).generate_state(8): eight 32-bit words. */
static void expand_seed(uint64_t seed, uint32_t out[SEED_WORDS])
{
    uint32_t pool[POOL] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t constant = 0x43b0d7e5U;
    for (int i = 0; i < POOL; i++)
        pool[i] = hash_word(pool[i], &constant, 0x931e8875U);
    for (int from = 0; from < POOL; from++)
        for (int to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mix_words(pool[to], hash_word(pool[from], &constant, 0x931e8875U));
    constant = 0x8b51f9ddU;
    for (int i = 0; i < SEED_WORDS; i++)
        out[i] = hash_word(pool[i % POOL], &constant, 0x58f38dedU);
}

static void step(pcg64 *rng)
{
    const uint128 multiplier = (uint128)0x2360ed051fc65da4U << 64 | 0x4385df649fccf645U;
    rng->state = rng->state * multiplier + rng->increment;
}

static pcg64 make_generator(uint64_t seed)
{
    uint32_t words[SEED_WORDS];
    expand_seed(seed, words);
    uint64_t w[4]; /* low word first */
    for (int i = 0; i < 4; i++)
        w[i] = words[2 * i] | (uint64_t)words[2 * i + 1] << 32;
    pcg64 rng = {.increment = ((uint128)w[2] << 64 | w[3]) << 1 | 1};
    step(&rng);
    rng.state += (uint128)w[0] << 64 | w[1];
    step(&rng);
    return rng;
}

static uint64_t next64(pcg64 *rng)
{
    step(rng);
    uint64_t folded = (uint64_t)(rng->state >> 64) ^ (uint64_t)rng->state;
    unsigned turn = (unsigned)(rng->state >> 122);
    return folded >> turn | folded << (-turn & 63);
}

/* The low half first, then the high half of the same output. */
static uint32_t next32(pcg64 *rng)
{
    if (rng->has_high) {
        rng->has_high = false;
        return rng->high;
    }
    uint64_t output = next64(rng);
    rng->high = (uint32_t)(output >> 32);
    rng->has_high = true;
    return (uint32_t)output;
}

void fl_numpy_permutation(uint64_t seed, uint32_t n, uint32_t *out)
{
    pcg64 rng = make_generator(seed);
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    for (uint32_t i = n; i-- > 1;) {
        uint32_t mask = i, other;
        for (int shift = 1; shift < 32; shift *= 2)
            mask |= mask >> shift;
        do {
            other = next32(&rng) & mask;
        } while (other > i);
        uint32_t item = out[i];
        out[i] = out[other];
        out[other] = item;
    }
}
