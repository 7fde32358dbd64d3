#include "kernels/cuda/linear.h"

extern "C" {
#include "kernels/emu/gemm_host.h"
}

namespace FL_DEVICE
{

void run_gemm(const fl_blas_gemm &gemm)
{
    if (can_launch() && fl_emu_gemm(&gemm) != FL_OK) fail_op(FL_ERR_MEMORY, "a product");
}

} // namespace FL_DEVICE
