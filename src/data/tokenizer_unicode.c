/* Normal forms and lower case, with utf8proc's tables; and SentencePiece's map of characters.
 *
 * A text is normalised in stretches that begin with a character which nothing before it can change;
 * all of a stretch's result counts as made from all of the stretch.  Stretches of ASCII are left as
 * they are.  Marks are put in order by counting, since a stretch may be as long as the text.
 */
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

#include <string.h>
#include <utf8proc.h>

enum { MAX_DECOMPOSED = 64, CLASSES = 256, FEW_MARKS = 16 };

static utf8proc_int32_t code_at(const char *text, size_t size)
{
    utf8proc_int32_t code = 0;
    utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &code);
    return code;
}

static int class_of(int32_t code)
{
    return utf8proc_get_property(code)->combining_class;
}

static utf8proc_option_t decompose_options(const fl_step *step)
{
    const bool compat = step->kind == FL_STEP_NFKC || step->kind == FL_STEP_NFKD;
    return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
}

/* Can a character that decomposes to this one first never change with what stands before it?  The
 * others are marks, and the vowels and final consonants of Hangul. */
static bool starts_stretch(int32_t first)
{
    const utf8proc_property_t *property = utf8proc_get_property(first);
    if (property->combining_class != 0) return false;
    if (first >= 0x1160 && first <= 0x11ff) return false;
    return property->category != UTF8PROC_CATEGORY_MN &&
           property->category != UTF8PROC_CATEGORY_MC && property->category != UTF8PROC_CATEGORY_ME;
}

/* Appends the code points of one character to work->points. */
static fl_status decompose(fl_encode_work *work, int32_t code, const fl_step *step)
{
    FL_TRY(fl_grow(&work->points, &work->point_capacity, work->num_points + MAX_DECOMPOSED,
                   sizeof *work->points));
    int bound = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        code, work->points + work->num_points, MAX_DECOMPOSED, decompose_options(step), &bound);
    FL_CHECK(count >= 0 && count <= MAX_DECOMPOSED, FL_ERR_INTERNAL,
             "character U+%04X cannot be decomposed", (unsigned)code);
    work->num_points += (size_t)count;
    return FL_OK;
}

/* Stable, by combining class; points[0, count) are marks, none of class 0. */
static fl_status sort_marks(fl_encode_work *work, int32_t *points, size_t count)
{
    if (count <= FEW_MARKS) {
        for (size_t i = 1; i < count; i++) {
            const int32_t point = points[i];
            size_t at = i;
            for (; at > 0 && class_of(points[at - 1]) > class_of(point); at--)
                points[at] = points[at - 1];
            points[at] = point;
        }
        return FL_OK;
    }
    size_t start[CLASSES + 1] = {0};
    FL_TRY(fl_grow(&work->sorted, &work->sorted_capacity, count, sizeof *work->sorted));
    for (size_t i = 0; i < count; i++)
        start[class_of(points[i]) + 1]++;
    for (size_t i = 1; i <= CLASSES; i++)
        start[i] += start[i - 1];
    for (size_t i = 0; i < count; i++)
        work->sorted[start[class_of(points[i])]++] = points[i];
    memcpy(points, work->sorted, count * sizeof *points);
    return FL_OK;
}

static fl_status order_marks(fl_encode_work *work)
{
    for (size_t at = 0; at < work->num_points;) {
        size_t end = at;
        while (end < work->num_points && class_of(work->points[end]) != 0)
            end++;
        if (end - at > 1) FL_TRY(sort_marks(work, work->points + at, end - at));
        at = end + 1;
    }
    return FL_OK;
}

static fl_status add_points(fl_norm *out, const int32_t *points, size_t count, fl_span span)
{
    for (size_t i = 0; i < count; i++) {
        utf8proc_uint8_t text[4];
        const utf8proc_ssize_t size = utf8proc_encode_char(points[i], text);
        FL_TRY(fl_norm_add(out, (const char *)text, (size_t)size, span));
    }
    return FL_OK;
}

