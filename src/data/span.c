#include "data/span.h"

/* Neither the tokens nor the spans step back, so one walk over both does. */
size_t fl_spans_mask(int32_t *labels, int32_t ignored, const fl_tokens *tokens, size_t count,
                     const fl_span *spans, size_t num_spans)
{
    size_t at = 0, left = 0;
    for (size_t i = 0; i < count; i++) {
        while (at < num_spans &&
               (spans[at].begin == spans[at].end || (int64_t)spans[at].end <= tokens->begin[i]))
            at++;
        const bool covers = at < num_spans && tokens->begin[i] < tokens->end[i] &&
                            tokens->end[i] > (int64_t)spans[at].begin;
        if (!covers) labels[i] = ignored;
        left += covers;
    }
    return left;
}
