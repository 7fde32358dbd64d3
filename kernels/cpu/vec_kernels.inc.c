/* The bodies of vec.h in plain C.  Included by vec_c.c, vec_avx2.c and vec_avx512.c, which are
 * compiled for their instruction set and define VEC_TABLE, the name of the table.
 *
 * Loops are written so that the compiler vectorises them; where that needs another order of a sum,
 * `omp simd reduction` allows it for this loop alone.
 */
#include "vec.h"

#include <math.h>
#include <string.h>

/* exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2.  The polynomial is that of
 * Cephes' expf (Moshier); ln 2 in two pieces keeps r exact (Cody and Waite 1980).  2^n goes in as
 * two factors, so that neither overflows before the result does and small results are rounded once,
 * into the subnormal range.  NaN stays NaN: no comparison with it is true. */
static inline __attribute__((always_inline)) float exp1(float x)
{
    const float shifter = 0x1.8p23f; // adding it leaves the rounded integer in the low bits
    x = x > 89.0f ? 89.0f : x;
    x = x < -105.0f ? -105.0f : x;
    float shifted = x * 0x1.715476p+0f + shifter;
    float n = shifted - shifter;
    float r = x - n * 0x1.62e4p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    int32_t power = bits - 0x4b400000; // n as an integer; anything for NaN, which p carries
    int32_t half = power >> 1;
    int32_t bits1 = (int32_t)((uint32_t)(half + 127) << 23);
    int32_t bits2 = (int32_t)((uint32_t)(power - half + 127) << 23);
    float factor1, factor2;
    memcpy(&factor1, &bits1, sizeof factor1);
    memcpy(&factor2, &bits2, sizeof factor2);
    return p * factor1 * factor2;
}

static void vec_exp(float *out, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = exp1(x[i]);
}

/* NaN compares false and is passed over: the sum of exponentials shows it. */
static float vec_max(const float *x, int64_t n)
{
    float best = -INFINITY;
#pragma omp simd reduction(max : best)
    for (int64_t i = 0; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

/* Exponentials first, then their sum: one loop over both widths would use half of each vector. */
static double vec_exp_shift(float *x, float shift, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = exp1(x[i] - shift);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum;
}

static float vec_dot(const float *x, const float *y, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Squares of floats are exact in double. */
static double vec_sum_squares(const float *x, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void vec_add(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void vec_axpy(float *restrict y, const float *restrict x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void vec_scale(float *out, const float *x, float a, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = a * x[i];
}

static void vec_rmsnorm_row(float *out, const float *x, const float *w, float rstd, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * rstd * w[i];
}

/* slope = rstd^2 mean(w dout x): the part of the gradient that goes through rstd. */
static void vec_rmsnorm_bwd_row(float *restrict dx, const float *restrict dout,
                                const float *restrict x, const float *restrict w, float rstd,
                                int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)(w[i] * dout[i]) * (double)x[i];
    float slope = (float)(sum / (double)n * (double)rstd * (double)rstd);
    for (int64_t i = 0; i < n; i++)
        dx[i] += rstd * (w[i] * dout[i] - x[i] * slope);
}

static void vec_rope_head(float *restrict x, const float *restrict c, const float *restrict s,
                          float sign, int64_t half)
{
    float *restrict y = x + half;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = y[i], sine = sign * s[i];
        x[i] = a * c[i] - b * sine;
        y[i] = b * c[i] + a * sine;
    }
}

/* With p = -inf (masked) both results are zero. */
static void vec_softmax_bwd_row(float *restrict p, float *restrict dp, float lse, float delta,
                                int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        p[i] = exp1(p[i] - lse);
        dp[i] = p[i] * (dp[i] - delta);
    }
}

/* In the next two, outputs may be the very arrays that are read (element i before element i is
 * written), which `omp simd` states and restrict would deny. */
static void vec_swiglu_fwd(float *out, const float *gate, const float *up, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + exp1(-gate[i])) * up[i];
}

static void vec_swiglu_bwd(float *dgate, float *dup, const float *dout, const float *gate,
                           const float *up, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float z = gate[i], u = up[i], d = dout[i];
        float sigmoid = 1.0f / (1.0f + exp1(-z));
        dgate[i] = d * u * sigmoid * (1.0f + z * (1.0f - sigmoid));
        dup[i] = d * z * sigmoid;
    }
}

/* gelu(z) = z sigmoid(2u), u = sqrt(2/pi) (z + 0.044715 z^3), since (1 + tanh(u)) / 2 is the
 * sigmoid of 2u. */
static void vec_geglu_fwd(float *out, const float *gate, const float *up, int64_t n)
{
    const float slope = 2 * 0.7978845608f, cubic = 0.044715f;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float z = gate[i];
        out[i] = z / (1.0f + exp1(-slope * (z + cubic * z * z * z))) * up[i];
    }
}

