/* The algorithm of a plan: what the text of plans.h has for it, where the library takes that, or
 * the heuristic's first.  Split sums that would add in no fixed order are not allowed. */
#include "kernels/cuda/gemm_cublas.h"

namespace FL_DEVICE
{

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
        blas.cublasLtMatmulAlgoInit(blas.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F, type, type, type_d,
                                    type_d, (int)from.number[NUMBER_ID],
                                    out) != CUBLAS_STATUS_SUCCESS)
        return false;
    for (int i = NUMBER_ID + 1; i < ALGORITHM_NUMBERS; i++)
        if (blas.cublasLtMatmulAlgoConfigSetAttribute(out, attributes[i].which, &from.number[i],
                                                      attributes[i].size) != CUBLAS_STATUS_SUCCESS)
            return false;
    return blas.cublasLtMatmulAlgoCheck(blas.handle, plan->operation, plan->a, plan->b, plan->c,
                                        plan->d, out, &found) == CUBLAS_STATUS_SUCCESS &&
           found.workspaceSize <= WORKSPACE_BYTES &&
           takes_alignment(out, plan->key.number[KEY_ALIGNMENT]);
}

template <class T>
static bool prefer(cublasLtMatmulPreference_t preference,
                   cublasLtMatmulPreferenceAttributes_t which, T value)
{
    return check_blas(
        blas.cublasLtMatmulPreferenceSetAttribute(preference, which, &value, sizeof value),
        "a preference");
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
        check_blas(blas.cublasLtMatmulAlgoGetHeuristic(blas.handle, plan->operation, plan->a,
                                                       plan->b, plan->c, plan->d, preference, most,
                                                       found, &count),
                   "no algorithm for a product");
    blas.cublasLtMatmulPreferenceDestroy(preference);
    if (is_fine && count == 0) fail_op(FL_ERR_INTERNAL, "cuBLASLt: no algorithm for a product");
    return is_fine ? count : 0;
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

bool choose_algorithm(Plan *plan, const fl_blas_gemm &g)
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

} // namespace FL_DEVICE
