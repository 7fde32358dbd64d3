#ifndef FL_KERNELS_EMU_GEMM_HOST_H
#define FL_KERNELS_EMU_GEMM_HOST_H

#include "kernels/cuda/gemm.h"

/* Operands are device memory. */
void fl_emu_gemm(const fl_blas_gemm *gemm);

#endif
