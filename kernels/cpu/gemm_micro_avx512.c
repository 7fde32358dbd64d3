/* Micro-kernel for AVX-512: 14 x 32, 28 of the 32 registers hold the tile. */
#include "gemm.h"

#include <immintrin.h>

enum { NR = 32 };

static inline __attribute__((always_inline)) void multiply(const int mr, int64_t kc, const float *a,
                                                           const float *b, float *c, int64_t stride,
                                                           bool accumulate)
{
    __m512 acc[FL_GEMM_MAX_MR][2];
#pragma GCC unroll 14
    for (int i = 0; i < mr; i++)
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
#pragma GCC unroll 14
    for (int i = 0; i < mr; i++) { // C is needed at the end of the loop over k: fetched meanwhile
        _mm_prefetch((const char *)(c + i * stride), _MM_HINT_T0);
        _mm_prefetch((const char *)(c + i * stride + 31), _MM_HINT_T0);
    }
    for (int64_t k = 0; k < kc; k++) {
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 14
        for (int i = 0; i < mr; i++) {
            __m512 ai = _mm512_set1_ps(a[i]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += mr;
        b += NR;
    }
#pragma GCC unroll 14
    for (int i = 0; i < mr; i++) {
        float *row = c + i * stride;
        if (accumulate) {
            acc[i][0] = _mm512_add_ps(_mm512_loadu_ps(row), acc[i][0]);
            acc[i][1] = _mm512_add_ps(_mm512_loadu_ps(row + 16), acc[i][1]);
        }
        _mm512_storeu_ps(row, acc[i][0]);
        _mm512_storeu_ps(row + 16, acc[i][1]);
    }
}

#define TILE(MR)                                                                                \
    static void tile_##MR(int64_t kc, const float *a, const float *b, float *c, int64_t stride, \
                          bool accumulate)                                                      \
    {                                                                                           \
        multiply(MR, kc, a, b, c, stride, accumulate);                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)

const fl_gemm_kernels fl_gemm_avx512 = {
    .mr = 14,
    .nr = NR,
    .tile = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8, tile_9, tile_10,
             tile_11, tile_12, tile_13, tile_14},
    .pack = fl_pack_avx2,
};
