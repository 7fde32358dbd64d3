/* The cuda backend, and cuda_emu, which is the same source run on the host. */
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

extern "C" const fl_backend_ops FL_DEVICE_BACKEND = {
    .name = FL_DEVICE_NAME,
    .host_memory = false,
    .best_compute = FL_DEVICE_COMPUTE,
    .shares_prefixes = true,
    .present = op_present,
    .open = op_open,
    .status = op_status,
    .set_compute = op_set_compute,
    .act_dtype = op_act_dtype,
    .alloc = op_alloc,
    .release = op_release,
    .copy_in = op_copy_in,
    .copy_out = op_copy_out,
    .copy = op_copy,
    .zero = op_zero,
    .scratch_bytes = nullptr, /* none of the host's */
    .embedding = op_embedding,
    .gather_rows = op_gather_rows,
    .scatter_add_rows = op_scatter_add_rows,
    .copy_rows = op_copy_rows,
    .rmsnorm_fwd = op_rmsnorm_fwd,
    .rmsnorm_bwd = op_rmsnorm_bwd,
    .linear_fwd = op_linear_fwd,
    .linear_bwd = op_linear_bwd,
    .gemm = op_gemm,
    .linears_fwd = op_linears_fwd,
    .linears_bwd = op_linears_bwd,
    .add = op_add,
    .scale = op_scale,
    .softcap_fwd = op_softcap_fwd,
    .softcap_bwd = op_softcap_bwd,
    .axpy = op_axpy,
    .dropout = op_dropout,
    .swiglu_fwd = op_swiglu_fwd,
    .swiglu_bwd = op_swiglu_bwd,
    .geglu_fwd = op_geglu_fwd,
    .geglu_bwd = op_geglu_bwd,
    .rope = op_rope,
    .attention_fwd = op_attention_fwd,
    .attention_bwd = op_attention_bwd,
    .attention_bwd_scratch = op_attention_bwd_scratch,
    .attention_decode = op_attention_decode,
    .cross_entropy = op_cross_entropy,
    .argmax = op_argmax,
    .sum_squares = op_sum_squares,
    .adamw = op_adamw,
    .largest_change = op_largest_change,
    .add_change = op_add_change,
    .device = &device_ops,
};

} // namespace FL_DEVICE
