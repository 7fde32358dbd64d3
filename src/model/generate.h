/* Generation with a key/value cache: several sequences of different lengths, token by token.
 *
 * The generator keeps sequences 0 .. count-1.  A caller chooses the next token of each (greedily
 * with fl_generator_greedy, or from fl_generator_logits, see sampling.h), hands all of them to
 * fl_generator_step, and drops a sequence when it is finished, so that no work is spent on it.
 * What comes out for a sequence does not depend on the others.
 *
 *     FL_TRY(fl_generator_add(g, &prompts));
 *     while (fl_generator_count(g) > 0) {
 *         ... next[s] for every sequence, from the last one down: fl_generator_drop(g, s) when
 *             it ends ...
 *         FL_TRY(fl_generator_step(g, next));
 *     }
 */
#ifndef FL_MODEL_GENERATE_H
#define FL_MODEL_GENERATE_H

#include "model/decoder.h"

typedef struct fl_generator fl_generator;

/* decoder: borrowed; its workspace is used, so no loss may be in progress.  max_sequences at a time
 * (at most the decoder's, and at most 256), each up to `capacity` tokens with its answer; the
 * decoder's max_tokens only limits how much goes through the model at once.
 * Errors: FL_ERR_MEMORY. */
fl_status fl_generator_create(fl_generator **out, fl_decoder *decoder, int64_t max_sequences,
                              int64_t capacity);
void fl_generator_destroy(fl_generator *generator); /* accepts NULL */

/* Bytes of backend memory that the cache would take. */
size_t fl_generator_plan_bytes(const fl_model_config *config, const fl_backend_ops *ops,
                               int64_t max_sequences, int64_t capacity);

/* From now on fl_generator_logits may be asked.  Errors: FL_ERR_MEMORY. */
fl_status fl_generator_keep_logits(fl_generator *generator);

void fl_generator_reset(fl_generator *generator); /* no sequences any more */
int64_t fl_generator_count(const fl_generator *generator);
/* Tokens of sequence s that went through the model. */
int64_t fl_generator_length(const fl_generator *generator, int64_t s);

/* Adds the prompts, at least one token each, as sequences count, count + 1, ...  A prompt may be
 * longer than the decoder's max_tokens: it then goes through the model in pieces.
 * Errors: FL_ERR_INTERNAL when there is no room for them; those of the decoder. */
fl_status fl_generator_add(fl_generator *generator, const fl_tokens_view *prompts);

/* Appends next[s] to every sequence s.  Errors: FL_ERR_INTERNAL when one of them is full. */
fl_status fl_generator_step(fl_generator *generator, const int32_t *next);

/* Appends n >= 1 tokens to one sequence (the next turn of a conversation). */
fl_status fl_generator_extend(fl_generator *generator, int64_t s, const int32_t *ids, int64_t n);

/* Forgets the tokens of sequence s from position `length` on; what follows must be an extend. */
void fl_generator_rewind(fl_generator *generator, int64_t s, int64_t length);

/* Ends sequence s; the last sequence takes its number. */
void fl_generator_drop(fl_generator *generator, int64_t s);

/* The most likely token after sequence s; the smallest id of equally likely ones. */
int32_t fl_generator_greedy(const fl_generator *generator, int64_t s);
/* [V] host memory, valid until the next call that changes the generator. */
const float *fl_generator_logits(const fl_generator *generator, int64_t s);

/* All of the above for the simplest wish: continues each prompt of the packed batch by the most
 * likely token until `eos` (not stored; eos < 0: never) or max_new tokens.  out [S, max_new],
 * counts [S]: host memory.  Every prompt has at least one token and prompt + max_new <= capacity
 * (FL_ERR_INTERNAL if not). */
fl_status fl_generate_greedy(fl_generator *generator, const fl_tokens_view *prompts,
                             int64_t max_new, int32_t eos, int32_t *out, int64_t *counts);

#endif
