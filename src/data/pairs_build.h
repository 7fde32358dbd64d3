/* Stage 4 for preferences, from records. */
#ifndef FL_DATA_PAIRS_BUILD_H
#define FL_DATA_PAIRS_BUILD_H

#include "data/conversation.h"
#include "data/dataset.h"
#include "data/pairs.h"
#include "data/tokenizer.h"

/* One pair per record, in order; *out is owned by the caller.  bos and eos of the rules are not
 * read: they are the tokenizer's.
 *
 * compat: prompt = the rendered conversation, open for the answer; prompt and answers are
 * tokenised one by one, without special tokens; eos behind each answer.
 * Otherwise: the conversation with each answer in it is tokenised as one text, with the tokenizer's
 * special tokens, up to and with what ends the answer, and eos where that is not its end.  The
 * prompt is what both have in common up to where the answers begin.
 *
 * Errors: FL_ERR_USAGE (records of another form, limits), FL_ERR_INPUT (named by record, counted
 * from 1), FL_ERR_UNSUPPORTED (no eos token), FL_ERR_MEMORY. */
fl_status fl_pairs_build(fl_pairs **out, const fl_dataset *dataset, const fl_tokenizer *tokenizer,
                         const fl_conversation *format, const fl_pair_rules *rules);

#endif
