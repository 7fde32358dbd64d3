/* The kinds of data sets: one row each. */
#include "data/dataset_impl.h"

#include <string.h>

/* Labels alone say nothing: what 0, 1 and 2 mean stands on a web page. */
static fl_status refuse_labels(fl_dataset_reader *reader, const json_t *object)
{
    (void)object;
    FL_FAIL(FL_ERR_UNSUPPORTED,
            "%s: a text and a label, which is neither an instruction with its answer nor a "
            "conversation; to train on it as it is set instruction_field = text and "
            "response_field = label",
            fl_buf_text(&reader->where));
}

/* A record's kind is the first one whose needed fields it has, so what needs more stands first. */
static const fl_kind kinds[] = {
    {.name = "preference_messages",
     .form = FL_FORM_PREFERENCE,
     .needs = {"chosen_messages", "rejected_messages"},
     .fields = {.chosen = "chosen_messages", .rejected = "rejected_messages"},
     .read = fl_read_preference},
    {.name = "preference_sharegpt",
     .form = FL_FORM_PREFERENCE,
     .needs = {"conversations", "chosen", "rejected"},
     .fields = {.turns = "conversations", .chosen = "chosen", .rejected = "rejected"},
     .read = fl_read_preference},
    {.name = "preference",
     .form = FL_FORM_PREFERENCE,
     .needs = {"prompt", "chosen", "rejected"},
     .fields = {.turns = "prompt", .chosen = "chosen", .rejected = "rejected"},
     .read = fl_read_preference},
    {.name = "preference_lists",
     .form = FL_FORM_PREFERENCE,
     .needs = {"chosen", "rejected"},
     .needs_list = true,
     .fields = {.chosen = "chosen", .rejected = "rejected"},
     .read = fl_read_preference},
    {.name = "hh_rlhf",
     .form = FL_FORM_PREFERENCE,
     .needs = {"chosen", "rejected"},
     .fields = {.chosen = "chosen", .rejected = "rejected"},
     .read = fl_read_transcripts},
    {.name = "messages",
     .form = FL_FORM_CHAT,
     .needs = {"messages"},
     .needs_list = true,
     .fields = {.turns = "messages"},
     .read = fl_read_chat},
    {.name = "sharegpt",
     .form = FL_FORM_CHAT,
     .needs = {"conversations"},
     .needs_list = true,
     .fields = {.turns = "conversations"},
     .read = fl_read_chat},
    {.name = "seed_tasks",
     .needs = {"instances", "instruction"},
     .needs_list = true,
     .fields = {.instruction = "instruction", .input = "input", .response = "output"},
     .read = fl_read_seed_task},
    {.name = "dolly",
     .needs = {"instruction", "context", "response"},
     .fields = {.instruction = "instruction", .input = "context", .response = "response"},
     .read = fl_read_instruction},
    {.name = "alpaca",
     .needs = {"instruction", "output"},
     .fields = {.instruction = "instruction", .input = "input", .response = "output"},
     .read = fl_read_instruction},
    {.name = "instruction_response",
     .needs = {"instruction", "response"},
     .fields = {.instruction = "instruction", .response = "response"},
     .read = fl_read_instruction},
    {.name = "prompt_completion",
     .needs = {"prompt", "completion"},
     .fields = {.instruction = "prompt", .response = "completion"},
     .read = fl_read_instruction},
    {.name = "prompt_response",
     .needs = {"prompt", "response"},
     .fields = {.instruction = "prompt", .response = "response"},
     .read = fl_read_instruction},
    {.name = "question_answer",
     .needs = {"question", "answer"},
     .fields = {.instruction = "question", .response = "answer"},
     .read = fl_read_instruction},
    {.name = "problem_solution",
     .needs = {"problem", "solution"},
     .fields = {.instruction = "problem", .response = "solution"},
     .read = fl_read_instruction},
    {.name = "text_label", .needs = {"text", "label"}, .read = refuse_labels},
    /* The instruction is the same sentence in all records. */
    {.name = "flashcards",
     .fields = {.instruction = "input", .response = "output"},
     .read = fl_read_instruction},
    {.name = "fields", .read = fl_read_instruction},
};
enum { NUM_KINDS = sizeof kinds / sizeof *kinds };

static bool has_fields(const fl_kind *kind, const json_t *object)
{
    for (size_t i = 0; i < FL_MAX_NEEDS && kind->needs[i]; i++)
        if (!json_object_get(object, kind->needs[i])) return false;
    return kind->needs[0] &&
           (!kind->needs_list || json_is_array(json_object_get(object, kind->needs[0])));
}

static const fl_kind *detect(const json_t *object)
{
    for (size_t i = 0; i < NUM_KINDS; i++)
        if (has_fields(&kinds[i], object)) return &kinds[i];
    return NULL;
}

bool fl_kind_fits(const json_t *object)
{
    return detect(object) != NULL;
}

