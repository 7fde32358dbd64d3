/* Text before the pre-tokenizer: valid UTF-8, normalised, and where each byte came from. */
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

#include <string.h>

static fl_status reserve(fl_norm *norm, size_t more)
{
    // Symbols of a word are numbered with int32_t.
    FL_CHECK(more <= (size_t)INT32_MAX - norm->length, FL_ERR_INPUT,
             "text is too long for the tokenizer");
    FL_TRY(fl_grow(&norm->text, &norm->text_capacity, norm->length + more, sizeof *norm->text));
    return fl_grow(&norm->span, &norm->span_capacity, norm->length + more, sizeof *norm->span);
}

fl_status fl_norm_add(fl_norm *norm, const char *text, size_t length, fl_span span)
{
    FL_TRY(reserve(norm, length));
    memcpy(norm->text + norm->length, text, length);
    for (size_t i = 0; i < length; i++)
        norm->span[norm->length + i] = span;
    norm->length += length;
    return FL_OK;
}

fl_status fl_norm_add_slice(fl_norm *norm, const fl_slice *in, size_t begin, size_t end)
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

fl_slice fl_slice_part(const fl_slice *slice, size_t begin, size_t end)
{
    return begin == end ? (fl_slice){0}
                        : (fl_slice){slice->text + begin, slice->span + begin, end - begin};
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
        FL_TRY(fl_norm_add_slice(out, in, copied, at));
        const fl_span span = {in->span[at].begin, in->span[at + pattern->length - 1].end};
        FL_TRY(fl_norm_add(out, step->content.text, step->content.length, span));
        copied = at += pattern->length;
    }
    return fl_norm_add_slice(out, in, copied, in->length);
}

static fl_status replace_matches(fl_encode_work *work, fl_norm *out, const fl_slice *in,
                                 const fl_step *step)
{
    size_t copied = 0;
    fl_regex_match match = {0};
    for (;;) {
        FL_TRY(fl_regex_next(step->regex, work->regex, in->text, in->length, &match));
        if (!match.found) break;
        FL_TRY(fl_norm_add_slice(out, in, copied, match.begin));
        const size_t last = match.begin < in->length ? match.begin : in->length - 1;
        const fl_span span = {in->span[last].begin,
                              in->span[match.end > match.begin ? match.end - 1 : last].end};
        FL_TRY(fl_norm_add(out, step->content.text, step->content.length, span));
        copied = match.end;
    }
    return fl_norm_add_slice(out, in, copied, in->length);
}

static fl_status trim(fl_norm *out, const fl_slice *in, const fl_step *step)
{
    size_t begin = 0, end = in->length;
    if (step->start) begin = fl_utf8_leading_space(in->text, end);
    if (step->stop) end -= fl_utf8_trailing_space(in->text + begin, end - begin);
    return fl_norm_add_slice(out, in, begin, end);
}

fl_status fl_apply_step(fl_encode_work *work, fl_norm *out, const fl_slice *in, const fl_step *step)
{
    out->length = 0;
    if (in->length == 0) return FL_OK;
    switch (step->kind) {
    case FL_STEP_REPLACE:
        return replace(out, in, step);
    case FL_STEP_REPLACE_REGEX:
        return replace_matches(work, out, in, step);
    case FL_STEP_TRIM:
        return trim(out, in, step);
    case FL_STEP_PREPEND:
        // What stands in front belongs to the first character, as in Hugging Face's offsets.
        FL_TRY(fl_norm_add(out, step->content.text, step->content.length, in->span[0]));
        return fl_norm_add_slice(out, in, 0, in->length);
    default:
        return fl_apply_unicode(work, out, in, step);
    }
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
            FL_TRY(fl_norm_add(out, text + at, size, span));
        } else {
            FL_TRY(fl_norm_add(out, FL_UTF8_REPLACEMENT, sizeof FL_UTF8_REPLACEMENT - 1, span));
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
        FL_TRY(fl_apply_step(work, next, &in, &steps->step[i]));
        fl_norm *const swap = now;
        now = next;
        next = swap;
    }
    *result = now;
    return FL_OK;
}

fl_status fl_encode_work_create(fl_encode_work **out)
{
    fl_encode_work *work;
    FL_TRY(fl_alloc(&work, 1, sizeof *work));
    const fl_status status = fl_regex_work_create(&work->regex);
    if (status != FL_OK)
        fl_free(work);
    else
        *out = work;
    return status;
}

void fl_encode_work_destroy(fl_encode_work *work)
{
    if (!work) return;
    for (size_t i = 0; i < sizeof work->norm / sizeof *work->norm; i++) {
        fl_free(work->norm[i].text);
        fl_free(work->norm[i].span);
    }
    fl_free(work->parts[0].items);
    fl_free(work->parts[1].items);
    fl_free(work->symbols);
    fl_free(work->heap);
    fl_free(work->ways);
    fl_free(work->points);
    fl_free(work->sorted);
    fl_buf_fini(&work->scratch);
    fl_regex_work_destroy(work->regex);
    fl_word_cache_destroy(work->cache);
    fl_free(work);
}
