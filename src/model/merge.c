/* Two passes over the shards: the first looks at headers only and finds everything that does not
 * fit, the second writes.  Both open one shard at a time; a shard is a map, so what the process
 * itself holds is a chunk of one tensor and two factors. */
#include "model/merge.h"

#include "backend/ops.h"
#include "base/file.h"
#include "base/log.h"
#include "io/adapter.h"
#include "io/model_files.h"
#include "io/safetensors.h"
#include "io/shape.h"

#include <string.h>
#include <unistd.h>

static const char index_name[] = "model.safetensors.index.json", config_name[] = "config.json";

enum { CHUNK = 1 << 20, NAME_SHOWN = 160 }; /* elements that are widened at a time */

/* The two factors for one tensor of the base. */
typedef struct pair {
    char *base_name; /* "model.layers.0.self_attn.q_proj.weight" */
    const fl_tensor *a, *b;
    int64_t r;
    float scale;
    bool is_used;
} pair;

typedef struct merger {
    const fl_merge_job *job;
    fl_merge_result *result;
    fl_model_files files;
    fl_adapter_info info;
    fl_safetensors *adapter; /* NULL: none */
    pair *pairs;
    size_t num_pairs;
    fl_safetensors *shard; /* in work */
    const char *shard_name;
    float *wide, *a, *b; /* chunk of a tensor, factors; grown as needed */
    uint16_t *narrow;    /* the chunk in 16 bits */
    size_t wide_capacity, narrow_capacity, a_capacity, b_capacity;
    bool made_folder;
    fl_arena *arena;
} merger;

/* ---- the adapter ---------------------------------------------------------------------------- */

/* *base_name = the tensor that the factor belongs to, NULL when the name is no factor's. */
static fl_status base_name_of(merger *m, const char *name, const char *ending, char **base_name)
{
    static const char start[] = "base_model.model.", tail[] = "weight";
    size_t length = strlen(name), before = strlen(start), after = strlen(ending);
    *base_name = NULL;
    if (length <= before + after || strncmp(name, start, before) != 0 ||
        strcmp(name + length - after, ending) != 0)
        return FL_OK;
    /* NAME.lora_A.weight -> NAME.weight */
    size_t kept = length - before - after + 1;
    FL_TRY(fl_arena_alloc(m->arena, base_name, kept + sizeof tail, 1));
    memcpy(*base_name, name + before, kept);
    memcpy(*base_name + kept, tail, sizeof tail);
    return FL_OK;
}

static fl_status check_factor(int64_t r, const fl_tensor *tensor, int rank_dim)
{
    char shape[FL_SHAPE_TEXT];
    FL_CHECK(tensor->dtype == FL_F32 || tensor->dtype == FL_F16 || tensor->dtype == FL_BF16,
             FL_ERR_UNSUPPORTED, "has dtype %s, expected F32, F16 or BF16",
             fl_dtype_name(tensor->dtype));
    FL_CHECK(tensor->ndim == 2 && tensor->dim[rank_dim] == r, FL_ERR_INPUT,
             "has shape %s, which does not fit r = %lld",
             fl_shape_text(shape, tensor->ndim, tensor->dim), (long long)r);
    return FL_OK;
}

/* Rank and scale of the pair's module, "model.layers.0.self_attn.q_proj". */
static fl_status find_size(const merger *m, pair *found)
{
    size_t length = strlen(found->base_name) - strlen(".weight");
    char *path;
    double scale;
    FL_TRY(fl_arena_text(m->arena, &path, found->base_name, length));
    FL_TRY(fl_adapter_module(&m->info, path, &found->r, &scale));
    found->scale = (float)scale;
    return FL_OK;
}

static fl_status add_pair(merger *m, const fl_tensor *a)
{
    char name[512], *base_name;
    FL_TRY(base_name_of(m, a->name, ".lora_A.weight", &base_name));
    if (!base_name) { /* a B has its A, found below; everything else is unknown */
        FL_TRY(base_name_of(m, a->name, ".lora_B.weight", &base_name));
        FL_CHECK(base_name, FL_ERR_UNSUPPORTED, "is neither lora_A nor lora_B of a linear");
        return FL_OK;
    }
    size_t length = strlen(a->name), at = length - strlen("A.weight");
    FL_CHECK(length < sizeof name, FL_ERR_INPUT, "has too long a name");
    memcpy(name, a->name, length + 1);
    name[at] = 'B';
    const fl_tensor *b = fl_safetensors_find(m->adapter, name);
    FL_CHECK(b, FL_ERR_INPUT, "has no lora_B");
    pair found = {.base_name = base_name, .a = a, .b = b};
    FL_TRY(find_size(m, &found));
    FL_TRY(check_factor(found.r, a, 0));
    FL_TRY(check_factor(found.r, b, 1));
    m->pairs[m->num_pairs++] = found;
    return FL_OK;
}

