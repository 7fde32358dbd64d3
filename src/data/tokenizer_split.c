/* The pre-tokenizer: each step cuts all pieces that the one before it left.
 *
 * A pattern sees one piece only, never its neighbours: looks ahead and behind end with the piece,
 * as in Hugging Face's library.  Pieces are ranges of one text, so a step that only cuts copies
 * nothing; a step that marks word boundaries writes the text anew. */
#include "data/tokenizer_encode.h"

#include <string.h>

/* A piece of text, a match of the pattern or what lies between two. */
typedef struct splitter {
    const fl_pre_step *step;
    fl_parts *out;
    size_t first;     /* pieces of `out` before this text */
    bool after_match; /* MERGED_WITH_PREVIOUS: the last one was a match; CONTIGUOUS: see below */
    bool is_open;     /* CONTIGUOUS, MERGED_WITH_NEXT: `open` waits for what follows */
    fl_span open;
} splitter;

static fl_status add_part(fl_parts *parts, size_t begin, size_t end)
{
    if (begin == end) return FL_OK;
    FL_TRY(fl_grow(&parts->items, &parts->capacity, parts->count + 1, sizeof *parts->items));
    parts->items[parts->count++] = (fl_span){(uint32_t)begin, (uint32_t)end};
    return FL_OK;
}

static fl_status close_open(splitter *s)
{
    if (s->is_open) FL_TRY(add_part(s->out, s->open.begin, s->open.end));
    s->is_open = false;
    return FL_OK;
}

static fl_status merge_previous(splitter *s, size_t begin, size_t end, bool is_match)
{
    const bool merges = is_match && !s->after_match && s->out->count > s->first;
    s->after_match = is_match;
    if (!merges) return add_part(s->out, begin, end);
    s->out->items[s->out->count - 1].end = (uint32_t)end;
    return FL_OK;
}

static fl_status merge_next(splitter *s, size_t begin, size_t end, bool is_match)
{
    if (!is_match && s->is_open) {
        begin = s->open.begin;
        s->is_open = false;
    }
    FL_TRY(close_open(s));
    if (!is_match) return add_part(s->out, begin, end);
    s->is_open = true;
    s->open = (fl_span){(uint32_t)begin, (uint32_t)end};
    return FL_OK;
}

static fl_status merge_equal(splitter *s, size_t begin, size_t end, bool is_match)
{
    if (s->is_open && s->after_match == is_match) {
        s->open.end = (uint32_t)end;
        return FL_OK;
    }
    FL_TRY(close_open(s));
    s->is_open = true;
    s->after_match = is_match;
    s->open = (fl_span){(uint32_t)begin, (uint32_t)end};
    return FL_OK;
}

/* text[begin, end), which the pattern matched or not. */
static fl_status add_stretch(splitter *s, size_t begin, size_t end, bool matched)
{
    const bool is_match = matched != s->step->invert;
    switch (s->step->split) {
    case FL_SPLIT_REMOVED:
        return is_match ? FL_OK : add_part(s->out, begin, end);
    case FL_SPLIT_ISOLATED:
        return add_part(s->out, begin, end);
    case FL_SPLIT_MERGED_WITH_PREVIOUS:
        return merge_previous(s, begin, end, is_match);
    case FL_SPLIT_MERGED_WITH_NEXT:
        return merge_next(s, begin, end, is_match);
    case FL_SPLIT_CONTIGUOUS:
        return merge_equal(s, begin, end, is_match);
    }
    return FL_OK;
}

static fl_status split_part(const fl_pre_step *step, fl_encode_work *work, const fl_slice *text,
                            fl_span part, fl_parts *out)
{
    splitter s = {.step = step, .out = out, .first = out->count};
    const char *piece = text->text + part.begin;
    const size_t length = part.end - part.begin;
    size_t last = 0;
    for (fl_regex_match match = {0};;) {
        FL_TRY(fl_regex_next(step->regex, work->regex, piece, length, &match));
        if (!match.found) break;
        if (match.begin > last)
            FL_TRY(add_stretch(&s, part.begin + last, part.begin + match.begin, false));
        FL_TRY(add_stretch(&s, part.begin + match.begin, part.begin + match.end, true));
        last = match.end;
    }
    if (last < length) FL_TRY(add_stretch(&s, part.begin + last, part.end, false));
    return close_open(&s);
}

/* One piece with its spaces marked, and a mark in front where the scheme wants one. */
static fl_status mark_part(const fl_pre_step *step, fl_norm *out, const fl_slice *text,
                           fl_span part)
{
    const fl_piece *mark = &step->mark.content;
    const char *piece = text->text + part.begin;
    const size_t length = part.end - part.begin;
    const bool has_mark =
        piece[0] == ' ' || (length >= mark->length && memcmp(piece, mark->text, mark->length) == 0);
    if (!has_mark && (step->scheme == FL_PREPEND_ALWAYS ||
                      (step->scheme == FL_PREPEND_FIRST && text->span[part.begin].begin == 0)))
        FL_TRY(fl_norm_add(out, mark->text, mark->length, text->span[part.begin]));
    size_t copied = part.begin;
    for (size_t at = part.begin; at < part.end; at++) {
        if (text->text[at] != ' ') continue;
        FL_TRY(fl_norm_add_slice(out, text, copied, at));
        FL_TRY(fl_norm_add(out, mark->text, mark->length, text->span[at]));
        copied = at + 1;
    }
    return fl_norm_add_slice(out, text, copied, part.end);
}

/* The pieces move to another buffer, which becomes *text. */
static fl_status mark_parts(const fl_pre_step *step, fl_encode_work *work, fl_slice *text,
                            const fl_parts *in, fl_parts *out)
{
    fl_norm *norm = text->text == work->norm[2].text ? &work->norm[3] : &work->norm[2];
    norm->length = 0;
    for (size_t i = 0; i < in->count; i++) {
        const size_t begin = norm->length;
        FL_TRY(mark_part(step, norm, text, in->items[i]));
        FL_TRY(add_part(out, begin, norm->length));
    }
    *text = fl_slice_of(norm, 0, norm->length);
    return FL_OK;
}

fl_status fl_pre_tokenize(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice *text,
                          const fl_parts **parts)
{
    fl_parts *now = &work->parts[0], *next = &work->parts[1];
    now->count = 0;
    FL_TRY(add_part(now, 0, text->length));
    for (size_t i = 0; i < tokenizer->pre.count; i++) {
        const fl_pre_step *step = &tokenizer->pre.step[i];
        next->count = 0;
        if (!step->regex) FL_TRY(mark_parts(step, work, text, now, next));
        for (size_t k = 0; step->regex && k < now->count; k++)
            FL_TRY(split_part(step, work, text, now->items[k], next));
        fl_parts *const swap = now;
        now = next;
        next = swap;
    }
    *parts = now;
    return FL_OK;
}
