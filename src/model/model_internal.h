/* Inside of fl_model, for model*.c only. */
#ifndef FL_MODEL_MODEL_INTERNAL_H
#define FL_MODEL_MODEL_INTERNAL_H

#include "model/model.h"

/* A tensor of floats of exactly this shape, all finite. */
fl_status fl_model_get_tensor(const fl_model *model, const char *name, int ndim, const int64_t *dim,
                              const fl_tensor **out);

/* Where the backend's kernels do not read the host's memory, *data (`bytes` of a file's map)
 * becomes a copy in backend memory, which lives as long as the model.  Errors: FL_ERR_MEMORY. */
fl_status fl_model_make_resident(fl_model *model, const void **data, size_t bytes);
void fl_model_release_residents(fl_model *model);

/* Bytes of quant_block that one layer takes in model->format; 0 for FL_STORED. */
size_t fl_model_quant_bytes(const fl_model *model);

/* *out = the matrix `name` in model->format, with *quant behind it: made from the file's floats, or
 * as bitsandbytes left it. */
fl_status fl_model_get_quantised(fl_model *model, const char *name, int64_t rows, int64_t cols,
                                 fl_quant *quant, fl_weight *out);

#endif