static void vec_geglu_bwd(float *dgate, float *dup, const float *dout, const float *gate,
                          const float *up, int64_t n)
{
    const float slope = 2 * 0.7978845608f, cubic = 0.044715f;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float z = gate[i], u = up[i], d = dout[i];
        float sigmoid = 1.0f / (1.0f + exp1(-slope * (z + cubic * z * z * z)));
        float inner = slope * (1.0f + 3.0f * cubic * z * z);
        dgate[i] = d * u * sigmoid * (1.0f + z * (1.0f - sigmoid) * inner);
        dup[i] = d * z * sigmoid;
    }
}

/* Near zero the odd polynomial of Cephes' tanhf (Moshier), where the quotient would cancel. */
static inline float tanh1(float x)
{
    float size = fabsf(x), square = x * x;
    float p = -5.70498872745e-3f;
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    float inside = p * square * x + x;
    float outside = 1.0f - 2.0f / (exp1(2.0f * size) + 1.0f);
    return size < 0.625f ? inside : copysignf(outside, x);
}

static void vec_softcap(float *x, float cap, int64_t n)
{
    float inverse = 1.0f / cap;
    for (int64_t i = 0; i < n; i++)
        x[i] = cap * tanh1(x[i] * inverse);
}

static void vec_softcap_bwd(float *restrict d, const float *restrict y, float cap, int64_t n)
{
    float inverse = 1.0f / cap;
    for (int64_t i = 0; i < n; i++) {
        float t = y[i] * inverse;
        d[i] *= 1.0f - t * t;
    }
}

static void vec_int8_widen(float *restrict out, const int8_t *restrict q, float absmax, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)q[i] * absmax * FL_INT8_STEP;
}

/* fl_nf4_values as constants, and both values of a byte by one look-up. */
#define NF4_0  -1.0f
#define NF4_1  -0.6961928009986877f
#define NF4_2  -0.5250730514526367f
#define NF4_3  -0.39491748809814453f
#define NF4_4  -0.28444138169288635f
#define NF4_5  -0.18477343022823334f
#define NF4_6  -0.09105003625154495f
#define NF4_7  0.0f
#define NF4_8  0.07958029955625534f
#define NF4_9  0.16093020141124725f
#define NF4_10 0.24611230194568634f
#define NF4_11 0.33791524171829224f
#define NF4_12 0.44070982933044434f
#define NF4_13 0.5626170039176941f
#define NF4_14 0.7229568362236023f
#define NF4_15 1.0f

#define PAIR(high, low)       \
    {                         \
        NF4_##high, NF4_##low \
    }
#define PAIRS(h)                                                                                \
    PAIR(h, 0), PAIR(h, 1), PAIR(h, 2), PAIR(h, 3), PAIR(h, 4), PAIR(h, 5), PAIR(h, 6),         \
        PAIR(h, 7), PAIR(h, 8), PAIR(h, 9), PAIR(h, 10), PAIR(h, 11), PAIR(h, 12), PAIR(h, 13), \
        PAIR(h, 14), PAIR(h, 15)
static const float nf4_pairs[256][2] = {
    PAIRS(0), PAIRS(1), PAIRS(2),  PAIRS(3),  PAIRS(4),  PAIRS(5),  PAIRS(6),  PAIRS(7),
    PAIRS(8), PAIRS(9), PAIRS(10), PAIRS(11), PAIRS(12), PAIRS(13), PAIRS(14), PAIRS(15)};

