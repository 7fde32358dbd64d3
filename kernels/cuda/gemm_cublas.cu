/* The seam on the device: cuBLASLt, opened when the first product is asked for: linked, it would
 * make every start of a program that never sees a device ten times slower.  The algorithm of a
 * shape is the one that the text of plans.h has for it, or the heuristic's first, so that a shape's
 * bits are the same in every call, run and rank; split sums that would add in no fixed order are
 * not allowed.  A plan is made on the host alone: a shape that was met once launches without a
 * copy, a wait or an allocation. */
#include "kernels/cuda/plans.h"

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
           make_layout(&plan->c, type_d, g.m, g.n, plan->key.number[KEY_LDC]) &&
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

/* ---- algorithms and their numbers ----------------------------------------------------------- */

/* In the order of Algorithm.  The first is set when a descriptor is made. */
static const struct {
    cublasLtMatmulAlgoConfigAttributes_t which;
    size_t size;
} attributes[ALGORITHM_NUMBERS] = {{CUBLASLT_ALGO_CONFIG_ID, sizeof(int32_t)},
                                   {CUBLASLT_ALGO_CONFIG_TILE_ID, sizeof(uint32_t)},
                                   {CUBLASLT_ALGO_CONFIG_SPLITK_NUM, sizeof(int32_t)},
                                   {CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, sizeof(uint32_t)},
                                   {CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, sizeof(uint32_t)},
                                   {CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, sizeof(uint32_t)},
                                   {CUBLASLT_ALGO_CONFIG_STAGES_ID, sizeof(uint32_t)},
                                   {CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, sizeof(uint16_t)},
                                   {CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, sizeof(uint16_t)}};
enum { NUMBER_ID = 0, NUMBER_REDUCTION = 3 };

/* Sums in a fixed order. */
static const uint32_t reductions =
    CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

static bool write_algorithm(Algorithm *out, const cublasLtMatmulAlgo_t *algorithm)
{
    for (int i = 0; i < ALGORITHM_NUMBERS; i++) {
        size_t written;
        out->number[i] = 0; // the low bytes come first on every machine that has devices
        if (blas.cublasLtMatmulAlgoConfigGetAttribute(algorithm, attributes[i].which,
                                                      &out->number[i], attributes[i].size,
                                                      &written) != CUBLAS_STATUS_SUCCESS)
            return false;
    }
    return true;
}

/* Whether it may be given operands that are aligned no better than these. */
static bool takes_alignment(const cublasLtMatmulAlgo_t *algorithm, int64_t alignment)
{
    static const cublasLtMatmulAlgoCapAttributes_t needs[] = {
        CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_A_BYTES, CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_C_BYTES, CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_D_BYTES};
    for (cublasLtMatmulAlgoCapAttributes_t which : needs) {
        uint32_t need;
        size_t written;
        if (blas.cublasLtMatmulAlgoCapGetAttribute(algorithm, which, &need, sizeof need,
                                                   &written) != CUBLAS_STATUS_SUCCESS ||
            need > (uint64_t)alignment)
            return false;
    }
    return true;
}

