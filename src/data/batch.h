/* Stage 5: a micro-batch as the decoder takes it: sequences packed without padding.
 *
 * Made once for a run, filled again and again, which does not allocate.  It may hold the
 * micro-batches of several clients one behind the other.
 *
 * Use: fl_batch_init(&batch, max_sequences, max_tokens), then per batch fl_batch_clear and
 * fl_batch_add for each micro-batch, fl_batch_fini.
 */
#ifndef FL_DATA_BATCH_H
#define FL_DATA_BATCH_H

#include "data/example.h"
#include "data/pairs.h"

typedef struct fl_batch {
    int32_t *ids;       /* [T] */
    int32_t *pos;       /* [T] 0, 1, ... in every sequence */
    int32_t *cu;        /* [S + 1] sequence s is the tokens [cu[s], cu[s + 1]) */
    int32_t *prefix;    /* [S] the sequence in front that this one continues, -1: none */
    bool has_prefixes;  /* false: prefix is not set, no sequence continues another */
    int64_t S, T;       /* sequences, tokens */
    int32_t *loss_rows; /* [N] packed token whose next token is to be predicted; ascending */
    int32_t *targets;   /* [N] that next token */
    float *weights;     /* [N] 1 / (targets of its micro-batch): the loss is the mean over these */
    int64_t N;          /* may be 0: no token counts, the caller skips the batch */
    int64_t max_sequences, max_tokens;
    fl_arena *arena; /* owns the arrays */
} fl_batch;

/* Errors: FL_ERR_MEMORY, FL_ERR_USAGE (no room at all, or more than 2^31 - 1 tokens). */
fl_status fl_batch_init(fl_batch *batch, int64_t max_sequences, int64_t max_tokens);
void fl_batch_fini(fl_batch *batch); /* accepts a zeroed struct */

/* Nothing is in it any longer. */
void fl_batch_clear(fl_batch *batch);

/* Adds the examples indices[0 .. count) as one micro-batch.  Each index must be below
 * examples->count; the same one may come twice.  Errors: FL_ERR_INTERNAL when they do not fit into
 * max_sequences and max_tokens, content then undefined. */
fl_status fl_batch_add(fl_batch *batch, const fl_examples *examples, const uint32_t *indices,
                       size_t count);

/* The same for pairs: of every pair the sequence prompt + chosen and then prompt + rejected, each
 * without its last token, which predicts nothing.  share: the prompt without its last token is a
 * sequence of its own, which both continue (fl_attn_shape.prefix); alike in all of a batch.  All
 * tokens of the answers are targets, first of chosen, then of rejected; the weights are the
 * caller's to set. */
fl_status fl_batch_add_pairs(fl_batch *batch, const fl_pairs *pairs, const uint32_t *indices,
                             size_t count, bool share);

/* A place between two micro-batches. */
typedef struct fl_batch_end {
    int64_t S, T, N;
} fl_batch_end;

static inline fl_batch_end fl_batch_here(const fl_batch *batch)
{
    return (fl_batch_end){.S = batch->S, .T = batch->T, .N = batch->N};
}

/* Takes everything behind it out again. */
void fl_batch_cut(fl_batch *batch, const fl_batch_end *end);

#endif
