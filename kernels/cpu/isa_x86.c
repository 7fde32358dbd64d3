/* What x86-64 builds have.  The compiler asks cpuid, and whether the system saves the registers. */
#include "isa.h"

static const fl_isa isas[] = {
    {.name = "avx512", .gemm = &fl_gemm_avx512, .vec = &fl_vec_avx512},
    {.name = "avx2", .gemm = &fl_gemm_avx2, .vec = &fl_vec_avx2},
    {.name = "portable", .gemm = &fl_gemm_c, .vec = &fl_vec_c},
};

static bool has_avx2(void)
{
    /* every processor with AVX2 has F16C; not all compilers know its name here */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const fl_isa *fl_isa_built(int index, bool *runs)
{
    if (index < 0 || index >= (int)(sizeof isas / sizeof isas[0])) return NULL;
    *runs = index == 0 ? has_avx512() : index == 1 ? has_avx2() : true;
    return &isas[index];
}
