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
                                int64_t positions, fl_format format)
{
    size_t codes = fl_model_quant_bytes(c, format);
    size_t layers = (size_t)c->num_layers * sizeof(fl_layer);
    return (fl_model_plan){.mapped = codes > 0 ? sizes->files - sizes->linears : sizes->files,
                           .own = codes + layers +
                                  fl_model_block_floats(c, positions) * sizeof(float)};
}

/* Linears first .. last read one input: what they want together. */
static void need_of_group(fl_scratch_need *need, const fl_model_config *c, fl_module first,
                          fl_module last)
{
    int64_t rows, cols = 0, all_rows = 0, all_cols = 0;
    bool biased = false;
    for (int m = (int)first; m <= (int)last; m++) {
        fl_module_shape((fl_module)m, c, &rows, &cols);
        all_rows += rows;
        all_cols += cols;
        biased = biased || c->bias[m];
    }
    if (all_rows * cols > need->matrix) need->matrix = all_rows * cols;
    if (cols > need->longest_row) need->longest_row = cols;
    if (all_rows > need->width) need->width = all_rows;
    if (all_cols > need->width) need->width = all_cols;
    if (biased && all_rows > need->biased) need->biased = all_rows;
}

fl_scratch_need fl_model_scratch_need(const fl_model_config *c, const fl_model_sizes *sizes,
                                      fl_format format, int64_t max_tokens, int64_t max_sequences)
{
    int64_t chunk = max_tokens < FL_LOSS_CHUNK ? max_tokens : FL_LOSS_CHUNK;
    int64_t linears = max_tokens * fl_decoder_widest(c), head = chunk * c->vocab_size;
    bool quantised = format != FL_STORED || c->stored != FL_STORED;
    fl_scratch_need need = {.product = linears > head ? linears : head,
                            .longest = max_tokens / max_sequences,
                            .H = c->num_heads,
                            .KV = c->num_kv_heads,
                            .D = c->head_dim,
                            .tokens = max_tokens,
                            .clients = 1,
                            .matrix = c->vocab_size * c->hidden_size,
                            .stored = quantised ? FL_U8 : sizes->stored};
    need_of_group(&need, c, FL_Q_PROJ, FL_V_PROJ);
    need_of_group(&need, c, FL_O_PROJ, FL_O_PROJ);
    need_of_group(&need, c, FL_GATE_PROJ, FL_UP_PROJ);
    need_of_group(&need, c, FL_DOWN_PROJ, FL_DOWN_PROJ);
    return need;
}
