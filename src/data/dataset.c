/* Reading of files and folders; what their records mean stands in dataset_kind.c. */
#include "base/file.h"
#include "data/data_files.h"
#include "data/dataset_impl.h"

#include <string.h>

enum { BOM_LENGTH = 3, MAX_DEPTH = 4 };
static const size_t max_file_bytes = (size_t)1 << 34;

void fl_dataset_destroy(fl_dataset *dataset)
{
    if (!dataset) return;
    fl_arena_destroy(dataset->arena);
    fl_free(dataset->records);
    fl_free(dataset);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The records of an array; `name` names their list in errors. */
static fl_status add_array(fl_dataset_reader *reader, const json_t *array, const char *name)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        fl_buf_clear(&reader->where);
        FL_TRY(fl_buf_addf(&reader->where, "%s: %srecord %zu", reader->path, name, i + 1));
        FL_TRY(fl_reader_add(reader, json_array_get(array, i)));
    }
    return FL_OK;
}

/* An array is parsed as a whole; its tree takes several times the size of the file until it is
 * released.  JSON Lines need one line at a time. */
static fl_status read_array(fl_dataset_reader *reader, const char *text, size_t length)
{
    json_t *array;
    FL_TRY(fl_json_parse(&array, text, length, reader->path, 1));
    const fl_status status = add_array(reader, array, "");
    json_decref(array);
    return status;
}

/* {client: [records]}: all values are arrays, and it is not a record of that shape. */
static bool holds_clients(const json_t *object)
{
    if (fl_kind_fits(object)) return false;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) if (!json_is_array(value)) return false;
    return json_object_size(object) > 0;
}

static fl_status add_clients(fl_dataset_reader *reader, const json_t *object)
{
    const char *name;
    json_t *records;
    fl_buf list = {0};
    fl_status status = FL_OK;
    json_object_foreach((json_t *)object, name, records)
    {
        fl_buf_clear(&list);
        status = fl_buf_addf(&list, "client %.80s: ", name);
        if (status == FL_OK)
            status =
                fl_reader_copy(reader, &reader->client, &reader->client_length, name, strlen(name));
        if (status == FL_OK) status = add_array(reader, records, fl_buf_text(&list));
        if (status != FL_OK) break;
    }
    fl_buf_fini(&list);
    return status;
}

static fl_status read_object(fl_dataset_reader *reader, const char *text, size_t length,
                             size_t number, bool is_alone)
{
    json_t *object;
    FL_TRY(fl_json_parse(&object, text, length, reader->path, number));
    fl_buf_clear(&reader->where);
    fl_status status = fl_buf_addf(&reader->where, "%s:%zu", reader->path, number);
    if (status == FL_OK)
        status = is_alone && holds_clients(object) ? add_clients(reader, object)
                                                   : fl_reader_add(reader, object);
    json_decref(object);
    return status;
}

/* Empty lines are skipped but counted, so that an error names the line an editor shows. */
static fl_status read_lines(fl_dataset_reader *reader, const char *text, size_t length)
{
    size_t number = 1;
    for (size_t at = 0; at < length; number++) {
        const char *newline = memchr(text + at, '\n', length - at);
        const size_t end = newline ? (size_t)(newline - text) : length;
        size_t line_length = end - at;
        const char *line = fl_trim(text + at, &line_length);
        if (line_length) FL_TRY(read_object(reader, line, line_length, number, false));
        at = end + 1;
    }
    return FL_OK;
}

/* Is the text one object, perhaps over many lines?  Counts brackets; what is no JSON is found out
 * by who parses it. */
static bool is_one_object(const char *text, size_t length)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted)
            i += text[i] == '\\';
        else if (text[i] == '{')
            depth++;
        else if (text[i] == '}' && depth-- <= 1)
            return i + 1 == length;
        if (depth == 0) return false;
    }
    return true;
}

static fl_status read_json(fl_dataset_reader *reader, const char *text, size_t length)
{
    size_t first = 0, line = 1;
    for (; first < length && is_space(text[first]); first++)
        line += text[first] == '\n';
    if (first < length && text[first] == '[') return read_array(reader, text, length);
    size_t left = length - first;
    const char *object = fl_trim(text + first, &left);
    return is_one_object(object, left) && left ? read_object(reader, object, left, line, true)
                                               : read_lines(reader, text, length);
}

