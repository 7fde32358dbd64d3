/* CSV files: the header row names the fields of the records. */
#include "data/csv.h"
#include "data/dataset_impl.h"

#include <string.h>

/* The present row as an object; `names` is a list of strings. */
static fl_status make_object(json_t **out, const fl_csv *csv, const json_t *names)
{
    FL_CHECK(csv->count == json_array_size(names), FL_ERR_INPUT,
             "%s:%zu: %zu fields, but the header has %zu", csv->path, csv->line, csv->count,
             json_array_size(names));
    json_t *object = json_object();
    for (size_t i = 0; i < csv->count; i++)
        if (json_object_set_new(object, json_string_value(json_array_get(names, i)),
                                json_string(fl_csv_field(csv, i))) != 0) {
            json_decref(object);
            FL_FAIL(FL_ERR_INPUT, "%s:%zu: field %zu is not UTF-8", csv->path, csv->line, i + 1);
        }
    *out = object;
    return FL_OK;
}

static fl_status read_header(fl_csv *csv, json_t *names)
{
    bool found;
    FL_TRY(fl_csv_next(csv, &found));
    for (size_t i = 0; i < csv->count; i++)
        FL_CHECK(json_array_append_new(names, json_string(fl_csv_field(csv, i))) == 0, FL_ERR_INPUT,
                 "%s:%zu: the name of column %zu is not UTF-8", csv->path, csv->line, i + 1);
    json_t *object;
    FL_TRY(make_object(&object, csv, names));
    const size_t count = json_object_size(object);
    json_decref(object);
    FL_CHECK(count == csv->count, FL_ERR_INPUT, "%s:%zu: two columns have the same name", csv->path,
             csv->line);
    return FL_OK;
}

static fl_status read_row(fl_dataset_reader *reader, const fl_csv *csv, const json_t *names)
{
    json_t *object;
    FL_TRY(make_object(&object, csv, names));
    fl_buf_clear(&reader->where);
    fl_status status = fl_buf_addf(&reader->where, "%s:%zu", csv->path, csv->line);
    if (status == FL_OK) status = fl_reader_add(reader, object);
    json_decref(object);
    return status;
}

fl_status fl_read_csv(fl_dataset_reader *reader, const char *text, size_t length)
{
    FL_CHECK(!memchr(text, 0, length), FL_ERR_INPUT, "%s: holds a zero byte", reader->path);
    fl_csv csv = {.path = reader->path, .text = text, .length = length};
    json_t *names = json_array();
    fl_status status = names ? read_header(&csv, names)
                             : fl_fail(FL_ERR_MEMORY, "out of memory reading %s", reader->path);
    for (bool found = true; status == FL_OK && found;) {
        status = fl_csv_next(&csv, &found);
        if (status == FL_OK && found) status = read_row(reader, &csv, names);
    }
    json_decref(names);
    fl_csv_fini(&csv);
    return status;
}
