/* Packing in plain C, for machines without a faster one. */
#include "gemm.h"

#include <string.h>

/* Element number `at` as fp32; dtype is the same for a whole call, so the branch is predicted. */
static inline float load(const void *data, fl_dtype dtype, int64_t at)
{
    if (dtype == FL_F32) return ((const float *)data)[at];
    uint16_t bits = ((const uint16_t *)data)[at];
    return dtype == FL_BF16 ? fl_bf16_to_f32(bits) : fl_f16_to_f32(bits);
}

void fl_pack_c(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
               int64_t k0, int64_t kc, float alpha)
{
    int64_t i_step = from->k_inner ? from->stride : 1;
    int64_t k_step = from->k_inner ? 1 : from->stride;
    for (int64_t i = 0; i < count; i += width) {
        int64_t lanes = count - i < width ? count - i : width;
        for (int64_t k = 0; k < kc; k++) {
            int64_t at = (i0 + i) * i_step + (k0 + k) * k_step;
            for (int64_t lane = 0; lane < lanes; lane++)
                *out++ = alpha * load(from->data, from->dtype, at + lane * i_step);
            for (int64_t lane = lanes; lane < width; lane++)
                *out++ = 0.0f;
        }
    }
}
