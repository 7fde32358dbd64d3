/* Other architectures: plain C, vectorised by the compiler for their baseline. */
#include "isa.h"

static const fl_isa portable = {.name = "portable", .gemm = &fl_gemm_c, .vec = &fl_vec_c};

const fl_isa *fl_isa_built(int index, bool *runs)
{
    *runs = true;
    return index == 0 ? &portable : NULL;
}
