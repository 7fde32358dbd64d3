/* The emulation's matrix product: the cpu backend's, which has its own tests. */
#include "kernels/emu/gemm_host.h"

#include "base/mem.h"
#include "kernels/cpu/gemm.h"
#include "kernels/emu/control.h"

static float read_element(const void *data, fl_dtype dtype, int64_t i)
{
    return dtype == FL_F32 ? ((const float *)data)[i] : fl_bf16_to_f32(((const uint16_t *)data)[i]);
}

/* D = product + beta C + bias, rounded once where D is bf16. */
static void finish(const fl_blas_gemm *g, const float *product)
{
    for (int64_t j = 0; j < g->n; j++)
        for (int64_t i = 0; i < g->m; i++) {
            float sum = product[j * g->m + i];
            if (g->beta != 0.0f) sum += g->beta * read_element(g->c, g->type_d, j * g->ldc + i);
            if (g->bias) sum += g->bias[i];
            if (g->type_d == FL_F32)
                ((float *)g->d)[j * g->ldd + i] = sum;
            else
                ((uint16_t *)g->d)[j * g->ldd + i] = fl_f32_to_bf16(sum);
        }
}

/* The product of gemm.h is row by row: it gets C^T = op(B)^T op(A)^T. */
fl_status fl_emu_gemm(const fl_blas_gemm *g)
{
    static float *product; /* grows to the largest one and stays */
    static size_t capacity;
    FL_TRY(fl_grow(&product, &capacity, (size_t)g->m * (size_t)g->n, sizeof *product));
    fl_product call = {
        .a = {.data = g->b, .dtype = g->dtype, .stride = g->ldb, .k_inner = !g->trans_b},
        .b = {.data = g->a, .dtype = g->dtype, .stride = g->lda, .k_inner = g->trans_a},
        .c = product,
        .stride = g->m,
        .M = g->n,
        .N = g->m,
        .K = g->k,
        .alpha = g->alpha,
    };
    fl_emu_memory_open();
    fl_product_run(&call);
    finish(g, product);
    fl_emu_memory_close();
    return FL_OK;
}
