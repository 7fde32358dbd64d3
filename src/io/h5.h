/* HDF5 files that are built in memory, written at once, and never damaged when HDF5 sees them.
 *
 * The HDF5 library may crash on a damaged file, so each file carries its own seal: it starts with a
 * user block of 512 bytes (part of the HDF5 standard, skipped by every reader) that holds
 *
 *     FEDLLM STATE 1\n
 *     length <bytes behind the block, 20 digits>\n
 *     crc32 <zlib's CRC-32 of these bytes, 8 hex digits>\n
 *
 * and zeros.  fl_h5_open checks all of it before HDF5 gets the file.  The seal finds damage, it is
 * no protection against somebody who forges a file.  The same puts give the same bytes: no times
 * are stored.
 *
 * Paths are absolute, "/adapter/name": '/' separates groups, which are made as needed.
 * Everything in the file is little endian, whatever the machine.
 * Dtypes: F32, F64, I64, I32, I8, U8.  Not thread-safe.
 *
 *     fl_h5 *h5;                                      fl_h5 *h5;
 *     FL_TRY(fl_h5_create(&h5));                      FL_TRY(fl_h5_open(&h5, "state.h5"));
 *     fl_h5_put(h5, "/a/b", FL_F32, 2, dim, data);    fl_h5_get(h5, "/a/b", FL_F32, 2, dim, data);
 *     fl_h5_finish(h5, "state.h5", "state.prev.h5");  fl_h5_close(h5);
 *     fl_h5_close(h5);
 */
#ifndef FL_IO_H5_H
#define FL_IO_H5_H

#include "base/buf.h"
#include "tensor/tensor.h"

typedef struct fl_h5 fl_h5;

/* An empty file in memory, for putting only.  Errors: FL_ERR_MEMORY, FL_ERR_INTERNAL. */
fl_status fl_h5_create(fl_h5 **out);

/* Adds a data set; ndim in [1, FL_MAX_DIMS].  Every data set that is not empty has a Fletcher-32
 * checksum per chunk.  Errors: FL_ERR_INTERNAL when `path` is taken or is no path, or HDF5 runs
 * out of memory. */
fl_status fl_h5_put(fl_h5 *h5, const char *path, fl_dtype dtype, int ndim, const int64_t *dim,
                    const void *data);
fl_status fl_h5_put_text(fl_h5 *h5, const char *path, const char *text, size_t length); /* U8 */

/* Writes the file: complete or not at all; with `previous` (may be NULL) the old file is kept under
 * that name, see fl_file_write_keep.  After it, also after an error, only fl_h5_close is allowed.
 * Errors: FL_ERR_IO, FL_ERR_INTERNAL. */
fl_status fl_h5_finish(fl_h5 *h5, const char *path, const char *previous);

/* Opens a file for getting only; it stays mapped until fl_h5_close.  Errors: FL_ERR_IO when it
 * cannot be read, FL_ERR_INPUT when it is damaged, cut short or something else. */
fl_status fl_h5_open(fl_h5 **out, const char *path);
void fl_h5_close(fl_h5 *h5); /* accepts NULL */

bool fl_h5_has(const fl_h5 *h5, const char *path); /* a group or a data set */
/* *out = members of a group; 0 when it is not there. */
fl_status fl_h5_count(size_t *out, const fl_h5 *h5, const char *path);
/* The shape of a data set: dim[ndim], at most FL_MAX_DIMS of them. */
fl_status fl_h5_dims(const fl_h5 *h5, const char *path, int *ndim, int64_t dim[FL_MAX_DIMS]);
/* Fills `out`; the data set must have exactly this type and shape.
 * Errors: FL_ERR_INPUT, "FILE: /path: what is wrong". */
fl_status fl_h5_get(const fl_h5 *h5, const char *path, fl_dtype dtype, int ndim, const int64_t *dim,
                    void *out);
fl_status fl_h5_get_text(const fl_h5 *h5, const char *path, fl_buf *out); /* out is emptied first */

#endif
