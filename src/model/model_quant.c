/* Quantised linears: made from floats at load, one matrix at a time, or read from a checkpoint of
 * bitsandbytes.  No float copy of a whole matrix exists at any time. */
#include "base/file.h"
#include "base/json.h"
#include "io/weights.h"
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static size_t aligned(int64_t bytes)
{
    return (size_t)ceil_div(bytes, ALIGNMENT) * ALIGNMENT;
}

fl_status fl_format_choose(fl_format *out, bool load_in_8bit, bool load_in_4bit)
{
    FL_CHECK(!load_in_8bit || !load_in_4bit, FL_ERR_USAGE,
             "load_in_8bit and load_in_4bit are both true: the base has one format");
    *out = load_in_4bit ? FL_NF4 : load_in_8bit ? FL_INT8 : FL_STORED;
    return FL_OK;
}

/* Sizes in bytes of the parts of one quantised matrix. */
typedef struct parts {
    int64_t blocks, groups; /* of 64 elements, of 256 blocks */
    size_t codes, absmax_codes, floats;
} parts;

static parts parts_of(fl_format format, int64_t rows, int64_t cols)
{
    parts p = {.blocks = ceil_div(rows * cols, FL_NF4_BLOCK)};
    p.groups = ceil_div(p.blocks, FL_ABSMAX_BLOCK);
    if (format == FL_INT8) {
        p.codes = aligned(rows * cols);
        p.floats = aligned(rows * (int64_t)sizeof(float));
    } else {
        p.codes = aligned(ceil_div(rows * cols, 2));
        p.absmax_codes = aligned(p.blocks);
        p.floats = aligned((p.groups + FL_ABSMAX_CODES) * (int64_t)sizeof(float));
    }
    return p;
}

size_t fl_model_quant_bytes(const fl_model_config *c, fl_format format)
{
    size_t bytes = 0;
    if (c->stored != FL_STORED || format == FL_STORED) return 0;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        if ((int)c->family->linear[m].holder != m) continue;
        int64_t rows, cols;
        fl_module_shape((fl_module)m, c, &rows, &cols);
        parts p = parts_of(format, fl_holder_rows((fl_module)m, c), cols);
        bytes += p.codes + p.absmax_codes + p.floats;
    }
    return (size_t)c->num_layers * bytes;
}

size_t fl_model_packed_bytes(fl_format format, int64_t rows, int64_t cols)
{
    if (format == FL_STORED) return 0;
    parts p = parts_of(format, rows, cols);
    size_t unnested = format == FL_NF4 ? aligned(p.blocks * (int64_t)sizeof(float)) : 0;
    return p.codes + p.absmax_codes + p.floats + unnested;
}

/* The next piece of quant_block, filled from host memory. */
static const void *place(fl_model *model, const void *host, size_t bytes, size_t taken)
{
    char *to = model->quant_block + model->quant_used;
    model->ops->copy_in(to, host, bytes);
    model->quant_used += taken;
    return to;
}

static fl_status quantise_int8(fl_model *model, const fl_tensor *tensor, fl_quant *out)
{
    int64_t rows = tensor->dim[0], cols = tensor->dim[1];
    size_t row_bytes = (size_t)cols * fl_dtype_size(tensor->dtype);
    parts p = parts_of(FL_INT8, rows, cols);
    char *image;
    FL_TRY(fl_alloc(&image, p.codes + p.floats + (size_t)cols * sizeof(float), 1));
    float *absmax = (float *)(void *)(image + p.codes), *wide = absmax + p.floats / sizeof(float);
    for (int64_t r = 0; r < rows; r++) {
        fl_to_f32(wide, (const char *)tensor->data + (size_t)r * row_bytes, tensor->dtype,
                  (size_t)cols);
        absmax[r] = fl_quantise_int8_row((int8_t *)image + r * cols, wide, cols);
    }
    out->codes = place(model, image, p.codes, p.codes);
    out->absmax = place(model, absmax, p.floats, p.floats);
    fl_free(image);
    return FL_OK;
}

