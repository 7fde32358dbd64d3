/* The table: what is timed. */
#include "bench_rows.h"

static const fl_act nothing = {0};

static void copy(bench_case *c)
{
    c->ops->copy(c->y2.data, c->y.data, (size_t)(c->T * c->N) * sizeof(float));
}

static void linear_fwd(bench_case *c)
{
    c->ops->linear_fwd(c->y, c->x, &c->frozen, c->T, nothing);
}

static void linear_bwd(bench_case *c)
{
    c->ops->linear_bwd(c->x, c->y, &c->frozen, c->T, false);
}

static void linears_fwd(bench_case *c)
{
    fl_linears_fwd(c->ops, &c->group, c->x, c->T);
}

static void linears_bwd(bench_case *c)
{
    fl_linears_bwd(c->ops, &c->group, c->x2, c->x, c->T, false);
}

/* y = x A^T, N = r */
static void lora_a(bench_case *c)
{
    c->ops->gemm(c->y, c->x, c->w, c->T, c->N, c->K, false, true, 1, 0);
}

/* y += t B^T, K = r */
static void lora_b(bench_case *c)
{
    c->ops->gemm(c->y, c->x, c->w, c->T, c->N, c->K, false, true, 1, 1);
}

/* dB += dy^T t, K = r */
static void lora_grad(bench_case *c)
{
    fl_act grad = fl_f32(c->f.data, c->K);
    c->ops->gemm(grad, c->y, c->x, c->N, c->K, c->T, true, false, 1, 1);
}

static void add(bench_case *c)
{
    c->ops->add(c->f, c->y, c->T, c->N);
}

/* The residual stream is fp32. */
static void rmsnorm_fwd(bench_case *c)
{
    c->ops->rmsnorm_fwd(c->y, c->rows, c->f, c->vector, c->T, 1, c->N, 1e-5f);
}

static void rmsnorm_bwd(bench_case *c)
{
    c->ops->rmsnorm_bwd(c->g, c->y, c->f, c->vector, c->rows, c->T, 1, c->N);
}

static void rope(bench_case *c)
{
    c->ops->rope(c->y, c->ids, c->table, c->table, c->T, c->N / c->head, c->head, false);
}

static void swiglu_fwd(bench_case *c)
{
    c->ops->swiglu_fwd(c->y3, c->y, c->y2, c->T, c->N);
}

static void swiglu_bwd(bench_case *c)
{
    c->ops->swiglu_bwd(c->y, c->y2, c->y3, c->y, c->y2, c->T, c->N);
}

static void dropout(bench_case *c)
{
    c->ops->dropout(c->y2, c->y, c->T, c->N, 0.05f, c->stream, false);
}

static void attention_fwd(bench_case *c)
{
    c->ops->attention_fwd(c->y3, c->rows, c->y, c->y, c->y2, &c->shape);
}

static void attention_bwd(bench_case *c)
{
    c->ops->attention_bwd(c->dq, c->dk, c->dv, c->y3, c->y3, c->rows, c->y, c->y, c->y2, &c->shape,
                          c->scratch);
}

/* logits, loss, their gradient, and back to the input, some rows at a time */
static void linear_loss(bench_case *c)
{
    for (int64_t first = 0, most = c->ops->loss_rows; first < c->T; first += most) {
        int64_t n = c->T - first < most ? c->T - first : most;
        c->ops->linear_fwd(c->f, fl_act_from(c->x, first, 0), &c->frozen, n, nothing);
        c->ops->cross_entropy(c->loss, c->f, c->f.data, c->ids, c->rows, n, c->N);
        c->ops->linear_bwd(c->x2, c->f, &c->frozen, n, false);
    }
}

static void adamw(bench_case *c)
{
    const fl_adamw opt = {1e-4, 0.9, 0.999, 1e-8, 0.01, 1, 3};
    c->ops->adamw(c->y.data, c->y2.data, c->g.data, c->y3.data, c->T * c->N, &opt);
}

static void sum_squares(bench_case *c)
{
    (void)c->ops->sum_squares(c->y.data, c->T * c->N);
}

/* K clients' adapters, [K, T * N] of x, summed with weights */
static void fedavg(bench_case *c)
{
    const float *x = c->x.data;
    for (int64_t k = 0; k < c->K; k++)
        c->ops->axpy(c->y.data, x + k * c->T * c->N, 0.05f, c->T * c->N);
}

enum {
    W = BENCH_WEIGHT,
    G = BENCH_WEIGHT | BENCH_GROUP,
    E = BENCH_ELEMENTS,
    A = BENCH_ELEMENTS | BENCH_ATTENTION
};