static fl_status set_kind(fl_dataset_reader *reader, const fl_kind *kind)
{
    reader->kind = kind;
    reader->dataset->kind = kind->name;
    reader->dataset->form = kind->form;
    return FL_OK;
}

fl_status fl_reader_set_kind(fl_dataset_reader *reader, const char *name)
{
    if (reader->kind) return FL_OK;
    for (size_t i = 0; i < NUM_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0) return set_kind(reader, &kinds[i]);
    FL_FAIL(FL_ERR_USAGE, "there is no kind of data set %s; kinds are %s", name, FL_DATASET_KINDS);
}

fl_status fl_reader_set_options(fl_dataset_reader *reader, const fl_dataset_options *options)
{
    if (options) reader->options = *options;
    fl_dataset_options *o = &reader->options;
    const char **const texts[] = {&o->kind,           &o->instruction_field, &o->input_field,
                                  &o->response_field, &o->label_field,       &o->client_field};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!*texts[i]) *texts[i] = "";
    const bool named = o->kind[0] && strcmp(o->kind, "auto") != 0;
    const bool mapped = o->instruction_field[0] || o->response_field[0] || o->input_field[0];
    if (!mapped && (!named || strcmp(o->kind, "fields") != 0))
        return named ? fl_reader_set_kind(reader, o->kind) : FL_OK;
    FL_CHECK(o->instruction_field[0] && o->response_field[0], FL_ERR_USAGE,
             "fields are named by instruction_field and response_field together");
    FL_CHECK(!named || strcmp(o->kind, "fields") == 0, FL_ERR_USAGE,
             "dataset_kind = %s does not go with instruction_field", o->kind);
    return fl_reader_set_kind(reader, "fields");
}

/* Lists what the record has; a file may hold an object with any number of names. */
static fl_status unknown_kind(const json_t *object, const char *where)
{
    enum { MAX_NAMES = 12 };
    fl_buf text = {0};
    fl_status status = FL_OK;
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        if (count == MAX_NAMES || status != FL_OK) break;
        status = fl_buf_addf(&text, "%s%.40s", count++ ? ", " : "", name);
    }
    if (status == FL_OK && json_object_size(object) > count) status = fl_buf_add_text(&text, "...");
    if (status == FL_OK)
        status = fl_fail(FL_ERR_UNSUPPORTED,
                         "%s: no kind of data set has the fields %s; set dataset_kind (%s) or "
                         "instruction_field and response_field",
                         where, fl_buf_text(&text), FL_DATASET_KINDS);
    fl_buf_fini(&text);
    return status;
}

/* A later record that belongs to another kind is an error there: files that mix kinds are nearly
 * always two data sets that were joined by mistake. */
fl_status fl_reader_add(fl_dataset_reader *reader, const json_t *object)
{
    const char *where = fl_buf_text(&reader->where);
    FL_CHECK(json_is_object(object), FL_ERR_INPUT, "%s: a record must be an object", where);
    if (!reader->kind) {
        const fl_kind *kind = detect(object);
        if (!kind) return unknown_kind(object, where);
        FL_TRY(set_kind(reader, kind));
    }
    return reader->kind->read(reader, object);
}

fl_status fl_reader_copy(fl_dataset_reader *reader, const char **out, size_t *length,
                         const char *text, size_t text_length)
{
    char *copy;
    FL_TRY(fl_arena_text(reader->dataset->arena, &copy, text, text_length));
    *out = copy;
    *length = text_length;
    return FL_OK;
}

/* A name that the record may have: text, or an integer as text. */
static fl_status read_label(fl_dataset_reader *reader, const json_t *object, const char *key,
                            const char **out, size_t *length)
{
    const json_t *value = key[0] ? json_object_get(object, key) : NULL;
    if (!value) return FL_OK;
    fl_buf *text = &reader->text;
    if (json_is_integer(value)) {
        fl_buf_clear(text);
        FL_TRY(fl_buf_addf(text, "%lld", (long long)json_integer_value(value)));
        return fl_reader_copy(reader, out, length, fl_buf_text(text), text->length);
    }
    const char *name;
    FL_TRY(fl_json_get_string_or(&name, object, key, NULL, fl_buf_text(&reader->where)));
    return name ? fl_reader_copy(reader, out, length, name, strlen(name)) : FL_OK;
}

fl_status fl_reader_put(fl_dataset_reader *reader, const json_t *object, fl_record record)
{
    const fl_dataset_options *o = &reader->options;
    record.client = reader->client;
    record.client_length = reader->client_length;
    FL_TRY(read_label(reader, object, o->label_field, &record.label, &record.label_length));
    FL_TRY(read_label(reader, object, o->client_field, &record.client, &record.client_length));
    fl_dataset *dataset = reader->dataset;
    FL_TRY(fl_grow(&dataset->records, &dataset->capacity, dataset->count + 1, sizeof record));
    dataset->records[dataset->count++] = record;
    return FL_OK;
}
