/* LoRA (Hu et al. 2021, arXiv 2106.09685): y = W x + (alpha / r) B A dropout(x).
 *
 * The adapter is an fl_params whose names are PEFT's, layer by layer, module by module, A before B:
 * base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight [r, in], ...lora_B.weight [out,
 * r].
 */
#ifndef FL_MODEL_LORA_H
#define FL_MODEL_LORA_H

#include "model/model_config.h"
#include "tensor/tensor.h"

/* The linears of a decoder layer, in the order of the forward pass. */
typedef enum fl_module {
    FL_Q_PROJ,
    FL_K_PROJ,
    FL_V_PROJ,
    FL_O_PROJ,
    FL_GATE_PROJ,
    FL_UP_PROJ,
    FL_DOWN_PROJ,
    FL_NUM_MODULES
} fl_module;

const char *fl_module_name(fl_module module); /* "q_proj" */
const char *fl_module_path(fl_module module); /* "self_attn.q_proj" */
/* rows (out) and cols (in) of the frozen weight */
void fl_module_shape(fl_module module, const fl_model_config *config, int64_t *rows, int64_t *cols);

typedef struct fl_lora_config {
    int64_t r;
    double alpha;  /* scale is alpha / r */
    float dropout; /* probability, on the input of A, in training */
    bool target[FL_NUM_MODULES];
} fl_lora_config;

/* Sets target[] from module names.  Errors: FL_ERR_USAGE (unknown name, none, twice). */
fl_status fl_lora_set_targets(fl_lora_config *lora, const char *const *names, size_t count);

/* *out = the adapter's layout with values: A uniform in +-1/sqrt(in) from the stream (seed,
 * LORA_INIT, index of the tensor), B zero.  Owned by the caller (fl_params_fini). */
fl_status fl_lora_create(fl_params *out, const fl_lora_config *lora, const fl_model_config *config,
                         uint64_t seed);

/* An adapter from a PEFT folder: *lora says how it is applied, *out holds its values (owned by the
 * caller, fl_params_fini).  Errors: those of fl_adapter_read_info and fl_adapter_load. */
fl_status fl_lora_load(fl_lora_config *lora, fl_params *out, const char *dir,
                       const fl_model_config *config);

#endif
