/* Encoding as a whole, and what a tokenizer tells about itself.  Decoding: tokenizer_decode.c. */
#include "data/tokenizer_encode.h"

#include <string.h>

enum { MAX_TEXT = 1 << 30 };

void fl_tokens_fini(fl_tokens *tokens)
{
    fl_free(tokens->ids);
    fl_free(tokens->begin);
    fl_free(tokens->end);
    fl_encode_work_destroy(tokens->work);
    *tokens = (fl_tokens){0};
}

static bool starts_with(const fl_slice *text, const fl_piece *start)
{
    return text->length >= start->length && memcmp(text->text, start->text, start->length) == 0;
}

/* Every replacement character starts a word ("MergedWithNext"). */
static fl_status encode_words(const fl_tokenizer *tokenizer, fl_encode_work *work,
                              const fl_norm *text, fl_tokens *out)
{
    const fl_piece *mark = &tokenizer->metaspace.replace.content;
    size_t begin = 0;
    for (size_t at = 1; at <= text->length; at++) {
        const fl_slice rest = fl_slice_of(text, at, text->length);
        if (rest.length > 0 && !starts_with(&rest, mark)) continue;
        FL_TRY(fl_bpe_encode(tokenizer, work, fl_slice_of(text, begin, at), out));
        begin = at;
    }
    return FL_OK;
}

/* A piece of normalised text without added tokens.  Metaspace works on a copy, since the
 * normalised text is still needed for the pieces behind this one. */
static fl_status encode_piece(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                              fl_tokens *out)
{
    const fl_metaspace *metaspace = &tokenizer->metaspace;
    if (piece.length == 0) return FL_OK;
    if (!metaspace->is_used) return fl_bpe_encode(tokenizer, work, piece, out);

    fl_norm *text = &work->norm[2];
    FL_TRY(fl_apply_step(text, &piece, &metaspace->replace));
    const fl_slice marked = fl_slice_of(text, 0, text->length);
    if (!starts_with(&marked, &metaspace->replace.content) &&
        (metaspace->scheme == FL_PREPEND_ALWAYS ||
         (metaspace->scheme == FL_PREPEND_FIRST && piece.span[0].begin == 0))) {
        const fl_step prepend = {.kind = FL_STEP_PREPEND, .content = metaspace->replace.content};
        text = &work->norm[3];
        FL_TRY(fl_apply_step(text, &marked, &prepend));
    }
    if (metaspace->split) return encode_words(tokenizer, work, text, out);
    return fl_bpe_encode(tokenizer, work, fl_slice_of(text, 0, text->length), out);
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
    if (!out->work) FL_TRY(fl_alloc(&out->work, 1, sizeof *out->work));
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
