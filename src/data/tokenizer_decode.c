/* Ids back to text: the decoder's steps work on a list of pieces, one per token at first. */
#include "data/tokenizer_decode.h"
#include "data/alphabet.h"
#include "data/utf8.h"

#include <string.h>

typedef fl_pieces pieces;

void fl_pieces_fini(fl_pieces *list)
{
    fl_buf_fini(&list->text);
    fl_free(list->ends);
}

/* Closes a piece of what was added to the text since the last one. */
static fl_status close_piece(pieces *list)
{
    FL_TRY(fl_grow(&list->ends, &list->capacity, list->count + 1, sizeof *list->ends));
    list->ends[list->count++] = list->text.length;
    return FL_OK;
}

fl_status fl_pieces_add(fl_pieces *list, const char *text, size_t length)
{
    FL_TRY(fl_buf_add(&list->text, text, length));
    return close_piece(list);
}

static fl_piece piece_at(const pieces *list, size_t i)
{
    const size_t begin = i == 0 ? 0 : list->ends[i - 1];
    return (fl_piece){fl_buf_text(&list->text) + begin, list->ends[i] - begin};
}

static bool is_at(const fl_piece *text, size_t at, const fl_piece *what)
{
    return text->length - at >= what->length &&
           memcmp(text->text + at, what->text, what->length) == 0;
}

/* Within a piece only: a pattern over two tokens is none, as in Hugging Face's decoder. */
static fl_status replace(pieces *out, const fl_piece *piece, const fl_step *step)
{
    for (size_t at = 0; at < piece->length;) {
        if (is_at(piece, at, &step->pattern)) {
            FL_TRY(fl_buf_add(&out->text, step->content.text, step->content.length));
            at += step->pattern.length;
        } else {
            FL_TRY(fl_buf_add(&out->text, piece->text + at, 1));
            at++;
        }
    }
    return close_piece(out);
}

