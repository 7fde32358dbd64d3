#include "bench_rows.h"

/* ---- what is timed -------------------------------------------------------------------------- */

static void copy(bench_case *c)
{
    c->ops->copy(c->y2, c->y, (size_t)(c->T * c->N) * sizeof(float));
}

static void linear_fwd(bench_case *c)
{
    c->ops->linear_fwd(c->y, c->x, &c->frozen, c->T, false);
}

static void linear_bwd(bench_case *c)
{
    c->ops->linear_bwd(c->x, c->y, &c->frozen, c->T, false);
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
    c->ops->gemm(c->w, c->y, c->x, c->N, c->K, c->T, true, false, 1, 1);
}

static void add(bench_case *c)
{
    c->ops->add(c->y, c->y2, c->T * c->N);
}

static void rmsnorm_fwd(bench_case *c)
{
    c->ops->rmsnorm_fwd(c->y2, c->rows, c->y, c->w, c->T, c->N, 1e-5f);
}

static void rmsnorm_bwd(bench_case *c)
{
    c->ops->rmsnorm_bwd(c->y2, c->y3, c->y, c->w, c->rows, c->T, c->N);
}

static void rope(bench_case *c)
{
    c->ops->rope(c->y, c->ids, c->w, c->w, c->T, c->N / c->head, c->head, false);
}

static void swiglu_fwd(bench_case *c)
{
    c->ops->swiglu_fwd(c->y3, c->y, c->y2, c->T * c->N);
}

static void swiglu_bwd(bench_case *c)
{
    c->ops->swiglu_bwd(c->y, c->y2, c->y3, c->y, c->y2, c->T * c->N);
}

static void dropout(bench_case *c)
{
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    c->ops->dropout(c->y2, c->y, c->T * c->N, 0.05f, &rng, false);
}

static void attention_fwd(bench_case *c)
{
    c->ops->attention_fwd(c->y3, c->rows, c->y, c->y, c->y2, &c->shape);
}

/* dq, dk, dv over the operands: their values do not matter, their places do not meet */
static void attention_bwd(bench_case *c)
{
    int64_t n = c->T * c->N;
    c->ops->attention_bwd(c->x, c->x + n, c->x + 2 * n, c->y3, c->y3, c->rows, c->y, c->y, c->y2,
                          &c->shape, c->x + 3 * n);
}

/* logits, loss, their gradient, and back to the input, some rows at a time */
static void linear_loss(bench_case *c)
{
    enum { CHUNK = 1024 };
    for (int64_t first = 0; first < c->T; first += CHUNK) {
        int64_t n = c->T - first < CHUNK ? c->T - first : CHUNK;
        float *x = c->x + first * c->K;
        c->ops->linear_fwd(c->y, x, &c->frozen, n, false);
        c->ops->cross_entropy(c->loss, c->y, c->ids, c->rows, n, c->N, true);
        c->ops->linear_bwd(c->x2, c->y, &c->frozen, n, false);
    }
}

static void adamw(bench_case *c)
{
    const fl_adamw opt = {1e-4, 0.9, 0.999, 1e-8, 0.01, 1, 3};
    c->ops->adamw(c->y, c->y2, c->v, c->y3, c->T * c->N, &opt);
}

static void sum_squares(bench_case *c)
{
    (void)c->ops->sum_squares(c->y, c->T * c->N);
}

/* K clients' adapters, each [T, N] of x, summed with weights */
static void fedavg(bench_case *c)
{
    for (int64_t k = 0; k < c->K; k++)
        c->ops->axpy(c->y, c->x + k * c->T * c->N, 0.05f, c->T * c->N);
}

