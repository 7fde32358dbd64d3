/* Reading: every number in the header is hostile until checked against the size of the file.
 *
 * Invariants of an open file:
 *   1. tensors[] is sorted by name and names are unique (the JSON parser refuses duplicates);
 *   2. each data pointer .. data pointer + product(dim) * size lies inside the map, aligned;
 *   3. no two tensors share a byte and together they cover all bytes behind the header.
 */
#include "io/safetensors.h"

#include "base/file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Both the header length and the data are stored little endian and used as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "needs a little-endian machine");

enum {
    LENGTH_BYTES = 8,         /* in front of the header */
    HEADER_LIMIT = 100000000, /* the format's own limit */
    NAME_SHOWN = 160          /* of a name in a message, so that the reason is never cut off */
};

struct fl_safetensors {
    fl_map map;
    fl_arena *arena;    /* names and tensors */
    fl_tensor *tensors; /* [count] */
    size_t count;
};

/* Where the data of an open file lies. */
typedef struct data_area {
    const unsigned char *start;
    size_t length;
} data_area;

static size_t data_bytes(const fl_tensor *tensor)
{
    return (size_t)fl_tensor_count(tensor) * fl_dtype_size(tensor->dtype);
}

/* The order of the open file, and of the search in it. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(((const fl_tensor *)a)->name, ((const fl_tensor *)b)->name);
}

/* Empty tensors first where two begin at the same byte: they are no overlap. */
static int compare_places(const void *a, const void *b)
{
    const fl_tensor *p = a, *q = b;
    uintptr_t at_p = (uintptr_t)p->data, at_q = (uintptr_t)q->data;
    if (at_p != at_q) return at_p < at_q ? -1 : 1;
    size_t bytes_p = data_bytes(p), bytes_q = data_bytes(q);
    return (bytes_p > bytes_q) - (bytes_p < bytes_q);
}

/* *data = what is behind the header.  The length in front of it is the only number that is used
 * before the JSON parser has seen the header, hence the checks in this order. */
static fl_status parse_header(json_t **out, data_area *data, const fl_map *map)
{
    FL_CHECK(map->length >= LENGTH_BYTES, FL_ERR_INPUT,
             "%zu bytes are too short for a safetensors file", map->length);
    uint64_t length;
    memcpy(&length, map->data, LENGTH_BYTES);
    FL_CHECK(length <= HEADER_LIMIT, FL_ERR_INPUT,
             "header length %" PRIu64 " is over the limit of %d: not a safetensors file?", length,
             HEADER_LIMIT);
    FL_CHECK(length <= map->length - LENGTH_BYTES, FL_ERR_INPUT,
             "truncated: a header of %" PRIu64 " bytes in a file of %zu", length, map->length);
    const char *text = (const char *)map->data + LENGTH_BYTES;
    FL_CHECK(length > 0 && text[0] == '{', FL_ERR_INPUT, "header does not begin with '{'");
    json_error_t error;
    json_t *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    FL_CHECK(header, FL_ERR_INPUT, "header is not valid JSON: %s (byte %d)", error.text,
             error.position);
    data->start = map->data + LENGTH_BYTES + length;
    data->length = map->length - LENGTH_BYTES - (size_t)length;
    *out = header;
    return FL_OK;
}

static fl_status check_metadata(const json_t *metadata)
{
    FL_CHECK(json_is_object(metadata), FL_ERR_INPUT, "__metadata__ is not an object");
    const char *key;
    json_t *value;
    /* the iterators of jansson take a non-const object but do not change it */
    json_object_foreach((json_t *)metadata, key, value)
    {
        FL_CHECK(json_is_string(value), FL_ERR_INPUT, "__metadata__.%.*s is not a string",
                 NAME_SHOWN, key);
    }
    return FL_OK;
}

/* The format has more types than fl_dtype; a model that uses them cannot be run anyway. */
static fl_status read_dtype(fl_dtype *out, const json_t *entry)
{
    const json_t *dtype = json_object_get(entry, "dtype");
    FL_CHECK(json_is_string(dtype), FL_ERR_INPUT, "dtype is missing or not a string");
    FL_CHECK(fl_dtype_parse(json_string_value(dtype), out), FL_ERR_UNSUPPORTED,
             "dtype %.*s is not supported", NAME_SHOWN, json_string_value(dtype));
    return FL_OK;
}

/* Also *bytes = the size of the data by dtype and shape, checked for overflow. */
static fl_status read_shape(fl_tensor *tensor, size_t *bytes, const json_t *entry)
{
    const json_t *shape = json_object_get(entry, "shape");
    FL_CHECK(json_is_array(shape), FL_ERR_INPUT, "shape is missing or not an array");
    size_t ndim = json_array_size(shape);
    FL_CHECK(ndim <= FL_MAX_DIMS, FL_ERR_UNSUPPORTED,
             "shape has %zu dimensions, at most %d are supported", ndim, FL_MAX_DIMS);
    *bytes = fl_dtype_size(tensor->dtype);
    for (size_t i = 0; i < ndim; i++) {
        const json_t *dim = json_array_get(shape, i);
        FL_CHECK(json_is_integer(dim) && json_integer_value(dim) >= 0, FL_ERR_INPUT,
                 "shape[%zu] is not a non-negative integer", i);
        tensor->dim[i] = json_integer_value(dim);
        FL_CHECK(fl_mul_size(*bytes, (size_t)tensor->dim[i], bytes), FL_ERR_INPUT,
                 "shape is too large: the product of its dimensions overflows");
    }
    tensor->ndim = (int)ndim;
    return FL_OK;
}