/* The algorithm of these numbers, which may be any; false: the library does not take them here. */
static bool rebuild(cublasLtMatmulAlgo_t *out, const Algorithm &from, const Plan *plan,
                    const fl_blas_gemm &g)
{
    cublasLtMatmulHeuristicResult_t found;
    cudaDataType_t type = type_of(g.dtype), type_d = type_of(g.type_d);
    for (int i = 0; i < ALGORITHM_NUMBERS; i++)
        if (from.number[i] >> (8 * attributes[i].size) != 0) return false;
    if ((from.number[NUMBER_REDUCTION] & ~(int64_t)reductions) != 0 ||
        blas.cublasLtMatmulAlgoInit(handle, CUBLAS_COMPUTE_32F, CUDA_R_32F, type, type, type_d,
                                    type_d, (int)from.number[NUMBER_ID],
                                    out) != CUBLAS_STATUS_SUCCESS)
        return false;
    for (int i = NUMBER_ID + 1; i < ALGORITHM_NUMBERS; i++)
        if (blas.cublasLtMatmulAlgoConfigSetAttribute(out, attributes[i].which, &from.number[i],
                                                      attributes[i].size) != CUBLAS_STATUS_SUCCESS)
            return false;
    return blas.cublasLtMatmulAlgoCheck(handle, plan->operation, plan->a, plan->b, plan->c, plan->d,
                                        out, &found) == CUBLAS_STATUS_SUCCESS &&
           found.workspaceSize <= WORKSPACE_BYTES &&
           takes_alignment(out, plan->key.number[KEY_ALIGNMENT]);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* The heuristic's best, at most `most`, with sums in a fixed order; 0 after a failure. */
static int ask_heuristic(cublasLtMatmulHeuristicResult_t *found, int most, const Plan *plan)
{
    cublasLtMatmulPreference_t preference;
    int count = 0;
    if (!check_blas(blas.cublasLtMatmulPreferenceCreate(&preference), "a preference")) return 0;
    uint32_t alignment = (uint32_t)plan->key.number[KEY_ALIGNMENT];
    bool is_fine =
        prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (size_t)WORKSPACE_BYTES) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment) &&
        prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment) &&
        check_blas(blas.cublasLtMatmulAlgoGetHeuristic(handle, plan->operation, plan->a, plan->b,
                                                       plan->c, plan->d, preference, most, found,
                                                       &count),
                   "no algorithm for a product");
    blas.cublasLtMatmulPreferenceDestroy(preference);
    if (is_fine && count == 0) fail_op(FL_ERR_INTERNAL, "cuBLASLt: no algorithm for a product");
    return is_fine ? count : 0;
}

static void launch(const Plan *plan, const fl_blas_gemm &gemm,
                   const cublasLtMatmulAlgo_t *algorithm)
{
    void *workspace = scratch(SCRATCH_LIBRARY, WORKSPACE_BYTES);
    const void *bias = gemm.bias, *c = plan->key.number[KEY_READS_C] ? gemm.c : gemm.d;
    if (!workspace || !can_launch()) return;
    if (bias && !describe_as(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)) return;
    check_blas(blas.cublasLtMatmul(handle, plan->operation, &gemm.alpha, gemm.a, plan->a, gemm.b,
                                   plan->b, &gemm.beta, c, plan->c, gemm.d, plan->d, algorithm,
                                   workspace, WORKSPACE_BYTES, stream()),
               "a product");
}

struct Trial {
    const Plan *plan;
    const fl_blas_gemm *gemm;
    cublasLtMatmulAlgo_t algorithm[MOST_CANDIDATES + 1];
};

static void try_candidate(void *context, int candidate)
{
    auto *trial = static_cast<const Trial *>(context);
    launch(trial->plan, *trial->gemm, &trial->algorithm[candidate]);
}

/* Times the heuristic's first as it is, which a run has without a text, against all of them as a
 * run would make them of their numbers. */
static bool tune(Plan *plan, const fl_blas_gemm &g)
{
    cublasLtMatmulHeuristicResult_t found[MOST_CANDIDATES];
    Algorithm numbers[MOST_CANDIDATES + 1];
    Trial trial;
    int asked = ask_heuristic(found, MOST_CANDIDATES, plan), count = 1;
    if (asked == 0) return false;
    trial.plan = plan;
    trial.gemm = &g;
    trial.algorithm[0] = found[0].algo;
    for (int i = 0; i < asked; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS &&
            write_algorithm(&numbers[count], &found[i].algo) &&
            rebuild(&trial.algorithm[count], numbers[count], plan, g))
            count++;
    int best = find_fastest(count, try_candidate, &trial);
    if (best > 0) keep_plan(plan->key, numbers[best]);
    plan->algorithm = trial.algorithm[best];
    return can_launch();
}

static bool choose_algorithm(Plan *plan, const fl_blas_gemm &g)
{
    cublasLtMatmulHeuristicResult_t found;
    if (is_tuning()) return tune(plan, g);
    const Algorithm *known = find_plan(plan->key);
    if (known && rebuild(&plan->algorithm, *known, plan, g)) return true;
    if (known) refuse_plan();
    if (ask_heuristic(&found, 1, plan) == 0) return false;
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
        if (!plan->is_made || is_same(plan->key, key)) return plan;
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

const char *library_name()
{
    static char name[320];
    int device;
    cudaDeviceProp properties;
    if (name[0]) return name;
    if (!can_launch() || (!handle && !open_library()) ||
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
