/* Preference records: a conversation so far and two answers to it. */
#include "data/dataset_impl.h"

#include <string.h>

/* An answer, and what stands in front of it where it is the end of a whole conversation. */
typedef struct answer {
    fl_turn text;
    const fl_turn *before;
    size_t num_before;
} answer;

/* An answer is a text, a message, or a list of messages of which it is the last, or the second. */
static fl_status read_answer(fl_dataset_reader *reader, const json_t *object, const char *key,
                             bool second, answer *out)
{
    const char *where = fl_buf_text(&reader->where);
    json_t *value = json_object_get(object, key);
    FL_CHECK(value, FL_ERR_INPUT, "%s: %s is missing", where, key);
    *out = (answer){.text = {.role = FL_ROLE_ASSISTANT}};
    if (json_is_string(value))
        return fl_reader_copy(reader, &out->text.text, &out->text.length, json_string_value(value),
                              json_string_length(value));
    json_t *list = json_is_array(value) ? json_incref(value) : json_pack("[O]", value);
    FL_CHECK(list, FL_ERR_MEMORY, "out of memory while reading %s", where);
    fl_turn *turns = NULL;
    size_t count = 0;
    const fl_status status = fl_read_turns(reader, list, key, &turns, &count);
    json_decref(list);
    FL_TRY(status);
    const size_t at = second && count > 1 ? 1 : count - 1;
    FL_CHECK(count && turns[at].role == FL_ROLE_ASSISTANT, FL_ERR_INPUT,
             "%s: %s does not end with an answer of the assistant", where, key);
    *out = (answer){.text = turns[at], .before = turns, .num_before = at};
    return FL_OK;
}

static bool same_turns(const answer *a, const answer *b)
{
    if (a->num_before != b->num_before) return false;
    for (size_t i = 0; i < a->num_before; i++) {
        const fl_turn *x = &a->before[i], *y = &b->before[i];
        if (x->role != y->role || x->length != y->length || memcmp(x->text, y->text, x->length))
            return false;
    }
    return true;
}

/* The conversation: the field of the kind when it is a list, or what stands in front of the
 * answers, or the text of the field as the user's only turn. */
static fl_status read_prompt(fl_dataset_reader *reader, const json_t *object, const answer *chosen,
                             fl_turn **turns, size_t *count)
{
    const char *key = reader->kind->fields.turns, *where = fl_buf_text(&reader->where);
    const json_t *value = key ? json_object_get(object, key) : NULL;
    fl_arena *arena = reader->dataset->arena;
    if (value && !json_is_string(value)) return fl_read_turns(reader, value, key, turns, count);
    const bool from_answers = !key || (chosen->num_before && !reader->options.dpo_compat);
    *count = from_answers ? chosen->num_before : 1;
    FL_TRY(fl_arena_alloc(arena, turns, *count, sizeof **turns));
    if (from_answers) {
        if (*count) memcpy(*turns, chosen->before, *count * sizeof **turns);
        return FL_OK;
    }
    const char *text;
    FL_TRY(fl_json_get_string(&text, object, key, where));
    (*turns)[0].role = FL_ROLE_USER;
    return fl_reader_copy(reader, &(*turns)[0].text, &(*turns)[0].length, text, strlen(text));
}

/* The reference puts a space in front of what it found. */
static fl_status put_answer(fl_dataset_reader *reader, const fl_turn *found, const char **text,
                            size_t *length)
{
    *text = found->text;
    *length = found->length;
    if (!reader->options.dpo_compat) return FL_OK;
    fl_buf_clear(&reader->text);
    FL_TRY(fl_buf_add_text(&reader->text, " "));
    FL_TRY(fl_buf_add(&reader->text, found->text, found->length));
    return fl_reader_copy(reader, text, length, reader->text.data, reader->text.length);
}

fl_status fl_read_preference(fl_dataset_reader *reader, const json_t *object)
{
    const fl_kind_fields *fields = &reader->kind->fields;
    const char *where = fl_buf_text(&reader->where);
    /* UltraFeedback's lists are a question and its answer: the reference takes message 1. */
    const json_t *prompt = fields->turns ? json_object_get(object, fields->turns) : NULL;
    const bool second = reader->options.dpo_compat && json_is_string(prompt);
    answer chosen, rejected;
    FL_TRY(read_answer(reader, object, fields->chosen, second, &chosen));
    FL_TRY(read_answer(reader, object, fields->rejected, second, &rejected));
    FL_CHECK(reader->options.dpo_compat || same_turns(&chosen, &rejected), FL_ERR_INPUT,
             "%s: %s and %s are not answers to the same conversation", where, fields->chosen,
             fields->rejected);
    fl_record record = {0};
    fl_turn *turns;
    FL_TRY(read_prompt(reader, object, &chosen, &turns, &record.num_turns));
    for (size_t i = 0; i < record.num_turns; i++)
        turns[i].trains = false;
    record.turns = turns;
    const fl_role last = record.num_turns ? turns[record.num_turns - 1].role : FL_ROLE_SYSTEM;
    FL_CHECK(last == FL_ROLE_USER || last == FL_ROLE_TOOL, FL_ERR_INPUT,
             "%s: the conversation in front of the answers does not end with the user's turn",
             where);
    FL_TRY(put_answer(reader, &chosen.text, &record.chosen, &record.chosen_length));
    FL_TRY(put_answer(reader, &rejected.text, &record.rejected, &record.rejected_length));
    return fl_reader_put(reader, object, record);
}
