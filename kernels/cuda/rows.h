/* Activations in kernels that take them in any type: read as floats, rounded once when written. */
#ifndef FL_KERNELS_CUDA_ROWS_H
#define FL_KERNELS_CUDA_ROWS_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

/* An fl_act; the type is the same for all threads, so asking for it costs little beside memory. */
struct Rows {
    void *data;
    int64_t stride;
    bool is_bf16;
};

inline Rows rows_of(fl_act x)
{
    return {x.data, x.stride, x.dtype == FL_BF16};
}

static __device__ __forceinline__ float read_row(const Rows &x, int64_t t, int64_t c)
{
    int64_t i = t * x.stride + c;
    return x.is_bf16 ? __bfloat162float(static_cast<const __nv_bfloat16 *>(x.data)[i])
                     : static_cast<const float *>(x.data)[i];
}

static __device__ __forceinline__ void write_row(const Rows &x, int64_t t, int64_t c, float value)
{
    int64_t i = t * x.stride + c;
    if (x.is_bf16)
        static_cast<__nv_bfloat16 *>(x.data)[i] = __float2bfloat16(value);
    else
        static_cast<float *>(x.data)[i] = value;
}

} // namespace FL_DEVICE

#endif
