/* The seam for matrix products: one function, cuBLASLt on the device (gemm_cublas.cu), the cpu
 * backend's product in the emulation (kernels/emu/gemm_host.c). */
#ifndef FL_KERNELS_CUDA_GEMM_H
#define FL_KERNELS_CUDA_GEMM_H

#include "tensor/tensor.h"

#include <stdint.h>

/* D = alpha op(A) op(B) + beta C + bias, matrices column by column as BLAS has them: op(A) is
 * [m,k], op(B) [k,n], C and D [m,n], sums in fp32, rounded once.  A and B have one type, C and D
 * another: A and B BF16 with C and D in F32 or BF16, or all of them F32.  C may be D; with beta = 0
 * it is not read.  bias [m], added to every column, only where D is F32; NULL: none.
 * m, n, k > 0. */
typedef struct fl_blas_gemm {
    bool trans_a, trans_b;
    int64_t m, n, k;
    const void *a, *b, *c;
    void *d;
    int64_t lda, ldb, ldc, ldd;
    fl_dtype dtype, type_d; /* of A and B, of C and D */
    const float *bias;
    float alpha, beta;
} fl_blas_gemm;

#endif
