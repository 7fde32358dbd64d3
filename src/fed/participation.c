#include "fed/participation.h"

#include "base/rng.h"

#include <stdlib.h>

int64_t fl_participation_count(const fl_fed_config *config)
{
    return config->sample_clients < config->num_clients ? config->sample_clients
                                                        : config->num_clients;
}

/* seed takes two words, so that integers of different lengths never meet. */
static void seed_for(fl_pyrandom *rng, const fl_fed_config *config, uint64_t seed, int64_t round,
                     const uint32_t *client)
{
    uint32_t words[4];
    size_t count = 0;
    bool reference = fl_fed_is_reference(config);
    if (client && !reference) words[count++] = *client;
    words[count++] = (uint32_t)round;
    if (!reference) {
        words[count++] = (uint32_t)seed;
        words[count++] = (uint32_t)(seed >> 32);
    }
    fl_pyrandom_seed(rng, words, count);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

fl_status fl_participation_choose(const fl_fed_config *config, uint64_t seed, int64_t round,
                                  uint32_t *clients)
{
    uint32_t N = (uint32_t)config->num_clients, K = (uint32_t)fl_participation_count(config);
    fl_pyrandom rng;
    seed_for(&rng, config, seed, round, NULL);
    FL_TRY(fl_pyrandom_sample(&rng, N, K, clients));
    qsort(clients, K, sizeof *clients, compare);
    return FL_OK;
}

fl_status fl_participation_records(const fl_fed_config *config, uint64_t seed, int64_t round,
                                   uint32_t client, uint32_t size, uint32_t want, uint32_t *out)
{
    fl_pyrandom rng;
    seed_for(&rng, config, seed, round, &client);
    return fl_pyrandom_sample(&rng, size, want, out);
}
