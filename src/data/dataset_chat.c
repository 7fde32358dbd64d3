/* Conversations: lists of messages, in ShareGPT's words (from, value) or OpenAI's (role, content).
 */
#include "data/dataset_impl.h"

#include <string.h>

/* A function call is what the assistant writes; its result is a tool's turn. */
static const struct {
    const char *name;
    fl_role role;
} role_names[] = {
    {"user", FL_ROLE_USER},           {"human", FL_ROLE_USER},
    {"assistant", FL_ROLE_ASSISTANT}, {"gpt", FL_ROLE_ASSISTANT},
    {"chatgpt", FL_ROLE_ASSISTANT},   {"model", FL_ROLE_ASSISTANT},
    {"system", FL_ROLE_SYSTEM},       {"developer", FL_ROLE_SYSTEM},
    {"tool", FL_ROLE_TOOL},           {"function_call", FL_ROLE_ASSISTANT},
    {"function", FL_ROLE_TOOL},       {"observation", FL_ROLE_TOOL},
};

static fl_status read_role(fl_role *out, const json_t *message, const char *where)
{
    const char *name, *key = json_object_get(message, "role") ? "role" : "from";
    FL_TRY(fl_json_get_string(&name, message, key, where));
    for (size_t i = 0; i < sizeof role_names / sizeof *role_names; i++)
        if (strcmp(role_names[i].name, name) == 0) {
            *out = role_names[i].role;
            return FL_OK;
        }
    FL_FAIL(FL_ERR_UNSUPPORTED, "%s: unknown role \"%.40s\" of a message", where, name);
}

/* Appends the text of one part of a content: {type: "text", text or value}. */
static fl_status add_part(fl_buf *out, const json_t *part, const char *where)
{
    const char *type, *text;
    FL_TRY(fl_json_get_string(&type, part, "type", where));
    FL_CHECK(strcmp(type, "text") == 0, FL_ERR_UNSUPPORTED,
             "%s: content of the type \"%.40s\" is not supported, only text", where, type);
    FL_TRY(
        fl_json_get_string(&text, part, json_object_get(part, "text") ? "text" : "value", where));
    return fl_buf_add_text(out, text);
}

static fl_status read_content(fl_dataset_reader *reader, const json_t *message, fl_turn *out)
{
    const char *where = fl_buf_text(&reader->where), *text;
    const char *key = json_object_get(message, "content") ? "content" : "value";
    const json_t *value = json_object_get(message, key);
    if (!json_is_array(value)) {
        FL_TRY(fl_json_get_string(&text, message, key, where));
        return fl_reader_copy(reader, &out->text, &out->length, text, strlen(text));
    }
    fl_buf_clear(&reader->text);
    for (size_t i = 0; i < json_array_size(value); i++)
        FL_TRY(add_part(&reader->text, json_array_get(value, i), where));
    return fl_reader_copy(reader, &out->text, &out->length, fl_buf_text(&reader->text),
                          reader->text.length);
}

/* loss_weight, or weight as OpenAI's fine-tuning calls it: whether an answer is trained on. */
static fl_status read_weight(const json_t *message, const char *where, fl_turn *turn)
{
    const bool answers = turn->role == FL_ROLE_ASSISTANT;
    double weight;
    FL_TRY(fl_json_get_number_or(&weight, message, "weight", answers, where));
    FL_TRY(fl_json_get_number_or(&weight, message, "loss_weight", weight, where));
    FL_CHECK(weight == 0 || weight == 1, FL_ERR_UNSUPPORTED,
             "%s: loss_weight = %g: only 0 and 1 are supported", where, weight);
    FL_CHECK(answers || weight == 0, FL_ERR_UNSUPPORTED,
             "%s: loss_weight = 1 on a message that is not the assistant's", where);
    turn->trains = weight == 1;
    return FL_OK;
}

fl_status fl_read_turns(fl_dataset_reader *reader, const json_t *list, const char *key,
                        fl_turn **out, size_t *count)
{
    const char *where = fl_buf_text(&reader->where);
    FL_CHECK(json_is_array(list), FL_ERR_INPUT, "%s: %s must be a list of messages", where, key);
    const size_t length = json_array_size(list);
    fl_turn *turns;
    FL_TRY(fl_arena_alloc(reader->dataset->arena, &turns, length, sizeof *turns));
    for (size_t i = 0; i < length; i++) {
        const json_t *message = json_array_get(list, i);
        FL_CHECK(json_is_object(message), FL_ERR_INPUT, "%s: %s holds a message that is no object",
                 where, key);
        FL_CHECK(!json_object_get(message, "tool_calls"), FL_ERR_UNSUPPORTED,
                 "%s: tool_calls in a message are not supported", where);
        FL_TRY(read_role(&turns[i].role, message, where));
        FL_TRY(read_content(reader, message, &turns[i]));
        FL_TRY(read_weight(message, where, &turns[i]));
    }
    *out = turns;
    *count = length;
    return FL_OK;
}

/* Puts the system text that stands beside the list in front of it. */
static fl_status add_system(fl_dataset_reader *reader, const json_t *object, fl_record *record)
{
    const char *system;
    FL_TRY(fl_json_get_string_or(&system, object, "system", "", fl_buf_text(&reader->where)));
    if (!system[0] || (record->num_turns && record->turns[0].role == FL_ROLE_SYSTEM)) return FL_OK;
    fl_turn *turns;
    FL_TRY(fl_arena_alloc(reader->dataset->arena, &turns, record->num_turns + 1, sizeof *turns));
    if (record->num_turns) memcpy(turns + 1, record->turns, record->num_turns * sizeof *turns);
    turns[0].role = FL_ROLE_SYSTEM;
    FL_TRY(fl_reader_copy(reader, &turns[0].text, &turns[0].length, system, strlen(system)));
    record->turns = turns;
    record->num_turns++;
    return FL_OK;
}

fl_status fl_read_chat(fl_dataset_reader *reader, const json_t *object)
{
    const char *key = reader->kind->fields.turns;
    json_t *list;
    FL_TRY(fl_json_get_array(&list, object, key, fl_buf_text(&reader->where)));
    fl_record record = {0};
    fl_turn *turns;
    FL_TRY(fl_read_turns(reader, list, key, &turns, &record.num_turns));
    record.turns = turns;
    FL_TRY(add_system(reader, object, &record));
    return fl_reader_put(reader, object, record);
}
