#include "data/dataset.h"

#include "base/file.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

enum { BOM_LENGTH = 3 };
static const size_t max_file_bytes = (size_t)1 << 34;

/* How the fields of a record become instruction and response.  A record's kind is the first one
 * whose two required fields it has. */
typedef struct kind {
    const char *name;
    const char *instruction;
    const char *response;
    const char *input; /* optional field, added to the instruction after a space; NULL for none */
} kind;

static const kind kinds[] = {
    {.name = "alpaca", .instruction = "instruction", .response = "output", .input = "input"},
    {.name = "instruction_response", .instruction = "instruction", .response = "response"},
};
static const char kind_names[] = "alpaca|instruction_response";

const char *fl_dataset_kinds(void)
{
    return kind_names;
}

void fl_dataset_destroy(fl_dataset *dataset)
{
    if (!dataset) return;
    fl_arena_destroy(dataset->arena);
    fl_free(dataset->records);
    fl_free(dataset);
}

/* What reading one file needs. */
struct reader {
    fl_dataset *dataset;
    const kind *kind; /* NULL until the first record */
    const char *path;
    fl_dataset_options options;
    fl_buf where; /* names the present record: "PATH:12" or "PATH: record 12" */
};

static fl_status unknown_kind(const json_t *record, const char *where)
{
    fl_buf text = {0};
    fl_status status = FL_OK;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)record, name, value) if (status == FL_OK) status =
        fl_buf_addf(&text, "%s%.40s", text.length ? ", " : "", name);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == FL_OK; i++)
        status = fl_buf_addf(&text, "%s%s (%s, %s)", i ? ", " : "; kinds are ", kinds[i].name,
                             kinds[i].instruction, kinds[i].response);
    if (status == FL_OK)
        status = fl_fail(FL_ERR_UNSUPPORTED, "%s: no kind of data set has just the fields %s",
                         where, fl_buf_text(&text));
    fl_buf_fini(&text);
    return status;
}

/* A later record that belongs to another kind is an error there: files that mix kinds are nearly
 * always two data sets that were joined by mistake. */
static fl_status find_kind(struct reader *reader, const json_t *record)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (json_object_get(record, kinds[i].instruction) &&
            json_object_get(record, kinds[i].response)) {
            reader->kind = &kinds[i];
            reader->dataset->kind = kinds[i].name;
            return FL_OK;
        }
    return unknown_kind(record, reader->where.data);
}

/* *out, *length = instruction, or instruction + " " + input; lives in the arena. */
static fl_status join_instruction(fl_arena *arena, const char **out, size_t *length,
                                  const char *instruction, const char *input)
{
    const size_t first = strlen(instruction), second = strlen(input);
    char *text;
    if (second == 0) {
        FL_TRY(fl_arena_text(arena, &text, instruction, first));
        *length = first;
    } else {
        FL_TRY(fl_arena_alloc(arena, &text, first + second + 2, 1));
        memcpy(text, instruction, first);
        text[first] = ' ';
        memcpy(text + first + 1, input, second);
        *length = first + 1 + second;
    }
    *out = text;
    return FL_OK;
}

static fl_status copy_text(fl_arena *arena, const char **out, size_t *length, const char *text)
{
    char *copy;
    *length = strlen(text);
    FL_TRY(fl_arena_text(arena, &copy, text, *length));
    *out = copy;
    return FL_OK;
}

/* A name or a number as text; *out stays NULL where the record has no such field. */
static fl_status copy_field(struct reader *reader, const char **out, size_t *length,
                            const json_t *object, const char *field)
{
    char digits[24];
    const char *text = digits, *where = fl_buf_text(&reader->where);
    const json_t *value = field && field[0] ? json_object_get(object, field) : NULL;
    if (!value || json_is_null(value)) return FL_OK;
    if (json_is_integer(value))
        snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
    else
        FL_TRY(fl_json_get_string(&text, object, field, where));
    return copy_text(reader->dataset->arena, out, length, text);
}

