/* The emulation's matrix product: the cpu backend's, which has its own tests. */
#include "kernels/emu/gemm_host.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/emu/control.h"

static void scale_columns(const fl_blas_gemm *g)
{
    for (int64_t j = 0; j < g->n; j++)
        fl_cpu_scale(g->c + j * g->ldc, g->beta, g->m);
}

/* The product of gemm.h is row by row: it gets C^T = op(B)^T op(A)^T. */
void fl_emu_gemm(const fl_blas_gemm *g)
{
    fl_product product = {
        .a = {.data = g->b, .dtype = g->dtype, .stride = g->ldb, .k_inner = !g->trans_b},
        .b = {.data = g->a, .dtype = g->dtype, .stride = g->lda, .k_inner = g->trans_a},
        .c = g->c,
        .stride = g->ldc,
        .M = g->n,
        .N = g->m,
        .K = g->k,
        .alpha = g->alpha,
        .accumulate = g->beta != 0.0f,
    };
    fl_emu_memory_open();
    if (g->beta != 0.0f && g->beta != 1.0f) scale_columns(g);
    fl_product_run(&product);
    fl_emu_memory_close();
}
