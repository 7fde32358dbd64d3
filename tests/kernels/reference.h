/* The formulas of backend/ops.h in double precision, as plainly as they can be written: what every
 * backend is compared with.  Backward formulas are held against finite differences of the forward
 * ones by test_reference.c.  All arrays in host memory, all outputs overwritten. */
#ifndef FL_TESTS_KERNELS_REFERENCE_H
#define FL_TESTS_KERNELS_REFERENCE_H

#include "backend/ops.h"

/* c[M,N] = op(a) op(b) */
void ref_matmul(double *c, const double *a, const double *b, int64_t M, int64_t N, int64_t K,
                bool trans_a, bool trans_b);

void ref_rmsnorm(double *out, const double *x, const double *w, int64_t T, int64_t C, double eps);
void ref_rmsnorm_bwd(double *dx, const double *dout, const double *x, const double *w, int64_t T,
                     int64_t C, double eps);

void ref_swiglu(double *out, const double *gate, const double *up, int64_t n);
void ref_swiglu_bwd(double *dgate, double *dup, const double *dout, const double *gate,
                    const double *up, int64_t n);

void ref_geglu(double *out, const double *gate, const double *up, int64_t n);
void ref_geglu_bwd(double *dgate, double *dup, const double *dout, const double *gate,
                   const double *up, int64_t n);

void ref_softcap(double *x, double cap, int64_t n);
/* d *= the slope at x, which is not yet capped */
void ref_softcap_bwd(double *d, const double *x, double cap, int64_t n);

void ref_rope(double *x, const int32_t *pos, const double *cos_table, const double *sin_table,
              int64_t T, int64_t heads, int64_t D, double sign);

/* shape->scale and softcap are used as the floats they are. */
void ref_attention(double *out, double *lse, const double *q, const double *k, const double *v,
                   const fl_attn_shape *shape);
void ref_attention_bwd(double *dq, double *dk, double *dv, const double *dout, const double *q,
                       const double *k, const double *v, const fl_attn_shape *shape);

void ref_cross_entropy(double *loss, double *dlogits, const double *logits, const int32_t *target,
                       const double *weight, int64_t N, int64_t V);

#endif
