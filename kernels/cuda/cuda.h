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
void op_rmsnorm_fwd(float *out, float *rstd, const float *x, const float *w, int64_t T, int64_t C,
                    float eps);
void op_rmsnorm_bwd(float *dx, const float *dout, const float *x, const float *w, const float *rstd,
                    int64_t T, int64_t C);
void op_linear_fwd(float *y, const float *x, const fl_weight *w, int64_t T, bool accumulate);
void op_linear_bwd(float *dx, const float *dy, const fl_weight *w, int64_t T, bool accumulate);
void op_gemm(float *c, const float *a, const float *b, int64_t M, int64_t N, int64_t K,
             bool trans_a, bool trans_b, float alpha, float beta);
void op_add(float *y, const float *x, int64_t n);
void op_scale(float *x, float factor, int64_t n);
void op_softcap_fwd(float *x, float cap, int64_t n);
void op_softcap_bwd(float *d, const float *y, float cap, int64_t n);
void op_axpy(float *y, const float *x, float a, int64_t n);
void op_dropout(float *out, const float *x, int64_t n, float p, const fl_rng *rng, bool accumulate);
void op_swiglu_fwd(float *out, const float *gate, const float *up, int64_t n);
void op_swiglu_bwd(float *dgate, float *dup, const float *dout, const float *gate, const float *up,
                   int64_t n);
void op_geglu_fwd(float *out, const float *gate, const float *up, int64_t n);
void op_geglu_bwd(float *dgate, float *dup, const float *dout, const float *gate, const float *up,
                  int64_t n);
void op_rope(float *x, const int32_t *pos, const float *cos_table, const float *sin_table,
             int64_t T, int64_t heads, int64_t D, bool inverse);
void op_attention_fwd(float *out, float *lse, const float *q, const float *k, const float *v,
                      const fl_attn_shape *shape);
void op_attention_bwd(float *dq, float *dk, float *dv, const float *dout, const float *out,
                      const float *lse, const float *q, const float *k, const float *v,
                      const fl_attn_shape *shape, float *scratch);
int64_t op_attention_bwd_scratch(const fl_attn_shape *shape);
void op_attention_decode(float *out, const float *q, const float *k_cache, const float *v_cache,
                         const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape);
void op_cross_entropy(double *loss, float *logits, const int32_t *target, const float *weight,
                      int64_t N, int64_t V, bool grad);
void op_argmax(int32_t *out, const float *logits, int64_t N, int64_t V);
double op_sum_squares(const float *x, int64_t n);
void op_adamw(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt);

} // namespace FL_DEVICE

#endif
