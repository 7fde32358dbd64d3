/* The members of the table in cuda.cu, one file per family; the contract of each is in
 * backend/ops.h. */
#ifndef FL_KERNELS_CUDA_CUDA_H
#define FL_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

bool op_present();
fl_status op_open(int local_rank);
fl_status op_status();
fl_status op_set_compute(fl_dtype dtype);
fl_dtype op_act_dtype();
fl_status op_alloc(void *out, size_t bytes);
void op_release(void *data);
void op_copy_in(void *device, const void *host, size_t bytes);
void op_copy_out(void *host, const void *device, size_t bytes);
void op_copy(void *to, const void *from, size_t bytes);
void op_zero(void *data, size_t bytes);
size_t op_scratch_bytes(const fl_scratch_need *need);
fl_status op_memory(fl_device_memory *out);
fl_status op_reserve(size_t bytes, const fl_scratch_need *need);
void op_replay(const fl_replay_key *key, void (*body)(void *context), void *context);
void op_embedding(float *out, const fl_weight *table, const int32_t *ids, int64_t T);
void op_gather_rows(float *out, const float *x, const int32_t *rows, int64_t N, int64_t C);
void op_scatter_add_rows(float *x, const float *in, const int32_t *rows, int64_t N, int64_t C);
void op_copy_rows(fl_act to, fl_act from, int64_t T, int64_t C);
void op_rmsnorm_fwd(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                    int64_t C, float eps);
void op_rmsnorm_bwd(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd, int64_t T,
                    int64_t G, int64_t C);
void op_linear_fwd(fl_act y, fl_act x, const fl_weight *w, int64_t T, fl_act add);
void op_linear_bwd(fl_act dx, fl_act dy, const fl_weight *w, int64_t T, bool accumulate);
void op_widen(void *out, const fl_weight *w);
void op_gemm(fl_act c, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
             bool trans_b, float alpha, float beta);
void op_linears_fwd(const fl_linears *group, fl_act x, int64_t T);
void op_linears_bwd(const fl_linears *group, fl_act dx, fl_act x, int64_t T, bool accumulate);
void op_add(fl_act y, fl_act x, int64_t T, int64_t C);
void op_scale(float *x, float factor, int64_t n);
void op_softcap_fwd(float *x, float cap, int64_t n);
void op_softcap_bwd(fl_act d, const float *y, float cap, int64_t T, int64_t C);
void op_axpy(float *y, const float *x, float a, int64_t n);
void op_dropout(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                bool accumulate);
void op_swiglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
void op_swiglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                   int64_t F);
void op_geglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
void op_geglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                  int64_t F);
void op_rope(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
             int64_t T, int64_t heads, int64_t D, bool inverse);
void op_attention_fwd(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                      const fl_attn_shape *shape);
void op_attention_bwd(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out, const float *lse,
                      fl_act q, fl_act k, fl_act v, const fl_attn_shape *shape, float *scratch);
int64_t op_attention_bwd_scratch(const fl_attn_shape *shape);
void op_attention_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                         const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape);
void op_cross_entropy(double *loss, fl_act grad, const float *logits, const int32_t *target,
                      const float *weight, int64_t N, int64_t V);
void op_argmax(int32_t *out, const float *logits, int64_t N, int64_t V);
double op_sum_squares(const float *x, int64_t n);
void op_adamw(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt);
double op_largest_change(const float *y, const float *from, int64_t n);
void op_add_change(int64_t *sum, const float *y, const float *from, double factor, int64_t n);

extern const fl_device_ops device_ops;

} // namespace FL_DEVICE

#endif
