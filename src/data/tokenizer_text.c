/* Text before the merges: added tokens are found, the pieces between them normalised. */
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

static fl_status reserve(fl_norm *norm, size_t more)
{
    // Symbols of a word are numbered with int32_t.
    FL_CHECK(more <= (size_t)INT32_MAX - norm->length, FL_ERR_INPUT,
             "text is too long for the tokenizer");
    FL_TRY(fl_grow(&norm->text, &norm->text_capacity, norm->length + more, sizeof *norm->text));
    return fl_grow(&norm->span, &norm->span_capacity, norm->length + more, sizeof *norm->span);
}

/* Adds bytes that were all made from the same part of the original text. */
static fl_status add_from(fl_norm *norm, const char *text, size_t length, fl_span span)
{
    FL_TRY(reserve(norm, length));
    memcpy(norm->text + norm->length, text, length);
    for (size_t i = 0; i < length; i++)
        norm->span[norm->length + i] = span;
    norm->length += length;
    return FL_OK;
}

static fl_status add_slice(fl_norm *norm, const fl_slice *in, size_t begin, size_t end)
{
    FL_TRY(reserve(norm, end - begin));
    if (end == begin) return FL_OK;
    memcpy(norm->text + norm->length, in->text + begin, end - begin);
    memcpy(norm->span + norm->length, in->span + begin, (end - begin) * sizeof *in->span);
    norm->length += end - begin;
    return FL_OK;
}

fl_slice fl_slice_of(const fl_norm *norm, size_t begin, size_t end)
{
    return begin == end ? (fl_slice){0}
                        : (fl_slice){norm->text + begin, norm->span + begin, end - begin};
}

/* From left to right without overlaps.  Comparing bytes is enough: in UTF-8 no character starts
 * inside another one. */
static fl_status replace(fl_norm *out, const fl_slice *in, const fl_step *step)
{
    const fl_piece *pattern = &step->pattern;
    size_t copied = 0;
    for (size_t at = 0; at + pattern->length <= in->length;) {
        const char *found = memchr(in->text + at, pattern->text[0], in->length - at);
        if (!found) break;
        at = (size_t)(found - in->text);
        if (in->length - at < pattern->length) break;
        if (memcmp(found, pattern->text, pattern->length) != 0) {
            at++;
            continue;
        }
        FL_TRY(add_slice(out, in, copied, at));
        const fl_span span = {in->span[at].begin, in->span[at + pattern->length - 1].end};
        FL_TRY(add_from(out, step->content.text, step->content.length, span));
        copied = at += pattern->length;
    }
    return add_slice(out, in, copied, in->length);
}

fl_status fl_apply_step(fl_norm *out, const fl_slice *in, const fl_step *step)
{
    out->length = 0;
    if (in->length == 0) return FL_OK;
    if (step->kind == FL_STEP_REPLACE) return replace(out, in, step);
    FL_ASSERT(step->kind == FL_STEP_PREPEND);
    // What stands in front belongs to the first character, as in Hugging Face's offsets.
    FL_TRY(add_from(out, step->content.text, step->content.length, in->span[0]));
    return add_slice(out, in, 0, in->length);
}

/* The rest of the tokenizer may rely on valid UTF-8, since all text passes here. */
static fl_status copy_text(fl_norm *out, const char *text, size_t begin, size_t end)
{
    out->length = 0;
    FL_TRY(reserve(out, end - begin));
    for (size_t at = begin; at < end;) {
        bool valid;
        const size_t size = fl_utf8_next(text + at, end - at, &valid);
        const fl_span span = {(uint32_t)at, (uint32_t)(at + size)};
        if (size == 1 && valid && out->length < out->text_capacity &&
            out->length < out->span_capacity) { // most bytes of most texts
            out->text[out->length] = text[at];
            out->span[out->length++] = span;
        } else if (valid) {
            FL_TRY(add_from(out, text + at, size, span));
        } else {
            FL_TRY(add_from(out, FL_UTF8_REPLACEMENT, sizeof FL_UTF8_REPLACEMENT - 1, span));
        }
        at += size;
    }
    return FL_OK;
}

fl_status fl_normalize(fl_encode_work *work, const fl_steps *steps, const char *text, size_t begin,
                       size_t end, const fl_norm **result)
{
    fl_norm *now = &work->norm[0], *next = &work->norm[1];
    FL_TRY(copy_text(now, text, begin, end));
    for (size_t i = 0; i < steps->count; i++) {
        const fl_slice in = fl_slice_of(now, 0, now->length);
        FL_TRY(fl_apply_step(next, &in, &steps->step[i]));
        fl_norm *const swap = now;
        now = next;
        next = swap;
    }
    *result = now;
    return FL_OK;
}

void fl_encode_work_destroy(fl_encode_work *work)
{
    if (!work) return;
    for (size_t i = 0; i < sizeof work->norm / sizeof *work->norm; i++) {
        fl_free(work->norm[i].text);
        fl_free(work->norm[i].span);
    }
    fl_free(work->symbols);
    fl_free(work->heap);
    fl_free(work);
}

/* By first byte, then longest first, then by text; of equal ones the smaller id comes first. */
static int compare_added(const void *a, const void *b)
{
    const fl_added *left = a, *right = b;
    const fl_piece *p = &left->text, *q = &right->text;
    const unsigned char first = (unsigned char)p->text[0], second = (unsigned char)q->text[0];
    if (first != second) return first < second ? -1 : 1;
    if (p->length != q->length) return p->length > q->length ? -1 : 1;
    const int order = memcmp(p->text, q->text, p->length);
    return order != 0 ? order : (left->id > right->id) - (left->id < right->id);
}

void fl_added_set_sort(fl_added_set *set)
{
    if (set->count > 0) qsort(set->items, set->count, sizeof *set->items, compare_added);
    size_t item = 0;
    for (size_t byte = 0; byte < 256; byte++) {
        set->start[byte] = (uint32_t)item;
        while (item < set->count && (unsigned char)set->items[item].text.text[0] == byte)
            item++;
    }
    set->start[256] = (uint32_t)item;
}

/* The longest added token that starts at text[at], or NULL.  Files have few added tokens, nearly
 * all with the same first byte, so a search tree would not pay. */
static const fl_added *match_at(const fl_added_set *set, const char *text, size_t length, size_t at)
{
    const unsigned char first = (unsigned char)text[at];
    for (uint32_t i = set->start[first]; i < set->start[first + 1]; i++) {
        const fl_piece *token = &set->items[i].text;
        if (token->length <= length - at && memcmp(token->text, text + at, token->length) == 0)
            return &set->items[i];
    }
    return NULL;
}

bool fl_added_find(const fl_added_set *set, const char *text, size_t length, size_t from,
                   fl_added_match *out)
{
    if (set->count == 0) return false;
    for (size_t at = from; at < length; at++) {
        const fl_added *added = match_at(set, text, length, at);
        if (!added) continue;
        size_t begin = at, end = at + added->text.length;
        if (added->lstrip) begin -= fl_utf8_trailing_space(text + from, at - from);
        if (added->rstrip) end += fl_utf8_leading_space(text + end, length - end);
        *out = (fl_added_match){begin, end, added->id};
        return true;
    }
    return false;
}
