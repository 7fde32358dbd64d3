/* Who trains in a round, and on which of its records. */
#ifndef FL_FED_PARTICIPATION_H
#define FL_FED_PARTICIPATION_H

#include "fed/fed_config.h"

/* K = min(sample_clients, num_clients) distinct clients, ascending, a function of (seed, round)
 * alone.  Python's random.seed(integer) and random.sample(range(N), K) with
 *   paper:      integer = seed * 2^32 + round
 *   openfedllm: integer = round (the reference: every seed of an experiment has the same clients).
 * When K = N it is all of them.  round counts from 0.  clients [K].  Errors: FL_ERR_MEMORY. */
fl_status fl_participation_choose(const fl_fed_config *config, uint64_t seed, int64_t round,
                                  uint32_t *clients);
int64_t fl_participation_count(const fl_fed_config *config); /* K */

/* The client's records of a round: out[want] distinct positions in [0, size), in the order drawn,
 * from random.sample(range(size), want) after random.seed(integer) with
 *   paper:      integer = (seed * 2^32 + round) * 2^32 + client
 *   openfedllm: integer = round (equal clients of the reference draw equal positions). */
fl_status fl_participation_records(const fl_fed_config *config, uint64_t seed, int64_t round,
                                   uint32_t client, uint32_t size, uint32_t want, uint32_t *out);

#endif
