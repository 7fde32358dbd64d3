/* Micro-kernel for AVX-512: 14 x 32.  28 of the 32 registers hold the tile, two a line of B, one an
 * element of A in all lanes; the loop over rows is unrolled, so `acc` never is in memory.  A
 * function per number of rows, because that number has to be a constant. */
#include "gemm.h"

#include <immintrin.h>

enum { NR = 32, DIRECT_MR = 8 };

static inline __attribute__((always_inline)) void multiply(const int mr, int64_t kc, const float *a,
                                                           const float *b, int64_t b_k, float *c,
                                                           int64_t stride, bool accumulate)
{
    __m512 acc[FL_GEMM_MAX_MR][2];
#pragma GCC unroll 14
    for (int i = 0; i < mr; i++)
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    for (int64_t k = 0; k < kc; k++) {
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 14
        for (int i = 0; i < mr; i++) {
            __m512 ai = _mm512_set1_ps(a[i]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += mr;
        b += b_k;
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

/* A where it lies; `vectors` of 16 columns. */
static inline __attribute__((always_inline)) void
multiply_direct(const int mr, const int vectors, int64_t kc, const float *a, int64_t a_row,
                int64_t a_k, const float *b, float *c, int64_t stride, bool accumulate)
{
    __m512 acc[DIRECT_MR][2];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    for (int64_t k = 0; k < kc; k++) {
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            __m512 ai = _mm512_set1_ps(a[i * a_row]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors == 2) acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += a_k;
        b += NR;
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        for (int v = 0; v < vectors; v++) {
            float *to = c + i * stride + 16 * v;
            if (accumulate) acc[i][v] = _mm512_add_ps(_mm512_loadu_ps(to), acc[i][v]);
            _mm512_storeu_ps(to, acc[i][v]);
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
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)

static const fl_tile_fn tiles[] = {NULL,    tile_1,  tile_2,  tile_3,  tile_4,
                                   tile_5,  tile_6,  tile_7,  tile_8,  tile_9,
                                   tile_10, tile_11, tile_12, tile_13, tile_14};

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
DIRECT(7)
DIRECT(8)

static const fl_direct_fn directs[] = {NULL,     direct_1, direct_2, direct_3, direct_4,
                                       direct_5, direct_6, direct_7, direct_8};
static const fl_direct_fn narrows[] = {NULL,     narrow_1, narrow_2, narrow_3, narrow_4,
                                       narrow_5, narrow_6, narrow_7, narrow_8};

const fl_gemm_kernels fl_gemm_avx512 = {
    .mr = FL_GEMM_MAX_MR,
    .nr = NR,
    .direct_mr = DIRECT_MR,
    .tile = tiles,
    .direct = directs,
    .narrow = narrows,
    .pack = fl_pack_avx2,
};
