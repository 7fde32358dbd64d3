/* The seam in the emulation: two algorithms, 0 and 1, with the same result, so that choosing
 * between them is run, too. */
#include "kernels/cuda/plans.h"
#include "kernels/emu/control.h"

extern "C" {
#include "kernels/emu/gemm_host.h"
}

static uint64_t num_products[2];

uint64_t fl_emu_products(int algorithm)
{
    return num_products[algorithm];
}

namespace FL_DEVICE
{

size_t library_scratch(const fl_scratch_need *)
{
    return 0;
}

const char *library_name()
{
    return "emulated device, library 1";
}

static void launch(const fl_blas_gemm &gemm, int algorithm)
{
    fl_blas_gemm call = gemm;
    fl_emu::submit([call, algorithm] {
        num_products[algorithm]++;
        if (fl_emu_gemm(&call) != FL_OK) fail_op(FL_ERR_MEMORY, "a product");
    });
}

static void try_candidate(void *context, int candidate)
{
    launch(*static_cast<const fl_blas_gemm *>(context), candidate);
}

static int choose(const fl_blas_gemm &gemm)
{
    PlanKey key = key_of(gemm);
    const Algorithm *known = find_plan(key);
    if (!known && is_tuning()) {
        fl_blas_gemm call = gemm;
        keep_plan(key, {{find_fastest(2, try_candidate, &call)}});
    }
    if (!known) return 0;
    bool is_one = known->number[0] <= 1;
    for (int i = 1; i < ALGORITHM_NUMBERS; i++)
        is_one = is_one && known->number[i] == 0;
    if (!is_one) refuse_plan();
    return is_one ? (int)known->number[0] : 0;
}

void run_gemm(const fl_blas_gemm &gemm)
{
    if (can_launch()) launch(gemm, choose(gemm));
}

} // namespace FL_DEVICE
