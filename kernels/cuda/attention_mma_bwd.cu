/* Causal attention in bf16, backward: delta, then dQ, then dK and dV. */
#include "kernels/cuda/attention_mma_bwd.h"

namespace FL_DEVICE
{

/* Lanes of a row of delta, and rows of a block. */
enum { DELTA_LANES = 8, DELTA_THREADS = 256, DELTA_ROWS = DELTA_THREADS / DELTA_LANES };

/* The product of the first `count` of eight elements. */
static __device__ __forceinline__ float dot_eight(const bf16 *a, const bf16 *b, int count,
                                                  bool is_aligned)
{
    bf16 left[8], right[8];
    if (is_aligned) {
        uint4 words[2] = {*reinterpret_cast<const uint4 *>(a), *reinterpret_cast<const uint4 *>(b)};
        memcpy(left, &words[0], sizeof left);
        memcpy(right, &words[1], sizeof right);
    } else {
        FL_UNROLLED (e, 8) {
            left[e] = a[e < count ? e : 0];
            right[e] = b[e < count ? e : 0];
        }
    }
    float sum = 0;
    FL_UNROLLED (e, 8)
        if (e < count) sum += __bfloat162float(left[e]) * __bfloat162float(right[e]);
    return sum;
}

/* delta[T, H] from dout[T, H * D] and out. */
static __global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta_bf16_kernel(float *delta, Matrix<bf16> dout, Matrix<bf16> out, int64_t rows,
                                int H, int D, bool is_aligned)
{
    int64_t row = (int64_t)blockIdx.x * DELTA_ROWS + threadIdx.x / DELTA_LANES;
    int lane = (int)threadIdx.x % DELTA_LANES, column = (int)(row % H) * D;
    float sum = 0;
    for (int d = lane * 8; row < rows && d < D; d += DELTA_LANES * 8)
        sum +=
            dot_eight(dout.at(row / H, column + d), out.at(row / H, column + d), D - d, is_aligned);
    sum = warp_reduce(sum, Sum(), DELTA_LANES);
    if (row < rows && lane == 0) delta[row] = sum;
}

void attention_bwd_bf16(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out, const float *lse,
                        fl_act q, fl_act k, fl_act v, const fl_attn_shape *shape, float *scratch)
{
    int64_t rows = shape->T * shape->H;
    if (rows == 0) return;
    if (shape->D > ATT_MOST_D) return refuse_heads();
    bool is_aligned = all_aligned(shape->D, dq, dk, dv, dout, out, q, k, v);
    FL_LAUNCH(attention_delta_bf16_kernel, (unsigned)((rows + DELTA_ROWS - 1) / DELTA_ROWS),
              DELTA_THREADS, 0, scratch, matrix_of<bf16>(dout), matrix_of<bf16>(out), rows,
              (int)shape->H, (int)shape->D, is_aligned);
    BackwardBf16 args = {matrix_of<bf16>(dq),
                         matrix_of<bf16>(dk),
                         matrix_of<bf16>(dv),
                         matrix_of<bf16>(dout),
                         matrix_of<bf16>(q),
                         matrix_of<bf16>(k),
                         matrix_of<bf16>(v),
                         lse,
                         scratch,
                         is_aligned,
                         shape_of(shape)};
    attention_dq_bf16(args, shape);
    attention_dkv_bf16(args, shape);
}

} // namespace FL_DEVICE