/* in[begin, end) is one stretch, its characters are decomposed in work->points. */
static fl_status finish_stretch(fl_encode_work *work, fl_norm *out, fl_span span,
                                const fl_step *step)
{
    FL_TRY(order_marks(work));
    size_t count = work->num_points;
    if (step->kind == FL_STEP_NFC || step->kind == FL_STEP_NFKC) {
        const utf8proc_ssize_t composed = utf8proc_normalize_utf32(
            work->points, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        FL_CHECK(composed >= 0, FL_ERR_INTERNAL, "text cannot be composed");
        count = (size_t)composed;
    }
    return add_points(out, work->points, count, span);
}

/* The end of the ASCII characters from `at` on that nothing behind them can change. */
static size_t skip_ascii(const fl_slice *in, size_t at)
{
    size_t end = at;
    while (end < in->length && (unsigned char)in->text[end] < 0x80)
        end++;
    return end < in->length && end > at ? end - 1 : end;
}

static fl_status normalize(fl_encode_work *work, fl_norm *out, const fl_slice *in,
                           const fl_step *step)
{
    for (size_t at = 0; at < in->length;) {
        const size_t ascii = skip_ascii(in, at);
        FL_TRY(fl_norm_add_slice(out, in, at, ascii));
        const size_t begin = at = ascii;
        size_t first = 0; // where the character just read begins in points
        for (work->num_points = 0; at < in->length; first = work->num_points) {
            const size_t size = fl_utf8_size(in->text[at]);
            FL_TRY(decompose(work, code_at(in->text + at, size), step));
            const bool is_new = first == work->num_points || starts_stretch(work->points[first]);
            if (at > begin && is_new) {
                work->num_points = first;
                break;
            }
            at += size;
        }
        if (begin == at) continue;
        FL_TRY(finish_stretch(work, out, (fl_span){in->span[begin].begin, in->span[at - 1].end},
                              step));
    }
    return FL_OK;
}

/* Character by character, as Rust's char::to_lowercase: a sigma at the end of a word is not
 * special, and one character becomes two. */
static fl_status lowercase(fl_norm *out, const fl_slice *in)
{
    for (size_t at = 0; at < in->length;) {
        const size_t size = fl_utf8_size(in->text[at]);
        const int32_t code = code_at(in->text + at, size);
        const int32_t lower[2] = {code == 0x130 ? 'i' : utf8proc_tolower(code), 0x307};
        FL_TRY(add_points(out, lower, code == 0x130 ? 2 : 1, in->span[at]));
        at += size;
    }
    return FL_OK;
}

static fl_status add_text(fl_norm *out, const char *text, fl_span span)
{
    return fl_norm_add(out, text, strlen(text), span);
}

/* SentencePiece: at each place the longest entry. */
static fl_status map_longest(fl_norm *out, const fl_slice *in, const fl_step *step)
{
    for (size_t at = 0; at < in->length;) {
        const char *replacement;
        size_t size =
            fl_charsmap_find(&step->map, in->text + at, in->length - at, false, &replacement);
        if (size > 0) {
            const fl_span span = {in->span[at].begin, in->span[at + size - 1].end};
            FL_TRY(add_text(out, replacement, span));
        } else {
            size = fl_utf8_size(in->text[at]);
            FL_TRY(fl_norm_add_slice(out, in, at, at + size));
        }
        at += size;
    }
    return FL_OK;
}

/* in[begin, end) by the replacement of the shortest entry that it starts with, if there is one. */
static fl_status map_whole(fl_norm *out, const fl_slice *in, size_t begin, size_t end,
                           const fl_step *step, bool *mapped)
{
    const char *replacement;
    *mapped = fl_charsmap_find(&step->map, in->text + begin, end - begin, true, &replacement) > 0;
    if (!*mapped) return FL_OK;
    return add_text(out, replacement, (fl_span){in->span[begin].begin, in->span[end - 1].end});
}

/* Hugging Face: a short cluster is looked up as a whole, and if it is no entry, or a long one, its
 * characters are, one by one. */
static fl_status map_cluster(fl_norm *out, const fl_slice *in, size_t begin, size_t end,
                             const fl_step *step)
{
    enum { SHORT_CLUSTER = 6 };
    bool mapped = false;
    if (end - begin < SHORT_CLUSTER) FL_TRY(map_whole(out, in, begin, end, step, &mapped));
    for (size_t at = begin; at < end && !mapped;) {
        const size_t next = at + fl_utf8_size(in->text[at]);
        bool is_entry;
        FL_TRY(map_whole(out, in, at, next, step, &is_entry));
        if (!is_entry) FL_TRY(fl_norm_add_slice(out, in, at, next));
        at = next;
    }
    return FL_OK;
}

static fl_status map_clusters(fl_norm *out, const fl_slice *in, const fl_step *step)
{
    size_t begin = 0;
    utf8proc_int32_t state = 0, last = 0;
    for (size_t at = 0; at <= in->length;) {
        const size_t size = at < in->length ? fl_utf8_size(in->text[at]) : 1;
        const utf8proc_int32_t code = at < in->length ? code_at(in->text + at, size) : 0;
        // Between two characters of ASCII there is always a break, except in "\r\n".
        const bool is_plain = code < 0x80 && last < 0x80 && last != '\r';
        if (at > begin && (at == in->length || is_plain ||
                           utf8proc_grapheme_break_stateful(last, code, &state))) {
            if (is_plain) state = 0;
            FL_TRY(map_cluster(out, in, begin, at, step));
            begin = at;
        }
        last = code;
        at += size;
    }
    return FL_OK;
}

fl_status fl_apply_unicode(fl_encode_work *work, fl_norm *out, const fl_slice *in,
                           const fl_step *step)
{
    if (step->kind == FL_STEP_LOWERCASE) return lowercase(out, in);
    if (step->kind == FL_STEP_CHARSMAP)
        return step->start ? map_clusters(out, in, step) : map_longest(out, in, step);
    FL_ASSERT(step->kind >= FL_STEP_NFC && step->kind <= FL_STEP_NFKD);
    return normalize(work, out, in, step);
}
