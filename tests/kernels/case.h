/* The table of kernel cases: every op of backend/ops.h with sizes and options, run on one backend
 * after the other and compared with the cpu backend (test_cases.c).
 *
 * A row names an op, a function that runs it, and what that function reads of the fields below.
 * The function makes its inputs and outputs with case_*, calls the op through the table, and hands
 * every result to case_result_*.  It is called once per backend and never asks which one it is.
 *
 * To add an op: a function and its rows in one of the case_*.c files, a row at least per shape that
 * a kernel could get wrong: one token, one column, no multiple of a warp or a tile, empty parts.
 */
#ifndef FL_TESTS_KERNELS_CASE_H
#define FL_TESTS_KERNELS_CASE_H

#include "check.h"

typedef enum case_weight {
    WEIGHT_F32,
    WEIGHT_BF16,
    WEIGHT_F16,
    WEIGHT_INT8,
    WEIGHT_NF4,
    WEIGHT_NF4_NESTED,
    NUM_CASE_WEIGHTS
} case_weight;

enum { CASE_SEQUENCES = 7, CASE_LINEARS = 3 };

struct case_run;

typedef struct kernel_case {
    const char *op, *file;
    size_t member; /* offset of the op in fl_backend_ops */
    int line;
    void (*run)(struct case_run *run);

    int64_t T, C, G, N, V, M, K; /* as backend/ops.h names them */
    int64_t rows[CASE_LINEARS], cols, R, clients;
    int64_t gap;   /* elements between the rows of every activation */
    unsigned wide; /* bit i: the i-th activation that the function makes is fp32 in any case */
    float factor;  /* epsilon, cap, probability, alpha, spread of logits, scale: see the function */
    float beta;
    case_weight weight;
    bool accumulate, trans_a, trans_b, inverse, shares_a, side, bare;
    bool vanishes; /* gradients of q and k cancel to nothing */
    int64_t S, H, KV, D, window, capacity;
    float softcap;
    int32_t cu[CASE_SEQUENCES + 1];
    int32_t prefix[CASE_SEQUENCES]; /* of fl_attn_shape, plus 1; 0: none */
} kernel_case;

/* The tables, each ended by a row without op. */
extern const kernel_case case_elements[], case_products[], case_linears[], case_attention[],
    case_loss[];

#define KERNEL_CASE(name, function, ...)                                                           \
    {                                                                                              \
        .op = #name, .file = __FILE__, .member = offsetof(fl_backend_ops, name), .line = __LINE__, \
        .run = function, __VA_ARGS__                                                               \
    }

/* One row on one backend. */
typedef struct case_run {
    const kernel_case *row;
    const fl_backend_ops *ops;
    fl_dtype dtype;  /* of activations */
    bool is_rounded; /* operands of products are rounded to bf16 */
    bool is_aligned; /* activations begin at a multiple of 64 bytes, or one element behind it */
    int num_acts;
    uint64_t seed;
} case_run;

/* [T, C] of random values in [-1, 1] (times `size`), or of NaN; between rows NaN. */
fl_act case_act(case_run *run, int64_t T, int64_t C);
fl_act case_blank(case_run *run, int64_t T, int64_t C);
/* [blocks * capacity, C], of whose blocks the first lengths[b] rows are there. */
fl_act case_rows(case_run *run, int64_t blocks, int64_t capacity, const int32_t *lengths,
                 int64_t C);
float *case_floats(case_run *run, int64_t count, float size);
fl_weight case_weight_of(case_run *run, case_weight format, int64_t rows, int64_t cols);
/* Numbers in [0, below). */
int32_t *case_numbers(case_run *run, int64_t count, int64_t below);

/* How far a result may be from the cpu backend's, as a relative L2 norm; case.c says why. */
typedef enum case_bound {
    BOUND_EXACT,
    BOUND_SUM,       /* sums in another order, and the rounding of a result that is bf16 */
    BOUND_AFTER,     /* the same over values that were rounded to bf16 on the way */
    BOUND_ATTENTION, /* the same in bf16 attention, which rounds P at another place */
    BOUND_ATTENTION_GRADIENT
} case_bound;

/* Results, in the same order on every backend.  In fp32 all that is not exact is a sum. */
void case_result_act(case_run *run, const char *what, fl_act x, int64_t T, int64_t C,
                     case_bound bound);
void case_result(case_run *run, const char *what, const float *x, int64_t count, case_bound bound);
void case_result_doubles(case_run *run, const char *what, const double *x, int64_t count);
void case_result_ints(case_run *run, const char *what, const int32_t *x, int64_t count);
/* Where x[T, C] is zero, and nothing else. */
void case_result_zeros(case_run *run, const char *what, fl_act x, int64_t T, int64_t C);

/* Runs the row on the cpu backend and on backend `index` of check_backend, both with products in
 * `compute`, and compares.  In bf16 the cpu backend is that of rounded.h. */
void case_check(const kernel_case *row, int index, fl_dtype compute, bool is_aligned);
/* Prints the largest difference since the last report, and frees what is left. */
void case_report(void);

#endif
