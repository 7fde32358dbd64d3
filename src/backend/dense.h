/* The ops of the table on plain fp32 arrays, rows without gaps: for checks and
 * measurements. */
#ifndef FL_BACKEND_DENSE_H
#define FL_BACKEND_DENSE_H

#include "backend/ops.h"

static inline void dense_rmsnorm_fwd(const fl_backend_ops *ops, float *out, float *rstd,
                                     const float *x, const float *w, int64_t T, int64_t C,
                                     float eps)
{
    ops->rmsnorm_fwd(fl_f32(out, C), rstd, fl_f32(x, C), w, T, 1, C, eps);
}

static inline void dense_rmsnorm_bwd(const fl_backend_ops *ops, float *dx, const float *dout,
                                     const float *x, const float *w, const float *rstd, int64_t T,
                                     int64_t C)
{
    ops->rmsnorm_bwd(fl_f32(dx, C), fl_f32(dout, C), fl_f32(x, C), w, rstd, T, 1, C);
}

static inline void dense_linear_fwd(const fl_backend_ops *ops, float *y, const float *x,
                                    const fl_weight *w, int64_t T, bool accumulate)
{
    fl_act out = fl_f32(y, w->rows);
    ops->linear_fwd(out, fl_f32(x, w->cols), w, T, accumulate ? out : (fl_act){0});
}

static inline void dense_linear_bwd(const fl_backend_ops *ops, float *dx, const float *dy,
                                    const fl_weight *w, int64_t T, bool accumulate)
{
    ops->linear_bwd(fl_f32(dx, w->cols), fl_f32(dy, w->rows), w, T, accumulate);
}

static inline void dense_gemm(const fl_backend_ops *ops, float *c, const float *a, const float *b,
                              int64_t M, int64_t N, int64_t K, bool trans_a, bool trans_b,
                              float alpha, float beta)
{
    ops->gemm(fl_f32(c, N), fl_f32(a, trans_a ? M : K), fl_f32(b, trans_b ? K : N), M, N, K,
              trans_a, trans_b, alpha, beta);
}

static inline void dense_add(const fl_backend_ops *ops, float *y, const float *x, int64_t n)
{
    ops->add(fl_f32(y, n), fl_f32(x, n), 1, n);
}

static inline void dense_softcap_bwd(const fl_backend_ops *ops, float *d, const float *y, float cap,
                                     int64_t n)
{
    ops->softcap_bwd(fl_f32(d, n), y, cap, 1, n);
}

/* rng: in backend memory */
static inline void dense_dropout(const fl_backend_ops *ops, float *out, const float *x, int64_t n,
                                 float p, const fl_rng *rng, bool accumulate)
{
    ops->dropout(fl_f32(out, n), fl_f32(x, n), 1, n, p, rng, accumulate);
}

#define FL_DENSE_GATE(gate)                                                                      \
    static inline void dense_##gate##_fwd(const fl_backend_ops *ops, float *out, const float *g, \
                                          const float *up, int64_t n)                            \
    {                                                                                            \
        ops->gate##_fwd(fl_f32(out, n), fl_f32(g, n), fl_f32(up, n), 1, n);                      \
    }                                                                                            \
    static inline void dense_##gate##_bwd(const fl_backend_ops *ops, float *dgate, float *dup,   \
                                          const float *dout, const float *g, const float *up,    \
                                          int64_t n)                                             \
    {                                                                                            \
        ops->gate##_bwd(fl_f32(dgate, n), fl_f32(dup, n), fl_f32(dout, n), fl_f32(g, n),         \
                        fl_f32(up, n), 1, n);                                                    \
    }
FL_DENSE_GATE(swiglu)
FL_DENSE_GATE(geglu)

static inline void dense_rope(const fl_backend_ops *ops, float *x, const int32_t *pos,
                              const float *cos_table, const float *sin_table, int64_t T,
                              int64_t heads, int64_t D, bool inverse)
{
    ops->rope(fl_f32(x, heads * D), pos, cos_table, sin_table, T, heads, D, inverse);
}

static inline void dense_attention_fwd(const fl_backend_ops *ops, float *out, float *lse,
                                       const float *q, const float *k, const float *v,
                                       const fl_attn_shape *shape)
{
    int64_t HD = shape->H * shape->D, KVD = shape->KV * shape->D;
    ops->attention_fwd(fl_f32(out, HD), lse, fl_f32(q, HD), fl_f32(k, KVD), fl_f32(v, KVD), shape);
}

static inline void dense_attention_bwd(const fl_backend_ops *ops, float *dq, float *dk, float *dv,
                                       const float *dout, const float *out, const float *lse,
                                       const float *q, const float *k, const float *v,
                                       const fl_attn_shape *shape, float *scratch)
{
    int64_t HD = shape->H * shape->D, KVD = shape->KV * shape->D;
    ops->attention_bwd(fl_f32(dq, HD), fl_f32(dk, KVD), fl_f32(dv, KVD), fl_f32(dout, HD),
                       fl_f32(out, HD), lse, fl_f32(q, HD), fl_f32(k, KVD), fl_f32(v, KVD), shape,
                       scratch);
}

static inline void dense_attention_decode(const fl_backend_ops *ops, float *out, const float *q,
                                          const float *k_cache, const float *v_cache,
                                          const int32_t *lengths, int64_t capacity,
                                          const fl_attn_shape *shape)
{
    int64_t HD = shape->H * shape->D, KVD = shape->KV * shape->D;
    ops->attention_decode(fl_f32(out, HD), fl_f32(q, HD), fl_f32(k_cache, KVD),
                          fl_f32(v_cache, KVD), lengths, capacity, shape);
}

/* In place where grad is true. */
static inline void dense_cross_entropy(const fl_backend_ops *ops, double *loss, float *logits,
                                       const int32_t *target, const float *weight, int64_t N,
                                       int64_t V, bool grad)
{
    ops->cross_entropy(loss, grad ? fl_f32(logits, V) : (fl_act){0}, logits, target, weight, N, V);
}

#endif