static fl_status pair_up(merger *m, const char *path)
{
    size_t count = fl_safetensors_count(m->adapter);
    FL_TRY(fl_arena_alloc(m->arena, &m->pairs, count, sizeof *m->pairs));
    for (size_t i = 0; i < count; i++) {
        const fl_tensor *tensor = fl_safetensors_at(m->adapter, i);
        fl_status status = add_pair(m, tensor);
        if (status != FL_OK)
            return fl_fail_context(status, "%s: tensor %.*s", path, NAME_SHOWN, tensor->name);
    }
    FL_CHECK(2 * m->num_pairs == count && count > 0, FL_ERR_INPUT,
             "%s: does not hold pairs of lora_A and lora_B", path);
    return FL_OK;
}

static fl_status open_adapter(merger *m)
{
    if (!m->job->adapter) return FL_OK;
    fl_buf path = {0};
    fl_status status;
    FL_TRY_GOTO(fl_adapter_read_info(&m->info, m->job->adapter), out);
    FL_TRY_GOTO(fl_path_join(&path, m->job->adapter, "adapter_model.safetensors"), out);
    FL_TRY_GOTO(fl_safetensors_open(&m->adapter, path.data), out);
    status = pair_up(m, path.data);
out:
    fl_buf_fini(&path);
    return status;
}

/* Hundreds of pairs at most: a plain search costs nothing beside reading the weights. */
static pair *find_pair(const merger *m, const char *name)
{
    for (size_t i = 0; i < m->num_pairs; i++)
        if (strcmp(m->pairs[i].base_name, name) == 0) return &m->pairs[i];
    return NULL;
}

/* ---- checking ------------------------------------------------------------------------------- */

static bool is_float(fl_dtype dtype)
{
    return dtype == FL_F32 || dtype == FL_F16 || dtype == FL_BF16;
}

/* Integers and double precision are no weights of a linear: they stay as they are. */
static fl_dtype new_dtype(const merger *m, fl_dtype dtype)
{
    return m->job->changes_dtype && is_float(dtype) ? m->job->dtype : dtype;
}

static fl_status open_shard(merger *m, const char *name)
{
    fl_buf path = {0};
    m->shard_name = name;
    fl_status status = fl_path_join(&path, m->files.dir, name);
    if (status == FL_OK) status = fl_safetensors_open(&m->shard, path.data);
    fl_buf_fini(&path);
    return status;
}

static void close_shard(merger *m)
{
    fl_safetensors_close(m->shard);
    m->shard = NULL;
}

/* is_used is set once even where two shards hold the same tensor; both are merged then. */
static fl_status check_tensor(merger *m, const fl_tensor *tensor)
{
    m->result->num_tensors++;
    m->result->weight_bytes +=
        fl_tensor_count(tensor) * (int64_t)fl_dtype_size(new_dtype(m, tensor->dtype));
    pair *found = find_pair(m, tensor->name);
    if (!found) return FL_OK;
    int64_t expected[] = {found->b->dim[0], found->a->dim[1]};
    char has[FL_SHAPE_TEXT], wants[FL_SHAPE_TEXT];
    FL_CHECK(is_float(tensor->dtype) && fl_shape_equal(tensor->ndim, tensor->dim, 2, expected),
             FL_ERR_INPUT, "tensor %.*s is %s %s, the adapter is made for %s", NAME_SHOWN,
             tensor->name, fl_dtype_name(tensor->dtype),
             fl_shape_text(has, tensor->ndim, tensor->dim), fl_shape_text(wants, 2, expected));
    m->result->num_merged += !found->is_used;
    found->is_used = true;
    return FL_OK;
}

static fl_status check_shard(merger *m)
{
    for (size_t i = 0; i < fl_safetensors_count(m->shard); i++) {
        fl_status status = check_tensor(m, fl_safetensors_at(m->shard, i));
        if (status != FL_OK) return fl_fail_context(status, "%s/%s", m->files.dir, m->shard_name);
    }
    return FL_OK;
}

