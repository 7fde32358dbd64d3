/* The seam on the device: cuBLASLt, opened when the first product is asked for: linked, it would
 * make every start of a program that never sees a device ten times slower.  The algorithm of a
 * shape is the one that the text of plans.h has for it, or the heuristic's first, so that a shape's
 * bits are the same in every call, run and rank; split sums that would add in no fixed order are
 * not allowed.  A plan is made on the host alone: a shape that was met once launches without a
 * copy, a wait or an allocation. */
#include "kernels/cuda/gemm_cublas.h"

#include <dlfcn.h>
#include <stdio.h>

namespace FL_DEVICE
{

#define FL_TEXT2(x)     #x
#define FL_TEXT(x)      FL_TEXT2(x)
#define FL_CUBLAS_MAJOR FL_TEXT(CUBLAS_VER_MAJOR)

/* A model has some dozen shapes for each number of tokens that a batch may have.  When three
 * quarters of the places are taken all are dropped, and made again as they are needed. */
enum { NUM_PLANS = 8192, MOST_PLANS = NUM_PLANS / 4 * 3 };

Blas blas;

static Plan plans[NUM_PLANS]; /* a hash table with linear probing */
static int num_plans;

bool check_blas(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    char text[160];
    snprintf(text, sizeof text, "cuBLASLt, %s: %s", what, blas.cublasLtGetStatusName(status));
    fail_op(FL_ERR_INTERNAL, text);
    return false;
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

cudaDataType_t type_of(fl_dtype dtype)
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
           make_layout(&plan->c, type_d, g.m, g.n, plan->key.number[KEY_LDC]) &&
           make_layout(&plan->d, type_d, g.m, g.n, g.ldd);
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
    return is_whole && check_blas(blas.cublasLtCreate(&blas.handle), "starting");
}

/* The place of the key: its plan, or a free one. */
static Plan *place_of(const PlanKey &key)
{
    for (uint64_t at = hash_of(key);; at++) {
        Plan *plan = &plans[at % NUM_PLANS];
        if (!plan->is_made || is_same(plan->key, key)) return plan;
    }
}

static Plan *plan_for(const fl_blas_gemm &g)
{
    if (!blas.handle && !open_library()) return nullptr;
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
    plan->is_made = describe(plan, g) && choose_algorithm(plan, g);
    if (!plan->is_made) {
        drop(plan);
        return nullptr;
    }
    num_plans++;
    return plan;
}

size_t library_scratch(const fl_scratch_need *)
{
    return WORKSPACE_BYTES;
}

void launch(const Plan *plan, const fl_blas_gemm &gemm, const cublasLtMatmulAlgo_t *algorithm)
{
    void *workspace = scratch(SCRATCH_LIBRARY, WORKSPACE_BYTES);
    const void *bias = gemm.bias, *c = plan->key.number[KEY_READS_C] ? gemm.c : gemm.d;
    if (!workspace || !can_launch()) return;
    if (bias && !describe_as(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)) return;
    check_blas(blas.cublasLtMatmul(blas.handle, plan->operation, &gemm.alpha, gemm.a, plan->a,
                                   gemm.b, plan->b, &gemm.beta, c, plan->c, gemm.d, plan->d,
                                   algorithm, workspace, WORKSPACE_BYTES, stream()),
               "a product");
}

const char *library_name()
{
    static char name[320];
    int device;
    cudaDeviceProp properties;
    if (name[0]) return name;
    if (!can_launch() || (!blas.handle && !open_library()) ||
        !check(cudaGetDevice(&device), "asking the device") ||
        !check(cudaGetDeviceProperties(&properties, device), "asking the device"))
        return nullptr;
    snprintf(name, sizeof name, "%s, compute capability %d.%d, cuBLASLt %zu", properties.name,
             properties.major, properties.minor, blas.cublasLtGetVersion());
    return name;
}

void run_gemm(const fl_blas_gemm &gemm)
{
    if (!can_launch()) return;
    Plan *plan = plan_for(gemm);
    if (plan) launch(plan, gemm, &plan->algorithm);
}

} // namespace FL_DEVICE
