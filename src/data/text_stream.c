/* The characters come from fl_decode_stream; what is held back for stop strings is decided here. */
#include "data/text_stream.h"

#include <string.h>

/* Whatever an answer before has left in the decoder goes. */
static fl_status start_decoder(fl_text_stream *s, const fl_tokenizer *tokenizer)
{
    if (!s->decoder) return fl_decode_stream_create(&s->decoder, tokenizer, true);
    return fl_decode_stream_finish(s->decoder, &s->context);
}

fl_status fl_text_stream_start(fl_text_stream *s, const fl_tokenizer *tokenizer,
                               const int32_t *context, size_t n, bool drops_space)
{
    s->drops_space = drops_space;
    s->is_stopped = false;
    s->safe = 0;
    fl_buf_clear(&s->text);
    FL_TRY(start_decoder(s, tokenizer));
    for (size_t i = 0; i < n; i++) {
        fl_buf_clear(&s->context);
        FL_TRY(fl_decode_stream_add(s->decoder, context[i], &s->context));
    }
    return FL_OK;
}

/* Cuts the text at the first stop string that begins at or behind `from`.  Stop strings and what is
 * new are short, so the plain search does.  The text may hold zero bytes. */
static void find_stop(fl_text_stream *s, size_t from)
{
    for (size_t at = from; at < s->text.length; at++)
        for (size_t i = 0; i < s->num_stops; i++) {
            size_t length = strlen(s->stops[i]);
            if (length > s->text.length - at || memcmp(s->text.data + at, s->stops[i], length) != 0)
                continue;
            s->is_stopped = true;
            s->text.length = at;
            s->text.data[at] = 0;
            return;
        }
}

/* Bytes at the end of the text that a stop string may begin with. */
static size_t held_bytes(const fl_text_stream *s)
{
    size_t held = 0;
    for (size_t i = 0; i < s->num_stops; i++) {
        size_t length = strlen(s->stops[i]) - 1;
        if (length > s->text.length) length = s->text.length;
        for (; length > held; length--)
            if (memcmp(s->text.data + s->text.length - length, s->stops[i], length) == 0)
                held = length;
    }
    return held;
}

/* Looks at what is new in the text. */
static void take_new(fl_text_stream *s)
{
    if (s->drops_space && s->text.length > 0) {
        s->drops_space = false;
        if (s->text.data[0] == ' ') memmove(s->text.data, s->text.data + 1, s->text.length--);
    }
    find_stop(s, s->safe); /* nothing shown is part of a stop string */
}

fl_status fl_text_stream_add(fl_text_stream *s, int32_t id)
{
    FL_TRY(fl_decode_stream_add(s->decoder, id, &s->text));
    take_new(s);
    size_t safe = s->text.length - (s->is_stopped ? 0 : held_bytes(s));
    if (safe > s->safe) s->safe = safe;
    return FL_OK;
}

fl_status fl_text_stream_finish(fl_text_stream *s)
{
    if (!s->is_stopped) {
        FL_TRY(fl_decode_stream_finish(s->decoder, &s->text));
        take_new(s);
    }
    s->safe = s->text.length;
    return FL_OK;
}

void fl_text_stream_fini(fl_text_stream *s)
{
    fl_decode_stream_destroy(s->decoder);
    fl_buf_fini(&s->text);
    fl_buf_fini(&s->context);
    *s = (fl_text_stream){0};
}
