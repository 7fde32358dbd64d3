/* CPython's random.Random, as far as the reference uses it.
 *
 * Generator: MT19937, Matsumoto and Nishimura, ACM TOMACS 8 (1998), with the seeding by array of
 * 2002.  random.seed and random.sample: CPython, Modules/_randommodule.c and Lib/random.py. */
#include "base/mem.h"
#include "base/rng.h"

enum { N = 624, M = 397 };

/* init_genrand */
static void seed_word(fl_pyrandom *rng, uint32_t seed)
{
    uint32_t *s = rng->state;
    s[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        s[i] = 1812433253U * (s[i - 1] ^ (s[i - 1] >> 30)) + i;
}

/* init_by_array; a seed has far fewer than N words in practice, but any number is right. */
void fl_pyrandom_seed(fl_pyrandom *rng, const uint32_t *words, size_t count)
{
    while (count > 1 && words[count - 1] == 0)
        count--;
    seed_word(rng, 19650218U);
    uint32_t *s = rng->state;
    size_t i = 1, j = 0;
    for (size_t k = count > N ? count : N; k > 0; k--) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525U)) + words[j] + (uint32_t)j;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
        if (++j == count) j = 0;
    }
    for (size_t k = N - 1; k > 0; k--) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941U)) - (uint32_t)i;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000U;
    rng->index = N;
}

static void refill(fl_pyrandom *rng)
{
    uint32_t *s = rng->state;
    for (int i = 0; i < N; i++) {
        uint32_t y = (s[i] & 0x80000000U) | (s[(i + 1) % N] & 0x7fffffffU);
        s[i] = s[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfU : 0);
    }
    rng->index = 0;
}

uint32_t fl_pyrandom_u32(fl_pyrandom *rng)
{
    if (rng->index >= N) refill(rng);
    uint32_t y = rng->state[rng->index++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680U;
    y ^= (y << 15) & 0xefc60000U;
    return y ^ (y >> 18);
}

/* Random._randbelow_with_getrandbits: the top bits of a word, until they are below n. */
static uint32_t below(fl_pyrandom *rng, uint32_t n)
{
    int bits = 0;
    for (uint32_t rest = n; rest > 0; rest >>= 1)
        bits++;
    for (;;) {
        uint32_t draw = fl_pyrandom_u32(rng) >> (32 - bits);
        if (draw < n) return draw;
    }
}

/* Python copies the population when that is smaller than the set it would need otherwise:
 * 21 entries, and for k > 5 the next power of 4 above 3 k on top. */
static bool uses_pool(uint32_t n, uint32_t k)
{
    uint64_t set_size = 21, power = 1;
    while (power < (uint64_t)k * 3)
        power *= 4;
    if (k > 5) set_size += power;
    return n <= set_size;
}

static fl_status sample_from_pool(fl_pyrandom *rng, uint32_t n, uint32_t k, uint32_t *out)
{
    uint32_t *pool;
    FL_TRY(fl_alloc(&pool, n, sizeof *pool));
    for (uint32_t i = 0; i < n; i++)
        pool[i] = i;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t j = below(rng, n - i);
        out[i] = pool[j];
        pool[j] = pool[n - i - 1];
    }
    fl_free(pool);
    return FL_OK;
}

/* Puts item into a table of 2^n entries (0 = empty, else item + 1); false when it was there. */
static bool insert(uint64_t *table, size_t mask, uint32_t item)
{
    size_t slot = (item * 2654435769U) & mask;
    while (table[slot] != 0) {
        if (table[slot] == (uint64_t)item + 1) return false;
        slot = (slot + 1) & mask;
    }
    table[slot] = (uint64_t)item + 1;
    return true;
}

static fl_status sample_with_set(fl_pyrandom *rng, uint32_t n, uint32_t k, uint32_t *out)
{
    size_t size = 16;
    while (size < (size_t)k * 2)
        size *= 2;
    uint64_t *table;
    FL_TRY(fl_alloc(&table, size, sizeof *table));
    for (uint32_t i = 0; i < k; i++) {
        do {
            out[i] = below(rng, n);
        } while (!insert(table, size - 1, out[i]));
    }
    fl_free(table);
    return FL_OK;
}

fl_status fl_pyrandom_sample(fl_pyrandom *rng, uint32_t n, uint32_t k, uint32_t *out)
{
    FL_CHECK(k <= n, FL_ERR_USAGE, "cannot sample %u of %u", k, n);
    if (uses_pool(n, k)) return sample_from_pool(rng, n, k, out);
    return sample_with_set(rng, n, k, out);
}