static fl_status quantise_nf4(fl_model *model, const fl_tensor *tensor, fl_quant *out)
{
    int64_t count = fl_tensor_count(tensor);
    size_t size = fl_dtype_size(tensor->dtype);
    parts p = parts_of(FL_NF4, tensor->dim[0], tensor->dim[1]);
    char *image;
    size_t ours = p.codes + p.absmax_codes + p.floats;
    FL_TRY(fl_alloc(&image, ours + (size_t)p.blocks * sizeof(float), 1));
    uint8_t *codes = (uint8_t *)image, *absmax_codes = codes + p.codes;
    float *map = (float *)(void *)(absmax_codes + p.absmax_codes), *scale = map + FL_ABSMAX_CODES;
    float *absmax = map + p.floats / sizeof(float);
    for (int64_t b = 0; b < p.blocks; b++) {
        int64_t at = b * FL_NF4_BLOCK, n = count - at < FL_NF4_BLOCK ? count - at : FL_NF4_BLOCK;
        float wide[FL_NF4_BLOCK];
        fl_to_f32(wide, (const char *)tensor->data + (size_t)at * size, tensor->dtype, (size_t)n);
        absmax[b] = fl_quantise_nf4_block(codes + at / 2, wide, n);
    }
    fl_dynamic_map(map);
    fl_quantise_absmax(absmax_codes, scale, &out->absmax_offset, absmax, p.blocks);
    out->codes = place(model, codes, p.codes, p.codes);
    out->absmax_codes = place(model, absmax_codes, p.absmax_codes, p.absmax_codes);
    out->absmax_map = place(model, map, p.floats, p.floats);
    out->absmax_scale = out->absmax_map + FL_ABSMAX_CODES;
    fl_free(image);
    return FL_OK;
}

/* ---- checkpoints of bitsandbytes ------------------------------------------------------------ */

enum { NAME_SIZE = 224 };

/* *data = the tensor NAME[suffix] of that type and number of elements, in any shape; floats are
 * finite. */
static fl_status get_part(const fl_model *model, const char *name, const char *suffix,
                          fl_dtype dtype, int64_t count, const void **data)
{
    char full[NAME_SIZE];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    const fl_tensor *tensor = fl_weights_find(model->files, full);
    FL_CHECK(tensor, FL_ERR_INPUT, "there is no tensor %s, which a quantised checkpoint has", full);
    FL_CHECK(tensor->dtype == dtype && fl_tensor_count(tensor) == count, FL_ERR_INPUT,
             "tensor %s holds %lld of %s, expected %lld of %s", full,
             (long long)fl_tensor_count(tensor), fl_dtype_name(tensor->dtype), (long long)count,
             fl_dtype_name(dtype));
    FL_CHECK(dtype != FL_F32 || fl_all_finite(tensor->data, (size_t)count), FL_ERR_INPUT,
             "tensor %s holds NaN or infinity", full);
    *data = tensor->data;
    return FL_OK;
}

/* The same for what kernels read. */
static fl_status get_resident(fl_model *model, const char *name, const char *suffix, fl_dtype dtype,
                              int64_t count, const void **data)
{
    FL_TRY(get_part(model, name, suffix, dtype, count, data));
    return fl_model_make_resident(model, data, (size_t)count * fl_dtype_size(dtype));
}

static fl_status check_state(const json_t *state, int64_t rows, int64_t cols, const char *name,
                             double *offset)
{
    const char *type;
    int64_t block, nested;
    json_t *shape;
    FL_TRY(fl_json_get_string(&type, state, "quant_type", name));
    FL_TRY(fl_json_get_int(&block, state, "blocksize", 1, 1 << 20, name));
    FL_TRY(
        fl_json_get_int_or(&nested, state, "nested_blocksize", 1, 1 << 20, FL_ABSMAX_BLOCK, name));
    FL_TRY(fl_json_get_number_or(offset, state, "nested_offset", 0, name));
    FL_TRY(fl_json_get_array(&shape, state, "shape", name));
    FL_CHECK(strcmp(type, "nf4") == 0 && block == FL_NF4_BLOCK && nested == FL_ABSMAX_BLOCK,
             FL_ERR_UNSUPPORTED, "%s: %.20s in blocks of %lld and %lld; known: nf4, 64 and 256",
             name, type, (long long)block, (long long)nested);
    FL_CHECK(json_array_size(shape) == 2 && json_integer_value(json_array_get(shape, 0)) == rows &&
                 json_integer_value(json_array_get(shape, 1)) == cols,
             FL_ERR_INPUT, "%s: the quantised shape is not [%lld, %lld]", name, (long long)rows,
             (long long)cols);
    return FL_OK;
}

