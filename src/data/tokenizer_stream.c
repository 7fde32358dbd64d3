/* Decoding token by token.
 *
 * The decoder's steps are parted in three: those that change one token on its own, the one that
 * makes bytes of tokens (ByteLevel, ByteFallback), and what is stripped from the start of the whole
 * text.  What waits between two tokens is the beginning of a character, three bytes at most. */
#include "data/tokenizer_decode.h"
#include "data/utf8.h"

#include <string.h>

struct fl_decode_stream {
    const fl_tokenizer *tokenizer;
    bool skip_special;
    size_t num_single;    /* steps in front that change one token */
    fl_step_kind bytes;   /* BYTE_LEVEL, BYTE_FALLBACK, or FUSE for neither */
    const fl_step *strip; /* of the whole text, or NULL */
    int64_t num_stripped; /* -1: the start is over */
    bool has_begun;
    fl_pieces lists[2];
    fl_buf waiting; /* bytes that are no whole character yet */
};

/* Sorts the steps; false when they come in an order that cannot be followed token by token. */
static bool plan(fl_decode_stream *stream, const fl_steps *steps)
{
    size_t at = 0;
    while (at < steps->count && steps->step[at].kind != FL_STEP_BYTE_FALLBACK &&
           steps->step[at].kind != FL_STEP_BYTE_LEVEL && steps->step[at].kind != FL_STEP_FUSE)
        at++;
    stream->num_single = at;
    stream->bytes = FL_STEP_FUSE;
    if (at < steps->count) stream->bytes = steps->step[at++].kind;
    bool is_fused = stream->bytes != FL_STEP_BYTE_FALLBACK;
    for (; at < steps->count; at++) {
        const fl_step *step = &steps->step[at];
        if (step->kind == FL_STEP_FUSE) {
            is_fused = true;
        } else {
            if (step->kind != FL_STEP_STRIP || !is_fused || step->stop > 0 || stream->strip)
                return false;
            stream->strip = step;
        }
    }
    return true;
}

fl_status fl_decode_stream_create(fl_decode_stream **out, const fl_tokenizer *tokenizer,
                                  bool skip_special)
{
    fl_decode_stream *stream;
    FL_TRY(fl_alloc(&stream, 1, sizeof *stream));
    stream->tokenizer = tokenizer;
    stream->skip_special = skip_special;
    if (!plan(stream, &tokenizer->decoder)) {
        fl_decode_stream_destroy(stream);
        FL_FAIL(FL_ERR_UNSUPPORTED, "the decoder of this tokenizer needs the whole text");
    }
    *out = stream;
    return FL_OK;
}

void fl_decode_stream_destroy(fl_decode_stream *stream)
{
    if (!stream) return;
    fl_pieces_fini(&stream->lists[0]);
    fl_pieces_fini(&stream->lists[1]);
    fl_buf_fini(&stream->waiting);
    fl_free(stream);
}

/* Text of the result, without what is stripped from the start. */
static fl_status give(fl_decode_stream *stream, const char *text, size_t length, fl_buf *out)
{
    const fl_step *strip = stream->strip;
    while (strip && stream->num_stripped >= 0 && length > 0) {
        const bool strips = stream->num_stripped < strip->start &&
                            length >= strip->content.length &&
                            memcmp(text, strip->content.text, strip->content.length) == 0;
        stream->num_stripped = strips ? stream->num_stripped + 1 : -1;
        if (!strips) break;
        text += strip->content.length;
        length -= strip->content.length;
    }
    return fl_buf_add(out, text, length);
}

/* May these bytes become a character with what follows?  `size` is that of the longest invalid part
 * at the start, which then is all of them. */
static bool is_unfinished(const char *text, size_t length, size_t size)
{
    return size == length && (unsigned char)text[0] >= 0xc2 && (unsigned char)text[0] < 0xf5 &&
           size < fl_utf8_size(text[0]);
}

/* Gives the whole characters of what waits, and with `all` what can be no character any more. */
static fl_status give_waiting(fl_decode_stream *stream, bool all, fl_buf *out)
{
    fl_buf *waiting = &stream->waiting;
    size_t at = 0;
    while (at < waiting->length) {
        bool valid;
        const char *text = waiting->data + at;
        const size_t length = waiting->length - at;
        size_t size = fl_utf8_next(text, length, &valid);
        if (!valid && !all && is_unfinished(text, length, size)) break;
        if (!valid && stream->bytes == FL_STEP_BYTE_FALLBACK) size = 1; // one mark per byte
        FL_TRY(valid ? give(stream, text, size, out)
                     : give(stream, FL_UTF8_REPLACEMENT, strlen(FL_UTF8_REPLACEMENT), out));
        at += size;
    }
    if (at > 0) memmove(waiting->data, waiting->data + at, waiting->length - at);
    waiting->length -= at;
    return FL_OK;
}

static fl_status add_token(fl_decode_stream *stream, const fl_piece *piece, fl_buf *out)
{
    if (stream->bytes == FL_STEP_BYTE_LEVEL) {
        FL_TRY(fl_byte_level_add(&stream->waiting, piece));
        return give_waiting(stream, false, out);
    }
    const int value = stream->bytes == FL_STEP_BYTE_FALLBACK ? fl_byte_token_value(piece) : -1;
    if (value >= 0) {
        const char byte = (char)value;
        FL_TRY(fl_buf_add(&stream->waiting, &byte, 1));
        return give_waiting(stream, false, out);
    }
    FL_TRY(give_waiting(stream, true, out));
    return give(stream, piece->text, piece->length, out);
}

fl_status fl_decode_stream_add(fl_decode_stream *stream, int32_t id, fl_buf *out)
{
    const fl_tokenizer *tokenizer = stream->tokenizer;
    if (id < 0 || id >= tokenizer->vocab.size) return FL_OK;
    const fl_vocab_entry *entry = &tokenizer->vocab.entries[id];
    if (!entry->text || (stream->skip_special && entry->is_special)) return FL_OK;
    fl_pieces *now = &stream->lists[0], *next = &stream->lists[1];
    fl_buf_clear(&now->text);
    now->count = 0;
    if (!tokenizer->has_decoder && stream->has_begun) FL_TRY(fl_buf_add_text(out, " "));
    FL_TRY(fl_pieces_add(now, entry->text, entry->length));
    for (size_t i = 0; i < stream->num_single; i++) {
        FL_TRY(fl_decode_step(next, now, &tokenizer->decoder.step[i], !stream->has_begun));
        fl_pieces *const swap = now;
        now = next;
        next = swap;
    }
    stream->has_begun = true;
    const fl_piece piece = {fl_buf_text(&now->text), now->text.length};
    return add_token(stream, &piece, out);
}

fl_status fl_decode_stream_finish(fl_decode_stream *stream, fl_buf *out)
{
    FL_TRY(give_waiting(stream, true, out));
    stream->num_stripped = 0;
    stream->has_begun = false;
    return FL_OK;
}
