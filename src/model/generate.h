/* Greedy generation with a key/value cache, several prompts at a time. */
#ifndef FL_MODEL_GENERATE_H
#define FL_MODEL_GENERATE_H

#include "model/decoder.h"

typedef struct fl_generator fl_generator;

/* decoder: borrowed; its workspace is used, so no loss may be in progress.  max_sequences prompts
 * at a time (at most the decoder's), each up to `capacity` tokens with its answer.
 * Errors: FL_ERR_MEMORY. */
fl_status fl_generator_create(fl_generator **out, fl_decoder *decoder, int64_t max_sequences,
                              int64_t capacity);
void fl_generator_destroy(fl_generator *generator); /* accepts NULL */

/* Continues each prompt of the packed batch by the most likely token until `eos` (not stored;
 * eos < 0: never) or max_new tokens.  out [S, max_new], counts [S]: host memory.
 * Every prompt has at least one token and prompt + max_new <= capacity (FL_ERR_INTERNAL if not). */
fl_status fl_generate_greedy(fl_generator *generator, const fl_tokens_view *prompts,
                             int64_t max_new, int32_t eos, int32_t *out, int64_t *counts);

#endif
