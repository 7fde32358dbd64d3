/* hh-rlhf: `chosen` and `rejected` are whole transcripts, "\n\nHuman: ...\n\nAssistant: ...", with
 * the same beginning.
 *
 * We cut at the last "\n\nAssistant:" of the common beginning and keep both answers whole.  The
 * reference cuts where the transcripts become different, which takes away the characters with which
 * both answers begin; dpo_compat does the same. */
#include "data/dataset_impl.h"

#include <string.h>

static const char human[] = "\n\nHuman:";
static const char assistant[] = "\n\nAssistant:";

/* A stretch of text. */
typedef struct span {
    const char *text;
    size_t length;
} span;

/* The next marker in the text, or its end. */
static size_t find(span s, const char *marker)
{
    const size_t length = strlen(marker);
    for (size_t at = 0; at + length <= s.length; at++)
        if (memcmp(s.text + at, marker, length) == 0) return at;
    return s.length;
}

static span skip(span s, size_t count)
{
    return (span){s.text + count, s.length - count};
}

static bool starts_with(span s, const char *marker)
{
    return s.length >= strlen(marker) && memcmp(s.text, marker, strlen(marker)) == 0;
}

static bool is_inside_character(span s, size_t at)
{
    return at < s.length && ((unsigned char)s.text[at] & 0xc0) == 0x80;
}

/* Bytes of the characters with which both texts begin. */
static size_t common_length(span a, span b)
{
    size_t length = 0;
    while (length < a.length && length < b.length && a.text[length] == b.text[length])
        length++;
    while (is_inside_character(a, length) || is_inside_character(b, length))
        length--;
    return length;
}

static fl_status add_turn(fl_dataset_reader *reader, fl_record *record, fl_turn *turns, span text,
                          fl_role role)
{
    fl_turn *turn = &turns[record->num_turns++];
    turn->role = role;
    return fl_reader_copy(reader, &turn->text, &turn->length, text.text, text.length);
}

/* The next marker of either kind, or the end. */
static size_t find_any(span s)
{
    for (size_t at = 0; at < s.length; at++)
        if (starts_with(skip(s, at), human) || starts_with(skip(s, at), assistant)) return at;
    return s.length;
}

/* Room for as many turns as the text can have. */
static fl_status start_turns(fl_dataset_reader *reader, fl_record *record, fl_turn **turns,
                             span text)
{
    size_t count = 0;
    for (size_t at = find_any(text); at < text.length; at += 1 + find_any(skip(text, at + 1)))
        count++;
    FL_TRY(fl_arena_alloc(reader->dataset->arena, turns, count + 1, sizeof **turns));
    record->turns = *turns;
    return FL_OK;
}

/* One space belongs to the marker. */
static span after_marker(span s, const char *marker)
{
    s = skip(s, strlen(marker));
    return starts_with(s, " ") ? skip(s, 1) : s;
}

/* The turns of text that begins with a marker; each lasts until the next one. */
static fl_status split_turns(fl_dataset_reader *reader, fl_record *record, span text)
{
    fl_turn *turns;
    FL_TRY(start_turns(reader, record, &turns, text));
    while (text.length > 0) {
        const bool asks = starts_with(text, human);
        text = after_marker(text, asks ? human : assistant);
        const size_t end = find_any(text);
        FL_TRY(add_turn(reader, record, turns, (span){text.text, end},
                        asks ? FL_ROLE_USER : FL_ROLE_ASSISTANT));
        text = skip(text, end);
    }
    return FL_OK;
}

/* Where the last answer begins in the common part; 0: nowhere. */
static size_t find_answer(span common)
{
    size_t last = 0;
    for (span s = common;;) {
        const size_t at = find(s, assistant);
        if (at == s.length) return last;
        last = (size_t)(s.text - common.text) + at;
        s = skip(s, at + 1);
    }
}

static fl_status read_clean(fl_dataset_reader *reader, fl_record *record, span chosen,
                            span rejected)
{
    const span common = {chosen.text, common_length(chosen, rejected)};
    const size_t cut = find_answer(common);
    if (cut == 0 || !starts_with(common, human)) {
        reader->dataset->num_skipped++;
        return FL_OK;
    }
    FL_TRY(split_turns(reader, record, (span){chosen.text, cut}));
    chosen = after_marker(skip(chosen, cut), assistant);
    rejected = after_marker(skip(rejected, cut), assistant);
    FL_TRY(fl_reader_copy(reader, &record->chosen, &record->chosen_length, chosen.text,
                          chosen.length));
    return fl_reader_copy(reader, &record->rejected, &record->rejected_length, rejected.text,
                          rejected.length);
}

/* The reference's loop: user and assistant in turn, the unfinished rest is dropped. */
static fl_status split_compat(fl_dataset_reader *reader, fl_record *record, span text)
{
    static const char *const markers[] = {"\n\nAssistant: ", "\n\nHuman: "};
    fl_turn *turns;
    FL_TRY(start_turns(reader, record, &turns, text));
    if (starts_with(text, markers[1])) text = skip(text, strlen(markers[1]));
    for (size_t turn = 0;; turn++) {
        const char *marker = markers[turn % 2];
        const size_t end = find(text, marker);
        if (end == text.length) return FL_OK;
        FL_TRY(add_turn(reader, record, turns, (span){text.text, end},
                        turn % 2 ? FL_ROLE_ASSISTANT : FL_ROLE_USER));
        text = skip(text, end + strlen(marker));
    }
}

/* What Python's text[length - 1:] is, in characters. */
static span from_last_common(span s, size_t length)
{
    size_t at = length ? length : s.length;
    do {
        at -= at > 0;
    } while (at > 0 && is_inside_character(s, at));
    return skip(s, at);
}

static fl_status read_compat(fl_dataset_reader *reader, fl_record *record, span chosen,
                             span rejected)
{
    const size_t length = common_length(chosen, rejected);
    FL_TRY(split_compat(reader, record, (span){chosen.text, length}));
    chosen = from_last_common(chosen, length);
    rejected = from_last_common(rejected, length);
    FL_TRY(fl_reader_copy(reader, &record->chosen, &record->chosen_length, chosen.text,
                          chosen.length));
    return fl_reader_copy(reader, &record->rejected, &record->rejected_length, rejected.text,
                          rejected.length);
}

static fl_status read_span(fl_dataset_reader *reader, const json_t *object, const char *key,
                           span *out)
{
    FL_TRY(fl_json_get_string(&out->text, object, key, fl_buf_text(&reader->where)));
    out->length = strlen(out->text);
    return FL_OK;
}

fl_status fl_read_transcripts(fl_dataset_reader *reader, const json_t *object)
{
    const fl_kind_fields *fields = &reader->kind->fields;
    span chosen, rejected;
    FL_TRY(read_span(reader, object, fields->chosen, &chosen));
    FL_TRY(read_span(reader, object, fields->rejected, &rejected));
    fl_record record = {0};
    const bool compat = reader->options.dpo_compat;
    FL_TRY((compat ? read_compat : read_clean)(reader, &record, chosen, rejected));
    return record.chosen ? fl_reader_put(reader, object, record) : FL_OK;
}
