/* The seam on the device: cuBLASLt, opened when the first product is asked for: linked, it would
 * make every start of a program that never sees a device ten times slower.  The algorithm of a
 * shape is chosen once and kept, so that a shape's bits are the same in every call; split sums that
 * would add in no fixed order are not allowed. */
#include "kernels/cuda/linear.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>

namespace FL_DEVICE
{

enum : size_t { WORKSPACE_BYTES = 32 << 20 };
#define FL_TEXT2(x)     #x
#define FL_TEXT(x)      FL_TEXT2(x)
#define FL_CUBLAS_MAJOR FL_TEXT(CUBLAS_VER_MAJOR)

enum { NUM_PLANS = 512 }; /* a training step has some dozen shapes */

/* What an algorithm depends on. */
struct PlanKey {
    bool trans_a, trans_b;
    int64_t m, n, k, lda, ldb, ldc;
    fl_dtype dtype;
    bool reads_c;
    int alignment; /* of the least aligned operand, in bytes up to 16 */
};

struct Plan {
    bool is_made;
    PlanKey key;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
};

/* The functions that are called. */
#define FL_BLAS_FUNCTIONS(X)                \
    X(cublasLtCreate)                       \
    X(cublasLtGetStatusName)                \
    X(cublasLtMatmul)                       \
    X(cublasLtMatmulAlgoGetHeuristic)       \
    X(cublasLtMatmulDescCreate)             \
    X(cublasLtMatmulDescDestroy)            \
    X(cublasLtMatmulDescSetAttribute)       \
    X(cublasLtMatmulPreferenceCreate)       \
    X(cublasLtMatmulPreferenceDestroy)      \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatrixLayoutCreate)           \
    X(cublasLtMatrixLayoutDestroy)

static struct {
#define X(name) decltype(&::name) name;
    FL_BLAS_FUNCTIONS(X)
#undef X
} blas;

static cublasLtHandle_t handle;
static Plan plans[NUM_PLANS];

static bool check_blas(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    char text[160];
    snprintf(text, sizeof text, "cuBLASLt, %s: %s", what, blas.cublasLtGetStatusName(status));
    fail_op(FL_ERR_INTERNAL, text);
    return false;
}

static int alignment_of(const fl_blas_gemm &g)
{
    uintptr_t bits = (uintptr_t)g.a | (uintptr_t)g.b | (uintptr_t)g.c | 16;
    return (int)(bits & ~(bits - 1));
}

static PlanKey key_of(const fl_blas_gemm &g)
{
    PlanKey key;
    memset(&key, 0, sizeof key); // compared as bytes
    key.trans_a = g.trans_a;
    key.trans_b = g.trans_b;
    key.m = g.m;
    key.n = g.n;
    key.k = g.k;
    key.lda = g.lda;
    key.ldb = g.ldb;
    key.ldc = g.ldc;
    key.dtype = g.dtype;
    key.reads_c = g.beta != 0.0f;
    key.alignment = alignment_of(g);
    return key;
}

static uint64_t hash_of(const PlanKey &key)
{
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (size_t i = 0; i < sizeof key; i++)
        hash = (hash ^ reinterpret_cast<const unsigned char *>(&key)[i]) * 0x100000001b3;
    return hash;
}

static void drop(Plan *plan)
{
    if (plan->operation) blas.cublasLtMatmulDescDestroy(plan->operation);
    for (cublasLtMatrixLayout_t layout : {plan->a, plan->b, plan->c})
        if (layout) blas.cublasLtMatrixLayoutDestroy(layout);
    memset(plan, 0, sizeof *plan);
}

static bool set_transposed(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t which,
                           bool transposed)
{
    cublasOperation_t word = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    return check_blas(blas.cublasLtMatmulDescSetAttribute(operation, which, &word, sizeof word),
                      "a description");
}

