/* All tensors of all files become one table sorted by name, so that the model never asks which file
 * holds what.  The table is made from the index where there is one: a tensor may be in two shards,
 * and only the index says which of them counts.  Everything the index says is hostile until checked
 * against the folder and the shards. */
#include "io/weights.h"

#include "base/file.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "io/shape.h"

#include <stdlib.h>
#include <string.h>

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

enum { NAME_SHOWN = 160 }; /* of a name that a file gives, in a message */

typedef struct shard {
    char *file; /* name inside the folder */
    char *path;
    fl_safetensors *tensors;
} shard;

typedef struct entry {
    const char *name;
    const fl_tensor *tensor;
    const char *path; /* of the file that holds it, for messages */
} entry;

struct fl_weights {
    fl_arena *arena; /* all texts */
    char *dir;
    shard *shards;
    size_t num_shards, shard_capacity;
    entry *entries; /* sorted by name */
    size_t count, entry_capacity;
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* *out = the open shard of that file name, opened if it is new.  Valid until the next call. */
static fl_status get_shard(shard **out, fl_weights *weights, const char *file)
{
    for (size_t i = weights->num_shards; i-- > 0;) /* neighbours in the index share a shard */
        if (strcmp(weights->shards[i].file, file) == 0) {
            *out = &weights->shards[i];
            return FL_OK;
        }
    FL_TRY(fl_grow(&weights->shards, &weights->shard_capacity, weights->num_shards + 1,
                   sizeof *weights->shards));
    shard new = {0};
    fl_buf path = {0};
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, weights->dir, file), out);
    FL_TRY_GOTO(fl_arena_text(weights->arena, &new.path, path.data, path.length), out);
    FL_TRY_GOTO(fl_arena_text(weights->arena, &new.file, file, strlen(file)), out);
    FL_TRY_GOTO(fl_safetensors_open(&new.tensors, new.path), out);
    *out = &weights->shards[weights->num_shards++];
    **out = new;
out:
    fl_buf_fini(&path);
    return status;
}

static fl_status add_entry(fl_weights *weights, const fl_tensor *tensor, const char *path)
{
    FL_TRY(fl_grow(&weights->entries, &weights->entry_capacity, weights->count + 1,
                   sizeof *weights->entries));
    weights->entries[weights->count++] =
        (entry){.name = tensor->name, .tensor = tensor, .path = path};
    return FL_OK;
}

static fl_status add_whole_file(fl_weights *weights)
{
    shard *file;
    FL_TRY(get_shard(&file, weights, single_name));
    for (size_t i = 0; i < fl_safetensors_count(file->tensors); i++)
        FL_TRY(add_entry(weights, fl_safetensors_at(file->tensors, i), file->path));
    return FL_OK;
}

static fl_status add_listed(fl_weights *weights, const char *name, const json_t *value,
                            const char *index)
{
    FL_CHECK(json_is_string(value), FL_ERR_INPUT, "%s: the file of tensor %.*s is not a string",
             index, NAME_SHOWN, name);
    const char *file = json_string_value(value);
    /* The index must not make the program read files elsewhere. */
    FL_CHECK(file[0] && file[0] != '.' && !strchr(file, '/'), FL_ERR_INPUT,
             "%s: the file \"%.*s\" of tensor %.*s is not a plain file name", index, NAME_SHOWN,
             file, NAME_SHOWN, name);
    shard *holder;
    fl_status status = get_shard(&holder, weights, file);
    if (status != FL_OK) return fl_fail_context(status, "%s: tensor %.*s", index, NAME_SHOWN, name);
    const fl_tensor *tensor = fl_safetensors_find(holder->tensors, name);
    FL_CHECK(tensor, FL_ERR_INPUT, "%s: tensor %.*s is listed in %s but is not in that file", index,
             NAME_SHOWN, name, holder->path);
    return add_entry(weights, tensor, holder->path);
}

static fl_status add_index(fl_weights *weights, const char *path)
{
    json_t *index, *map;
    FL_TRY(fl_json_load_file(&index, path));
    fl_status status;
    FL_TRY_GOTO(fl_json_get_object(&map, index, "weight_map", path), out);
    const char *name;
    json_t *file;
    json_object_foreach(map, name, file)
    {
        FL_TRY_GOTO(add_listed(weights, name, file, path), out);
    }
out:
    json_decref(index);
    return status;
}

