#include "kernels/cuda/linear.h"

extern "C" {
#include "kernels/emu/gemm_host.h"
}

namespace FL_DEVICE
{

size_t library_scratch(const fl_scratch_need *)
{
    return 0;
}

void run_gemm(const fl_blas_gemm &gemm)
{
    if (!can_launch()) return;
    fl_blas_gemm call = gemm;
    fl_emu::submit([call] {
        if (fl_emu_gemm(&call) != FL_OK) fail_op(FL_ERR_MEMORY, "a product");
    });
}

} // namespace FL_DEVICE