// clang-format off
const bench_row bench_rows[] = {
    /* name             run            T      N      K      format    flops tn tk nk */
    {"square",          linear_fwd,    8192,  8192,  8192,  FL_STORED, 2,  1, 1, 1},
    {"copy",            copy,          8192,  65536, 0,     FL_STORED, 0,  4, 0, 0},
    {"gemm_qkv",        linear_fwd,    0,     12288, 4096,  FL_STORED, 2,  1, 1, 1},
    {"gemm_gate_up",    linear_fwd,    0,     22016, 4096,  FL_STORED, 2,  1, 1, 1},
    {"gemm_down",       linear_fwd,    0,     4096,  11008, FL_STORED, 2,  1, 1, 1},
    {"gemm_down_dx",    linear_bwd,    0,     4096,  11008, FL_STORED, 2,  1, 1, 1},
    {"gemm_int8",       linear_fwd,    0,     4096,  4096,  FL_INT8,   2,  1, 1, 0.5},
    {"gemm_nf4",        linear_fwd,    0,     4096,  4096,  FL_NF4,    2,  1, 1, 0.25},
    {"lora_a",          lora_a,        0,     16,    4096,  FL_STORED, 2,  1, 1, 1},
    {"lora_b",          lora_b,        0,     4096,  16,    FL_STORED, 2,  2, 1, 1},
    {"lora_grad",       lora_grad,     0,     11008, 16,    FL_STORED, 2,  1, 1, 2},
    {"add",             add,           0,     4096,  0,     FL_STORED, 0,  3, 0, 0},
    {"rmsnorm_fwd",     rmsnorm_fwd,   0,     4096,  0,     FL_STORED, 0,  2, 0, 0},
    {"rmsnorm_bwd",     rmsnorm_bwd,   0,     4096,  0,     FL_STORED, 0,  4, 0, 0},
    {"rope",            rope,          0,     8192,  0,     FL_STORED, 0,  2, 0, 0},
    {"swiglu_fwd",      swiglu_fwd,    0,     11008, 0,     FL_STORED, 0,  3, 0, 0},
    {"swiglu_bwd",      swiglu_bwd,    0,     11008, 0,     FL_STORED, 0,  5, 0, 0},
    {"dropout",         dropout,       0,     4096,  0,     FL_STORED, 0,  2, 0, 0},
    {"attention_fwd",   attention_fwd, 0,     4096,  512,   FL_STORED, 2,  4, 0, 0},
    {"attention_bwd",   attention_bwd, 0,     4096,  512,   FL_STORED, 5,  8, 0, 0},
    {"attention_fwd_2k", attention_fwd, 0,    4096,  2048,  FL_STORED, 2,  4, 0, 0},
    {"attention_bwd_2k", attention_bwd, 0,    4096,  2048,  FL_STORED, 5,  8, 0, 0},
    {"linear_loss",     linear_loss,   0,     32000, 4096,  FL_STORED, 4,  0, 2, 2},
    {"adamw",           adamw,         9760,  4096,  0,     FL_STORED, 0, 14, 0, 0},
    {"sum_squares",     sum_squares,   9760,  4096,  0,     FL_STORED, 0,  2, 0, 0},
    {"fedavg",          fedavg,        9760,  4096,  20,    FL_STORED, 0, 42, 0, 0},
};
// clang-format on
const size_t bench_row_count = sizeof bench_rows / sizeof bench_rows[0];

