/* The memory of a model before it is opened. */
#include "io/weights.h"
#include "model/decoder_internal.h"
#include "model/model_internal.h"

static size_t tensor_bytes(const fl_tensor *tensor)
{
    return tensor ? (size_t)fl_tensor_count(tensor) * fl_dtype_size(tensor->dtype) : 0;
}

int64_t fl_model_parameters(const fl_model_config *c, bool tied_head)
{
    int64_t per_layer = fl_model_vector_count(c), rows, cols;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        fl_module_shape((fl_module)m, c, &rows, &cols);
        per_layer += rows * cols;
    }
    return c->num_layers * per_layer + c->vocab_size * c->hidden_size * (tied_head ? 1 : 2) +
           c->hidden_size;
}

static size_t linear_bytes(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    char name[FL_TENSOR_NAME_SIZE];
    size_t bytes = 0;
    for (int64_t l = 0; l < c->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++) {
            if ((int)c->family->linear[m].holder != m) continue;
            fl_layer_tensor_name(name, l, c->family->linear[m].path, "weight");
            bytes += tensor_bytes(fl_weights_find(model->files, name));
        }
    return bytes;
}

/* Of all matrices; FL_U8 where they differ. */
static fl_dtype stored_of(const fl_weights *files)
{
    fl_dtype found = FL_U8;
    bool any = false;
    for (size_t i = 0; i < fl_weights_count(files); i++) {
        const fl_tensor *t = fl_weights_at(files, i);
        if (t->ndim != 2) continue;
        if (any && t->dtype != found) return FL_U8;
        found = t->dtype;
        any = true;
    }
    return found;
}

static fl_model_sizes measure(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    const fl_tensor *head = fl_weights_find(model->files, "lm_head.weight");
    fl_model_sizes sizes = {.linears = linear_bytes(model),
                            .parameters = fl_model_parameters(c, c->tied_head || !head),
                            .tensors = fl_weights_count(model->files),
                            .stored = stored_of(model->files)};
    for (size_t i = 0; i < fl_weights_count(model->files); i++)
        sizes.files += tensor_bytes(fl_weights_at(model->files, i));
    if (c->tied_head) sizes.files -= tensor_bytes(head);
    const fl_tensor *table = fl_weights_find(model->files, "model.embed_tokens.weight");
    fl_model_measure_expanded(&sizes, model, table->dtype, c->tied_head || !head);
    return sizes;
}

fl_status fl_model_measure(fl_model_sizes *out, const char *dir, int64_t positions,
                           fl_format format)
{
    fl_model *model;
    FL_TRY(fl_alloc(&model, 1, sizeof *model));
    model->format = format;
    fl_status status = fl_model_open_files(model, dir, positions);
    if (status == FL_OK) *out = measure(model);
    fl_weights_close(model->files);
    fl_free(model);
    return status;
}

fl_model_plan fl_model_plan_for(const fl_model_config *c, const fl_model_sizes *sizes,
                                int64_t positions, fl_format format, bool expanded)
{
    size_t codes = fl_model_quant_bytes(c, format);
    size_t own = (size_t)c->num_layers * sizeof(fl_layer) +
                 fl_model_block_floats(c, positions) * sizeof(float);
    if (expanded) return (fl_model_plan){.own = own + sizes->expanded, .staged = sizes->staged};
    return (fl_model_plan){.mapped = codes > 0 ? sizes->files - sizes->linears : sizes->files,
                           .own = own + codes};
}
