/* Packing with AVX2 and F16C: eight lanes by eight values of k at a time.
 *
 * Every store is eight lanes wide, also where the panel is narrower: what spills over the end of
 * line k is the start of line k + 1 (or of the next panel) and is written later, because k and the
 * panels ascend and inside eight lines the last group of lanes goes first.
 */
#include "gemm.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256 load8(const void *data, fl_dtype dtype, int64_t at)
{
    if (dtype == FL_F32) return _mm256_loadu_ps((const float *)data + at);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)data + at));
    if (dtype == FL_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* The first `count` of eight elements, the others zero; reads nothing behind them. */
INLINE __m256 load_some(const void *data, fl_dtype dtype, int64_t at, int64_t count)
{
    if (count >= 8) return load8(data, dtype, at);
    unsigned char copy[32] = {0};
    size_t size = dtype == FL_F32 ? 4 : 2;
    if (count > 0)
        memcpy(copy, (const unsigned char *)data + (size_t)at * size, (size_t)count * size);
    return load8(copy, dtype, 0);
}

/* Asks for the cache line of element number `at`, which may be past the end of the data. */
INLINE void prefetch(const fl_operand *from, int64_t at)
{
    uintptr_t size = from->dtype == FL_F32 ? 4 : 2;
    _mm_prefetch((const char *)((uintptr_t)from->data + (uintptr_t)at * size), _MM_HINT_T1);
}

INLINE void transpose8(__m256 r[8])
{
    __m256 t[8], u[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        u[4 * i + 0] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Rows from element `at` on, eight values each; rows past count and values past depth are zero. */
INLINE void load_rows(__m256 r[8], const fl_operand *from, int64_t at, int64_t count, int64_t depth)
{
    if (count >= 8 && depth >= 8) { // the usual case, without a test per row
#pragma GCC unroll 8
        for (int64_t i = 0; i < 8; i++)
            r[i] = load8(from->data, from->dtype, at + i * from->stride);
        return;
    }
    for (int64_t i = 0; i < 8; i++)
        r[i] = i < count ? load_some(from->data, from->dtype, at + i * from->stride, depth)
                         : _mm256_setzero_ps();
}

/* Eight lanes of the panel, eight values of k at a time.  The same rows of the next panel are asked
 * for meanwhile: a row's piece is too short for the hardware to guess what follows. */
INLINE void pack_group(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                       int64_t k0, int64_t kc, float alpha)
{
    __m256 factor = _mm256_set1_ps(alpha);
    int64_t line = from->dtype == FL_F32 ? 16 : 32;
    for (int64_t k = 0; k < kc; k += 8) {
        int64_t at = i0 * from->stride + k0 + k, depth = kc - k < 8 ? kc - k : 8;
        for (int64_t i = 0; i < 8 && k % line == 0; i++)
            prefetch(from, at + (width + i) * from->stride);
        __m256 r[8];
        load_rows(r, from, at, count, depth);
        transpose8(r);
#pragma GCC unroll 8
        for (int64_t j = 0; j < 8; j++) {
            if (j < depth) _mm256_storeu_ps(out + (k + j) * width, _mm256_mul_ps(r[j], factor));
        }
    }
}

INLINE void pack_k_inner(float *out, int64_t width, const fl_operand *from, int64_t i0,
                         int64_t count, int64_t k0, int64_t kc, float alpha)
{
    for (int64_t i = 0; i < count; i += width) {
        int64_t lanes = count - i < width ? count - i : width;
        for (int64_t group = (width - 1) / 8 * 8; group >= 0; group -= 8)
            pack_group(out + i * kc + group, width, from, i0 + i + group, lanes - group, k0, kc,
                       alpha);
    }
}

/* Lanes are neighbours in memory: line k of one panel is a copy of a piece of row k. */
INLINE void copy_line(float *out, int64_t width, const fl_operand *from, int64_t at, int64_t count,
                      float alpha)
{
    __m256 factor = _mm256_set1_ps(alpha);
    for (int64_t group = 0; group < width; group += 8) {
        __m256 lanes = load_some(from->data, from->dtype, at + group, count - group);
        _mm256_storeu_ps(out + group, _mm256_mul_ps(lanes, factor));
    }
}

/* Eight rows at a time are read along, which memory likes better than one panel's narrow column;
 * panels that are not whole groups spill and have to be finished one by one. */
INLINE void pack_k_outer(float *out, int64_t width, const fl_operand *from, int64_t i0,
                         int64_t count, int64_t k0, int64_t kc, float alpha)
{
    int64_t lines = width % 8 == 0 ? 8 : kc, at = k0 * from->stride + i0;
    for (int64_t first = 0; first < kc; first += lines) {
        for (int64_t i = 0; i < count; i += width) {
            for (int64_t k = first; k < first + lines && k < kc; k++)
                copy_line(out + i * kc + k * width, width, from, at + k * from->stride + i,
                          count - i < width ? count - i : width, alpha);
        }
    }
}

INLINE void pack(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                 int64_t k0, int64_t kc, float alpha)
{
    if (from->k_inner) {
        pack_k_inner(out, width, from, i0, count, k0, kc, alpha);
    } else {
        pack_k_outer(out, width, from, i0, count, k0, kc, alpha);
    }
}

void fl_pack_avx2(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                  int64_t k0, int64_t kc, float alpha)
{
    // Copies with a constant dtype: loops without a test for it inside.
    fl_operand f32 = *from, bf16 = *from, f16 = *from;
    f32.dtype = FL_F32;
    bf16.dtype = FL_BF16;
    f16.dtype = FL_F16;
    if (from->dtype == FL_F32) {
        pack(out, width, &f32, i0, count, k0, kc, alpha);
    } else if (from->dtype == FL_BF16) {
        pack(out, width, &bf16, i0, count, k0, kc, alpha);
    } else {
        pack(out, width, &f16, i0, count, k0, kc, alpha);
    }
}