static fl_status strip(pieces *out, const fl_piece *piece, const fl_step *step)
{
    const size_t size = step->content.length;
    fl_piece rest = *piece;
    for (int64_t i = 0; i < step->start && is_at(&rest, 0, &step->content); i++) {
        rest.text += size;
        rest.length -= size;
    }
    for (int64_t i = 0;
         i < step->stop && rest.length >= size && is_at(&rest, rest.length - size, &step->content);
         i++)
        rest.length -= size;
    return fl_pieces_add(out, rest.text, rest.length);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* The value of "<0xNN>", or -1. */
int fl_byte_token_value(const fl_piece *piece)
{
    if (piece->length != 6 || memcmp(piece->text, "<0x", 3) != 0 || piece->text[5] != '>')
        return -1;
    const int high = hex_digit(piece->text[3]), low = hex_digit(piece->text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte tokens is one text, or, when that is no UTF-8, one U+FFFD per byte. */
static fl_status close_bytes(pieces *out, fl_buf *bytes)
{
    if (bytes->length == 0) return FL_OK;
    if (fl_utf8_is_valid(bytes->data, bytes->length)) {
        FL_TRY(fl_pieces_add(out, bytes->data, bytes->length));
    } else {
        for (size_t i = 0; i < bytes->length; i++)
            FL_TRY(fl_pieces_add(out, FL_UTF8_REPLACEMENT, strlen(FL_UTF8_REPLACEMENT)));
    }
    fl_buf_clear(bytes);
    return FL_OK;
}

static fl_status join_bytes(pieces *out, const pieces *in)
{
    fl_buf bytes = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < in->count && status == FL_OK; i++) {
        const fl_piece piece = piece_at(in, i);
        const int value = fl_byte_token_value(&piece);
        if (value >= 0) {
            const char byte = (char)value;
            status = fl_buf_add(&bytes, &byte, 1);
        } else {
            status = close_bytes(out, &bytes);
            if (status == FL_OK) status = fl_pieces_add(out, piece.text, piece.length);
        }
    }
    if (status == FL_OK) status = close_bytes(out, &bytes);
    fl_buf_fini(&bytes);
    return status;
}

fl_status fl_byte_level_add(fl_buf *out, const fl_piece *piece)
{
    const size_t before = out->length;
    for (size_t at = 0; at < piece->length;) {
        const int value = fl_alphabet_byte(piece->text + at, piece->length - at);
        if (value < 0) { // not of the alphabet: the token is text as it stands
            out->length = before;
            return fl_buf_add(out, piece->text, piece->length);
        }
        const char byte = (char)value;
        FL_TRY(fl_buf_add(out, &byte, 1));
        at += fl_utf8_size(piece->text[at]);
    }
    return FL_OK;
}

/* All pieces as bytes, which are one text; parts of it that are no UTF-8 give U+FFFD each. */
static fl_status join_byte_level(pieces *out, const pieces *in)
{
    fl_buf bytes = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < in->count && status == FL_OK; i++) {
        const fl_piece piece = piece_at(in, i);
        status = fl_byte_level_add(&bytes, &piece);
    }
    for (size_t at = 0; at < bytes.length && status == FL_OK;) {
        bool valid;
        const size_t size = fl_utf8_next(bytes.data + at, bytes.length - at, &valid);
        status = valid ? fl_buf_add(&out->text, bytes.data + at, size)
                       : fl_buf_add_text(&out->text, FL_UTF8_REPLACEMENT);
        at += size;
    }
    fl_buf_fini(&bytes);
    return status == FL_OK ? close_piece(out) : status;
}

/* In the first piece of all the mark stands for nothing: encoding put it there. */
static fl_status unmark(pieces *out, const fl_piece *piece, const fl_step *step, bool is_first)
{
    fl_step replacing = *step;
    replacing.content = (fl_piece){" ", step->start && is_first ? 0 : 1};
    return replace(out, piece, &replacing);
}

fl_status fl_decode_step(fl_pieces *out, const fl_pieces *in, const fl_step *step, bool at_start)
{
    fl_buf_clear(&out->text);
    out->count = 0;
    switch (step->kind) {
    case FL_STEP_BYTE_FALLBACK:
        return join_bytes(out, in);
    case FL_STEP_BYTE_LEVEL:
        return join_byte_level(out, in);
    case FL_STEP_FUSE:
        return fl_pieces_add(out, fl_buf_text(&in->text), in->text.length);
    default:
        break;
    }
    for (size_t i = 0; i < in->count; i++) {
        const fl_piece piece = piece_at(in, i);
        if (step->kind == FL_STEP_REPLACE)
            FL_TRY(replace(out, &piece, step));
        else if (step->kind == FL_STEP_METASPACE)
            FL_TRY(unmark(out, &piece, step, at_start && i == 0));
        else
            FL_TRY(strip(out, &piece, step));
    }
    return FL_OK;
}

static fl_status collect(pieces *out, const fl_tokenizer *tokenizer, const int32_t *ids,
                         size_t count, bool skip_special)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer->vocab.size) continue;
        const fl_vocab_entry *entry = &tokenizer->vocab.entries[ids[i]];
        if (!entry->text || (skip_special && entry->is_special)) continue;
        // Without a decoder the tokens are words.
        if (!tokenizer->has_decoder && out->count > 0) FL_TRY(fl_buf_add(&out->text, " ", 1));
        FL_TRY(fl_pieces_add(out, entry->text, entry->length));
    }
    return FL_OK;
}

fl_status fl_tokenizer_decode(const fl_tokenizer *tokenizer, const int32_t *ids, size_t count,
                              bool skip_special, fl_buf *out)
{
    pieces lists[2] = {0};
    size_t now = 0;
    fl_status status;
    FL_TRY_GOTO(collect(&lists[0], tokenizer, ids, count, skip_special), out);
    for (size_t i = 0; i < tokenizer->decoder.count; i++) {
        FL_TRY_GOTO(fl_decode_step(&lists[1 - now], &lists[now], &tokenizer->decoder.step[i], true),
                    out);
        now = 1 - now;
    }
    status = fl_buf_add(out, fl_buf_text(&lists[now].text), lists[now].text.length);
out:
    fl_pieces_fini(&lists[0]);
    fl_pieces_fini(&lists[1]);
    return status;
}
