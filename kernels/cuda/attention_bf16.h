/* attention_fwd and attention_bwd of backend/ops.h for matrices of bf16; lse, scratch and all sums
 * are fp32.  Rounded to bf16: what enters a product (P, and in the backward pass dS), and results,
 * once. */
#ifndef FL_KERNELS_CUDA_ATTENTION_BF16_H
#define FL_KERNELS_CUDA_ATTENTION_BF16_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

using bf16 = __nv_bfloat16;

void attention_fwd_bf16(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                        const fl_attn_shape *shape);
void attention_bwd_bf16(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out, const float *lse,
                        fl_act q, fl_act k, fl_act v, const fl_attn_shape *shape, float *scratch);

} // namespace FL_DEVICE

#endif