/* [begin, end) in the data of `limit` bytes. */
static fl_status read_offsets(size_t *begin, size_t *end, const json_t *entry, size_t limit)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    FL_CHECK(json_is_array(offsets) && json_array_size(offsets) == 2, FL_ERR_INPUT,
             "data_offsets is missing or not an array of two");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    FL_CHECK(json_is_integer(first) && json_integer_value(first) >= 0 && json_is_integer(last) &&
                 json_integer_value(last) >= 0,
             FL_ERR_INPUT, "data_offsets are not non-negative integers");
    *begin = (size_t)json_integer_value(first);
    *end = (size_t)json_integer_value(last);
    FL_CHECK(*begin <= *end, FL_ERR_INPUT, "data_offsets [%zu, %zu] are reversed", *begin, *end);
    FL_CHECK(*end <= limit, FL_ERR_INPUT,
             "data_offsets [%zu, %zu] are outside the %zu bytes of data: truncated?", *begin, *end,
             limit);
    return FL_OK;
}

static fl_status read_entry(fl_tensor *tensor, const json_t *entry, const data_area *data)
{
    FL_CHECK(json_is_object(entry), FL_ERR_INPUT, "is not described by an object");
    FL_TRY(read_dtype(&tensor->dtype, entry));
    size_t bytes, begin, end;
    FL_TRY(read_shape(tensor, &bytes, entry));
    FL_TRY(read_offsets(&begin, &end, entry, data->length));
    FL_CHECK(end - begin == bytes, FL_ERR_INPUT,
             "data_offsets span %zu bytes, dtype and shape need %zu", end - begin, bytes);
    /* Kernels read elements in place.  Files of the package are aligned, see safetensors_write.c.
     */
    const unsigned char *start = data->start + begin;
    FL_CHECK((uintptr_t)start % fl_dtype_size(tensor->dtype) == 0, FL_ERR_UNSUPPORTED,
             "data is not aligned to its elements; load and save the file with the safetensors "
             "package once");
    tensor->data = start;
    return FL_OK;
}

static fl_status read_entries(fl_safetensors *file, json_t *header, const data_area *data)
{
    FL_TRY(fl_arena_alloc(file->arena, &file->tensors, json_object_size(header),
                          sizeof *file->tensors));
    const char *key;
    json_t *entry;
    json_object_foreach(header, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0) {
            FL_TRY(check_metadata(entry));
            continue;
        }
        fl_tensor *tensor = &file->tensors[file->count];
        char *name;
        FL_TRY(fl_arena_text(file->arena, &name, key, strlen(key)));
        tensor->name = name;
        fl_status status = read_entry(tensor, entry, data);
        if (status != FL_OK) return fl_fail_context(status, "tensor %.*s", NAME_SHOWN, key);
        file->count++;
    }
    return FL_OK;
}

/* The format demands that the tensors cover the data exactly.  Leaves them sorted by place. */
static fl_status check_cover(fl_safetensors *file, const data_area *data)
{
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_places);
    size_t covered = 0;
    for (size_t i = 0; i < file->count; i++) {
        const fl_tensor *tensor = &file->tensors[i];
        size_t begin = (size_t)((const unsigned char *)tensor->data - data->start);
        FL_CHECK(begin >= covered, FL_ERR_INPUT, "tensor %.*s: its data overlaps that of %.*s",
                 NAME_SHOWN, tensor->name, NAME_SHOWN, file->tensors[i - 1].name);
        FL_CHECK(begin == covered, FL_ERR_INPUT, "tensor %.*s: a hole of %zu bytes before its data",
                 NAME_SHOWN, tensor->name, begin - covered);
        covered += data_bytes(tensor);
    }
    FL_CHECK(covered == data->length, FL_ERR_INPUT, "%zu bytes behind the last tensor",
             data->length - covered);
    return FL_OK;
}

static fl_status read_file(fl_safetensors *file)
{
    json_t *header = NULL;
    data_area data;
    fl_status status;
    FL_TRY_GOTO(fl_arena_create(&file->arena), out);
    FL_TRY_GOTO(parse_header(&header, &data, &file->map), out);
    FL_TRY_GOTO(read_entries(file, header, &data), out);
    FL_TRY_GOTO(check_cover(file, &data), out);
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_names);
out:
    json_decref(header);
    return status;
}

fl_status fl_safetensors_open(fl_safetensors **out, const char *path)
{
    fl_safetensors *file;
    FL_TRY(fl_alloc(&file, 1, sizeof *file));
    fl_status status = fl_map_open(&file->map, path);
    if (status == FL_OK) {
        status = read_file(file);
        if (status != FL_OK) fl_fail_context(status, "%s", path);
    }
    if (status != FL_OK)
        fl_safetensors_close(file);
    else
        *out = file;
    return status;
}

void fl_safetensors_close(fl_safetensors *file)
{
    if (!file) return;
    fl_arena_destroy(file->arena);
    fl_map_close(&file->map);
    fl_free(file);
}

size_t fl_safetensors_count(const fl_safetensors *file)
{
    return file->count;
}

const fl_tensor *fl_safetensors_at(const fl_safetensors *file, size_t index)
{
    FL_ASSERT(index < file->count);
    return &file->tensors[index];
}

const fl_tensor *fl_safetensors_find(const fl_safetensors *file, const char *name)
{
    if (file->count == 0) return NULL;
    const fl_tensor key = {.name = name};
    return bsearch(&key, file->tensors, file->count, sizeof key, compare_names);
}
