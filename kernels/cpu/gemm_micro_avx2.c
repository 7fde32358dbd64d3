/* Micro-kernel for AVX2 with FMA: 6 x 16, 12 of the 16 registers hold the tile. */
#include "gemm.h"

#include <immintrin.h>

enum { MR = 6, NR = 16 };

static inline __attribute__((always_inline)) void multiply(const int mr, int64_t kc, const float *a,
                                                           const float *b, float *c, int64_t stride,
                                                           bool accumulate)
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
        b += NR;
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

#define TILE(ROWS)                                                                                \
    static void tile_##ROWS(int64_t kc, const float *a, const float *b, float *c, int64_t stride, \
                            bool accumulate)                                                      \
    {                                                                                             \
        multiply(ROWS, kc, a, b, c, stride, accumulate);                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

const fl_gemm_kernels fl_gemm_avx2 = {
    .mr = MR,
    .nr = NR,
    .tile = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6},
    .pack = fl_pack_avx2,
};
