/* Stage 4: token sequences with labels, ready to be packed.
 *
 * All sequences of a data set lie one behind the other.  A label is the token's own id where the
 * token counts in the loss as something to predict, FL_LABEL_IGNORE where it does not; the shift by
 * one happens in batch.c.  Examples are constant after they are made.
 */
#ifndef FL_DATA_EXAMPLE_H
#define FL_DATA_EXAMPLE_H

#include "data/dataset.h"
#include "data/text_format.h"

enum { FL_LABEL_IGNORE = -100 };

typedef struct fl_examples {
    int32_t *ids;    /* [num_tokens] */
    int32_t *labels; /* [num_tokens] */
    size_t *offset;  /* [count + 1]; example i is [offset[i], offset[i + 1]) */
    size_t count;
    size_t num_tokens;
    size_t num_targets;  /* labels that a preceding token has to predict */
    size_t num_unmarked; /* examples that count nowhere, since their answers were cut off */
    int64_t max_length;  /* tokens of the longest example */
    size_t token_capacity, offset_capacity;
} fl_examples;

/* One example per record, in order; *out is owned by the caller.
 *
 * Ids: with the tokenizer's special tokens, cut on the right at seq_length.  Labels: tokens equal
 * to the pad id (the unk id where there is no pad token) are ignored, but never the eos id.  An
 * example that counts nowhere since seq_length cut off its answers is counted in num_unmarked; the
 * caller warns.
 *
 * Conversations: the loss counts the tokens that cover bytes of the spans of
 * fl_conversation_render.  A record of instruction and response without an SFT template is the
 * conversation of these two turns.
 *
 * SFT templates: the template with instruction, response and the eos token.  Everything up to and
 * with the last response key is ignored.  The response key is looked for as the reference system
 * does, as token ids: those of the key alone without the pieces that cover its first character
 * (which depend on what stands before it). Where a tokenizer has no such boundary piece in front,
 * it is looked for in the text, and a token that straddles its end belongs to the response.
 *
 * Errors: FL_ERR_MEMORY, FL_ERR_INPUT, FL_ERR_UNSUPPORTED (the tokenizer has no eos token, pairs of
 * answers), with the number of the record, from 1, where one is at fault. */
fl_status fl_examples_build(fl_examples **out, const fl_dataset *dataset,
                            const fl_tokenizer *tokenizer, const fl_text_format *format,
                            int64_t seq_length);

/* Copies `count` sequences: lengths[count], ids and labels one behind the other. */
fl_status fl_examples_from_ids(fl_examples **out, const int32_t *ids, const int32_t *labels,
                               const int64_t *lengths, size_t count);

void fl_examples_destroy(fl_examples *examples); /* accepts NULL */

static inline int64_t fl_example_length(const fl_examples *examples, size_t i)
{
    return (int64_t)(examples->offset[i + 1] - examples->offset[i]);
}

#endif
