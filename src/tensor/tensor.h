/* Element types, views of tensors, and fl_params: ordered named fp32 tensors over one buffer. */
#ifndef FL_TENSOR_TENSOR_H
#define FL_TENSOR_TENSOR_H

#include "base/mem.h"
#include "base/status.h"

#include <stdint.h>

typedef enum fl_dtype { FL_F32, FL_F16, FL_BF16, FL_F64, FL_I64, FL_I32, FL_I8, FL_U8 } fl_dtype;

size_t fl_dtype_size(fl_dtype dtype);      /* bytes */
const char *fl_dtype_name(fl_dtype dtype); /* safetensors' word: "F32" ... */
bool fl_dtype_parse(const char *name, fl_dtype *out);

enum { FL_MAX_DIMS = 4 };

/* A view; owns nothing.  Row-major, dim[0] outermost, contiguous. */
typedef struct fl_tensor {
    const char *name;
    fl_dtype dtype;
    int ndim;
    int64_t dim[FL_MAX_DIMS];
    const void *data;
} fl_tensor;

int64_t fl_tensor_count(const fl_tensor *tensor); /* elements */

/* Widens `count` elements of dtype F32, F16 or BF16 to fp32. */
void fl_to_f32(float *out, const void *data, fl_dtype dtype, size_t count);
float fl_bf16_to_f32(uint16_t bits);
float fl_f16_to_f32(uint16_t bits);

/* The nearest value of the narrow type, of two equally near ones the one with an even last bit
 * (IEEE 754 roundTiesToEven), subnormals included.  What is too large becomes infinity. */
uint16_t fl_f32_to_bf16(float value);
uint16_t fl_f32_to_f16(float value);
/* Narrows `count` values to dtype F32, F16 or BF16 that way.  False when a result is NaN or
 * infinity: the value was, or does not fit into the type. */
bool fl_from_f32(void *out, fl_dtype dtype, const float *values, size_t count);

/* One named matrix or vector of an fl_params. */
typedef struct fl_param {
    char *name;
    int ndim;
    int64_t dim[2];
    size_t offset; /* elements into the data */
    size_t count;  /* elements */
} fl_param;

/* Ordered, named fp32 tensors over one contiguous buffer: an adapter, a server state, a client
 * state.  Checkpoints and transports move it without knowing what it means. */
typedef struct fl_params {
    fl_param *params;
    size_t num_params, max_params;
    float *data; /* [count], host memory; NULL for a layout without values */
    size_t count;
    fl_arena *arena; /* owns everything above */
} fl_params;

/* Empty layout; then fl_params_add for each of at most max_params tensors (dimensions >= 0), then
 * fl_params_allocate.  Errors: FL_ERR_MEMORY. */
fl_status fl_params_init(fl_params *out, size_t max_params);
fl_status fl_params_add(fl_params *params, const char *name, int ndim, const int64_t *dim);
fl_status fl_params_allocate(fl_params *params);                  /* zeros */
fl_status fl_params_like(fl_params *out, const fl_params *other); /* same layout, zeros */
void fl_params_fini(fl_params *params);
const fl_param *fl_params_find(const fl_params *params, const char *name); /* NULL if none */
bool fl_params_same_layout(const fl_params *a, const fl_params *b);
/* true when every value is finite */
bool fl_all_finite(const float *data, size_t count);

#endif
