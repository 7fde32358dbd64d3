/* The members of the table in cpu.c, one file per family; the contract of each is in
 * backend/ops.h. */
#ifndef FL_KERNELS_CPU_CPU_H
#define FL_KERNELS_CPU_CPU_H

#include "backend/ops.h"
#include "base/status.h"

/* Activations of this backend are fp32. */
static inline float *fl_cpu_floats(fl_act x)
{
    FL_ASSERT(!x.data || x.dtype == FL_F32);
    return x.data;
}

bool fl_cpu_present(void);
fl_status fl_cpu_open(int local_rank);
fl_status fl_cpu_status(void);
fl_status fl_cpu_set_compute(fl_dtype dtype);
fl_dtype fl_cpu_act_dtype(void);
fl_status fl_cpu_alloc(void *out, size_t bytes);
void fl_cpu_release(void *data);
void fl_cpu_copy_in(void *device, const void *host, size_t bytes);
void fl_cpu_copy_out(void *host, const void *device, size_t bytes);
void fl_cpu_copy(void *to, const void *from, size_t bytes);
void fl_cpu_zero(void *data, size_t bytes);
size_t fl_cpu_scratch_bytes(const fl_scratch_need *need);
void fl_cpu_embedding(float *out, const fl_weight *table, const int32_t *ids, int64_t T);
void fl_cpu_gather_rows(float *out, const float *x, const int32_t *rows, int64_t N, int64_t C);
void fl_cpu_scatter_add_rows(float *x, const float *in, const int32_t *rows, int64_t N, int64_t C);
void fl_cpu_copy_rows(fl_act to, fl_act from, int64_t T, int64_t C);
void fl_cpu_rmsnorm_fwd(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                        int64_t C, float eps);
void fl_cpu_rmsnorm_bwd(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd,
                        int64_t T, int64_t G, int64_t C);
void fl_cpu_linear_fwd(fl_act y, fl_act x, const fl_weight *w, int64_t T, fl_act add);
void fl_cpu_linear_bwd(fl_act dx, fl_act dy, const fl_weight *w, int64_t T, bool accumulate);
void fl_cpu_widen(void *out, const fl_weight *w);
void fl_cpu_gemm(fl_act c, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
                 bool trans_b, float alpha, float beta);
void fl_cpu_add(fl_act y, fl_act x, int64_t T, int64_t C);
void fl_cpu_scale(float *x, float factor, int64_t n);
void fl_cpu_softcap_fwd(float *x, float cap, int64_t n);
void fl_cpu_softcap_bwd(fl_act d, const float *y, float cap, int64_t T, int64_t C);
void fl_cpu_axpy(float *y, const float *x, float a, int64_t n);
void fl_cpu_dropout(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                    bool accumulate);
void fl_cpu_swiglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
void fl_cpu_swiglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                       int64_t F);
void fl_cpu_geglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
void fl_cpu_geglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                      int64_t F);
void fl_cpu_rope(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
                 int64_t T, int64_t heads, int64_t D, bool inverse);
void fl_cpu_attention_fwd(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *shape);
void fl_cpu_attention_bwd(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out,
                          const float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *shape, float *scratch);
int64_t fl_cpu_attention_bwd_scratch(const fl_attn_shape *shape);
void fl_cpu_attention_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                             const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape);
void fl_cpu_cross_entropy(double *loss, fl_act grad, const float *logits, const int32_t *target,
                          const float *weight, int64_t N, int64_t V);
void fl_cpu_argmax(int32_t *out, const float *logits, int64_t N, int64_t V);
double fl_cpu_sum_squares(const float *x, int64_t n);
void fl_cpu_adamw(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt);
double fl_cpu_largest_change(const float *y, const float *from, int64_t n);
void fl_cpu_add_change(int64_t *sum, const float *y, const float *from, double factor, int64_t n);

#endif