// clang-format off
const bench_row bench_rows[] = {
    /* name             run          needs fp32  T     N      K      format    flops tn tk nk */
    {"square",           linear_fwd,    W, false, 8192, 8192,  8192,  FL_STORED, 2,  1, 1, 1},
    {"copy",             copy,          E, true,  8192, 32768, 0,     FL_STORED, 0,  4, 0, 0},
    {"gemm_qkv",         linear_fwd,    W, false, 0,    12288, 4096,  FL_STORED, 2,  1, 1, 1},
    {"gemm_gate_up",     linear_fwd,    W, false, 0,    22016, 4096,  FL_STORED, 2,  1, 1, 1},
    {"gemm_down",        linear_fwd,    W, false, 0,    4096,  11008, FL_STORED, 2,  1, 1, 1},
    {"gemm_down_dx",     linear_bwd,    W, false, 0,    4096,  11008, FL_STORED, 2,  1, 1, 1},
    {"gemm_int8",        linear_fwd,    W, false, 0,    4096,  4096,  FL_INT8,   2,  1, 1, 0.5},
    {"gemm_nf4",         linear_fwd,    W, false, 0,    4096,  4096,  FL_NF4,    2,  1, 1, 0.25},
    {"lora_gate_up",     linears_fwd,   G, false, 0,    22016, 4096,  FL_STORED, 2,  1, 1, 1},
    {"lora_gate_up_bwd", linears_bwd,   G, false, 0,    22016, 4096,  FL_STORED, 2,  1, 2, 1},
    {"lora_a",           lora_a,        0, false, 0,    16,    4096,  FL_STORED, 2,  1, 1, 1},
    {"lora_b",           lora_b,        0, false, 0,    4096,  16,    FL_STORED, 2,  2, 1, 1},
    {"lora_grad",        lora_grad,     E, false, 0,    11008, 16,    FL_STORED, 2,  1, 1, 4},
    {"add",              add,           E, false, 0,    4096,  0,     FL_STORED, 0,  3, 0, 0},
    {"rmsnorm_fwd",      rmsnorm_fwd,   E, false, 0,    4096,  0,     FL_STORED, 0,  2, 0, 0},
    {"rmsnorm_bwd",      rmsnorm_bwd,   E, false, 0,    4096,  0,     FL_STORED, 0,  4, 0, 0},
    {"rope",             rope,          0, false, 0,    8192,  0,     FL_STORED, 0,  2, 0, 0},
    {"swiglu_fwd",       swiglu_fwd,    E, false, 0,    11008, 0,     FL_STORED, 0,  3, 0, 0},
    {"swiglu_bwd",       swiglu_bwd,    E, false, 0,    11008, 0,     FL_STORED, 0,  5, 0, 0},
    {"dropout",          dropout,       E, false, 0,    4096,  0,     FL_STORED, 0,  2, 0, 0},
    {"attention_fwd",    attention_fwd, A, false, 0,    4096,  512,   FL_STORED, 2,  4, 0, 0},
    {"attention_bwd",    attention_bwd, A, false, 0,    4096,  512,   FL_STORED, 5,  8, 0, 0},
    {"attention_fwd_2k", attention_fwd, A, false, 0,    4096,  2048,  FL_STORED, 2,  4, 0, 0},
    {"attention_bwd_2k", attention_bwd, A, false, 0,    4096,  2048,  FL_STORED, 5,  8, 0, 0},
    {"linear_loss",      linear_loss,   W, false, 0,    32000, 4096,  FL_STORED, 4,  0, 2, 2},
    {"adamw",            adamw,         E, true,  9760, 4096,  0,     FL_STORED, 0, 14, 0, 0},
    {"sum_squares",      sum_squares,   0, true,  9760, 4096,  0,     FL_STORED, 0,  2, 0, 0},
    {"fedavg",           fedavg,        0, true,  9760, 4096,  20,    FL_STORED, 0, 42, 0, 0},
};
// clang-format on
const size_t bench_row_count = sizeof bench_rows / sizeof bench_rows[0];

bench_row bench_row_sized(const bench_row *row, int64_t tokens, bool tiny)
{
    enum { TIMES = 64, LEAST = 4, ALL_TOKENS = 16, TRIM = 64 };
    bench_row sized = *row;
    if (!sized.T) sized.T = tokens;
    if (!tiny) return sized;
    sized.T = ALL_TOKENS;
    sized.N = sized.N / TIMES / TRIM * TRIM;
    if (sized.N < LEAST) sized.N = LEAST;
    sized.K = sized.K / TIMES;
    if (row->K && sized.K < LEAST) sized.K = LEAST;
    return sized;
}
