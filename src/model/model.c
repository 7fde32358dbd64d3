#include "model/model.h"

#include "base/file.h"
#include "io/weights.h"
#include "model/model_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

/* 16-bit and 32-bit patterns whose exponent is all ones are NaN or infinity. */
static bool all_finite(const void *data, fl_dtype dtype, size_t count)
{
    unsigned bad = 0;
    if (dtype == FL_F32) {
        const uint32_t *bits = data;
        for (size_t i = 0; i < count; i++)
            bad |= (bits[i] & 0x7f800000u) == 0x7f800000u;
        return !bad;
    }
    const uint16_t *bits = data, mask = dtype == FL_BF16 ? 0x7f80 : 0x7c00;
    for (size_t i = 0; i < count; i++)
        bad |= (bits[i] & mask) == mask;
    return !bad;
}

fl_status fl_model_get_tensor(const fl_model *model, const char *name, int ndim, const int64_t *dim,
                              const fl_tensor **out)
{
    FL_TRY(fl_weights_get(model->files, name, ndim, dim, out));
    const fl_tensor *t = *out;
    FL_CHECK(t->dtype == FL_F32 || t->dtype == FL_F16 || t->dtype == FL_BF16, FL_ERR_UNSUPPORTED,
             "tensor %s is %s; known: F32, F16, BF16", name, fl_dtype_name(t->dtype));
    FL_CHECK(all_finite(t->data, t->dtype, (size_t)fl_tensor_count(t)), FL_ERR_INPUT,
             "tensor %s holds NaN or infinity", name);
    return FL_OK;
}

/* As the file has it. */
static fl_status find_matrix(fl_model *model, const char *name, int64_t rows, int64_t cols,
                             fl_weight *out)
{
    const fl_tensor *tensor;
    FL_TRY(fl_model_get_tensor(model, name, 2, (const int64_t[]){rows, cols}, &tensor));
    *out = (fl_weight){.data = tensor->data, .dtype = tensor->dtype, .rows = rows, .cols = cols};
    model->weight_bytes += (size_t)(rows * cols) * fl_dtype_size(tensor->dtype);
    return FL_OK;
}

static fl_status keep_matrix(fl_model *model, fl_weight *w)
{
    return fl_model_make_resident(model, &w->data,
                                  (size_t)(w->rows * w->cols) * fl_dtype_size(w->dtype));
}

/* One that products read. */
static fl_status get_matrix(fl_model *model, const char *name, int64_t rows, int64_t cols,
                            fl_weight *out)
{
    FL_TRY(find_matrix(model, name, rows, cols, out));
    bool expands = model->expanded && out->dtype != FL_BF16;
    return expands ? fl_model_expand_plain(model, out) : keep_matrix(model, out);
}

/* Norm weights and biases are small: widened to fp32 into the model's block. */
static fl_status get_vector(fl_model *model, const char *name, int64_t count, float offset,
                            float **out)
{
    const fl_tensor *tensor;
    FL_TRY(fl_model_get_tensor(model, name, 1, &count, &tensor));
    float *wide;
    FL_TRY(fl_alloc(&wide, (size_t)count, sizeof *wide));
    fl_to_f32(wide, tensor->data, tensor->dtype, (size_t)count);
    for (int64_t i = 0; i < count && offset != 0; i++)
        wide[i] += offset;
    *out = model->block + model->block_used;
    model->ops->copy_in(*out, wide, (size_t)count * sizeof *wide);
    fl_free(wide);
    model->block_used += (size_t)count;
    model->weight_bytes += (size_t)count * fl_dtype_size(tensor->dtype);
    return FL_OK;
}

const char *fl_layer_tensor_name(char name[FL_TENSOR_NAME_SIZE], int64_t index, const char *path,
                                 const char *kind)
{
    snprintf(name, FL_TENSOR_NAME_SIZE, "model.layers.%lld.%s.%s", (long long)index, path, kind);
    return name;
}