static bool make_layout(cublasLtMatrixLayout_t *out, cudaDataType_t type, int64_t rows,
                        int64_t cols, int64_t stride)
{
    return check_blas(
        blas.cublasLtMatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)cols, stride),
        "a layout");
}

static bool describe(Plan *plan, const fl_blas_gemm &g)
{
    cudaDataType_t type = g.dtype == FL_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    return check_blas(
               blas.cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "a description") &&
           set_transposed(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, g.trans_a) &&
           set_transposed(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, g.trans_b) &&
           make_layout(&plan->a, type, g.trans_a ? g.k : g.m, g.trans_a ? g.m : g.k, g.lda) &&
           make_layout(&plan->b, type, g.trans_b ? g.n : g.k, g.trans_b ? g.k : g.n, g.ldb) &&
           make_layout(&plan->c, CUDA_R_32F, g.m, g.n, g.ldc);
}

template <class T>
static bool prefer(cublasLtMatmulPreference_t preference,
                   cublasLtMatmulPreferenceAttributes_t which, T value)
{
    return check_blas(
        blas.cublasLtMatmulPreferenceSetAttribute(preference, which, &value, sizeof value),
        "a preference");
}

/* The heuristic's first choice among those with sums in a fixed order. */
static bool choose_algorithm(Plan *plan)
{
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    if (!check_blas(blas.cublasLtMatmulPreferenceCreate(&preference), "a preference")) return false;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t alignment = (uint32_t)plan->key.alignment;
    bool is_fine =
        prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (size_t)WORKSPACE_BYTES) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment) &&
        check_blas(blas.cublasLtMatmulAlgoGetHeuristic(handle, plan->operation, plan->a, plan->b,
                                                       plan->c, plan->c, preference, 1, &found,
                                                       &count),
                   "no algorithm for a product");
    blas.cublasLtMatmulPreferenceDestroy(preference);
    if (is_fine && count == 0) fail_op(FL_ERR_INTERNAL, "cuBLASLt: no algorithm for a product");
    if (!is_fine || count == 0) return false;
    plan->algorithm = found.algo;
    return true;
}

static bool open_library()
{
    static const char name[] = "libcublasLt.so." FL_CUBLAS_MAJOR;
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    bool is_whole = library != nullptr;
#define X(function)                                       \
    if (is_whole) {                                       \
        void *address = dlsym(library, #function);        \
        memcpy(&blas.function, &address, sizeof address); \
        is_whole = address != nullptr;                    \
    }
    FL_BLAS_FUNCTIONS(X)
#undef X
    if (!is_whole) fail_op(FL_ERR_UNSUPPORTED, dlerror());
    return is_whole && check_blas(blas.cublasLtCreate(&handle), "starting");
}

static Plan *plan_for(const fl_blas_gemm &g)
{
    if (!handle && !open_library()) return nullptr;
    PlanKey key = key_of(g);
    Plan *plan = &plans[hash_of(key) % NUM_PLANS];
    if (plan->is_made && memcmp(&plan->key, &key, sizeof key) == 0) return plan;
    drop(plan); // another shape of the same hash, if any, will be planned again, the same way
    plan->key = key;
    plan->is_made = describe(plan, g) && choose_algorithm(plan);
    return plan->is_made ? plan : nullptr;
}

size_t library_scratch(const fl_scratch_need *)
{
    return WORKSPACE_BYTES;
}

void run_gemm(const fl_blas_gemm &gemm)
{
    if (!can_launch()) return;
    Plan *plan = plan_for(gemm);
    void *workspace = scratch(SCRATCH_LIBRARY, WORKSPACE_BYTES);
    if (!plan || !workspace) return;
    check_blas(blas.cublasLtMatmul(handle, plan->operation, &gemm.alpha, gemm.a, plan->a, gemm.b,
                                   plan->b, &gemm.beta, gemm.c, plan->c, gemm.c, plan->c,
                                   &plan->algorithm, workspace, WORKSPACE_BYTES, stream()),
               "a product");
}

} // namespace FL_DEVICE