static fl_status add_record(struct reader *reader, const json_t *object)
{
    fl_dataset *dataset = reader->dataset;
    const char *where = fl_buf_text(&reader->where);
    FL_CHECK(json_is_object(object), FL_ERR_INPUT, "%s: a record must be an object", where);
    if (!reader->kind) FL_TRY(find_kind(reader, object));

    const char *instruction, *response, *domain, *input = "";
    FL_TRY(fl_json_get_string(&instruction, object, reader->kind->instruction, where));
    FL_TRY(fl_json_get_string(&response, object, reader->kind->response, where));
    FL_TRY(fl_json_get_string_or(&domain, object, "domain", NULL, where));
    if (reader->kind->input && json_object_get(object, reader->kind->input))
        FL_TRY(fl_json_get_string(&input, object, reader->kind->input, where));

    fl_record record = {0};
    FL_TRY(join_instruction(dataset->arena, &record.instruction, &record.instruction_length,
                            instruction, input));
    FL_TRY(copy_text(dataset->arena, &record.response, &record.response_length, response));
    if (domain) FL_TRY(copy_text(dataset->arena, &record.domain, &record.domain_length, domain));
    FL_TRY(copy_field(reader, &record.label, &record.label_length, object,
                      reader->options.label_field));
    FL_TRY(copy_field(reader, &record.client, &record.client_length, object,
                      reader->options.client_field));
    FL_TRY(fl_grow(&dataset->records, &dataset->capacity, dataset->count + 1, sizeof record));
    dataset->records[dataset->count++] = record;
    return FL_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The text without white space at both ends. */
static void trim(const char **text, size_t *length)
{
    while (*length > 0 && is_space((*text)[0])) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && is_space((*text)[*length - 1]))
        (*length)--;
}

/* An array is parsed as a whole; its tree takes several times the size of the file until it is
 * released.  JSON Lines need one line at a time. */
static fl_status read_array(struct reader *reader, const char *text, size_t length)
{
    json_t *array;
    FL_TRY(fl_json_parse(&array, text, length, reader->path, 1));
    fl_status status = FL_OK;
    for (size_t i = 0; i < json_array_size(array) && status == FL_OK; i++) {
        fl_buf_clear(&reader->where);
        status = fl_buf_addf(&reader->where, "%s: record %zu", reader->path, i + 1);
        if (status == FL_OK) status = add_record(reader, json_array_get(array, i));
    }
    json_decref(array);
    return status;
}

static fl_status read_line(struct reader *reader, const char *text, size_t length, size_t number)
{
    trim(&text, &length);
    if (length == 0) return FL_OK;
    json_t *object;
    FL_TRY(fl_json_parse(&object, text, length, reader->path, number));
    fl_buf_clear(&reader->where);
    fl_status status = fl_buf_addf(&reader->where, "%s:%zu", reader->path, number);
    if (status == FL_OK) status = add_record(reader, object);
    json_decref(object);
    return status;
}

/* Empty lines are skipped but counted, so that an error names the line an editor shows. */
static fl_status read_lines(struct reader *reader, const char *text, size_t length)
{
    size_t number = 1;
    for (size_t at = 0; at < length; number++) {
        const char *newline = memchr(text + at, '\n', length - at);
        const size_t end = newline ? (size_t)(newline - text) : length;
        FL_TRY(read_line(reader, text + at, end - at, number));
        at = end + 1;
    }
    return FL_OK;
}

static fl_status read_text(struct reader *reader, const char *text, size_t length)
{
    if (length >= BOM_LENGTH && memcmp(text, "\xef\xbb\xbf", BOM_LENGTH) == 0) {
        text += BOM_LENGTH;
        length -= BOM_LENGTH;
    }
    size_t first = 0;
    while (first < length && is_space(text[first]))
        first++;
    FL_TRY(first < length && text[first] == '[' ? read_array(reader, text, length)
                                                : read_lines(reader, text, length));
    FL_CHECK(reader->dataset->count > 0, FL_ERR_INPUT, "%s: holds no records", reader->path);
    return FL_OK;
}

fl_status fl_dataset_load(fl_dataset **out, const char *path, const fl_dataset_options *options)
{
    struct reader reader = {.path = path};
    if (options) reader.options = *options;
    fl_buf text = {0};
    fl_status status;
    FL_TRY(fl_alloc(&reader.dataset, 1, sizeof *reader.dataset));
    FL_TRY_GOTO(fl_arena_create(&reader.dataset->arena), out);
    FL_TRY_GOTO(fl_file_read(&text, path, max_file_bytes), out);
    FL_TRY_GOTO(read_text(&reader, fl_buf_text(&text), text.length), out);
    *out = reader.dataset;
    reader.dataset = NULL;
out:
    fl_buf_fini(&reader.where);
    fl_buf_fini(&text);
    fl_dataset_destroy(reader.dataset);
    return status;
}
