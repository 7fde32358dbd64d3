/* Elements of frozen weights on the device, as floats. */
#ifndef FL_KERNELS_CUDA_WIDEN_H
#define FL_KERNELS_CUDA_WIDEN_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

/* An fl_weight with its quantisation, by value: kernels cannot follow pointers to the host. */
struct Weight {
    const void *data;
    fl_dtype dtype;
    bool is_quantised;
    fl_quant quant;
    int64_t first;
    float nf4[16];
};

inline Weight weight_of(const fl_weight *w)
{
    Weight out = {};
    out.data = w->data;
    out.dtype = w->dtype;
    out.first = w->first;
    out.is_quantised = w->quant != nullptr;
    if (w->quant) out.quant = *w->quant;
    for (int i = 0; i < 16; i++)
        out.nf4[i] = fl_nf4_values[i];
    return out;
}

static __device__ __forceinline__ float widen_plain(const void *data, fl_dtype dtype, int64_t i)
{
    if (dtype == FL_F32) return static_cast<const float *>(data)[i];
    if (dtype == FL_BF16) return __bfloat162float(static_cast<const __nv_bfloat16 *>(data)[i]);
    return __half2float(static_cast<const __half *>(data)[i]);
}

/* As fl_dequantise of tensor/quant.c. */
static __device__ __forceinline__ float widen_quantised(const Weight &w, int64_t i)
{
    const fl_quant &q = w.quant;
    if (q.format == FL_INT8) {
        float code = (float)static_cast<const int8_t *>(q.codes)[i];
        return code * q.absmax[i / q.cols] * FL_INT8_STEP;
    }
    int byte = static_cast<const uint8_t *>(q.codes)[i / 2];
    int64_t block = i / FL_NF4_BLOCK;
    float absmax =
        q.absmax ? q.absmax[block]
                 : q.absmax_map[q.absmax_codes[block]] * q.absmax_scale[block / FL_ABSMAX_BLOCK] +
                       q.absmax_offset;
    return w.nf4[i % 2 ? byte & 15 : byte >> 4] * absmax;
}

/* Element i of the weight, row after row. */
static __device__ __forceinline__ float widen(const Weight &w, int64_t i)
{
    return w.is_quantised ? widen_quantised(w, w.first + i) : widen_plain(w.data, w.dtype, i);
}

} // namespace FL_DEVICE

#endif
