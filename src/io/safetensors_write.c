/* The writer half of safetensors.h.
 *
 * The layout is that of the safetensors package (serialize in its tensor.rs), so that files are
 * equal byte for byte: "__metadata__" first, then the tensors by element type (the order below) and
 * by name, compact JSON, spaces until the header's length is a multiple of 8. */
#include "io/safetensors.h"

#include "base/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, HEADER_ALIGNMENT = 8 };

/* Widest elements first keeps all data aligned; within one width the package's own order. */
static const int dtype_order[] = {[FL_I64] = 0,  [FL_F64] = 1, [FL_F32] = 2, [FL_I32] = 3,
                                  [FL_BF16] = 4, [FL_F16] = 5, [FL_I8] = 6,  [FL_U8] = 7};

static size_t data_bytes(const fl_tensor *tensor)
{
    return (size_t)fl_tensor_count(tensor) * fl_dtype_size(tensor->dtype);
}

static int compare_in_file(const void *a, const void *b)
{
    const fl_tensor *p = a, *q = b;
    int order = dtype_order[p->dtype] - dtype_order[q->dtype];
    return order ? order : strcmp(p->name, q->name);
}

static json_t *describe(const fl_tensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < tensor->ndim; i++)
        json_array_append_new(shape, json_integer(tensor->dim[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", fl_dtype_name(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + data_bytes(tensor)));
}

static fl_status describe_all(json_t *header, const fl_tensor *tensors, size_t count)
{
    FL_CHECK(json_object_set_new(header, "__metadata__", json_pack("{s:s}", "format", "pt")) == 0,
             FL_ERR_MEMORY, "out of memory for a safetensors header");
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        /* The JSON object would silently keep the last of them. */
        FL_CHECK(!json_object_get(header, tensors[i].name), FL_ERR_INTERNAL,
                 "tensor %s is given twice", tensors[i].name);
        FL_CHECK(json_object_set_new(header, tensors[i].name, describe(&tensors[i], begin)) == 0,
                 FL_ERR_INTERNAL, "tensor name \"%s\" cannot be written", tensors[i].name);
        begin += data_bytes(&tensors[i]);
    }
    return FL_OK;
}

static int add_to_buf(const char *text, size_t length, void *buf)
{
    return fl_buf_add(buf, text, length) == FL_OK ? 0 : -1;
}

/* Appends the padded JSON text. */
static fl_status make_header(fl_buf *out, const fl_tensor *tensors, size_t count)
{
    json_t *header = json_object();
    FL_CHECK(header, FL_ERR_MEMORY, "out of memory for a safetensors header");
    fl_status status;
    FL_TRY_GOTO(describe_all(header, tensors, count), out);
    FL_CHECK_GOTO(json_dump_callback(header, add_to_buf, out, JSON_COMPACT) == 0, out,
                  FL_ERR_MEMORY, "out of memory for a safetensors header");
    while (status == FL_OK && out->length % HEADER_ALIGNMENT)
        status = fl_buf_add_text(out, " ");
out:
    json_decref(header);
    return status;
}

/* Called after the header: the data, tensor by tensor. */
static fl_status put_data(fl_file_writer *file, const fl_tensor *tensors, size_t count,
                          fl_safetensors_put *put, void *context)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t end = file->length + data_bytes(&tensors[i]);
        FL_TRY(put(context, &tensors[i], file));
        FL_ASSERT(file->length == end);
    }
    return FL_OK;
}

static fl_status write_sorted(const char *path, const fl_tensor *tensors, size_t count,
                              fl_safetensors_put *put, void *context)
{
    fl_buf header = {0};
    fl_file_writer file = {.fd = -1};
    fl_status status;
    FL_TRY_GOTO(make_header(&header, tensors, count), out);
    FL_TRY_GOTO(fl_file_begin(&file, path), out);
    const uint64_t length = header.length;
    FL_TRY_GOTO(fl_file_put(&file, &length, LENGTH_BYTES), out);
    FL_TRY_GOTO(fl_file_put(&file, header.data, header.length), out);
    FL_TRY_GOTO(put_data(&file, tensors, count, put, context), out);
    status = fl_file_commit(&file);
out:
    fl_file_abandon(&file);
    fl_buf_fini(&header);
    return status;
}

fl_status fl_safetensors_stream(const char *path, const fl_tensor *tensors, size_t count,
                                fl_safetensors_put *put, void *context)
{
    fl_tensor *sorted;
    FL_TRY(fl_alloc(&sorted, count, sizeof *sorted));
    if (count) memcpy(sorted, tensors, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_in_file);
    fl_status status = write_sorted(path, sorted, count, put, context);
    fl_free(sorted);
    return status;
}

static fl_status put_own(void *context, const fl_tensor *tensor, fl_file_writer *file)
{
    (void)context;
    return fl_file_put(file, tensor->data, data_bytes(tensor));
}

fl_status fl_safetensors_write(const char *path, const fl_tensor *tensors, size_t count)
{
    return fl_safetensors_stream(path, tensors, count, put_own, NULL);
}
