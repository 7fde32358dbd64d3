/* The folder is listed once; names are copied, so that the caller may work on it in any order. */
#include "io/model_files.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";
static const char config_name[] = "config.json";

/* ---- names ---------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Folders have tens of files; a search tree would be more than they are worth. */
static bool has_name(const fl_file_names *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0) return true;
    return false;
}

static fl_status add_name(fl_model_files *files, fl_file_names *list, const char *name)
{
    char *copy;
    FL_TRY(fl_grow(&list->names, &list->capacity, list->count + 1, sizeof *list->names));
    FL_TRY(fl_arena_text(files->arena, &copy, name, strlen(name)));
    list->names[list->count++] = copy;
    return FL_OK;
}

static void sort_names(fl_file_names *list)
{
    if (list->count) qsort(list->names, list->count, sizeof *list->names, compare_names);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);
    return length > tail && strcmp(name + length - tail, ending) == 0;
}

/* Weights that are not merged must not lie beside those that are: somebody would load them. */
static bool holds_weights(const char *name)
{
    static const char *const endings[] = {".safetensors", ".bin", ".pt",      ".pth",       ".ckpt",
                                          ".gguf",        ".h5",  ".msgpack", ".index.json"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (ends_with(name, endings[i])) return true;
    return false;
}

/* ---- listing -------------------------------------------------------------------------------- */

/* The index must not make the program read, or write, files elsewhere. */
static fl_status list_shards(fl_model_files *files, const char *index_path)
{
    json_t *map, *value;
    const char *tensor;
    FL_TRY(fl_json_get_object(&map, files->index, "weight_map", index_path));
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        FL_CHECK(name && name[0] && name[0] != '.' && !strchr(name, '/'), FL_ERR_INPUT,
                 "%s: the file of tensor %.160s is not a plain file name", index_path, tensor);
        if (!has_name(&files->shards, name)) FL_TRY(add_name(files, &files->shards, name));
    }
    FL_CHECK(files->shards.count, FL_ERR_INPUT, "%s: weight_map is empty", index_path);
    return FL_OK;
}

/* As fl_weights_open chooses: one file if it is there, else the index. */
static fl_status find_shards(fl_model_files *files)
{
    fl_buf path = {0};
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, files->dir, single_name), out);
    if (fl_path_exists(path.data)) {
        status = add_name(files, &files->shards, single_name);
        goto out;
    }
    FL_TRY_GOTO(fl_path_join(&path, files->dir, index_name), out);
    FL_CHECK_GOTO(fl_path_exists(path.data), out, FL_ERR_IO, "%s: neither %s nor %s is there",
                  files->dir, single_name, index_name);
    FL_TRY_GOTO(fl_json_load_file(&files->index, path.data), out);
    status = list_shards(files, path.data);
out:
    fl_buf_fini(&path);
    return status;
}

/* Hidden files are those of version control and of download tools, not of the model. */
static fl_status sort_entry(fl_model_files *files, const char *name, fl_buf *path)
{
    FL_TRY(fl_path_join(path, files->dir, name));
    bool is_index = files->index && strcmp(name, index_name) == 0;
    if (is_index || has_name(&files->shards, name)) return FL_OK;
    bool is_other = !holds_weights(name) && !fl_path_is_dir(path->data);
    return add_name(files, is_other ? &files->others : &files->left_out, name);
}

static fl_status list_folder(fl_model_files *files)
{
    DIR *folder = opendir(files->dir);
    FL_CHECK(folder, FL_ERR_IO, "%s: cannot be read: %s", files->dir, strerror(errno));
    fl_buf path = {0};
    fl_status status = FL_OK;
    for (struct dirent *entry; status == FL_OK && (entry = readdir(folder));)
        if (entry->d_name[0] != '.') status = sort_entry(files, entry->d_name, &path);
    closedir(folder);
    fl_buf_fini(&path);
    return status;
}

static fl_status list(fl_model_files *files, const char *dir)
{
    char *copy;
    FL_TRY(fl_arena_create(&files->arena));
    FL_TRY(fl_arena_text(files->arena, &copy, dir, strlen(dir)));
    files->dir = copy;
    FL_CHECK(fl_path_is_dir(dir), FL_ERR_IO, "%s: there is no such model folder", dir);
    FL_TRY(find_shards(files));
    FL_TRY(list_folder(files));
    FL_CHECK(has_name(&files->others, config_name), FL_ERR_IO, "%s: there is no %s", dir,
             config_name);
    sort_names(&files->shards);
    sort_names(&files->others);
    sort_names(&files->left_out);
    return FL_OK;
}

