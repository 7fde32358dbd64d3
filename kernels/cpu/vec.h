/* Loops over contiguous floats, compiled once per instruction set from vec_kernels.inc.c.
 * Sums are taken in an order that depends on n alone.  Arguments do not alias unless a line says
 * so; n may be 0. */
#ifndef FL_KERNELS_CPU_VEC_H
#define FL_KERNELS_CPU_VEC_H

#include "backend/adamw.h"

/* Dropout as in ops.h; factor = 1 / (1 - p). */
typedef struct fl_dropout {
    const fl_rng *rng;
    float p, factor;
    bool accumulate;
} fl_dropout;

typedef struct fl_vec_ops {
    /* out = exp(x), 2 ulp, gradual underflow; out may alias x */
    void (*exp)(float *out, const float *x, int64_t n);
    float (*max)(const float *x, int64_t n); /* -inf when n = 0; NaN is passed over */
    /* x = exp(x - shift); returns the sum of the new x, in double */
    double (*exp_shift)(float *x, float shift, int64_t n);
    float (*dot)(const float *x, const float *y, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);              /* y += x */
    void (*axpy)(float *y, const float *x, float a, int64_t n);    /* y += a x */
    void (*scale)(float *out, const float *x, float a, int64_t n); /* out = a x; may alias */

    /* one row; see ops.h */
    void (*rmsnorm_row)(float *out, const float *x, const float *w, float rstd, int64_t n);
    void (*rmsnorm_bwd_row)(float *dx, const float *dout, const float *x, const float *w,
                            float rstd, int64_t n);
    /* rotates (x[i], x[i + half]) by the angle with cos c[i], sin sign * s[i] */
    void (*rope_head)(float *x, const float *c, const float *s, float sign, int64_t half);
    /* p: scores in, exp(score - lse) out;  dp: dP in, p * (dP - delta) out */
    void (*softmax_bwd_row)(float *p, float *dp, float lse, float delta, int64_t n);

    void (*swiglu_fwd)(float *out, const float *gate, const float *up, int64_t n);
    void (*swiglu_bwd)(float *dgate, float *dup, const float *dout, const float *gate,
                       const float *up, int64_t n);
    void (*geglu_fwd)(float *out, const float *gate, const float *up, int64_t n);
    void (*geglu_bwd)(float *dgate, float *dup, const float *dout, const float *gate,
                      const float *up, int64_t n);
    /* x = cap tanh(x / cap);  d *= 1 - (y / cap)^2 */
    void (*softcap)(float *x, float cap, int64_t n);
    void (*softcap_bwd)(float *d, const float *y, float cap, int64_t n);
    /* out = q * absmax * FL_INT8_STEP */
    void (*int8_widen)(float *out, const int8_t *q, float absmax, int64_t n);
    /* out = NF4 values of n elements (even) in n / 2 bytes, times absmax */
    void (*nf4_widen)(float *out, const uint8_t *q, float absmax, int64_t n);
    /* n elements, of which the first has number `first`, a multiple of 4; out may alias x */
    void (*dropout)(float *out, const float *x, int64_t first, int64_t n, const fl_dropout *d);
    void (*adamw)(float *p, float *m, float *v, const float *g, int64_t n,
                  const fl_adamw_factors *f);
} fl_vec_ops;

extern const fl_vec_ops fl_vec_c, fl_vec_avx2, fl_vec_avx512;

#endif
