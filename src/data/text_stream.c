/* The window: decoding one token alone would lose its word boundary, decoding all of them each time
 * would take quadratic time.  So a few tokens before the new ones are decoded along, and what they
 * gave is cut off. */
#include "data/text_stream.h"

#include "base/mem.h"
#include "data/utf8.h"

#include <string.h>

enum {
    CONTEXT = 8, /* tokens kept in front */
    WINDOW = 64  /* tokens after which the window moves on */
};

static fl_status push(fl_text_stream *s, int32_t id)
{
    FL_TRY(fl_grow(&s->ids, &s->capacity, s->count + 1, sizeof *s->ids));
    s->ids[s->count++] = id;
    return FL_OK;
}

static fl_status decode_window(fl_text_stream *s)
{
    fl_buf_clear(&s->window);
    return fl_tokenizer_decode(s->tokenizer, s->ids, s->count, true, &s->window);
}

/* Bytes at the end that may be a character without its last bytes, which reads as U+FFFD. */
static size_t open_bytes(const fl_buf *text)
{
    static const char mark[] = FL_UTF8_REPLACEMENT;
    size_t size = sizeof mark - 1, open = 0;
    while (open + size <= text->length &&
           memcmp(text->data + text->length - open - size, mark, size) == 0)
        open += size;
    return open;
}

/* The same at the start: the window was cut inside a character. */
static bool starts_open(const fl_buf *text)
{
    static const char mark[] = FL_UTF8_REPLACEMENT;
    size_t size = sizeof mark - 1;
    return text->length >= size && memcmp(text->data, mark, size) == 0;
}

/* Forgets all but some last tokens, from the first of a character on: where every byte is a token,
 * a run of them that begins in the middle of a character could not be read. */
static fl_status keep_context(fl_text_stream *s)
{
    size_t count = s->count;
    for (size_t kept = CONTEXT; kept < CONTEXT + 4 && kept < count; kept++) {
        fl_buf_clear(&s->window);
        FL_TRY(fl_tokenizer_decode(s->tokenizer, s->ids + count - kept, kept, true, &s->window));
        if (starts_open(&s->window)) continue;
        memmove(s->ids, s->ids + count - kept, kept * sizeof *s->ids);
        s->count = kept;
        s->known = s->window.length;
        return FL_OK;
    }
    FL_TRY(decode_window(s)); /* no good place, or short enough: all of it */
    s->known = s->window.length;
    return FL_OK;
}

fl_status fl_text_stream_start(fl_text_stream *s, const fl_tokenizer *tokenizer,
                               const int32_t *context, size_t n, bool drops_space)
{
    s->tokenizer = tokenizer;
    s->drops_space = drops_space;
    s->is_stopped = false;
    s->count = s->safe = 0;
    fl_buf_clear(&s->text);
    for (size_t i = n > WINDOW ? n - WINDOW : 0; i < n; i++)
        FL_TRY(push(s, context[i]));
    return keep_context(s);
}

/* Takes the bytes of the window that are new and settled over into the text. */
static fl_status take_new(fl_text_stream *s, size_t end)
{
    if (end <= s->known) return FL_OK;
    const char *from = s->window.data + s->known, *stop = s->window.data + end;
    s->known = end;
    /* a byte that was a character alone may turn into U+FFFD with its successor: never a part */
    while (from < stop && ((unsigned char)*from & 0xc0) == 0x80)
        from++;
    if (from < stop && s->drops_space && *from == ' ') from++;
    s->drops_space = false;
    return fl_buf_add(&s->text, from, (size_t)(stop - from));
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

fl_status fl_text_stream_add(fl_text_stream *s, int32_t id)
{
    FL_TRY(push(s, id));
    FL_TRY(decode_window(s));
    size_t open = open_bytes(&s->window);
    FL_TRY(take_new(s, s->window.length - open));
    find_stop(s, s->safe); /* nothing shown is part of a stop string */
    size_t safe = s->text.length - (s->is_stopped ? 0 : held_bytes(s));
    if (safe > s->safe) s->safe = safe;
    return open || s->count < WINDOW ? FL_OK : keep_context(s);
}

void fl_text_stream_finish(fl_text_stream *s)
{
    if (!s->is_stopped && take_new(s, s->window.length) == FL_OK) find_stop(s, s->safe);
    s->safe = s->text.length;
}

void fl_text_stream_fini(fl_text_stream *s)
{
    fl_free(s->ids);
    fl_buf_fini(&s->text);
    fl_buf_fini(&s->window);
    *s = (fl_text_stream){0};
}
