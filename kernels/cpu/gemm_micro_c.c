/* Micro-kernel in plain C: 4 x 8, small enough for 16 registers of four lanes. */
#include "gemm.h"

enum { MR = 4, NR = 8 };

static inline __attribute__((always_inline)) void multiply(const int mr, const int nr, int64_t kc,
                                                           const float *a, int64_t a_row,
                                                           int64_t a_k, const float *b, float *c,
                                                           int64_t stride, bool accumulate)
{
    float acc[MR][NR] = {{0}};
    for (int64_t k = 0; k < kc; k++) {
        for (int i = 0; i < mr; i++) {
            for (int j = 0; j < nr; j++)
                acc[i][j] += a[i * a_row] * b[j];
        }
        a += a_k;
        b += NR;
    }
    for (int i = 0; i < mr; i++) {
        for (int j = 0; j < nr; j++)
            c[i * stride + j] = accumulate ? c[i * stride + j] + acc[i][j] : acc[i][j];
    }
}

#define TILE(ROWS)                                                                                \
    static void tile_##ROWS(int64_t kc, const float *a, const float *b, float *c, int64_t stride, \
                            bool accumulate)                                                      \
    {                                                                                             \
        multiply(ROWS, NR, kc, a, 1, ROWS, b, c, stride, accumulate);                             \
    }                                                                                             \
    static void direct_##ROWS(int64_t kc, const float *a, int64_t a_row, int64_t a_k,             \
                              const float *b, float *c, int64_t stride, bool accumulate)          \
    {                                                                                             \
        multiply(ROWS, NR, kc, a, a_row, a_k, b, c, stride, accumulate);                          \
    }                                                                                             \
    static void narrow_##ROWS(int64_t kc, const float *a, int64_t a_row, int64_t a_k,             \
                              const float *b, float *c, int64_t stride, bool accumulate)          \
    {                                                                                             \
        multiply(ROWS, NR / 2, kc, a, a_row, a_k, b, c, stride, accumulate);                      \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static const fl_tile_fn tiles[] = {NULL, tile_1, tile_2, tile_3, tile_4};
static const fl_direct_fn directs[] = {NULL, direct_1, direct_2, direct_3, direct_4};
static const fl_direct_fn narrows[] = {NULL, narrow_1, narrow_2, narrow_3, narrow_4};

const fl_gemm_kernels fl_gemm_c = {
    .mr = MR,
    .nr = NR,
    .direct_mr = MR,
    .tile = tiles,
    .direct = directs,
    .narrow = narrows,
    .pack = fl_pack_c,
};