/* A linear's rows of its holder's weight and bias. */
static fl_weight rows_of(const fl_weight *holder, int64_t first, int64_t rows)
{
    fl_weight part = *holder;
    size_t skip = (size_t)(first * holder->cols) * fl_dtype_size(holder->dtype);
    if (holder->quant)
        part.first = first * holder->cols;
    else
        part.data = (const char *)holder->data + skip;
    part.rows = rows;
    if (holder->bias) part.bias = holder->bias + first;
    return part;
}

static fl_status load_holder(fl_model *model, int64_t index, fl_module holder)
{
    const fl_model_config *c = &model->config;
    fl_layer *layer = &model->layers[index];
    const char *path = c->family->linear[holder].path;
    char name[FL_TENSOR_NAME_SIZE];
    int64_t rows, cols, held = fl_holder_rows(holder, c);
    fl_weight whole;
    fl_module_shape(holder, c, &rows, &cols);
    fl_layer_tensor_name(name, index, path, "weight");
    /* a quantised checkpoint may have left some linears as they were */
    const fl_tensor *found = c->stored != FL_STORED ? fl_weights_find(model->files, name) : NULL;
    bool plain = found && found->dtype != FL_U8 && found->dtype != FL_I8;
    if (model->format == FL_STORED || plain)
        FL_TRY(get_matrix(model, name, held, cols, &whole));
    else if (model->expanded)
        FL_TRY(fl_model_expand_quantised(model, name, held, cols, &whole));
    else
        FL_TRY(fl_model_get_quantised(model, name, held, cols, &layer->quant[holder], &whole));
    float *bias = NULL;
    if (c->bias[holder])
        FL_TRY(get_vector(model, fl_layer_tensor_name(name, index, path, "bias"), held, 0, &bias));
    whole.bias = bias;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        if (c->family->linear[m].holder != holder) continue;
        fl_module_shape((fl_module)m, c, &rows, &cols);
        layer->linear[m] = rows_of(&whole, fl_module_row((fl_module)m, c), rows);
    }
    return FL_OK;
}

/* The linears from `first` to `last` read one input: where backend memory is not the host's, one
 * block takes those that are kept as they are and alike, or all in bf16, so that they can be
 * multiplied as one.
 */
static fl_status load_group(fl_model *model, int64_t index, fl_module first, fl_module last)
{
    const fl_model_config *c = &model->config;
    char name[FL_TENSOR_NAME_SIZE];
    size_t bytes = 0;
    const fl_tensor *before = NULL;
    bool are_alike = model->format == FL_STORED;
    for (int m = (int)first; m <= (int)last; m++) {
        if ((int)c->family->linear[m].holder != m) continue;
        fl_layer_tensor_name(name, index, c->family->linear[m].path, "weight");
        const fl_tensor *t = fl_weights_find(model->files, name);
        are_alike = are_alike && t && (!before || t->dtype == before->dtype);
        if (t) bytes += (size_t)fl_tensor_count(t) * fl_dtype_size(t->dtype);
        before = t;
    }
    if (model->expanded) bytes = fl_model_group_bytes(c, first, last);
    if (are_alike || model->expanded) FL_TRY(fl_model_begin_block(model, bytes));
    for (int m = (int)first; m <= (int)last; m++)
        if ((int)c->family->linear[m].holder == m) FL_TRY(load_holder(model, index, (fl_module)m));
    fl_model_end_block(model);
    return FL_OK;
}

static int64_t norm_size(const fl_model_config *c, int norm)
{
    return norm == FL_NORM_QUERY || norm == FL_NORM_KEY ? c->head_dim : c->hidden_size;
}

