/* Files in the safetensors format: 8 bytes with the length of the header (little endian), the
 * header (a JSON object: name -> dtype, shape, data_offsets), the data of all tensors without gaps.
 * Source: https://github.com/huggingface/safetensors, README.
 *
 * A file is opened as a read-only map and everything its header says is checked before the first
 * tensor is handed out, so that whoever reads a tensor's data can trust the view.  (A file that
 * somebody shortens while it is open takes the process with it, as with any map.)
 *
 *     fl_safetensors *file;
 *     FL_TRY(fl_safetensors_open(&file, "model.safetensors"));
 *     const fl_tensor *norm = fl_safetensors_find(file, "model.norm.weight");
 *     fl_safetensors_close(file);
 */
#ifndef FL_IO_SAFETENSORS_H
#define FL_IO_SAFETENSORS_H

#include "base/file.h"
#include "tensor/tensor.h"

typedef struct fl_safetensors fl_safetensors;

/* Errors, "PATH: tensor NAME: reason": FL_ERR_IO when the file cannot be read, FL_ERR_INPUT when it
 * breaks the format, FL_ERR_UNSUPPORTED for element types that fl_dtype lacks, for more than
 * FL_MAX_DIMS dimensions and for data that is not aligned to its elements. */
fl_status fl_safetensors_open(fl_safetensors **out, const char *path);
void fl_safetensors_close(fl_safetensors *file); /* accepts NULL; ends all its tensors */

size_t fl_safetensors_count(const fl_safetensors *file);
/* The tensors in the order of their names (strcmp); index < count.  Borrowed from the file. */
const fl_tensor *fl_safetensors_at(const fl_safetensors *file, size_t index);
const fl_tensor *fl_safetensors_find(const fl_safetensors *file, const char *name); /* or NULL */

/* Replaces `path` by the bytes that safetensors' own save_file writes for these tensors with the
 * metadata {"format": "pt"}, in whatever order they come.  The old file stays until the new one is
 * complete.
 * Errors: FL_ERR_IO, FL_ERR_MEMORY, FL_ERR_INTERNAL when two names are equal or one is not UTF-8.
 */
fl_status fl_safetensors_write(const char *path, const fl_tensor *tensors, size_t count);

/* The same file without all of its data in memory: `put` is called for each tensor, in the order of
 * the file, and hands exactly its bytes to fl_file_put, in as many pieces as it likes; the tensors'
 * own data is not looked at.  Errors: as above, and those of `put`. */
typedef fl_status fl_safetensors_put(void *context, const fl_tensor *tensor, fl_file_writer *file);
fl_status fl_safetensors_stream(const char *path, const fl_tensor *tensors, size_t count,
                                fl_safetensors_put *put, void *context);

#endif
