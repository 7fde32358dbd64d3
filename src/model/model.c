#include "model/model.h"

#include "io/weights.h"

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

static fl_status get_tensor(const fl_model *model, const char *name, int ndim, const int64_t *dim,
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

static fl_status get_matrix(fl_model *model, const char *name, int64_t rows, int64_t cols,
                            fl_weight *out)
{
    const fl_tensor *tensor;
    FL_TRY(get_tensor(model, name, 2, (const int64_t[]){rows, cols}, &tensor));
    *out = (fl_weight){.data = tensor->data, .dtype = tensor->dtype, .rows = rows, .cols = cols};
    model->weight_bytes += (size_t)(rows * cols) * fl_dtype_size(tensor->dtype);
    return FL_OK;
}

/* Norm weights are small: widened to fp32 into the model's block. */
static fl_status get_norm(fl_model *model, const char *name, float *out)
{
    const fl_tensor *tensor;
    int64_t C = model->config.hidden_size;
    FL_TRY(get_tensor(model, name, 1, &C, &tensor));
    float *wide;
    FL_TRY(fl_alloc(&wide, (size_t)C, sizeof *wide));
    fl_to_f32(wide, tensor->data, tensor->dtype, (size_t)C);
    model->ops->copy_in(out, wide, (size_t)C * sizeof *wide);
    fl_free(wide);
    model->weight_bytes += (size_t)C * fl_dtype_size(tensor->dtype);
    return FL_OK;
}

static fl_status load_layer(fl_model *model, int64_t index)
{
    fl_layer *layer = &model->layers[index];
    char name[128];
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        int64_t rows, cols;
        fl_module_shape((fl_module)m, &model->config, &rows, &cols);
        snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)index,
                 fl_module_path((fl_module)m));
        FL_TRY(get_matrix(model, name, rows, cols, &layer->linear[m]));
    }
    snprintf(name, sizeof name, "model.layers.%lld.input_layernorm.weight", (long long)index);
    FL_TRY(get_norm(model, name, layer->input_norm));
    snprintf(name, sizeof name, "model.layers.%lld.post_attention_layernorm.weight",
             (long long)index);
    return get_norm(model, name, layer->post_norm);
}

/* A folder without lm_head.weight has a tied head even where config.json does not say so. */
static fl_status load_head(fl_model *model)
{
    const fl_model_config *c = &model->config;
    if (c->tied_head || !fl_weights_has(model->files, "lm_head.weight")) {
        model->head = model->embedding;
        return FL_OK;
    }
    return get_matrix(model, "lm_head.weight", c->vocab_size, c->hidden_size, &model->head);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* cos and sin of position * theta^(-2i/D), angles in fp32 as the field's implementations take
 * them: results for long positions would differ visibly otherwise. */
static fl_status fill_rope_tables(fl_model *model)
{
    size_t half = (size_t)model->config.head_dim / 2, count = (size_t)model->positions * half;
    float *cosines, *sines;
    FL_TRY(fl_alloc(&cosines, 2 * count, sizeof *cosines));
    sines = cosines + count;
    for (size_t i = 0; i < half; i++) {
        double exponent = (double)(2 * i) / (double)model->config.head_dim;
        float inv_freq = (float)(1.0 / pow(model->config.rope_theta, exponent));
        for (size_t p = 0; p < (size_t)model->positions; p++) {
            double angle = (double)((float)p * inv_freq);
            cosines[p * half + i] = (float)cos(angle);
            sines[p * half + i] = (float)sin(angle);
        }
    }
    model->ops->copy_in(model->cos_table, cosines, count * sizeof *cosines);
    model->ops->copy_in(model->sin_table, sines, count * sizeof *sines);
    fl_free(cosines);
    return FL_OK;
}

/* One block: [norms of all layers and the final one] [cos] [sin] */
static fl_status allocate(fl_model *model)
{
    const fl_model_config *c = &model->config;
    size_t C = (size_t)c->hidden_size, L = (size_t)c->num_layers;
    size_t table = (size_t)model->positions * (size_t)c->head_dim / 2;
    FL_TRY(fl_arena_alloc(model->arena, &model->layers, L, sizeof *model->layers));
    FL_TRY(model->ops->alloc(&model->block, ((2 * L + 1) * C + 2 * table) * sizeof(float)));
    float *next = model->block;
    for (size_t l = 0; l < L; l++, next += 2 * C) {
        model->layers[l].input_norm = next;
        model->layers[l].post_norm = next + C;
    }
    model->final_norm = next;
    model->cos_table = next + C;
    model->sin_table = model->cos_table + table;
    return FL_OK;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The sizes of config.json are believed, and memory taken for them, once the files bear them out.
 */
static fl_status check_last_layer(fl_model *model)
{
    char name[128];
    const fl_tensor *tensor;
    snprintf(name, sizeof name, "model.layers.%lld.input_layernorm.weight",
             (long long)model->config.num_layers - 1);
    return get_tensor(model, name, 1, &model->config.hidden_size, &tensor);
}

static fl_status load(fl_model *model, const char *dir, int64_t positions)
{
    fl_model_config *c = &model->config;
    FL_TRY(fl_arena_create(&model->arena));
    FL_TRY(fl_model_config_load(c, dir));
    FL_CHECK(positions <= c->max_positions, FL_ERR_USAGE,
             "%s: sequences of %lld tokens do not fit the model's %lld positions; lower seq_length",
             dir, (long long)positions, (long long)c->max_positions);
    model->positions = positions ? positions : c->max_positions;
    FL_TRY(fl_weights_open(&model->files, dir));
    FL_TRY(get_matrix(model, "model.embed_tokens.weight", c->vocab_size, c->hidden_size,
                      &model->embedding));
    FL_TRY(check_last_layer(model));
    FL_TRY(allocate(model));
    for (int64_t l = 0; l < c->num_layers; l++)
        FL_TRY(load_layer(model, l));
    FL_TRY(get_norm(model, "model.norm.weight", model->final_norm));
    FL_TRY(load_head(model));
    return fill_rope_tables(model);
}

fl_status fl_model_open(fl_model **out, const char *dir, const fl_backend_ops *ops,
                        int64_t positions)
{
    fl_model *model;
    FL_TRY(fl_alloc(&model, 1, sizeof *model));
    model->ops = ops;
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
    fl_weights_close(model->files);
    fl_arena_destroy(model->arena);
    fl_free(model);
}

int64_t fl_model_parameter_count(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    int64_t per_layer = 2 * c->hidden_size;
    for (int m = 0; m < FL_NUM_MODULES; m++)
        per_layer += model->layers[0].linear[m].rows * model->layers[0].linear[m].cols;
    int64_t tables = c->vocab_size * c->hidden_size;
    bool tied = model->head.data == model->embedding.data;
    return c->num_layers * per_layer + tables * (tied ? 1 : 2) + c->hidden_size;
}
