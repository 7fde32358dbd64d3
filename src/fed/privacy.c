/* Why the noise is as good on a grid: the sum is a multiple of the grid's step, so rounding the
 * noise to it is the same as rounding the noised sum, which is post-processing.  The step is 2^-37
 * to 2^-36 of the noise's deviation: small, and yet so large that the doubles from which the noise
 * is made (two uniform ones of 53 bits, Box and Muller 1958) reach every multiple, so the low bits
 * of the result say nothing about the sum (Mironov 2012, "On significance of the least significant
 * bits"). */
#include "fed/privacy.h"

#include "base/mem.h"
#include "fed/participation.h"
#include "fed/rdp.h"
#include "fed/update.h"

#include <math.h>
#include <sodium.h>
#include <string.h>

struct fl_privacy {
    const fl_fed_config *config;
    double q, deviation; /* deviation: z C */
    int grid;
    fl_rdp rdp; /* accounted only */
    unsigned char key[crypto_stream_chacha20_KEYBYTES];
};

/* What a stream of random numbers is for: part of its nonce. */
enum { CHOICE = 1, NOISE = 2 };

/* ---- settings ------------------------------------------------------------------------------- */

static fl_status check_numbers(const fl_fed_config *c)
{
    static const double least_clip = 1e-4, least_noise = 1e-3; /* the grid can show */
    FL_CHECK(
        c->dp_clip >= least_clip, FL_ERR_USAGE,
        "dp = true needs dp_clip, a norm of %g or more: without clipping noise protects nobody",
        least_clip);
    FL_CHECK(c->dp_noise_multiplier >= least_noise, FL_ERR_USAGE,
             "dp = true needs dp_noise_multiplier, %g or more", least_noise);
    FL_CHECK(c->dp_delta * (double)c->num_clients < 1, FL_ERR_USAGE,
             "dp_delta = %g is not below 1 / num_clients, so it would allow to give away a client",
             c->dp_delta);
    FL_CHECK(c->dp_seed == 0 || c->dp_epsilon == 0, FL_ERR_USAGE,
             "dp_seed is for tests and has no epsilon, so the budget dp_epsilon cannot be kept");
    return FL_OK;
}

/* The mean must be all that leaves the clients, and all of them must count alike. */
static fl_status check_algorithm(const fl_fed_config *c, const fl_algorithm *a)
{
    const char *why = NULL;
    if (a->choose) why = "it chooses the clients itself";
    if (a->finish_client) why = "clients scale what they send by what they did";
    if (a->extra_sum) why = "clients send a second vector";
    if (a->client && !a->extra_sum) why = "clients keep a state from round to round";
    FL_CHECK(!why, FL_ERR_USAGE, "fed_alg = \"%s\" is not covered by dp: %s", c->fed_alg, why);
    return FL_OK;
}

/* A number that is set and does nothing would look like protection. */
static fl_status check_off(const fl_fed_config *c)
{
    FL_CHECK(c->dp_clip == 0 && c->dp_noise_multiplier == 0 && c->dp_epsilon == 0 &&
                 c->dp_seed == 0,
             FL_ERR_USAGE,
             "dp_clip, dp_noise_multiplier, dp_epsilon and dp_seed do nothing without dp = true");
    return FL_OK;
}

/* ---- the key -------------------------------------------------------------------------------- */

static fl_status make_key(fl_privacy *p)
{
    FL_CHECK(sodium_init() >= 0, FL_ERR_INTERNAL, "the operating system gives no random numbers");
    if (p->config->dp_seed == 0) {
        randombytes_buf(p->key, sizeof p->key);
        return FL_OK;
    }
    uint64_t seed = (uint64_t)p->config->dp_seed;
    for (size_t i = 0; i < sizeof seed; i++)
        p->key[i] = (unsigned char)(seed >> (8 * i));
    return FL_OK;
}

/* 64-byte blocks of a stream, from number `block` on. */
static void stream_blocks(const fl_privacy *p, int purpose, int64_t round, uint64_t block,
                          void *out, size_t bytes)
{
    unsigned char nonce[crypto_stream_chacha20_NONCEBYTES] = {(unsigned char)purpose};
    for (size_t i = 1; i < sizeof nonce; i++)
        nonce[i] = (unsigned char)((uint64_t)round >> (8 * (i - 1)));
    memset(out, 0, bytes);
    crypto_stream_chacha20_xor_ic(out, out, bytes, nonce, block, p->key);
}

/* In [0, 1), 53 bits. */
static double uniform(uint64_t word)
{
    return (double)(word >> 11) * 0x1p-53;
}

enum { WORDS_PER_BLOCK = 8, CHUNK = 512 }; /* words of 64 bits */

static void stream_words(const fl_privacy *p, int purpose, int64_t round, size_t first,
                         uint64_t words[CHUNK])
{
    FL_ASSERT(first % CHUNK == 0);
    stream_blocks(p, purpose, round, first / WORDS_PER_BLOCK, words, CHUNK * sizeof *words);
}

/* ---- creation ------------------------------------------------------------------------------- */

