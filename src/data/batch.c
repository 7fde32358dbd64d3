#include "data/batch.h"

#include <string.h>

fl_status fl_batch_init(fl_batch *batch, int64_t max_sequences, int64_t max_tokens)
{
    FL_CHECK(max_sequences > 0 && max_tokens > 0 && max_sequences < INT32_MAX &&
                 max_tokens <= INT32_MAX,
             FL_ERR_USAGE, "a batch of %lld sequences and %lld tokens is not possible",
             (long long)max_sequences, (long long)max_tokens);
    fl_batch made = {.max_sequences = max_sequences, .max_tokens = max_tokens};
    const size_t tokens = (size_t)max_tokens;
    fl_status status;
    FL_TRY_GOTO(fl_arena_create(&made.arena), out);
    FL_TRY_GOTO(fl_arena_alloc(made.arena, &made.ids, tokens, sizeof *made.ids), out);
    FL_TRY_GOTO(fl_arena_alloc(made.arena, &made.pos, tokens, sizeof *made.pos), out);
    FL_TRY_GOTO(fl_arena_alloc(made.arena, &made.cu, (size_t)max_sequences + 1, sizeof *made.cu),
                out);
    FL_TRY_GOTO(
        fl_arena_alloc(made.arena, &made.prefix, (size_t)max_sequences, sizeof *made.prefix), out);
    FL_TRY_GOTO(fl_arena_alloc(made.arena, &made.loss_rows, tokens, sizeof *made.loss_rows), out);
    FL_TRY_GOTO(fl_arena_alloc(made.arena, &made.targets, tokens, sizeof *made.targets), out);
    FL_TRY_GOTO(fl_arena_alloc(made.arena, &made.weights, tokens, sizeof *made.weights), out);
    *batch = made;
    return FL_OK;
out:
    fl_arena_destroy(made.arena);
    return status;
}

void fl_batch_fini(fl_batch *batch)
{
    fl_arena_destroy(batch->arena);
    *batch = (fl_batch){0};
}

/* Adds one example behind what is there; there is room for it.  The shift by one is here and
 * nowhere else: row t of the batch predicts the label of the token after it. */
static void add_sequence(fl_batch *batch, const fl_examples *examples, size_t index)
{
    const size_t first = examples->offset[index];
    const int64_t length = fl_example_length(examples, index);
    const int32_t *labels = examples->labels + first;
    memcpy(batch->ids + batch->T, examples->ids + first, (size_t)length * sizeof *batch->ids);
    for (int64_t t = 0; t < length; t++)
        batch->pos[batch->T + t] = (int32_t)t;
    for (int64_t t = 0; t + 1 < length; t++) {
        if (labels[t + 1] == FL_LABEL_IGNORE) continue;
        batch->loss_rows[batch->N] = (int32_t)(batch->T + t);
        batch->targets[batch->N++] = labels[t + 1];
    }
    batch->T += length;
    batch->cu[++batch->S] = (int32_t)batch->T;
}

void fl_batch_clear(fl_batch *batch)
{
    batch->S = batch->T = batch->N = 0;
    batch->cu[0] = 0;
    batch->has_prefixes = false;
}

void fl_batch_cut(fl_batch *batch, const fl_batch_end *end)
{
    batch->S = end->S;
    batch->T = end->T;
    batch->N = end->N;
}

static size_t room(const fl_batch *batch)
{
    return (size_t)(batch->max_sequences - batch->S);
}

fl_status fl_batch_add(fl_batch *batch, const fl_examples *examples, const uint32_t *indices,
                       size_t count)
{
    const int64_t begin = batch->N;
    FL_CHECK(count <= room(batch), FL_ERR_INTERNAL, "%zu sequences do not fit into a batch of %lld",
             count, (long long)batch->max_sequences);
    for (size_t i = 0; i < count; i++) {
        FL_ASSERT(indices[i] < examples->count);
        FL_CHECK(fl_example_length(examples, indices[i]) <= batch->max_tokens - batch->T,
                 FL_ERR_INTERNAL, "example %u does not fit into a batch of %lld tokens",
                 (unsigned)indices[i], (long long)batch->max_tokens);
        add_sequence(batch, examples, indices[i]);
    }
    // The mean over the unmasked tokens of the micro-batch, as Transformers computes it.
    for (int64_t i = begin; i < batch->N; i++)
        batch->weights[i] = 1.0f / (float)(batch->N - begin);
    return FL_OK;
}

static void add_tokens(fl_batch *batch, const fl_pairs *pairs, size_t first, int64_t length)
{
    memcpy(batch->ids + batch->T, pairs->ids + first, (size_t)length * sizeof *batch->ids);
    memcpy(batch->pos + batch->T, pairs->pos + first, (size_t)length * sizeof *batch->pos);
    batch->T += length;
}

static void end_sequence(fl_batch *batch, int64_t prefix)
{
    batch->prefix[batch->S] = (int32_t)prefix;
    batch->cu[++batch->S] = (int32_t)batch->T;
}

/* The prompt's tokens from `first` on, of which the last one predicts the answer's first, and the
 * answer without its last token. */
static void add_answer(fl_batch *batch, const fl_pairs *pairs, size_t index, int part,
                       int64_t first, int64_t prefix)
{
    const int64_t prompt = fl_pair_length(pairs, index, FL_PART_PROMPT);
    const int64_t length = fl_pair_length(pairs, index, part);
    const size_t answer = fl_pair_begin(pairs, index, part);
    add_tokens(batch, pairs, fl_pair_begin(pairs, index, FL_PART_PROMPT) + (size_t)first,
               prompt - first);
    for (int64_t t = 0; t < length; t++) {
        batch->loss_rows[batch->N] = (int32_t)(batch->T - 1 + t);
        batch->targets[batch->N++] = pairs->ids[answer + (size_t)t];
    }
    add_tokens(batch, pairs, answer, length - 1);
    end_sequence(batch, prefix);
}

static void add_pair(fl_batch *batch, const fl_pairs *pairs, size_t index, bool share)
{
    int64_t first = 0, prefix = -1;
    if (share) {
        first = fl_pair_length(pairs, index, FL_PART_PROMPT) - 1;
        prefix = batch->S;
        add_tokens(batch, pairs, fl_pair_begin(pairs, index, FL_PART_PROMPT), first);
        end_sequence(batch, -1);
    }
    add_answer(batch, pairs, index, FL_PART_CHOSEN, first, prefix);
    add_answer(batch, pairs, index, FL_PART_REJECTED, first, prefix);
}

fl_status fl_batch_add_pairs(fl_batch *batch, const fl_pairs *pairs, const uint32_t *indices,
                             size_t count, bool share)
{
    const size_t sequences = share ? 3 : 2;
    FL_ASSERT(batch->S == 0 || batch->has_prefixes == share);
    batch->has_prefixes = share;
    FL_CHECK(sequences * count <= room(batch), FL_ERR_INTERNAL,
             "%zu pairs do not fit into a batch of %lld sequences", count,
             (long long)batch->max_sequences);
    for (size_t i = 0; i < count; i++) {
        FL_ASSERT(indices[i] < pairs->count);
        FL_CHECK(fl_pair_tokens(pairs, indices[i], share) <= batch->max_tokens - batch->T,
                 FL_ERR_INTERNAL, "pair %u does not fit into a batch of %lld tokens",
                 (unsigned)indices[i], (long long)batch->max_tokens);
        add_pair(batch, pairs, indices[i], share);
    }
    return FL_OK;
}
