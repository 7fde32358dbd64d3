/* Micro-kernel for AVX2 with FMA: 6 x 16.  12 of the 16 registers hold the tile, two a line of B,
 * one an element of A in all lanes; else as gemm_micro_avx512.c. */
#include "gemm.h"

#include <immintrin.h>

enum { MR = 6, NR = 16 };

static inline __attribute__((always_inline)) void multiply(const int mr, int64_t kc, const float *a,
                                                           const float *b, int64_t b_k, float *c,
                                                           int64_t stride, bool accumulate)
{
    __m256 acc[MR][2];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < kc; k++) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            __m256 ai = _mm256_broadcast_ss(a + i);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += mr;
        b += b_k;
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++) {
        float *row = c + i * stride;
        if (accumulate) {
            acc[i][0] = _mm256_add_ps(_mm256_loadu_ps(row), acc[i][0]);
            acc[i][1] = _mm256_add_ps(_mm256_loadu_ps(row + 8), acc[i][1]);
        }
        _mm256_storeu_ps(row, acc[i][0]);
        _mm256_storeu_ps(row + 8, acc[i][1]);
    }
}

/* A where it lies; `vectors` of 8 columns. */
static inline __attribute__((always_inline)) void
multiply_direct(const int mr, const int vectors, int64_t kc, const float *a, int64_t a_row,
                int64_t a_k, const float *b, float *c, int64_t stride, bool accumulate)
{
    __m256 acc[MR][2];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < kc; k++) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            __m256 ai = _mm256_broadcast_ss(a + i * a_row);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors == 2) acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += a_k;
        b += NR;
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++) {
        for (int v = 0; v < vectors; v++) {
            float *to = c + i * stride + 8 * v;
            if (accumulate) acc[i][v] = _mm256_add_ps(_mm256_loadu_ps(to), acc[i][v]);
            _mm256_storeu_ps(to, acc[i][v]);
        }
    }
}

#define TILE(ROWS)                                                                             \
    static void tile_##ROWS(int64_t kc, const float *a, const float *b, int64_t b_k, float *c, \
                            int64_t stride, bool accumulate)                                   \
    {                                                                                          \
        multiply(ROWS, kc, a, b, b_k, c, stride, accumulate);                                  \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

static const fl_tile_fn tiles[] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

#define DIRECT(ROWS)                                                                     \
    static void direct_##ROWS(int64_t kc, const float *a, int64_t a_row, int64_t a_k,    \
                              const float *b, float *c, int64_t stride, bool accumulate) \
    {                                                                                    \
        multiply_direct(ROWS, 2, kc, a, a_row, a_k, b, c, stride, accumulate);           \
    }                                                                                    \
    static void narrow_##ROWS(int64_t kc, const float *a, int64_t a_row, int64_t a_k,    \
                              const float *b, float *c, int64_t stride, bool accumulate) \
    {                                                                                    \
        multiply_direct(ROWS, 1, kc, a, a_row, a_k, b, c, stride, accumulate);           \
    }
DIRECT(1)
DIRECT(2)
DIRECT(3)
DIRECT(4)
DIRECT(5)
DIRECT(6)

static const fl_direct_fn directs[] = {NULL,     direct_1, direct_2, direct_3,
                                       direct_4, direct_5, direct_6};
static const fl_direct_fn narrows[] = {NULL,     narrow_1, narrow_2, narrow_3,
                                       narrow_4, narrow_5, narrow_6};

const fl_gemm_kernels fl_gemm_avx2 = {
    .mr = MR,
    .nr = NR,
    .direct_mr = MR,
    .tile = tiles,
    .direct = directs,
    .narrow = narrows,
    .pack = fl_pack_avx2,
};
