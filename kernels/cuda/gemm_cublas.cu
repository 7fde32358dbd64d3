/* The seam on the device: cuBLASLt, opened when the first product is asked for: linked, it would
 * make every start of a program that never sees a device ten times slower.  The algorithm of a
 * shape is the heuristic's first, so that a shape's bits are the same in every call, run and rank;
 * split sums that would add in no fixed order are not allowed.  A plan is made on the host alone:
 * a shape that was met once launches without a copy, a wait or an allocation. */
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

/* A model has some dozen shapes for each number of tokens that a batch may have.  When three
 * quarters of the places are taken all are dropped, and made again as they are needed. */
enum { NUM_PLANS = 8192, MOST_PLANS = NUM_PLANS / 4 * 3 };

/* What an algorithm depends on. */
struct PlanKey {
    bool trans_a, trans_b;
    bool reads_c, is_in_place, has_bias;
    int64_t m, n, k, lda, ldb, ldc, ldd;
    fl_dtype dtype, type_d;
    int alignment; /* of the least aligned operand, in bytes up to 16 */
};

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
static Plan plans[NUM_PLANS]; /* a hash table with linear probing */
static int num_plans;

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
    uintptr_t bits = (uintptr_t)g.a | (uintptr_t)g.b | (uintptr_t)g.d | (uintptr_t)g.bias | 16;
    if (g.beta != 0.0f) bits |= (uintptr_t)g.c;
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
    key.reads_c = g.beta != 0.0f;
    key.is_in_place = key.reads_c && g.c == g.d;
    key.has_bias = g.bias != nullptr;
    key.ldc = key.reads_c ? g.ldc : g.ldd;
    key.ldd = g.ldd;
    key.dtype = g.dtype;
    key.type_d = g.type_d;
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
    for (cublasLtMatrixLayout_t layout : {plan->a, plan->b, plan->c, plan->d})
        if (layout) blas.cublasLtMatrixLayoutDestroy(layout);
    memset(plan, 0, sizeof *plan);
}

template <class T>
static bool describe_as(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t which,
                        T value)
{
    return check_blas(blas.cublasLtMatmulDescSetAttribute(operation, which, &value, sizeof value),
                      "a description");
}

static bool make_layout(cublasLtMatrixLayout_t *out, cudaDataType_t type, int64_t rows,
                        int64_t cols, int64_t stride)
{
    return check_blas(
        blas.cublasLtMatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)cols, stride),
        "a layout");
}

static cublasOperation_t word_of(bool is_transposed)
{
    return is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

static cudaDataType_t type_of(fl_dtype dtype)
{
    return dtype == FL_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static bool describe(Plan *plan, const fl_blas_gemm &g)
{
    cudaDataType_t type = type_of(g.dtype), type_d = type_of(g.type_d);
    cublasLtEpilogue_t epilogue = g.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    return check_blas(
               blas.cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "a description") &&
           describe_as(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, word_of(g.trans_a)) &&
           describe_as(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, word_of(g.trans_b)) &&
           describe_as(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue) &&
           describe_as(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                       static_cast<const void *>(g.bias)) &&
           make_layout(&plan->a, type, g.trans_a ? g.k : g.m, g.trans_a ? g.m : g.k, g.lda) &&
           make_layout(&plan->b, type, g.trans_b ? g.n : g.k, g.trans_b ? g.k : g.n, g.ldb) &&
           make_layout(&plan->c, type_d, g.m, g.n, plan->key.ldc) &&
           make_layout(&plan->d, type_d, g.m, g.n, g.ldd);
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
                                                       plan->c, plan->d, preference, 1, &found,
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

/* The place of the key: its plan, or a free one. */
static Plan *place_of(const PlanKey &key)
{
    for (uint64_t at = hash_of(key);; at++) {
        Plan *plan = &plans[at % NUM_PLANS];
        if (!plan->is_made || memcmp(&plan->key, &key, sizeof key) == 0) return plan;
    }
}

static Plan *plan_for(const fl_blas_gemm &g)
{
    if (!handle && !open_library()) return nullptr;
    PlanKey key = key_of(g);
    Plan *plan = place_of(key);
    if (plan->is_made) return plan;
    if (num_plans == MOST_PLANS) {
        for (Plan &old : plans)
            drop(&old);
        num_plans = 0;
        plan = place_of(key);
    }
    plan->key = key;
    plan->is_made = describe(plan, g) && choose_algorithm(plan);
    if (!plan->is_made) {
        drop(plan);
        return nullptr;
    }
    num_plans++;
    return plan;
}

void run_gemm(const fl_blas_gemm &gemm)
{
    if (!can_launch()) return;
    Plan *plan = plan_for(gemm);
    void *workspace = scratch(SCRATCH_LIBRARY, WORKSPACE_BYTES);
    if (!plan || !workspace) return;
    const void *bias = gemm.bias, *c = plan->key.reads_c ? gemm.c : gemm.d;
    if (bias && !describe_as(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)) return;
    check_blas(blas.cublasLtMatmul(handle, plan->operation, &gemm.alpha, gemm.a, plan->a, gemm.b,
                                   plan->b, &gemm.beta, c, plan->c, gemm.d, plan->d,
                                   &plan->algorithm, workspace, WORKSPACE_BYTES, stream()),
               "a product");
}

} // namespace FL_DEVICE
