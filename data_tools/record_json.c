#include "data_tools/record_json.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static fl_status set(json_t *object, const char *key, json_t *value)
{
    FL_CHECK(value, FL_ERR_INPUT, "%s: is not UTF-8 text", key);
    FL_CHECK(json_object_set_new(object, key, value) == 0, FL_ERR_MEMORY, "out of memory");
    return FL_OK;
}

static fl_status set_text(json_t *object, const char *key, const char *text, size_t length)
{
    return text ? set(object, key, json_stringn(text, length)) : FL_OK;
}

/* Answers train unless their weight says otherwise; in the prompt of a preference none does. */
static fl_status fill_turn(json_t *message, const fl_turn *turn, bool weighs)
{
    static const char *const roles[] = {[FL_ROLE_SYSTEM] = "system",
                                        [FL_ROLE_USER] = "user",
                                        [FL_ROLE_ASSISTANT] = "assistant",
                                        [FL_ROLE_TOOL] = "tool"};
    FL_TRY(set(message, "role", json_string(roles[turn->role])));
    FL_TRY(set_text(message, "content", turn->text, turn->length));
    if (!weighs || turn->role != FL_ROLE_ASSISTANT || turn->trains) return FL_OK;
    return set(message, "weight", json_integer(0));
}

static fl_status set_turns(json_t *object, const char *key, const fl_record *record, bool weigh)
{
    json_t *list = json_array();
    FL_TRY(set(object, key, list));
    for (size_t i = 0; i < record->num_turns; i++) {
        json_t *message = json_object();
        FL_CHECK(json_array_append_new(list, message) == 0, FL_ERR_MEMORY, "out of memory");
        FL_TRY(fill_turn(message, &record->turns[i], weigh));
    }
    return FL_OK;
}

static fl_status fill_instruction(json_t *object, const fl_record *r)
{
    FL_TRY(set_text(object, "instruction", r->instruction, r->instruction_length));
    return set_text(object, "response", r->response, r->response_length);
}

static fl_status fill_chat(json_t *object, const fl_record *r)
{
    return set_turns(object, "messages", r, true);
}

static fl_status fill_preference(json_t *object, const fl_record *r)
{
    FL_TRY(set_turns(object, "prompt", r, false));
    FL_TRY(set_text(object, "chosen", r->chosen, r->chosen_length));
    return set_text(object, "rejected", r->rejected, r->rejected_length);
}

static fl_status (*const fill[])(json_t *object, const fl_record *record) = {
    [FL_FORM_INSTRUCTION] = fill_instruction,
    [FL_FORM_CHAT] = fill_chat,
    [FL_FORM_PREFERENCE] = fill_preference,
};

/* A name that is also one of the form's own fields would change the record. */
static fl_status set_name(json_t *object, const char *key, const char *text, size_t length)
{
    if (!key || !key[0] || !text || json_object_get(object, key)) return FL_OK;
    return set_text(object, key, text, length);
}

static fl_status fill_record(json_t *object, const fl_record *r, fl_record_form form,
                             const record_names *names)
{
    FL_TRY(fill[form](object, r));
    FL_TRY(set_name(object, names->label, r->label, r->label_length));
    return set_name(object, names->client, r->client, r->client_length);
}

static fl_status add_line(fl_buf *out, const json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    FL_CHECK(text, FL_ERR_MEMORY, "out of memory");
    fl_status status = fl_buf_add_text(out, text);
    free(text);
    return status == FL_OK ? fl_buf_add_text(out, "\n") : status;
}

fl_status record_json_add(fl_buf *out, const fl_record *record, fl_record_form form,
                          const record_names *names)
{
    json_t *object = json_object();
    FL_CHECK(object, FL_ERR_MEMORY, "out of memory");
    fl_status status = fill_record(object, record, form, names);
    if (status == FL_OK) status = add_line(out, object);
    json_decref(object);
    return status;
}