static void vec_nf4_widen(float *restrict out, const uint8_t *restrict q, float absmax, int64_t n)
{
    for (int64_t i = 0; i < n / 2; i++) {
        const float *pair = nf4_pairs[q[i]];
        out[2 * i] = pair[0] * absmax;
        out[2 * i + 1] = pair[1] * absmax;
    }
}

/* Words of `blocks` neighbouring blocks of a stream: fl_rng_block (base/rng.c) for many blocks side
 * by side; the tests hold one against the other. */
static void philox(uint32_t *words, const fl_rng *rng, uint64_t first, int64_t blocks)
{
    const uint32_t key0 = rng->key[0], key1 = rng->key[1];
    const uint32_t start2 = rng->counter[2], start3 = rng->counter[3];
#pragma omp simd
    for (int64_t i = 0; i < blocks; i++) {
        uint64_t index = first + (uint64_t)i;
        uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = start2, c3 = start3;
#pragma GCC unroll 10
        for (uint32_t round = 0; round < 10; round++) {
            uint64_t product0 = (uint64_t)0xD2511F53 * c0, product1 = (uint64_t)0xCD9E8D57 * c2;
            c0 = (uint32_t)(product1 >> 32) ^ c1 ^ (key0 + round * 0x9E3779B9);
            c1 = (uint32_t)product1;
            c2 = (uint32_t)(product0 >> 32) ^ c3 ^ (key1 + round * 0xBB67AE85);
            c3 = (uint32_t)product0;
        }
        words[4 * i + 0] = c0;
        words[4 * i + 1] = c1;
        words[4 * i + 2] = c2;
        words[4 * i + 3] = c3;
    }
}

enum { DROPOUT_BLOCKS = 256 };

static void vec_dropout(float *out, const float *x, int64_t first, int64_t n, const fl_dropout *d)
{
    uint32_t words[4 * DROPOUT_BLOCKS];
    for (int64_t at = 0; at < n; at += 4 * DROPOUT_BLOCKS) {
        int64_t count = n - at < 4 * DROPOUT_BLOCKS ? n - at : 4 * DROPOUT_BLOCKS;
        philox(words, d->rng, (uint64_t)(first + at) / 4, (count + 3) / 4);
        const float p = d->p, factor = d->factor;
        float kept[4 * DROPOUT_BLOCKS];
        for (int64_t i = 0; i < count; i++) {
            float uniform = (float)(int32_t)(words[i] >> 8) * 0x1p-24f;
            kept[i] = uniform >= p ? x[at + i] * factor : 0.0f;
        }
        if (d->accumulate) {
            vec_add(out + at, kept, count);
        } else {
            memcpy(out + at, kept, (size_t)count * sizeof *out);
        }
    }
}

/* grad_scale, m, v, step, decay: in the order of ops.h. */
static void vec_adamw(float *restrict p, float *restrict m, float *restrict v,
                      const float *restrict g, int64_t n, const fl_adamw_factors *f)
{
    const fl_adamw_factors k = *f;
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] * k.grad_scale;
        m[i] = k.beta1 * m[i] + k.rest1 * grad;
        v[i] = k.beta2 * v[i] + k.rest2 * grad * grad;
        float next = p[i] - k.step_size * m[i] / (sqrtf(v[i]) + k.eps);
        p[i] = next - k.decay * next;
    }
}

const fl_vec_ops VEC_TABLE = {
    .exp = vec_exp,
    .max = vec_max,
    .exp_shift = vec_exp_shift,
    .dot = vec_dot,
    .sum_squares = vec_sum_squares,
    .add = vec_add,
    .axpy = vec_axpy,
    .scale = vec_scale,
    .rmsnorm_row = vec_rmsnorm_row,
    .rmsnorm_bwd_row = vec_rmsnorm_bwd_row,
    .rope_head = vec_rope_head,
    .softmax_bwd_row = vec_softmax_bwd_row,
    .swiglu_fwd = vec_swiglu_fwd,
    .swiglu_bwd = vec_swiglu_bwd,
    .geglu_fwd = vec_geglu_fwd,
    .geglu_bwd = vec_geglu_bwd,
    .softcap = vec_softcap,
    .softcap_bwd = vec_softcap_bwd,
    .int8_widen = vec_int8_widen,
    .nf4_widen = vec_nf4_widen,
    .dropout = vec_dropout,
    .adamw = vec_adamw,
};
