#include "kernels/cuda/linear.h"

extern "C" {
#include "kernels/emu/gemm_host.h"
}

namespace FL_DEVICE
{

void run_gemm(const fl_blas_gemm &gemm)
{
    if (can_launch()) fl_emu_gemm(&gemm);
}

} // namespace FL_DEVICE
