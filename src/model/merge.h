/* A model folder out of another one: with a LoRA adapter added to its weights, in other element
 * types, or both.
 *
 * Works on the tensors by name alone, so it serves every architecture: the adapter's pair
 * base_model.model.NAME.lora_A.weight, lora_B.weight belongs to the base's NAME.weight [out, in],
 * which becomes W + (alpha / r) B A (Hu et al. 2021, arXiv 2106.09685, section 4.1), computed in
 * fp32 and rounded once to the type it is stored in.  One tensor at a time is in work.
 */
#ifndef FL_MODEL_MERGE_H
#define FL_MODEL_MERGE_H

#include "tensor/tensor.h"

typedef struct fl_merge_job {
    const char *model;   /* Hugging Face folder */
    const char *adapter; /* PEFT folder; NULL: none, only element types change */
    const char *out;     /* folder that is not there or empty */
    bool changes_dtype;  /* false: every tensor keeps the type it has */
    fl_dtype dtype;      /* F32, F16 or BF16, for all tensors of these types */
    bool check_only;     /* stop before anything is written */
} fl_merge_job;

typedef struct fl_merge_result {
    size_t num_tensors, num_merged, num_files, num_left_out;
    int64_t weight_bytes;
} fl_merge_result;

/* Writes OUT with the same shards and index, the other files of the folder copied, config.json last
 * and, where the type changes, saying so.  Weights in other formats are left out.  After an error
 * what was written is removed again.
 * Errors: FL_ERR_USAGE (OUT is not empty), FL_ERR_INPUT (the adapter does not fit; a value that is
 * not finite or does not fit into the type, with the tensor's name), FL_ERR_UNSUPPORTED, FL_ERR_IO,
 * FL_ERR_MEMORY. */
fl_status fl_merge(const fl_merge_job *job, fl_merge_result *result);

#endif
