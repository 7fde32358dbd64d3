/* attention_fwd, attention_bwd and attention_decode of backend/ops.h with bf16 in place of fp32;
 * lse, scratch and all sums are fp32.  Rounded to bf16: what enters a product of the first two (in
 * the backward pass dS too), and results, once. */
#ifndef FL_KERNELS_CUDA_ATTENTION_BF16_H
#define FL_KERNELS_CUDA_ATTENTION_BF16_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

using bf16 = __nv_bfloat16;

void attention_fwd_bf16(bf16 *out, float *lse, const bf16 *q, const bf16 *k, const bf16 *v,
                        const fl_attn_shape *shape);
void attention_bwd_bf16(bf16 *dq, bf16 *dk, bf16 *dv, const bf16 *dout, const bf16 *out,
                        const float *lse, const bf16 *q, const bf16 *k, const bf16 *v,
                        const fl_attn_shape *shape, float *scratch);
void attention_decode_bf16(bf16 *out, const bf16 *q, const bf16 *k_cache, const bf16 *v_cache,
                           const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape);

} // namespace FL_DEVICE

#endif
