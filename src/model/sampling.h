/* The next token from a row of logits, with the semantics and the order of Hugging Face's
 * processors and warpers (transformers/generation/logits_process.py):
 *
 *   1. repetition penalty p (Keskar et al. 2019, arXiv 1909.05858, section 4.1) on every token that
 *      stands in the history: score / p where the score is positive, score * p where it is not
 *   2. temperature: score / temperature
 *   3. top-k: keeps the scores that are not below the k-th largest; equal ones all stay
 *   4. top-p: keeps the smallest set of most likely tokens whose probabilities, among those that
 *      top-k left, sum to at least p; at least one; of equally likely ones the smaller ids first
 *   5. a draw from the softmax of what is left, by inverse cumulative distribution over the ids in
 *      ascending order
 *
 * The draw is a function of (seed, sequence, position) and the row, so a sequence's text does not
 * depend on its neighbours in the batch.
 */
#ifndef FL_MODEL_SAMPLING_H
#define FL_MODEL_SAMPLING_H

#include "base/status.h"

#include <stdint.h>

typedef struct fl_sampling {
    double temperature;        /* 0: the most likely token, top_k and top_p are not used */
    int64_t top_k;             /* 0: all */
    double top_p;              /* in (0, 1]; 1: all */
    double repetition_penalty; /* positive; 1: none */
    uint64_t seed;
} fl_sampling;

/* Scratch for one vocabulary; one per thread. */
typedef struct fl_sampler fl_sampler;
fl_status fl_sampler_create(fl_sampler **out, int64_t vocab_size);
void fl_sampler_destroy(fl_sampler *sampler); /* accepts NULL */

/* probs[V] = what the next token is drawn from; with temperature 0 all on one token.
 * history[n]: prompt and answer so far.  Errors: FL_ERR_NUMERIC when a logit is NaN or none is
 * finite. */
fl_status fl_sampler_probabilities(fl_sampler *sampler, const fl_sampling *options,
                                   const float *logits, const int32_t *history, int64_t n,
                                   double *probs);

/* What a token is drawn for. */
typedef struct fl_draw {
    uint64_t sequence; /* number of the prompt among all prompts */
    uint64_t position; /* of the token in the answer */
} fl_draw;

/* *token = the next one.  Errors: as above. */
fl_status fl_sampler_next(fl_sampler *sampler, const fl_sampling *options, const float *logits,
                          const int32_t *history, int64_t n, fl_draw draw, int32_t *token);

#endif
