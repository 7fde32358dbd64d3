/* Client-level differential privacy: DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963) with a fixed
 * denominator.
 *
 *     sum over the round's clients of clip(y_k - w, C), plus N(0, (z C)^2) in every element,
 *     divided by q N = sample_clients;   every client takes part with probability q = K / N
 *
 * What the algorithm makes of that mean is post-processing.  A round may be empty; it is noised
 * like any other.  docs/privacy.md says what is promised and what is not.
 *
 * Randomness is ChaCha20 under one key for each start of the program, from the operating system,
 * which is never stored; with dp_seed it is derived from that number, for tests, and then nothing
 * is accounted.  Only the rank that keeps the key (rank 0) chooses clients and adds noise.
 */
#ifndef FL_FED_PRIVACY_H
#define FL_FED_PRIVACY_H

#include "fed/algorithm.h"

typedef struct fl_privacy fl_privacy;

/* *out = NULL when dp is false.  config is borrowed.  keeper: this rank draws the key.
 * Errors: FL_ERR_USAGE for settings that the accountant does not cover, each by name;
 * FL_ERR_MEMORY.
 */
fl_status fl_privacy_create(fl_privacy **out, const fl_fed_config *config,
                            const fl_algorithm *algorithm, bool keeper);
void fl_privacy_destroy(fl_privacy *privacy); /* wipes the key; accepts NULL */

/* Room for the clients of any round: more turn up with a probability below 1e-18. */
int64_t fl_privacy_most_clients(const fl_fed_config *config);

/* The clients of round t (from 0), ascending; *count of them, 0 to fl_privacy_most_clients.
 * Errors: FL_ERR_INTERNAL when there is no room. */
fl_status fl_privacy_choose(const fl_privacy *privacy, int64_t round, uint32_t *clients,
                            int64_t *count);

/* The grid of the sums (fed/update.h): the same in every round, fine against the noise, and with
 * room for it. */
int fl_privacy_grid(const fl_privacy *privacy);

/* The factor in (0, 1] that brings the change from w to y [count], over all of it, to a norm of at
 * most C, what the grid rounds included. */
double fl_privacy_clip(const fl_privacy *privacy, const float *w, const float *y, size_t count);

/* Adds the noise of round t to sum [count], on the grid.  Keeper only. */
void fl_privacy_add_noise(const fl_privacy *privacy, int64_t round, int64_t *sum, size_t count);

/* Is an epsilon told, and everything kept back that it does not cover? */
bool fl_privacy_is_accounted(const fl_privacy *privacy); /* NULL: no */
/* Of that many rounds; accounted only. */
double fl_privacy_epsilon(const fl_privacy *privacy, int64_t rounds);
/* Rounds that dp_epsilon allows, up to num_rounds; num_rounds when there is no budget. */
int64_t fl_privacy_allowed(const fl_privacy *privacy);

#endif
