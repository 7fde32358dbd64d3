/* The tensors of an adapter folder.  PEFT passes over tensors whose names it does not know and
 * leaves those it misses at their start values; here both are errors, since either means that
 * another adapter is trained or judged than the user thinks. */
#include "io/adapter.h"

#include "base/file.h"
#include "io/safetensors.h"
#include "io/shape.h"

static const char tensors_name[] = "adapter_model.safetensors";

static fl_status save_tensors(const char *path, const fl_params *params)
{
    fl_tensor *tensors;
    FL_TRY(fl_alloc(&tensors, params->num_params, sizeof *tensors));
    for (size_t i = 0; i < params->num_params; i++) {
        const fl_param *param = &params->params[i];
        tensors[i] = (fl_tensor){.name = param->name,
                                 .dtype = FL_F32,
                                 .ndim = param->ndim,
                                 .dim = {param->dim[0], param->dim[1]},
                                 .data = params->data + param->offset};
    }
    fl_status status = fl_safetensors_write(path, tensors, params->num_params);
    fl_free(tensors);
    return status;
}

fl_status fl_adapter_save(const char *dir, const fl_params *params, const fl_adapter_info *info)
{
    fl_buf path = {0};
    fl_status status;
    FL_TRY_GOTO(fl_make_dirs(dir), out);
    FL_TRY_GOTO(fl_path_join(&path, dir, tensors_name), out);
    FL_TRY_GOTO(save_tensors(path.data, params), out);
    status = fl_adapter_write_info(dir, info);
out:
    fl_buf_fini(&path);
    return status;
}

/* out[param->count] = the tensor, checked. */
static fl_status read_param(float *out, const fl_param *param, const fl_tensor *tensor)
{
    FL_CHECK(tensor, FL_ERR_INPUT, "is missing");
    char has[FL_SHAPE_TEXT], wants[FL_SHAPE_TEXT];
    FL_CHECK(fl_shape_equal(tensor->ndim, tensor->dim, param->ndim, param->dim), FL_ERR_INPUT,
             "has shape %s, expected %s: made for another model or LoRA rank?",
             fl_shape_text(has, tensor->ndim, tensor->dim),
             fl_shape_text(wants, param->ndim, param->dim));
    FL_CHECK(tensor->dtype == FL_F32 || tensor->dtype == FL_F16 || tensor->dtype == FL_BF16,
             FL_ERR_UNSUPPORTED, "has dtype %s, expected F32, F16 or BF16",
             fl_dtype_name(tensor->dtype));
    fl_to_f32(out, tensor->data, tensor->dtype, param->count);
    /* One NaN would spread over the whole model and, when training goes on, over all clients. */
    FL_CHECK(fl_all_finite(out, param->count), FL_ERR_INPUT, "holds NaN or infinity");
    return FL_OK;
}

static fl_status check_no_more(const fl_safetensors *file, const fl_params *params)
{
    for (size_t i = 0; i < fl_safetensors_count(file); i++) {
        const char *name = fl_safetensors_at(file, i)->name;
        FL_CHECK(fl_params_find(params, name), FL_ERR_INPUT,
                 "tensor %.160s has no place in this model's adapter (other target_modules?)",
                 name);
    }
    return FL_OK;
}

static fl_status load_tensors(const fl_safetensors *file, fl_params *params)
{
    for (size_t i = 0; i < params->num_params; i++) {
        const fl_param *param = &params->params[i];
        fl_status status =
            read_param(params->data + param->offset, param, fl_safetensors_find(file, param->name));
        if (status != FL_OK) return fl_fail_context(status, "tensor %s", param->name);
    }
    /* All of ours are there; the slow search is only for naming one too many. */
    if (fl_safetensors_count(file) == params->num_params) return FL_OK;
    return check_no_more(file, params);
}

fl_status fl_adapter_load(const char *dir, fl_params *params)
{
    fl_buf path = {0};
    fl_safetensors *file = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, dir, tensors_name), out);
    FL_TRY_GOTO(fl_safetensors_open(&file, path.data), out);
    status = load_tensors(file, params);
    if (status != FL_OK) fl_fail_context(status, "%s", path.data);
out:
    fl_safetensors_close(file);
    fl_buf_fini(&path);
    return status;
}
