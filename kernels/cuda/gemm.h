/* The seam for matrix products: one function, cuBLASLt on the device (gemm_cublas.cu), the cpu
 * backend's product in the emulation (kernels/emu/gemm_host.c). */
#ifndef FL_KERNELS_CUDA_GEMM_H
#define FL_KERNELS_CUDA_GEMM_H

#include "tensor/tensor.h"

#include <stdint.h>

/* C = alpha op(A) op(B) + beta C, matrices column by column as BLAS has them: op(A) is [m,k], op(B)
 * [k,n], C [m,n] in fp32, sums in fp32.  A and B are both F32 or both BF16.  m, n, k > 0; with
 * beta = 0 C is not read. */
typedef struct fl_blas_gemm {
    bool trans_a, trans_b;
    int64_t m, n, k;
    const void *a, *b;
    int64_t lda, ldb, ldc;
    fl_dtype dtype;
    float *c;
    float alpha, beta;
} fl_blas_gemm;

#endif
