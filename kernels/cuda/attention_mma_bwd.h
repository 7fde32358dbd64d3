/* What the kernels of the backward pass in bf16 share; the formulas and the two kernels are those
 * of attention_bwd.cu.  The one for dK and dV computes the scores transposed, so that its warps own
 * rows of keys.  Rounded to bf16: P and dS as they enter a product, and the results; P is the fp32
 * exponential where dS is computed. */
#ifndef FL_KERNELS_CUDA_ATTENTION_MMA_BWD_H
#define FL_KERNELS_CUDA_ATTENTION_MMA_BWD_H

#include "kernels/cuda/attention_mma.h"

namespace FL_DEVICE
{

struct BackwardBf16 {
    Matrix<bf16> dq, dk, dv, dout, q, k, v;
    const float *lse, *delta;
    bool is_aligned;
    AttentionShape shape;
};

/* dq of args; dk and dv of args.  Heads have at most ATT_MOST_D elements. */
void attention_dq_bf16(const BackwardBf16 &args, const fl_attn_shape *shape);
void attention_dkv_bf16(const BackwardBf16 &args, const fl_attn_shape *shape);

/* s: a product of query and key -> P, zero if not is_seen; dp: dP -> dS without the scale.  lse is
 * with base 2. */
template <bool IS_CAPPED>
static __device__ __forceinline__ void backward_score(float &s, float &dp,
                                                      const AttentionShape &shape, bool is_seen,
                                                      float lse, float delta)
{
    float slope = dp - delta;
    if (IS_CAPPED) {
        float score = cap_score(s * shape.scale, shape.softcap);
        s = score * LOG2_E;
        slope *= cap_slope(score, shape.softcap);
    } else {
        s *= shape.scale * LOG2_E;
    }
    s = is_seen ? exp2f(s - lse) : 0.0f;
    dp = s * slope;
}

} // namespace FL_DEVICE

#endif