static fl_status read_text(fl_dataset_reader *reader, const char *text, size_t length)
{
    FL_CHECK(length < 4 || memcmp(text, "PAR1", 4) != 0, FL_ERR_UNSUPPORTED,
             "%s: is a Parquet file; data_tools/parquet_to_jsonl.py makes JSON Lines of it",
             reader->path);
    if (length >= BOM_LENGTH && memcmp(text, "\xef\xbb\xbf", BOM_LENGTH) == 0) {
        text += BOM_LENGTH;
        length -= BOM_LENGTH;
    }
    const size_t before = reader->dataset->count;
    FL_TRY((fl_data_is_csv(reader->path) ? fl_read_csv : read_json)(reader, text, length));
    FL_CHECK(reader->dataset->count > before, FL_ERR_INPUT, "%s: holds no records", reader->path);
    return FL_OK;
}

static fl_status read_file(fl_dataset_reader *reader, const char *path)
{
    fl_buf text = {0};
    reader->path = path;
    fl_status status = fl_file_read(&text, path, max_file_bytes);
    if (status == FL_OK) status = read_text(reader, fl_buf_text(&text), text.length);
    fl_buf_fini(&text);
    return status;
}

/* A file's path below the folder, without its ending, is the client of its records. */
static fl_status read_files(fl_dataset_reader *reader, const char *folder,
                            const fl_data_files *files)
{
    FL_CHECK(
        files->count || !files->has_parquet, FL_ERR_UNSUPPORTED,
        "%s: holds Parquet files only; data_tools/parquet_to_jsonl.py makes JSON Lines of them",
        folder);
    FL_CHECK(files->count, FL_ERR_INPUT, "%s: no .json, .jsonl or .csv file in this folder",
             folder);
    fl_buf path = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < files->count && status == FL_OK; i++) {
        reader->client = NULL;
        FL_TRY_GOTO(fl_reader_copy(reader, &reader->client, &reader->client_length, files->names[i],
                                   fl_data_stem(files->names[i])),
                    out);
        FL_TRY_GOTO(fl_path_join(&path, folder, files->names[i]), out);
        FL_TRY_GOTO(read_file(reader, fl_buf_text(&path)), out);
    }
out:
    fl_buf_fini(&path);
    return status;
}

static fl_status read_folder(fl_dataset_reader *reader, const char *folder)
{
    fl_data_files files;
    fl_status status = fl_data_files_list(&files, reader->dataset->arena, folder, MAX_DEPTH);
    fl_data_files_choose(&files, reader->split);
    if (status == FL_OK) status = read_files(reader, folder, &files);
    fl_data_files_fini(&files);
    return status;
}

fl_status fl_reader_load(fl_dataset_reader *reader, const char *path)
{
    return (fl_path_is_dir(path) ? read_folder : read_file)(reader, path);
}

fl_status fl_reader_open(fl_dataset_reader *reader, const fl_dataset_options *options)
{
    *reader = (fl_dataset_reader){.split = "train"};
    FL_TRY(fl_alloc(&reader->dataset, 1, sizeof *reader->dataset));
    FL_TRY(fl_arena_create(&reader->dataset->arena));
    return fl_reader_set_options(reader, options);
}

fl_status fl_reader_close(fl_dataset_reader *reader, fl_status status, fl_dataset **out)
{
    fl_buf_fini(&reader->where);
    fl_buf_fini(&reader->text);
    if (status == FL_OK)
        *out = reader->dataset;
    else
        fl_dataset_destroy(reader->dataset);
    return status;
}

fl_status fl_dataset_load(fl_dataset **out, const char *path, const fl_dataset_options *options)
{
    fl_dataset_reader reader;
    fl_status status = fl_reader_open(&reader, options);
    if (status == FL_OK) status = fl_reader_load(&reader, path);
    return fl_reader_close(&reader, status, out);
}
