/* Micro-kernel in plain C: 4 x 8, small enough for 16 registers of four lanes. */
#include "gemm.h"

enum { MR = 4, NR = 8 };

static inline __attribute__((always_inline)) void multiply(const int mr, int64_t kc, const float *a,
                                                           const float *b, int64_t b_k, float *c,
                                                           int64_t stride, bool accumulate)
{
    float acc[MR][NR] = {{0}};
    for (int64_t k = 0; k < kc; k++) {
        for (int i = 0; i < mr; i++) {
            for (int j = 0; j < NR; j++)
                acc[i][j] += a[i] * b[j];
        }
        a += mr;
        b += b_k;
    }
    for (int i = 0; i < mr; i++) {
        for (int j = 0; j < NR; j++)
            c[i * stride + j] = accumulate ? c[i * stride + j] + acc[i][j] : acc[i][j];
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

static const fl_tile_fn tiles[] = {NULL, tile_1, tile_2, tile_3, tile_4};

const fl_gemm_kernels fl_gemm_c = {
    .mr = MR,
    .nr = NR,
    .tile = tiles,
    .pack = fl_pack_c,
};
