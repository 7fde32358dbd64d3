#include "io/shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *fl_shape_text(char out[FL_SHAPE_TEXT], int ndim, const int64_t *dim)
{
    size_t used = 0;
    for (int i = 0; i < ndim; i++) {
        const char *before = i == 0 ? "[" : ", ";
        used += (size_t)snprintf(out + used, FL_SHAPE_TEXT - used, "%s%" PRId64, before, dim[i]);
    }
    snprintf(out + used, FL_SHAPE_TEXT - used, ndim == 0 ? "[]" : "]");
    return out;
}

bool fl_shape_equal(int ndim_a, const int64_t *dim_a, int ndim_b, const int64_t *dim_b)
{
    return ndim_a == ndim_b && memcmp(dim_a, dim_b, (size_t)ndim_a * sizeof *dim_a) == 0;
}
