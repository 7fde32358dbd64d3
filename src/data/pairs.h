/* Stage 4 for preferences: a prompt and two answers to it as token ids.
 *
 * All parts of a data set lie one behind the other: prompt, chosen, rejected of pair 0, prompt of
 * pair 1 ...  Both answers continue the prompt's positions and are counted whole in the loss.
 * Pairs are constant after they are made.
 *
 * Use: fl_pairs_build, or fl_pairs_create and fl_pairs_add from ids; fl_pairs_destroy.
 */
#ifndef FL_DATA_PAIRS_H
#define FL_DATA_PAIRS_H

#include "base/mem.h"
#include "base/status.h"

#include <stdint.h>

enum { FL_PART_PROMPT, FL_PART_CHOSEN, FL_PART_REJECTED, FL_NUM_PARTS };

typedef struct fl_pairs {
    int32_t *ids;   /* [num_tokens] */
    int32_t *pos;   /* [num_tokens] position in its sequence prompt + answer; a hidden token of
                       the prompt leaves a gap */
    size_t *offset; /* [3 count + 1]; part p of pair i is [offset[3i + p], offset[3i + p + 1]) */
    size_t count;
    size_t num_tokens;
    size_t num_targets;    /* tokens of the answers */
    size_t num_cut;        /* pairs that lost tokens to the limits */
    size_t num_alike;      /* pairs whose answers are the same ids: they teach nothing */
    int64_t max_length;    /* positions of the longest sequence */
    int64_t max_tokens[2]; /* of the longest pair in a packed batch: without, with shared prompts */
    size_t token_capacity, offset_capacity;
} fl_pairs;

/* How long a pair may be, and what becomes of the rest.
 *
 * compat: as TRL 0.7.2.  When prompt + longer answer exceed max_length tokens, the prompt becomes
 * its last max_prompt_length; if they still do, each answer its first max_length -
 * max_prompt_length.  A token of the prompt that is eos is seen by nobody: it is left out, and its
 * position stays empty.  (As the prompt's last token, and in an answer, it stays.)
 * Otherwise: the prompt loses from its front what is too much, but keeps at least
 * max_prompt_length tokens, the bos in front among them; then the answers lose their ends. */
typedef struct fl_pair_rules {
    bool compat;
    int64_t max_length, max_prompt_length;
    int32_t bos, eos; /* -1: none */
} fl_pair_rules;

/* Ids before truncation; answers with their closing eos. */
typedef struct fl_pair_ids {
    const int32_t *ids[FL_NUM_PARTS];
    size_t count[FL_NUM_PARTS];
} fl_pair_ids;

/* An empty set, owned by the caller.  Errors: FL_ERR_MEMORY. */
fl_status fl_pairs_create(fl_pairs **out);
/* Adds a copy.  Errors: FL_ERR_INPUT when prompt or an answer has no token, FL_ERR_USAGE for limits
 * that leave an answer none, FL_ERR_MEMORY. */
fl_status fl_pairs_add(fl_pairs *pairs, const fl_pair_rules *rules, const fl_pair_ids *pair);
void fl_pairs_destroy(fl_pairs *pairs); /* accepts NULL */

static inline size_t fl_pair_begin(const fl_pairs *pairs, size_t i, int part)
{
    return pairs->offset[FL_NUM_PARTS * i + (size_t)part];
}

static inline int64_t fl_pair_length(const fl_pairs *pairs, size_t i, int part)
{
    return (int64_t)(fl_pair_begin(pairs, i, part + 1) - fl_pair_begin(pairs, i, part));
}

/* Tokens of pair i in a packed batch: the last token of an answer predicts nothing and is left out,
 * and the prompt, without its last token, is there twice or shared. */
int64_t fl_pair_tokens(const fl_pairs *pairs, size_t i, bool shared);

#endif
