/* Parts of a text, and the tokens that cover them. */
#ifndef FL_DATA_SPAN_H
#define FL_DATA_SPAN_H

#include "data/tokenizer.h"
#include "data/turn.h"

/* labels[i] = `ignored` where token i covers no byte of a span, for the first `count` tokens; the
 * other labels stay, and their number is returned.  A token that only begins or ends inside a span
 * counts, one that covers nothing (bos put in front of a text) does not.  spans: ascending, of the
 * text that was encoded; empty ones cover nothing.
 *
 * Which bytes a token covers is exact for all kinds of tokenizers; where a normaliser makes one
 * character of several, the token covers all of them (fl_tokens in data/tokenizer.h). */
size_t fl_spans_mask(int32_t *labels, int32_t ignored, const fl_tokens *tokens, size_t count,
                     const fl_span *spans, size_t num_spans);

#endif