bench_row bench_row_sized(const bench_row *row, int64_t tokens, bool tiny)
{
    enum { TIMES = 64, LEAST = 4, ALL_TOKENS = 16, TRIM = 32 };
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

/* ---- operands ------------------------------------------------------------------------------- */

/* Numbers that repeat: a sum of four bytes, shifted and scaled to a deviation of 0.02. */
enum { POOL = (1 << 20) + 7 };

static void draw_pool(float *pool)
{
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (int64_t i = 0; i < POOL; i++) {
        uint32_t word = fl_rng_u32(&rng);
        uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
        pool[i] = (float)((int)sum - 510) * (float)(0.02 / 147.8012);
    }
}

/* A new block of `bytes`, with the pool's bytes again and again; NULL pool: zeros. */
static fl_status take(bench_case *c, void *out, const void *pool, size_t pool_bytes, size_t bytes)
{
    char *block;
    FL_ASSERT(c->num_blocks < (int)(sizeof c->blocks / sizeof c->blocks[0]));
    FL_TRY(c->ops->alloc(&block, bytes + 64)); /* views of empty matrices have a place too */
    c->blocks[c->num_blocks++] = block;
    for (size_t at = 0; pool && at < bytes; at += pool_bytes)
        c->ops->copy_in(block + at, pool, bytes - at < pool_bytes ? bytes - at : pool_bytes);
    *(void **)out = block;
    return c->ops->status();
}

static fl_status take_floats(bench_case *c, float **out, const float *pool, int64_t count)
{
    return take(c, out, pool, POOL * sizeof(float), (size_t)count * sizeof(float));
}

/* The frozen weight in its format, [N, K]; bf16 where that is plain. */
static fl_status take_weight(bench_case *c, fl_format format, const float *pool)
{
    size_t count = (size_t)(c->N * c->K), pool_bytes = POOL * sizeof(uint16_t);
    uint16_t *half;
    void *data, *scales;
    FL_TRY(fl_alloc(&half, POOL, sizeof *half));
    FL_ASSERT(fl_from_f32(half, FL_BF16, pool, POOL));
    fl_status status = take(c, &data, half, pool_bytes, count * sizeof *half);
    fl_free(half);
    FL_TRY(status);
    c->frozen = (fl_weight){.data = data, .dtype = FL_BF16, .rows = c->N, .cols = c->K};
    if (format == FL_STORED) return FL_OK;
    int64_t blocks = format == FL_INT8 ? c->N : (c->N * c->K + FL_NF4_BLOCK - 1) / FL_NF4_BLOCK;
    FL_TRY(take(c, &scales, pool, POOL * sizeof(float), (size_t)blocks * sizeof(float)));
    c->quant = (fl_quant){.format = format, .cols = c->K, .codes = data, .absmax = scales};
    c->frozen.quant = &c->quant;
    return FL_OK;
}

/* Sequences of K tokens each. */
static fl_status take_sequences(bench_case *c)
{
    int64_t longest = c->K && c->K < c->T ? c->K : c->T, S = (c->T + longest - 1) / longest;
    int32_t *cu;
    void *device;
    FL_TRY(fl_alloc(&cu, (size_t)S + 1, sizeof *cu));
    for (int64_t s = 0; s <= S; s++)
        cu[s] = (int32_t)(s * longest < c->T ? s * longest : c->T);
    fl_status status =
        take(c, &device, cu, ((size_t)S + 1) * sizeof *cu, ((size_t)S + 1) * sizeof *cu);
    fl_free(cu);
    int64_t heads = c->N / c->head;
    c->shape = (fl_attn_shape){
        .cu = device, .S = S, .T = c->T, .H = heads, .KV = heads, .D = c->head, .scale = 0.1f};
    return status;
}

/* x: as the products have it; attention's three gradients and its scratch; fedavg's K adapters. */
static int64_t x_count(const bench_case *c, const bench_row *row)
{
    if (row->run == attention_bwd)
        return 3 * c->T * c->N + c->ops->attention_bwd_scratch(&c->shape);
    return row->run == fedavg ? c->T * c->N * c->K : c->T * c->K;
}

static fl_status take_all(bench_case *c, const bench_row *row, const float *pool)
{
    int64_t y = c->T * c->N, w = c->N * (c->K > c->head ? c->K : c->head);
    bool few = row->run == linear_fwd || row->run == linear_bwd || row->run == linear_loss;
    FL_TRY(take_sequences(c));
    FL_TRY(take_floats(c, &c->x, pool, x_count(c, row)));
    FL_TRY(take_floats(c, &c->x2, NULL, row->run == linear_loss ? c->T * c->K : 0));
    FL_TRY(take_floats(c, &c->y, pool, y));
    FL_TRY(take_floats(c, &c->y2, pool, few ? 0 : y));
    FL_TRY(take_floats(c, &c->y3, pool, few ? 0 : y));
    FL_TRY(take_floats(c, &c->w, pool, few ? 0 : w));
    FL_TRY(take_floats(c, &c->v, NULL, row->run == adamw ? y : 0));
    FL_TRY(take_floats(c, &c->rows, pool, c->T * (c->N / c->head + 1)));
    FL_TRY(take(c, &c->loss, NULL, 0, (size_t)c->T * sizeof *c->loss));
    FL_TRY(take(c, &c->ids, NULL, 0, (size_t)c->T * sizeof *c->ids));
    if (few) FL_TRY(take_weight(c, row->format, pool));
    return FL_OK;
}

fl_status bench_case_open(bench_case *out, const fl_backend_ops *ops, const bench_row *row,
                          int64_t head)
{
    static float pool[POOL];
    if (pool[0] == 0 && pool[1] == 0) draw_pool(pool);
    *out = (bench_case){.ops = ops, .T = row->T, .N = row->N, .K = row->K, .head = head};
    if (out->head > out->N) out->head = out->N;
    fl_status status = take_all(out, row, pool);
    if (status != FL_OK) bench_case_close(out);
    return status;
}

void bench_case_close(bench_case *c)
{
    while (c->num_blocks)
        c->ops->release(c->blocks[--c->num_blocks]);
}