static fl_status load_layer(fl_model *model, int64_t index)
{
    const fl_model_config *c = &model->config;
    float **norms = model->layers[index].norm;
    char name[FL_TENSOR_NAME_SIZE];
    for (int n = 0; n < FL_NUM_NORMS; n++) {
        if (!c->family->norm[n]) continue;
        fl_layer_tensor_name(name, index, c->family->norm[n], "weight");
        FL_TRY(get_vector(model, name, norm_size(c, n), c->family->norm_offset, &norms[n]));
    }
    FL_TRY(load_group(model, index, FL_Q_PROJ, FL_V_PROJ));
    FL_TRY(load_group(model, index, FL_O_PROJ, FL_O_PROJ));
    FL_TRY(load_group(model, index, FL_GATE_PROJ, FL_UP_PROJ));
    return load_group(model, index, FL_DOWN_PROJ, FL_DOWN_PROJ);
}

/* A folder without lm_head.weight has a tied head even where config.json does not say so. */
static fl_status load_head(fl_model *model)
{
    fl_model_config *c = &model->config;
    if (!fl_weights_has(model->files, "lm_head.weight")) c->tied_head = true;
    if (c->tied_head && model->expanded && model->embedding.dtype != FL_BF16)
        return fl_model_expand_resident(model, &model->embedding, &model->head);
    if (c->tied_head) {
        model->head = model->embedding;
        return FL_OK;
    }
    return get_matrix(model, "lm_head.weight", c->vocab_size, c->hidden_size, &model->head);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* cos and sin of position * frequency, angles in fp32 as the field's implementations take them:
 * results for long positions would differ visibly otherwise. */
static fl_status fill_rope_tables(fl_model *model)
{
    size_t half = (size_t)model->config.head_dim / 2, count = (size_t)model->positions * half;
    float *cosines, *sines, *frequencies;
    FL_TRY(fl_alloc(&cosines, 2 * count + half, sizeof *cosines));
    sines = cosines + count;
    frequencies = sines + count;
    fl_rope_frequencies(frequencies, &model->config);
    for (size_t p = 0; p < (size_t)model->positions; p++)
        for (size_t i = 0; i < half; i++) {
            double angle = (double)((float)p * frequencies[i]);
            cosines[p * half + i] = (float)cos(angle);
            sines[p * half + i] = (float)sin(angle);
        }
    model->cos_table = model->block + model->block_used;
    model->sin_table = model->cos_table + count;
    model->ops->copy_in(model->cos_table, cosines, count * sizeof *cosines);
    model->ops->copy_in(model->sin_table, sines, count * sizeof *sines);
    model->block_used += 2 * count;
    model->sample = model->block + model->block_used;
    fl_free(cosines);
    return FL_OK;
}

int64_t fl_model_vector_count(const fl_model_config *c)
{
    int64_t count = 0, rows, cols;
    for (int n = 0; n < FL_NUM_NORMS; n++)
        if (c->family->norm[n]) count += norm_size(c, n);
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        fl_module_shape((fl_module)m, c, &rows, &cols);
        if (c->bias[m]) count += rows;
    }
    return count;
}

/* [norms and biases of all layers, the final norm] [cos] [sin] [sample] */
size_t fl_model_block_floats(const fl_model_config *c, int64_t positions)
{
    int64_t vectors = c->num_layers * fl_model_vector_count(c) + c->hidden_size;
    return (size_t)vectors + 2 * ((size_t)positions * (size_t)c->head_dim / 2) + FL_SAMPLE_FLOATS;
}

