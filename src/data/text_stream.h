/* Token ids that come one by one, as text that may be shown at once.
 *
 * Shown text is never taken back: a character whose bytes are not all there yet waits, and so does
 * whatever may be the beginning of a stop string.  The text is that of the tokens in their context,
 * so that prompt and answer put together are the text of all ids.
 *
 * Use: `fl_text_stream stream = {0};`, fl_text_stream_start per answer, fl_text_stream_add per
 * token, fl_text_stream_finish, and fl_text_stream_fini in the end.
 */
#ifndef FL_DATA_TEXT_STREAM_H
#define FL_DATA_TEXT_STREAM_H

#include "data/tokenizer.h"

typedef struct fl_text_stream {
    const char *const *stops; /* [num_stops] texts that end an answer; none is empty */
    size_t num_stops;
    fl_buf text;      /* what is known of the answer; after a stop, what stands before it */
    size_t safe;      /* bytes of it that may be shown */
    bool is_stopped;  /* a stop string came */
    bool drops_space; /* see fl_text_stream_start; false once there is text */
    fl_decode_stream *decoder;
    fl_buf context; /* text of what stands before the answer, of no use */
} fl_text_stream;

/* Begins an answer after context[n].  The tokenizer is borrowed and the same for all answers.
 * drops_space: one space at the very start is left out, which a template's last word has no need
 * of ("ASSISTANT:" and then " Hello").  Errors: those of fl_decode_stream_create. */
fl_status fl_text_stream_start(fl_text_stream *stream, const fl_tokenizer *tokenizer,
                               const int32_t *context, size_t n, bool drops_space);

/* The next token.  Afterwards text.data[0 .. safe) may be shown and is_stopped tells whether the
 * answer ends here.  Special tokens give no text.  Errors: FL_ERR_MEMORY. */
fl_status fl_text_stream_add(fl_text_stream *stream, int32_t id);

/* No more tokens: everything may be shown.  Errors: FL_ERR_MEMORY. */
fl_status fl_text_stream_finish(fl_text_stream *stream);
void fl_text_stream_fini(fl_text_stream *stream);

#endif
