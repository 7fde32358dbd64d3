/* Shapes as error messages show them. */
#ifndef FL_IO_SHAPE_H
#define FL_IO_SHAPE_H

#include "tensor/tensor.h"

enum { FL_SHAPE_TEXT = 24 * FL_MAX_DIMS + 3 }; /* bytes that hold any shape */

/* out = "[32, 64]"; returns out, so that the call can stand among the arguments of FL_FAIL. */
const char *fl_shape_text(char out[FL_SHAPE_TEXT], int ndim, const int64_t *dim);
bool fl_shape_equal(int ndim_a, const int64_t *dim_a, int ndim_b, const int64_t *dim_b);

#endif
