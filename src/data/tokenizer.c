/* Encoding as a whole, and what a tokenizer tells about itself.  Decoding: tokenizer_decode.c. */
#include "data/tokenizer_encode.h"

enum { MAX_TEXT = 1 << 30 };

void fl_tokens_fini(fl_tokens *tokens)
{
    fl_free(tokens->ids);
    fl_free(tokens->begin);
    fl_free(tokens->end);
    fl_encode_work_destroy(tokens->work);
    *tokens = (fl_tokens){0};
}

/* A piece of normalised text without added tokens. */
static fl_status encode_piece(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice text,
                              fl_tokens *out)
{
    if (text.length == 0) return FL_OK;
    if (tokenizer->pre.count == 0) return fl_piece_encode(tokenizer, work, text, out);
    const fl_parts *parts;
    FL_TRY(fl_pre_tokenize(tokenizer, work, &text, &parts));
    for (size_t i = 0; i < parts->count; i++) {
        const fl_span part = parts->items[i];
        FL_TRY(fl_piece_encode(tokenizer, work, fl_slice_part(&text, part.begin, part.end), out));
    }
    return FL_OK;
}

/* text[begin, end): what stands between two raw added tokens. */
static fl_status encode_segment(const fl_tokenizer *tokenizer, const char *text, size_t begin,
                                size_t end, fl_tokens *out)
{
    if (begin == end) return FL_OK;
    fl_encode_work *work = out->work;
    const fl_norm *norm;
    FL_TRY(fl_normalize(work, &tokenizer->normalizer, text, begin, end, &norm));
    size_t at = 0;
    fl_added_match match;
    while (fl_added_find(&tokenizer->normal, norm->text, norm->length, at, &match)) {
        FL_TRY(encode_piece(tokenizer, work, fl_slice_of(norm, at, match.begin), out));
        const fl_span span = {norm->span[match.begin].begin, norm->span[match.end - 1].end};
        FL_TRY(fl_tokens_add(out, match.id, span));
        at = match.end;
    }
    return encode_piece(tokenizer, work, fl_slice_of(norm, at, norm->length), out);
}

static fl_status add_around(const fl_around *around, fl_tokens *out)
{
    for (size_t i = 0; i < around->count; i++)
        FL_TRY(fl_tokens_add(out, around->ids[i], (fl_span){0, 0}));
    return FL_OK;
}

fl_status fl_tokenizer_encode(const fl_tokenizer *tokenizer, const char *text, size_t length,
                              bool add_special, fl_tokens *out)
{
    FL_CHECK(length < MAX_TEXT, FL_ERR_INPUT, "a text of %zu bytes is too long for the tokenizer",
             length);
    if (!out->work) FL_TRY(fl_encode_work_create(&out->work));
    out->count = 0;
    if (add_special) FL_TRY(add_around(&tokenizer->before, out));
    size_t at = 0;
    fl_added_match match;
    while (fl_added_find(&tokenizer->raw, text, length, at, &match)) {
        FL_TRY(encode_segment(tokenizer, text, at, match.begin, out));
        const fl_span span = {(uint32_t)match.begin, (uint32_t)match.end};
        FL_TRY(fl_tokens_add(out, match.id, span));
        at = match.end;
    }
    FL_TRY(encode_segment(tokenizer, text, at, length, out));
    if (add_special) FL_TRY(add_around(&tokenizer->after, out));
    return FL_OK;
}

int32_t fl_tokenizer_special_id(const fl_tokenizer *tokenizer, fl_special_kind kind)
{
    return tokenizer->special[kind];
}

const char *fl_tokenizer_special_text(const fl_tokenizer *tokenizer, fl_special_kind kind)
{
    return fl_tokenizer_token(tokenizer, tokenizer->special[kind]);
}

int32_t fl_tokenizer_vocab_size(const fl_tokenizer *tokenizer)
{
    return tokenizer->vocab.size;
}

const char *fl_tokenizer_token(const fl_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->vocab.size ? tokenizer->vocab.entries[id].text : NULL;
}
