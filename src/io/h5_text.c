/* Texts in an HDF5 file, made of the typed data sets of h5.h.
 *
 * They are bytes rather than HDF5's own strings: those end at the first zero byte or need a type of
 * their own per length, and what is read back must be what was put. */
#include "io/h5.h"

fl_status fl_h5_put_text(fl_h5 *h5, const char *path, const char *text, size_t length)
{
    const int64_t dim = (int64_t)length;
    return fl_h5_put(h5, path, FL_U8, 1, &dim, text);
}

fl_status fl_h5_get_text(const fl_h5 *h5, const char *path, fl_buf *out)
{
    int ndim;
    int64_t dim[FL_MAX_DIMS];
    char *text = NULL;
    FL_TRY(fl_h5_dims(h5, path, &ndim, dim));
    FL_CHECK(ndim == 1, FL_ERR_INPUT, "%s is not a text", path);
    FL_TRY(fl_alloc(&text, (size_t)dim[0], 1));
    fl_status status = fl_h5_get(h5, path, FL_U8, 1, dim, text);
    fl_buf_clear(out);
    if (status == FL_OK) status = fl_buf_add(out, text, (size_t)dim[0]);
    fl_free(text);
    return status;
}
