/* cuBLASLt between its two sources: the library and its plans (gemm_cublas.cu), and which algorithm
 * a plan has (gemm_choose.cu). */
#ifndef FL_KERNELS_CUDA_GEMM_CUBLAS_H
#define FL_KERNELS_CUDA_GEMM_CUBLAS_H

#include "kernels/cuda/plans.h"

#include <cublasLt.h>

namespace FL_DEVICE
{

enum : size_t { WORKSPACE_BYTES = 32 << 20 };

struct Plan {
    bool is_made;
    PlanKey key;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulAlgo_t algorithm;
};

/* The functions that are called. */
#define FL_BLAS_FUNCTIONS(X)                \
    X(cublasLtCreate)                       \
    X(cublasLtGetStatusName)                \
    X(cublasLtMatmul)                       \
    X(cublasLtGetVersion)                   \
    X(cublasLtMatmulAlgoCapGetAttribute)    \
    X(cublasLtMatmulAlgoCheck)              \
    X(cublasLtMatmulAlgoConfigGetAttribute) \
    X(cublasLtMatmulAlgoConfigSetAttribute) \
    X(cublasLtMatmulAlgoGetHeuristic)       \
    X(cublasLtMatmulAlgoInit)               \
    X(cublasLtMatmulDescCreate)             \
    X(cublasLtMatmulDescDestroy)            \
    X(cublasLtMatmulDescSetAttribute)       \
    X(cublasLtMatmulPreferenceCreate)       \
    X(cublasLtMatmulPreferenceDestroy)      \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatrixLayoutCreate)           \
    X(cublasLtMatrixLayoutDestroy)

struct Blas {
#define X(name) decltype(&::name) name;
    FL_BLAS_FUNCTIONS(X)
#undef X
    cublasLtHandle_t handle;
};

extern Blas blas;

bool check_blas(cublasStatus_t status, const char *what);
cudaDataType_t type_of(fl_dtype dtype);
void launch(const Plan *plan, const fl_blas_gemm &gemm, const cublasLtMatmulAlgo_t *algorithm);
/* Sets plan->algorithm; the rest has been described.  False after a failure. */
bool choose_algorithm(Plan *plan, const fl_blas_gemm &gemm);

} // namespace FL_DEVICE

#endif
