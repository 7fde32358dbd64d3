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

/* One block of memory with everything, since atomic writing takes the file as a whole. */
static fl_status write_sorted(const char *path, const fl_tensor *tensors, size_t count)
{
    fl_buf header = {0};
    unsigned char *bytes = NULL;
    fl_status status;
    FL_TRY_GOTO(make_header(&header, tensors, count), out);
    size_t total = LENGTH_BYTES + header.length;
    for (size_t i = 0; i < count; i++)
        total += data_bytes(&tensors[i]);
    FL_TRY_GOTO(fl_alloc(&bytes, total, 1), out);
    const uint64_t length = header.length;
    memcpy(bytes, &length, LENGTH_BYTES);
    memcpy(bytes + LENGTH_BYTES, header.data, header.length);
    unsigned char *next = bytes + LENGTH_BYTES + header.length;
    for (size_t i = 0; i < count; i++) {
        size_t size = data_bytes(&tensors[i]);
        if (size) memcpy(next, tensors[i].data, size);
        next += size;
    }
    status = fl_file_write_atomic(path, bytes, total);
out:
    fl_free(bytes);
    fl_buf_fini(&header);
    return status;
}

fl_status fl_safetensors_write(const char *path, const fl_tensor *tensors, size_t count)
{
    fl_tensor *sorted;
    FL_TRY(fl_alloc(&sorted, count, sizeof *sorted));
    if (count) memcpy(sorted, tensors, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_in_file);
    fl_status status = write_sorted(path, sorted, count);
    fl_free(sorted);
    return status;
}
