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
/* Until fl_model_end_block copies lie one behind the other in one piece of `bytes`, as far as they
 * fit into it.  Does nothing where there are no copies.  Errors: FL_ERR_MEMORY. */
fl_status fl_model_begin_block(fl_model *model, size_t bytes);
void fl_model_end_block(fl_model *model);
/* The same place without the copy. */
fl_status fl_model_take_resident(fl_model *model, void *out, size_t bytes);
/* Releases the copies made since model->residents was `until`; NULL: all. */
void fl_model_release_residents(fl_model *model, const struct fl_resident *until);

enum { FL_TENSOR_NAME_SIZE = 160 };

/* name = "model.layers.INDEX.PATH.KIND"; returns it. */
const char *fl_layer_tensor_name(char name[FL_TENSOR_NAME_SIZE], int64_t index, const char *path,
                                 const char *kind);

/* config, files and format of a model whose other fields are still empty: everything that can be
 * checked before memory is taken for it. */
fl_status fl_model_open_files(fl_model *model, const char *dir, int64_t positions);

/* Numbers in the norms and biases of one layer. */
int64_t fl_model_vector_count(const fl_model_config *config);
enum { FL_SAMPLE_FLOATS = 16 }; /* of fl_model.sample */
/* Floats of fl_model.block. */
size_t fl_model_block_floats(const fl_model_config *config, int64_t positions);
int64_t fl_model_parameters(const fl_model_config *config, bool tied_head);

/* Bytes of quant_block; 0 where nothing is quantised at load. */
size_t fl_model_quant_bytes(const fl_model_config *config, fl_format format);

/* Of one matrix of that format, made at load or read from a checkpoint, at the most; 0 for
 * FL_STORED. */
size_t fl_model_packed_bytes(fl_format format, int64_t rows, int64_t cols);

/* *out = the matrix `name` in model->format, with *quant behind it: made from the file's floats, or
 * as bitsandbytes left it. */
fl_status fl_model_get_quantised(fl_model *model, const char *name, int64_t rows, int64_t cols,
                                 fl_quant *quant, fl_weight *out);

/* What products would widen to bf16 at every use, widened once, in memory as of
 * fl_model_make_resident: *w, which lies in a file's map; a copy of *from; the quantised matrix
 * `name`, whose codes are gone afterwards. */
fl_status fl_model_expand_plain(fl_model *model, fl_weight *w);
fl_status fl_model_expand_resident(fl_model *model, const fl_weight *from, fl_weight *out);
fl_status fl_model_expand_quantised(fl_model *model, const char *name, int64_t rows, int64_t cols,
                                    fl_weight *out);
/* Bytes of the linears first .. last of a layer in bf16. */
size_t fl_model_group_bytes(const fl_model_config *config, fl_module first, fl_module last);
/* sizes->expanded and sizes->staged. */
void fl_model_measure_expanded(fl_model_sizes *sizes, const fl_model *model, fl_dtype embedding,
                               bool tied_head);

#endif