/* Everything that can be known before the first byte is written. */
static fl_status check_all(merger *m)
{
    for (size_t i = 0; i < m->files.shards.count; i++) {
        FL_TRY(open_shard(m, m->files.shards.names[i]));
        FL_TRY(check_shard(m));
        close_shard(m);
    }
    for (size_t i = 0; i < m->num_pairs; i++)
        FL_CHECK(m->pairs[i].is_used, FL_ERR_INPUT, "%s: there is no tensor %.*s for the adapter",
                 m->files.dir, NAME_SHOWN, m->pairs[i].base_name);
    m->result->num_files = m->files.shards.count + m->files.others.count + (m->files.index != NULL);
    m->result->num_left_out = m->files.left_out.count;
    return FL_OK;
}

/* ---- the mathematics ------------------------------------------------------------------------ */

/* Writes wide[count] in the type of `tensor`. */
static fl_status put_wide(merger *m, const fl_tensor *tensor, fl_file_writer *file, size_t count)
{
    bool finite;
    const void *data = m->wide;
    if (tensor->dtype == FL_F32) {
        finite = fl_all_finite(m->wide, count);
    } else {
        FL_TRY(fl_grow(&m->narrow, &m->narrow_capacity, count, sizeof *m->narrow));
        finite = fl_from_f32(m->narrow, tensor->dtype, m->wide, count);
        data = m->narrow;
    }
    FL_CHECK(finite, FL_ERR_INPUT,
             "%s/%s: tensor %.*s: a value is NaN, infinite or too large for %s", m->files.dir,
             m->shard_name, NAME_SHOWN, tensor->name, fl_dtype_name(tensor->dtype));
    return fl_file_put(file, data, count * fl_dtype_size(tensor->dtype));
}

static const void *element(const fl_tensor *tensor, size_t index)
{
    return (const char *)tensor->data + index * fl_dtype_size(tensor->dtype);
}

/* Another type, no adapter. */
static fl_status put_converted(merger *m, const fl_tensor *to, const fl_tensor *from,
                               fl_file_writer *file)
{
    size_t count = (size_t)fl_tensor_count(from);
    FL_TRY(fl_grow(&m->wide, &m->wide_capacity, CHUNK, sizeof *m->wide));
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < CHUNK ? count - done : CHUNK;
        fl_to_f32(m->wide, element(from, done), from->dtype, n);
        FL_TRY(put_wide(m, to, file, n));
    }
    return FL_OK;
}

static fl_status widen(float **out, size_t *capacity, const fl_tensor *tensor)
{
    size_t count = (size_t)fl_tensor_count(tensor);
    FL_TRY(fl_grow(out, capacity, count, sizeof **out));
    fl_to_f32(*out, tensor->data, tensor->dtype, count);
    return FL_OK;
}

/* W + scale * B A, some rows at a time.  The cpu backend's product is used by name: files are read
 * and written in host memory. */
static fl_status put_merged(merger *m, const fl_tensor *to, const fl_tensor *from,
                            const pair *factors, fl_file_writer *file)
{
    int64_t rows = from->dim[0], cols = from->dim[1], r = factors->r;
    int64_t step = cols < CHUNK ? CHUNK / (cols > 0 ? cols : 1) : 1;
    FL_TRY(widen(&m->a, &m->a_capacity, factors->a));
    FL_TRY(widen(&m->b, &m->b_capacity, factors->b));
    FL_TRY(fl_grow(&m->wide, &m->wide_capacity, (size_t)(step * cols), sizeof *m->wide));
    for (int64_t row = 0, n; row < rows; row += n) {
        n = rows - row < step ? rows - row : step;
        fl_to_f32(m->wide, element(from, (size_t)(row * cols)), from->dtype, (size_t)(n * cols));
        fl_backend_cpu.gemm(fl_f32(m->wide, cols), fl_f32(m->b + row * r, r), fl_f32(m->a, cols), n,
                            cols, r, false, false, factors->scale, 1.0f);
        FL_TRY(put_wide(m, to, file, (size_t)(n * cols)));
    }
    return FL_OK;
}