fl_status fl_model_files_open(fl_model_files *out, const char *dir)
{
    *out = (fl_model_files){0};
    fl_status status = list(out, dir);
    if (status != FL_OK) fl_model_files_close(out);
    return status;
}

void fl_model_files_close(fl_model_files *files)
{
    json_decref(files->index);
    fl_free(files->shards.names);
    fl_free(files->others.names);
    fl_free(files->left_out.names);
    fl_arena_destroy(files->arena);
    *files = (fl_model_files){0};
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Through a map: config and tokenizer are small, and nothing else is copied. */
fl_status fl_model_files_copy(const fl_model_files *files, const char *name, const char *to)
{
    fl_buf from_path = {0}, to_path = {0};
    fl_map map = {0};
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&from_path, files->dir, name), out);
    FL_TRY_GOTO(fl_path_join(&to_path, to, name), out);
    FL_TRY_GOTO(fl_map_open(&map, from_path.data), out);
    status = fl_file_write_atomic(to_path.data, map.data, map.length);
out:
    fl_map_close(&map);
    fl_buf_fini(&from_path);
    fl_buf_fini(&to_path);
    return status;
}

static int add_to_buf(const char *text, size_t length, void *buf)
{
    return fl_buf_add(buf, text, length) == FL_OK ? 0 : -1;
}

static fl_status dump_json(fl_buf *out, const json_t *value, size_t digits)
{
    fl_buf_clear(out);
    FL_CHECK(json_dump_callback(value, add_to_buf, out,
                                JSON_INDENT(2) | JSON_REAL_PRECISION(digits)) == 0,
             FL_ERR_MEMORY, "out of memory for JSON text");
    return fl_buf_add_text(out, "\n");
}

/* 15 digits keep 1e-05 as a person wrote it; 17, which are always exact, only where 15 are not. */
static fl_status write_json(const json_t *value, const char *to, const char *name)
{
    fl_buf path = {0}, text = {0};
    json_t *back = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, to, name), out);
    FL_TRY_GOTO(dump_json(&text, value, 15), out);
    FL_TRY_GOTO(fl_json_parse(&back, text.data, text.length, path.data, 1), out);
    if (!json_equal(back, value)) FL_TRY_GOTO(dump_json(&text, value, 17), out);
    status = fl_file_write_atomic(path.data, text.data, text.length);
out:
    json_decref(back);
    fl_buf_fini(&path);
    fl_buf_fini(&text);
    return status;
}

fl_status fl_model_files_check_plain(const fl_model_files *files)
{
    fl_buf path = {0};
    json_t *config = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, files->dir, config_name), out);
    FL_TRY_GOTO(fl_json_load_file(&config, path.data), out);
    FL_CHECK_GOTO(!json_is_object(json_object_get(config, "quantization_config")), out,
                  FL_ERR_UNSUPPORTED,
                  "%s: has a quantization_config: take the model that was quantised, in fp32, fp16 "
                  "or bf16",
                  path.data);
out:
    json_decref(config);
    fl_buf_fini(&path);
    return status;
}

fl_status fl_model_files_write_config(const fl_model_files *files, const char *to, const char *word)
{
    fl_buf path = {0};
    json_t *config = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, files->dir, config_name), out);
    FL_TRY_GOTO(fl_json_load_file(&config, path.data), out);
    FL_CHECK_GOTO(json_is_object(config), out, FL_ERR_INPUT, "%s: is not an object", path.data);
    /* Transformers 5 writes dtype, older ones read only torch_dtype, and all read that */
    bool has_new = json_object_get(config, "dtype") != NULL;
    if (has_new) json_object_set_new(config, "dtype", json_string(word));
    if (!has_new || json_object_get(config, "torch_dtype"))
        json_object_set_new(config, "torch_dtype", json_string(word));
    status = write_json(config, to, config_name);
out:
    json_decref(config);
    fl_buf_fini(&path);
    return status;
}

/* Some writers leave metadata out; then there is no size to correct. */
fl_status fl_model_files_write_index(const fl_model_files *files, const char *to,
                                     int64_t total_size)
{
    json_t *metadata = json_object_get(files->index, "metadata");
    if (json_is_object(metadata))
        json_object_set_new(metadata, "total_size", json_integer(total_size));
    return write_json(files->index, to, index_name);
}