static fl_status read_state(const fl_model *model, const char *name, int64_t rows, int64_t cols,
                            double *offset)
{
    char full[NAME_SIZE];
    snprintf(full, sizeof full, "%s.quant_state.bitsandbytes__nf4", name);
    const fl_tensor *tensor = fl_weights_find(model->files, full);
    FL_CHECK(tensor && tensor->dtype == FL_U8, FL_ERR_INPUT,
             "there is no tensor %s of U8, which a checkpoint in NF4 has", full);
    json_t *state;
    FL_TRY(fl_json_parse(&state, tensor->data, (size_t)fl_tensor_count(tensor), full, 1));
    fl_status status = check_state(state, rows, cols, full, offset);
    json_decref(state);
    return status;
}

static fl_status read_nf4(fl_model *model, const char *name, fl_quant *out, int64_t rows)
{
    const void *values, *part;
    double offset;
    char full[NAME_SIZE];
    parts p = parts_of(FL_NF4, rows, out->cols);
    FL_TRY(read_state(model, name, rows, out->cols, &offset));
    FL_TRY(get_resident(model, name, "", FL_U8, ceil_div(rows * out->cols, 2), &out->codes));
    FL_TRY(get_part(model, name, ".quant_map", FL_F32, 16, &values));
    FL_CHECK(memcmp(values, fl_nf4_values, sizeof fl_nf4_values) == 0, FL_ERR_UNSUPPORTED,
             "tensor %s.quant_map is not the table of NF4", name);
    snprintf(full, sizeof full, "%s.nested_absmax", name);
    if (!fl_weights_has(model->files, full)) {
        FL_TRY(get_resident(model, name, ".absmax", FL_F32, p.blocks, &part));
        out->absmax = part;
        return FL_OK;
    }
    FL_TRY(get_resident(model, name, ".absmax", FL_U8, p.blocks, &part));
    out->absmax_codes = part;
    FL_TRY(get_resident(model, name, ".nested_absmax", FL_F32, p.groups, &part));
    out->absmax_scale = part;
    FL_TRY(get_resident(model, name, ".nested_quant_map", FL_F32, FL_ABSMAX_CODES, &part));
    out->absmax_map = part;
    out->absmax_offset = (float)offset;
    return FL_OK;
}

/* NAME.weight -> NAME.SCB */
static fl_status read_int8(fl_model *model, const char *name, fl_quant *out, int64_t rows)
{
    const void *part;
    char stem[NAME_SIZE], full[NAME_SIZE + 16];
    snprintf(stem, sizeof stem, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
    snprintf(full, sizeof full, "%s.weight_format", stem);
    const fl_tensor *layout = fl_weights_find(model->files, full);
    FL_CHECK(!layout || (layout->dtype == FL_U8 && fl_tensor_count(layout) == 1 &&
                         *(const uint8_t *)layout->data == 0),
             FL_ERR_UNSUPPORTED, "tensor %s: only rows one after the other are known", full);
    FL_TRY(get_resident(model, name, "", FL_I8, rows * out->cols, &out->codes));
    FL_TRY(get_resident(model, stem, ".SCB", FL_F32, rows, &part));
    out->absmax = part;
    return FL_OK;
}

fl_status fl_model_get_quantised(fl_model *model, const char *name, int64_t rows, int64_t cols,
                                 fl_quant *quant, fl_weight *out)
{
    fl_format stored = model->config.stored;
    *quant = (fl_quant){.format = model->format, .cols = cols};
    if (stored == FL_NF4) {
        FL_TRY(read_nf4(model, name, quant, rows));
    } else if (stored == FL_INT8) {
        FL_TRY(read_int8(model, name, quant, rows));
    } else {
        const fl_tensor *tensor;
        FL_TRY(fl_model_get_tensor(model, name, 2, (const int64_t[]){rows, cols}, &tensor));
        FL_TRY(model->format == FL_INT8 ? quantise_int8(model, tensor, quant)
                                        : quantise_nf4(model, tensor, quant));
        fl_map_forget(tensor->data, (size_t)fl_tensor_count(tensor) * fl_dtype_size(tensor->dtype));
    }
    parts p = parts_of(model->format, rows, cols);
    model->weight_bytes += p.codes + p.absmax_codes + p.floats;
    *out = (fl_weight){.quant = quant, .rows = rows, .cols = cols};
    return FL_OK;
}