/* fl_safetensors_put: the shard in work gives the tensor of the same name. */
static fl_status put_tensor(void *context, const fl_tensor *to, fl_file_writer *file)
{
    merger *m = context;
    const fl_tensor *from = fl_safetensors_find(m->shard, to->name);
    const pair *factors = find_pair(m, to->name);
    if (factors) return put_merged(m, to, from, factors, file);
    if (to->dtype != from->dtype) return put_converted(m, to, from, file);
    return fl_file_put(file, from->data,
                       (size_t)fl_tensor_count(from) * fl_dtype_size(from->dtype));
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The same tensors in the types they will have; sorting into the file's order is the writer's. */
static fl_status write_open_shard(merger *m, const char *path)
{
    size_t count = fl_safetensors_count(m->shard);
    fl_tensor *tensors;
    FL_TRY(fl_alloc(&tensors, count, sizeof *tensors));
    for (size_t i = 0; i < count; i++) {
        tensors[i] = *fl_safetensors_at(m->shard, i);
        tensors[i].dtype = new_dtype(m, tensors[i].dtype);
    }
    fl_status status = fl_safetensors_stream(path, tensors, count, put_tensor, m);
    fl_free(tensors);
    return status;
}

static fl_status write_shard(merger *m, const char *name)
{
    fl_buf path = {0};
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, m->job->out, name), out);
    FL_TRY_GOTO(open_shard(m, name), out);
    status = write_open_shard(m, path.data);
out:
    close_shard(m);
    fl_buf_fini(&path);
    return status;
}

/* A folder without config.json is no model yet, so it comes last. */
static fl_status write_all(merger *m)
{
    static const char *const words[] = {
        [FL_F32] = "float32", [FL_F16] = "float16", [FL_BF16] = "bfloat16"};
    const fl_model_files *files = &m->files;
    m->made_folder = !fl_path_exists(m->job->out);
    FL_TRY(fl_make_dirs(m->job->out));
    for (size_t i = 0; i < files->shards.count; i++) {
        fl_log_progress((double)i / (double)files->shards.count, files->shards.names[i]);
        FL_TRY(write_shard(m, files->shards.names[i]));
    }
    for (size_t i = 0; i < files->others.count; i++)
        if (strcmp(files->others.names[i], config_name) != 0)
            FL_TRY(fl_model_files_copy(files, files->others.names[i], m->job->out));
    if (!m->job->changes_dtype) {
        if (files->index) FL_TRY(fl_model_files_copy(files, index_name, m->job->out));
        return fl_model_files_copy(files, config_name, m->job->out);
    }
    if (files->index)
        FL_TRY(fl_model_files_write_index(files, m->job->out, m->result->weight_bytes));
    return fl_model_files_write_config(files, m->job->out, words[m->job->dtype]);
}

static void remove_name(const char *dir, const char *name)
{
    fl_buf path = {0};
    if (fl_path_join(&path, dir, name) == FL_OK) unlink(path.data);
    fl_buf_fini(&path);
}

/* The folder was empty: everything of these names in it is ours. */
static void remove_all(const merger *m)
{
    const fl_model_files *files = &m->files;
    for (size_t i = 0; i < files->shards.count; i++)
        remove_name(m->job->out, files->shards.names[i]);
    for (size_t i = 0; i < files->others.count; i++)
        remove_name(m->job->out, files->others.names[i]);
    remove_name(m->job->out, index_name);
    if (m->made_folder) rmdir(m->job->out);
}

static fl_status merge(merger *m)
{
    const fl_merge_job *job = m->job;
    FL_CHECK(fl_path_is_empty(job->out), FL_ERR_USAGE, "%s is there and is not an empty folder",
             job->out);
    FL_TRY(fl_arena_create(&m->arena));
    FL_TRY(fl_model_files_open(&m->files, job->model));
    FL_TRY(fl_model_files_check_plain(&m->files));
    FL_TRY(open_adapter(m));
    FL_TRY(check_all(m));
    if (job->check_only) return FL_OK;
    fl_status status = write_all(m);
    if (status != FL_OK) remove_all(m);
    return status;
}

fl_status fl_merge(const fl_merge_job *job, fl_merge_result *result)
{
    *result = (fl_merge_result){0};
    merger m = {.job = job, .result = result};
    fl_status status = merge(&m);
    close_shard(&m);
    fl_safetensors_close(m.adapter);
    fl_adapter_info_fini(&m.info);
    fl_model_files_close(&m.files);
    fl_free(m.wide);
    fl_free(m.narrow);
    fl_free(m.a);
    fl_free(m.b);
    fl_arena_destroy(m.arena);
    return status;
}
