/* Random numbers.  Two kinds:
 *
 * 1. fl_rng: our own counter-based streams (Philox 4x32-10, Salmon et al. 2011).  Every draw is a
 *    function of (seed, purpose, four keys, index), never of what was drawn before elsewhere, so
 *    results do not depend on ranks, placement or restarts.
 * 2. The exact generators of Python and NumPy, for client sampling, sub-samples and splits that
 *    must equal the reference's.
 */
#ifndef FL_BASE_RNG_H
#define FL_BASE_RNG_H

#include "base/status.h"

#include <stdint.h>

/* What a stream is for; two purposes never share a stream.  Values are part of the file format of
 * results: append, never renumber. */
typedef enum fl_purpose {
    FL_PURPOSE_LORA_INIT = 1, /* keys: index of the tensor */
    FL_PURPOSE_DROPOUT = 2,   /* keys: round, client, micro-step, module */
    FL_PURPOSE_ORDER = 3,     /* keys: round, client, pass over the data */
    FL_PURPOSE_TEST = 4,
    FL_PURPOSE_SAMPLING = 5,  /* keys: prompt, position in the answer */
    FL_PURPOSE_PARTITION = 6, /* keys: label */
    FL_PURPOSE_LORA_FRESH = 7 /* keys: index of the tensor, completed rounds */
} fl_purpose;

typedef struct fl_rng {
    uint32_t key[2];     /* from seed, purpose and the first two keys */
    uint32_t counter[4]; /* [0..1] index of the block, [2..3] from the last two keys */
    uint32_t block[4];
    int used; /* words of block already given out, 4 = none left */
} fl_rng;

/* A stream that is a function of all arguments.  Two argument lists that differ give streams that
 * are independent for all practical purposes (keys are mixed with a 64-bit finaliser, not
 * packed). */
fl_rng fl_rng_make(uint64_t seed, fl_purpose purpose, uint64_t key0, uint64_t key1, uint64_t key2,
                   uint64_t key3);
uint32_t fl_rng_u32(fl_rng *rng);
/* Uniform in [0, 1), 24 bits. */
float fl_rng_uniform(fl_rng *rng);
/* Uniform in [0, n), n > 0, without bias. */
uint64_t fl_rng_below(fl_rng *rng, uint64_t n);
/* Fisher-Yates, in place. */
void fl_rng_shuffle(fl_rng *rng, uint32_t *items, size_t count);
/* The logarithm of a draw from the gamma distribution with this shape > 0 and scale 1 (Marsaglia
 * and Tsang, "A simple method for generating gamma variables", ACM TOMS 2000).  The logarithm,
 * because a draw of a small shape is far below the smallest double.  Uses log() of the C library:
 * the last bit may differ between libraries. */
double fl_rng_log_gamma(fl_rng *rng, double shape);
/* The four words of block number `index` of the stream, without changing it: for kernels that
 * compute element i from block i / 4. */
void fl_rng_block(const fl_rng *rng, uint64_t index, uint32_t out[4]);

/* CPython's random.Random after random.seed(integer): MT19937, init_by_array of the integer's
 * 32-bit words, low word first. */
typedef struct fl_pyrandom {
    uint32_t state[624];
    int index;
} fl_pyrandom;

/* The integer is words[0] + words[1]<<32 + ...; high zero words are dropped as Python does
 * (the integer 0 is one zero word).  count >= 1. */
void fl_pyrandom_seed(fl_pyrandom *rng, const uint32_t *words, size_t count);
uint32_t fl_pyrandom_u32(fl_pyrandom *rng);
/* random.sample(range(n), k): out[k].  Errors: FL_ERR_USAGE when k > n, FL_ERR_MEMORY. */
fl_status fl_pyrandom_sample(fl_pyrandom *rng, uint32_t n, uint32_t k, uint32_t *out);

/* numpy.random.default_rng(seed).permutation(n): out[n].  seed as SeedSequence takes it. */
void fl_numpy_permutation(uint64_t seed, uint32_t n, uint32_t *out);

#endif
