/* LoRA adapters in the folder layout of Hugging Face PEFT: adapter_model.safetensors and
 * adapter_config.json, as PeftModel.from_pretrained, vLLM and llama.cpp read them.
 *
 * Tensors carry PEFT's names, for each target module
 *     base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight   [lora_r, in]
 *     base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight   [out, lora_r]
 * The module adds scale * B A to its weight, scale = lora_alpha / lora_r
 * (/ sqrt(lora_r) with use_rslora).  rank_pattern and alpha_pattern give modules an lora_r and
 * lora_alpha of their own (io/pattern.h).
 */
#ifndef FL_IO_ADAPTER_H
#define FL_IO_ADAPTER_H

#include "io/pattern.h"
#include "tensor/tensor.h"

enum { FL_MAX_LORA_R = 1 << 20 };

/* What adapter_config.json says about an adapter. */
typedef struct fl_adapter_info {
    int lora_r;
    double lora_alpha;
    double lora_dropout;
    bool use_rslora;
    const char *base_model;            /* base_model_name_or_path; NULL: not said */
    const char *const *target_modules; /* [num_target_modules] "q_proj", ... */
    size_t num_target_modules;
    fl_patterns rank_pattern, alpha_pattern; /* ranks are whole numbers, at most FL_MAX_LORA_R */
    fl_arena *arena; /* owns the texts after fl_adapter_read_info; NULL when the caller does */
} fl_adapter_info;

/* Makes the folder and writes both files, each replaced only when it is complete; the bytes depend
 * on the arguments only.  Errors: FL_ERR_IO, FL_ERR_MEMORY. */
fl_status fl_adapter_save(const char *dir, const fl_params *params, const fl_adapter_info *info);

/* Fills params->data from DIR, widening F16 and BF16.  The file must hold exactly the tensors of
 * the layout, in these shapes, all values finite.  After an error the data is unspecified.
 * Errors, naming file and tensor: FL_ERR_IO, FL_ERR_INPUT, FL_ERR_UNSUPPORTED. */
fl_status fl_adapter_load(const char *dir, fl_params *params);

/* Reads adapter_config.json; the caller ends *out with fl_adapter_info_fini.  What would change the
 * mathematics and is not in fl_adapter_info (DoRA, biases, modules_to_save, ...) is refused.
 * Errors, naming file and key: FL_ERR_IO, FL_ERR_INPUT, FL_ERR_UNSUPPORTED. */
fl_status fl_adapter_read_info(fl_adapter_info *out, const char *dir);

/* r and scale of the module "model.layers.0.self_attn.q_proj".  Errors: those of fl_patterns_find.
 */
fl_status fl_adapter_module(const fl_adapter_info *info, const char *path, int64_t *r,
                            double *scale);
void fl_adapter_info_fini(fl_adapter_info *info);

/* For fl_adapter_save: replaces DIR/adapter_config.json. */
fl_status fl_adapter_write_info(const char *dir, const fl_adapter_info *info);

#endif