/* Says why the folder cannot be used; the usual reason, weights in pickle files, has a remedy. */
static fl_status no_weights(const char *dir, fl_buf *path)
{
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    FL_CHECK(fl_path_is_dir(dir), FL_ERR_IO, "%s: there is no such model folder", dir);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        FL_TRY(fl_path_join(path, dir, others[i]));
        FL_CHECK(!fl_path_exists(path->data), FL_ERR_UNSUPPORTED,
                 "%s: has its weights in %s, safetensors is needed: load the model with "
                 "Transformers and save it again with save_pretrained",
                 dir, others[i]);
    }
    FL_FAIL(FL_ERR_IO, "%s: neither %s nor %s is there", dir, single_name, index_name);
}

/* In the order in which Transformers looks for them. */
static fl_status add_tensors(fl_weights *weights, fl_buf *path)
{
    FL_TRY(fl_path_join(path, weights->dir, single_name));
    if (fl_path_exists(path->data)) return add_whole_file(weights);
    FL_TRY(fl_path_join(path, weights->dir, index_name));
    if (fl_path_exists(path->data)) return add_index(weights, path->data);
    return no_weights(weights->dir, path);
}

fl_status fl_weights_open(fl_weights **out, const char *dir)
{
    fl_weights *weights;
    FL_TRY(fl_alloc(&weights, 1, sizeof *weights));
    fl_buf path = {0};
    fl_status status;
    FL_TRY_GOTO(fl_arena_create(&weights->arena), out);
    FL_TRY_GOTO(fl_arena_text(weights->arena, &weights->dir, dir, strlen(dir)), out);
    FL_TRY_GOTO(add_tensors(weights, &path), out);
    if (weights->count)
        qsort(weights->entries, weights->count, sizeof *weights->entries, compare_entries);
    *out = weights;
out:
    fl_buf_fini(&path);
    if (status != FL_OK) fl_weights_close(weights);
    return status;
}

void fl_weights_close(fl_weights *weights)
{
    if (!weights) return;
    for (size_t i = 0; i < weights->num_shards; i++)
        fl_safetensors_close(weights->shards[i].tensors);
    fl_free(weights->shards);
    fl_free(weights->entries);
    fl_arena_destroy(weights->arena);
    fl_free(weights);
}

size_t fl_weights_count(const fl_weights *weights)
{
    return weights->count;
}

const fl_tensor *fl_weights_at(const fl_weights *weights, size_t index)
{
    return weights->entries[index].tensor;
}

static const entry *find(const fl_weights *weights, const char *name)
{
    if (weights->count == 0) return NULL;
    const entry key = {.name = name};
    return bsearch(&key, weights->entries, weights->count, sizeof key, compare_entries);
}

bool fl_weights_has(const fl_weights *weights, const char *name)
{
    return find(weights, name) != NULL;
}

const fl_tensor *fl_weights_find(const fl_weights *weights, const char *name)
{
    const entry *found = find(weights, name);
    return found ? found->tensor : NULL;
}

fl_status fl_weights_get(const fl_weights *weights, const char *name, int ndim, const int64_t *dim,
                         const fl_tensor **out)
{
    const entry *found = find(weights, name);
    FL_CHECK(found, FL_ERR_INPUT, "%s: there is no tensor %s", weights->dir, name);
    const fl_tensor *tensor = found->tensor;
    char has[FL_SHAPE_TEXT], wants[FL_SHAPE_TEXT];
    FL_CHECK(fl_shape_equal(tensor->ndim, tensor->dim, ndim, dim), FL_ERR_INPUT,
             "%s: tensor %s has shape %s, expected %s", found->path, name,
             fl_shape_text(has, tensor->ndim, tensor->dim), fl_shape_text(wants, ndim, dim));
    FL_CHECK(tensor->dtype == FL_F32 || tensor->dtype == FL_F16 || tensor->dtype == FL_BF16,
             FL_ERR_UNSUPPORTED, "%s: tensor %s has dtype %s, expected F32, F16 or BF16",
             found->path, name, fl_dtype_name(tensor->dtype));
    *out = tensor;
    return FL_OK;
}