static fl_status allocate(fl_model *model)
{
    const fl_model_config *c = &model->config;
    FL_TRY(
        fl_arena_alloc(model->arena, &model->layers, (size_t)c->num_layers, sizeof *model->layers));
    size_t codes = fl_model_quant_bytes(c, model->format);
    if (codes > 0 && !model->expanded) FL_TRY(model->ops->alloc(&model->quant_block, codes));
    return model->ops->alloc(&model->block,
                             fl_model_block_floats(c, model->positions) * sizeof(float));
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The sizes of config.json are believed, and memory taken for them, once the files bear them out.
 */
static fl_status check_sizes(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    char name[FL_TENSOR_NAME_SIZE];
    const fl_tensor *tensor;
    FL_TRY(fl_weights_get(model->files, "model.embed_tokens.weight", 2,
                          (const int64_t[]){c->vocab_size, c->hidden_size}, &tensor));
    fl_layer_tensor_name(name, c->num_layers - 1, c->family->norm[FL_NORM_ATTENTION], "weight");
    return fl_weights_get(model->files, name, 1, &c->hidden_size, &tensor);
}

fl_status fl_model_open_files(fl_model *model, const char *dir, int64_t positions)
{
    fl_model_config *c = &model->config;
    FL_TRY(fl_model_config_load(c, dir));
    FL_CHECK(positions <= c->max_positions, FL_ERR_USAGE,
             "%s: sequences of %lld tokens do not fit the model's %lld positions; lower seq_length",
             dir, (long long)positions, (long long)c->max_positions);
    model->positions = positions ? positions : c->max_positions;
    FL_CHECK(c->stored == FL_STORED || model->format == FL_STORED || model->format == c->stored,
             FL_ERR_USAGE,
             "%s: the checkpoint is quantised to %s already; load_in_%s asks for another", dir,
             c->stored == FL_NF4 ? "NF4" : "int8", c->stored == FL_NF4 ? "8bit" : "4bit");
    if (c->stored != FL_STORED) model->format = c->stored;
    FL_TRY(fl_weights_open(&model->files, dir));
    return check_sizes(model);
}

/* Pages of linears that were quantised came back as neighbours of what was read after them. */
static void forget_linears(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    char name[FL_TENSOR_NAME_SIZE];
    bool were_made = fl_model_quant_bytes(c, model->format) > 0;
    for (int64_t l = 0; l < c->num_layers && were_made; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++) {
            if ((int)c->family->linear[m].holder != m) continue;
            fl_layer_tensor_name(name, l, c->family->linear[m].path, "weight");
            const fl_tensor *t = fl_weights_find(model->files, name);
            fl_map_forget(t->data, (size_t)fl_tensor_count(t) * fl_dtype_size(t->dtype));
        }
}

static fl_status load(fl_model *model, const char *dir, int64_t positions)
{
    const fl_model_config *c = &model->config;
    FL_TRY(fl_arena_create(&model->arena));
    FL_TRY(fl_model_open_files(model, dir, positions));
    FL_TRY(allocate(model));
    FL_TRY(find_matrix(model, "model.embed_tokens.weight", c->vocab_size, c->hidden_size,
                       &model->embedding));
    FL_TRY(keep_matrix(model, &model->embedding));
    for (int64_t l = 0; l < c->num_layers; l++)
        FL_TRY(load_layer(model, l));
    FL_TRY(get_vector(model, "model.norm.weight", c->hidden_size, c->family->norm_offset,
                      &model->final_norm));
    FL_TRY(load_head(model));
    forget_linears(model);
    return fill_rope_tables(model);
}

fl_status fl_model_open(fl_model **out, const char *dir, const fl_backend_ops *ops,
                        int64_t positions)
{
    return fl_model_open_as(out, dir, ops, positions, FL_STORED, false);
}

fl_status fl_model_open_as(fl_model **out, const char *dir, const fl_backend_ops *ops,
                           int64_t positions, fl_format format, bool expanded)
{
    fl_model *model;
    FL_TRY(fl_alloc(&model, 1, sizeof *model));
    model->ops = ops;
    model->format = format;
    model->expanded = expanded;
    fl_status status = load(model, dir, positions);
    if (status != FL_OK) {
        fl_model_close(model);
        return status;
    }
    *out = model;
    return FL_OK;
}

void fl_model_close(fl_model *model)
{
    if (!model) return;
    model->ops->release(model->block);
    model->ops->release(model->quant_block);
    fl_model_release_residents(model, NULL);
    fl_weights_close(model->files);
    fl_arena_destroy(model->arena);
    fl_free(model);
}

int64_t fl_model_parameter_count(const fl_model *model)
{
    return fl_model_parameters(&model->config, model->config.tied_head);
}
