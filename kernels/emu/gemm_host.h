#ifndef FL_KERNELS_EMU_GEMM_HOST_H
#define FL_KERNELS_EMU_GEMM_HOST_H

#include "base/status.h"
#include "kernels/cuda/gemm.h"

/* Operands are device memory.  Errors: FL_ERR_MEMORY, of the host's. */
fl_status fl_emu_gemm(const fl_blas_gemm *gemm);

#endif