/* All N clients in one round, each with changes below FL_UPDATE_LIMIT, and the noise, which stays
 * below 8.6 deviations, fit 64 bits; and see the top of the file. */
static int choose_grid(const fl_privacy *p)
{
    static const double noise_limit = 8.6;
    double room = noise_limit * p->deviation / FL_UPDATE_LIMIT;
    int most = fl_update_grid((uint64_t)p->config->num_clients + 1 + (uint64_t)room);
    int wanted = 36 - (int)floor(log2(p->deviation));
    return wanted < most ? wanted : most;
}

fl_status fl_privacy_create(fl_privacy **out, const fl_fed_config *config,
                            const fl_algorithm *algorithm, bool keeper)
{
    *out = NULL;
    if (!config->dp) return check_off(config);
    FL_TRY(check_numbers(config));
    FL_TRY(check_algorithm(config, algorithm));
    fl_privacy *p;
    FL_TRY(fl_alloc(&p, 1, sizeof *p));
    p->config = config;
    p->q = (double)fl_participation_count(config) / (double)config->num_clients;
    p->deviation = config->dp_noise_multiplier * config->dp_clip;
    p->grid = choose_grid(p);
    if (fl_privacy_is_accounted(p))
        fl_rdp_init(&p->rdp, p->q, config->dp_noise_multiplier, config->dp_delta);
    fl_status status = keeper ? make_key(p) : FL_OK;
    if (status != FL_OK) {
        fl_privacy_destroy(p);
        return status;
    }
    *out = p;
    return FL_OK;
}

void fl_privacy_destroy(fl_privacy *p)
{
    if (!p) return;
    sodium_memzero(p->key, sizeof p->key);
    fl_free(p);
}

/* ---- the round ------------------------------------------------------------------------------ */

/* Chernoff: P(more than K + t) <= exp(-t^2 / (2 (K + t / 3))) = e^-42 with this t. */
int64_t fl_privacy_most_clients(const fl_fed_config *config)
{
    static const double log_chance = 42;
    double mean = (double)fl_participation_count(config);
    double t = log_chance / 3 + sqrt(log_chance * log_chance / 9 + 2 * log_chance * mean);
    int64_t most = (int64_t)ceil(mean + t);
    return most < config->num_clients ? most : config->num_clients;
}

fl_status fl_privacy_choose(const fl_privacy *p, int64_t round, uint32_t *clients, int64_t *count)
{
    int64_t most = fl_privacy_most_clients(p->config);
    size_t all = (size_t)p->config->num_clients;
    uint64_t words[CHUNK];
    *count = 0;
    for (size_t k = 0; k < all; k++) {
        if (k % CHUNK == 0) stream_words(p, CHOICE, round, k, words);
        if (uniform(words[k % CHUNK]) >= p->q) continue;
        FL_CHECK(*count < most, FL_ERR_INTERNAL, "round %lld drew more than %lld clients",
                 (long long)round + 1, (long long)most);
        clients[(*count)++] = (uint32_t)k;
    }
    return FL_OK;
}

int fl_privacy_grid(const fl_privacy *p)
{
    return p->grid;
}

double fl_privacy_clip(const fl_privacy *p, const float *w, const float *y, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double change = (double)y[i] - (double)w[i];
        squares += change * change;
    }
    /* each element is rounded by half a step; the norm itself by far less than 1e-9 */
    double rounding = sqrt((double)count) * ldexp(0.5, -p->grid);
    double bound = p->config->dp_clip * (1 - 1e-9) - rounding, norm = sqrt(squares);
    FL_ASSERT(bound > 0);
    return norm > bound ? bound / norm : 1.0;
}

void fl_privacy_add_noise(const fl_privacy *p, int64_t round, int64_t *sum, size_t count)
{
    static const double two_pi = 6.2831853071795864769;
    double scale = ldexp(p->deviation, p->grid);
    uint64_t words[CHUNK];
    for (size_t i = 0; i < count; i += 2) {
        if (i % CHUNK == 0) stream_words(p, NOISE, round, i, words);
        double radius = scale * sqrt(-2 * log(1 - uniform(words[i % CHUNK])));
        double angle = two_pi * uniform(words[i % CHUNK + 1]);
        sum[i] += (int64_t)llrint(radius * cos(angle));
        if (i + 1 < count) sum[i + 1] += (int64_t)llrint(radius * sin(angle));
    }
    sodium_memzero(words, sizeof words);
}

/* ---- what it costs -------------------------------------------------------------------------- */

bool fl_privacy_is_accounted(const fl_privacy *p)
{
    return p && p->config->dp_seed == 0;
}

double fl_privacy_epsilon(const fl_privacy *p, int64_t rounds)
{
    FL_ASSERT(fl_privacy_is_accounted(p));
    return fl_rdp_epsilon(&p->rdp, rounds);
}

int64_t fl_privacy_allowed(const fl_privacy *p)
{
    const fl_fed_config *c = p->config;
    if (c->dp_epsilon == 0) return c->num_rounds;
    return fl_rdp_rounds_within(&p->rdp, c->dp_epsilon, c->num_rounds);
}
