/* The tensors of a model folder as Hugging Face lays it out: model.safetensors, or
 * model.safetensors.index.json with the shards that its weight_map names.
 *
 * All files are maps that stay open; tensors point into them.  Several ranks of a node that open
 * the same folder share one copy in memory.
 */
#ifndef FL_IO_WEIGHTS_H
#define FL_IO_WEIGHTS_H

#include "tensor/tensor.h"

typedef struct fl_weights fl_weights;

/* With an index only the tensors it lists are there.  Errors name the file and the tensor:
 * FL_ERR_IO for a missing folder or file, FL_ERR_INPUT for an index that lists what its shard does
 * not hold or a shard outside the folder, and those of fl_safetensors_open. */
fl_status fl_weights_open(fl_weights **out, const char *dir);
void fl_weights_close(fl_weights *weights); /* accepts NULL; ends all its tensors */

size_t fl_weights_count(const fl_weights *weights);
const fl_tensor *fl_weights_at(const fl_weights *weights, size_t index); /* by name, < count */
bool fl_weights_has(const fl_weights *weights, const char *name);

/* The tensor of that name in whatever type and shape, borrowed; NULL: there is none. */
const fl_tensor *fl_weights_find(const fl_weights *weights, const char *name);

/* *out = the tensor, borrowed, with exactly this shape and of dtype F32, F16 or BF16 (so that
 * fl_to_f32 can read it).  Errors: FL_ERR_INPUT when it is missing or has another shape,
 * FL_ERR_UNSUPPORTED for another dtype. */
fl_status fl_weights_get(const fl_weights *weights, const char *name, int ndim, const int64_t *dim,
                         const fl_tensor **out);

#endif
