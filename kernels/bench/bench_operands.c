/* The operands of a row. */
#include "bench_rows.h"

/* Numbers that repeat: a sum of four bytes, shifted and scaled to a deviation of 0.02. */
enum { POOL = (1 << 20) + 7, SLACK = 64 };

static struct pool {
    float full[POOL];
    uint16_t half[POOL]; /* bf16 */
    bool drawn;
} pool;

static void draw_pool(void)
{
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (int64_t i = 0; i < POOL && !pool.drawn; i++) {
        uint32_t word = fl_rng_u32(&rng);
        uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
        pool.full[i] = (float)((int)sum - 510) * (float)(0.02 / 147.8012);
    }
    FL_ASSERT(fl_from_f32(pool.half, FL_BF16, pool.full, POOL));
    pool.drawn = true;
}

/* *out = a new block of `bytes` with those of `source` again and again; source NULL: zeros. */
static fl_status take(bench_case *c, void *out, const void *source, size_t source_bytes,
                      size_t bytes)
{
    char *block;
    FL_ASSERT(c->num_blocks < (int)(sizeof c->blocks / sizeof c->blocks[0]));
    FL_TRY(c->ops->alloc(&block, bytes + SLACK)); /* so that nothing is a block too */
    c->blocks[c->num_blocks++] = block;
    for (size_t at = 0; source && at < bytes; at += source_bytes)
        c->ops->copy_in(block + at, source, bytes - at < source_bytes ? bytes - at : source_bytes);
    *(void **)out = block;
    return c->ops->status();
}

static fl_status take_floats(bench_case *c, float **out, int64_t count)
{
    return take(c, out, pool.full, sizeof pool.full, (size_t)count * sizeof(float));
}

static fl_status take_act(bench_case *c, fl_act *out, fl_dtype dtype, int64_t rows, int64_t cols)
{
    bool full = dtype == FL_F32;
    *out = (fl_act){.dtype = dtype, .stride = cols};
    return take(c, &out->data, full ? (const void *)pool.full : pool.half,
                full ? sizeof pool.full : sizeof pool.half,
                (size_t)(rows * cols) * fl_dtype_size(dtype));
}

/* The frozen weight in its format, [N, K]; bf16 where that is plain. */
static fl_status take_weight(bench_case *c, fl_format format)
{
    int64_t blocks = format == FL_INT8 ? c->N : (c->N * c->K + FL_NF4_BLOCK - 1) / FL_NF4_BLOCK;
    float *scales;
    void *data;
    FL_TRY(take(c, &data, pool.half, sizeof pool.half, (size_t)(c->N * c->K) * 2));
    c->frozen = (fl_weight){.data = data, .dtype = FL_BF16, .rows = c->N, .cols = c->K};
    if (format == FL_STORED) return FL_OK;
    FL_TRY(take_floats(c, &scales, blocks));
    c->quant = (fl_quant){.format = format, .cols = c->K, .codes = data, .absmax = scales};
    c->frozen.quant = &c->quant;
    return FL_OK;
}

static fl_status take_adapters(bench_case *c, size_t stride)
{
    int32_t *first;
    double *factor;
    float *weights, *grads;
    c->host_first[1] = (int32_t)c->T;
    c->host_factor[0] = 1;
    FL_TRY(take(c, &first, c->host_first, sizeof c->host_first, sizeof c->host_first));
    FL_TRY(take(c, &factor, c->host_factor, sizeof c->host_factor, sizeof c->host_factor));
    FL_TRY(take_floats(c, &weights, (int64_t)stride));
    FL_TRY(take_floats(c, &grads, (int64_t)stride));
    c->adapters = (fl_adapters){.clients = 1,
                                .first = first,
                                .host_first = c->host_first,
                                .factor = factor,
                                .host_factor = c->host_factor,
                                .weights = weights,
                                .grads = grads,
                                .stride = stride};
    return FL_OK;
}

/* Two linears with one input: gate and up, say. */
static fl_status take_group(bench_case *c)
{
    int64_t rows = c->N / 2;
    size_t a = (size_t)(BENCH_R * c->K), b = (size_t)(BENCH_R * rows);
    FL_TRY(take_adapters(c, 2 * (a + b)));
    c->group = (fl_linears){.count = 2, .adapters = &c->adapters};
    for (int i = 0; i < 2; i++) {
        fl_act t;
        FL_TRY(take_act(c, &t, c->ops->act_dtype(), c->T, BENCH_R));
        size_t at = (size_t)i * (a + b);
        c->half[i] = c->frozen;
        c->half[i].rows = rows;
        c->half[i].data = (const char *)c->frozen.data + (i ? rows * c->K * 2 : 0);
        c->slots[i] = (fl_lora_slot){.a = at, .b = at + a, .r = BENCH_R, .scale = 2, .t = t};
        c->group.w[i] = &c->half[i];
        c->group.slot[i] = &c->slots[i];
        c->group.y[i] = (fl_act){.data = c->y.data, .dtype = c->y.dtype, .stride = rows};
        c->group.y[i] = fl_act_from(c->group.y[i], i * c->T, 0); /* one behind the other */
    }
    return take_act(c, &c->group.dt, c->ops->act_dtype(), c->T, BENCH_R);
}

/* Sequences of K tokens each. */
static fl_status take_sequences(bench_case *c)
{
    int64_t longest = c->K < c->T ? c->K : c->T, S = (c->T + longest - 1) / longest;
    int64_t heads = c->N / c->head;
    size_t bytes = ((size_t)S + 1) * sizeof(int32_t);
    int32_t *cu;
    void *device;
    FL_TRY(fl_alloc(&cu, (size_t)S + 1, sizeof *cu));
    for (int64_t s = 0; s <= S; s++)
        cu[s] = (int32_t)(s * longest < c->T ? s * longest : c->T);
    fl_status status = take(c, &device, cu, bytes, bytes);
    fl_free(cu);
    c->shape = (fl_attn_shape){
        .cu = device, .S = S, .T = c->T, .H = heads, .KV = heads, .D = c->head, .scale = 0.1f};
    return status;
}

static fl_status take_attention(bench_case *c, fl_dtype dtype)
{
    fl_act *const grads[] = {&c->dq, &c->dk, &c->dv};
    for (size_t i = 0; i < sizeof grads / sizeof grads[0]; i++)
        FL_TRY(take_act(c, grads[i], dtype, c->T, c->N));
    FL_TRY(take_sequences(c));
    return take_floats(c, &c->scratch, c->ops->attention_bwd_scratch(&c->shape));
}

static fl_status take_elements(bench_case *c, fl_dtype dtype)
{
    float *zeros;
    FL_TRY(take_act(c, &c->y2, dtype, c->T, c->N));
    FL_TRY(take_act(c, &c->y3, dtype, c->T, c->N));
    FL_TRY(take_act(c, &c->f, FL_F32, c->T, c->N));
    FL_TRY(take(c, &zeros, NULL, 0, (size_t)(c->T * c->N) * sizeof *zeros));
    c->g = fl_f32(zeros, c->N);
    return FL_OK;
}

static fl_status take_small(bench_case *c)
{
    const fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    FL_TRY(take_floats(c, &c->vector, c->N));
    FL_TRY(take_floats(c, &c->table, c->head));
    FL_TRY(take_floats(c, &c->rows, c->T * (c->N / c->head + 1)));
    FL_TRY(take(c, &c->loss, NULL, 0, (size_t)c->T * sizeof *c->loss));
    FL_TRY(take(c, &c->ids, NULL, 0, (size_t)c->T * sizeof *c->ids));
    return take(c, &c->stream, &rng, sizeof rng, sizeof rng);
}

static fl_status take_product(bench_case *c, const bench_row *row, fl_dtype dtype)
{
    FL_TRY(take_act(c, &c->x2, dtype, c->T, c->K));
    FL_TRY(take_act(c, &c->f, FL_F32, c->ops->loss_rows, c->N));
    FL_TRY(take_weight(c, row->format));
    return row->needs & BENCH_GROUP ? take_group(c) : FL_OK;
}

static fl_status take_all(bench_case *c, const bench_row *row)
{
    fl_dtype dtype = row->fp32 ? FL_F32 : c->ops->act_dtype();
    bool adapters = row->fp32 && row->K; /* x is K of them */
    FL_TRY(take_small(c));
    FL_TRY(take_act(c, &c->x, dtype, c->T * (adapters ? c->N : 1), c->K));
    FL_TRY(take_act(c, &c->y, dtype, c->T, c->N));
    if (row->needs & BENCH_WEIGHT) return take_product(c, row, dtype);
    if (row->needs & BENCH_ATTENTION) FL_TRY(take_attention(c, dtype));
    if (row->needs & BENCH_ELEMENTS) FL_TRY(take_elements(c, dtype));
    return take_act(c, &c->w, dtype, adapters ? 0 : c->N, c->K);
}

fl_status bench_case_open(bench_case *out, const fl_backend_ops *ops, const bench_row *row,
                          int64_t head)
{
    draw_pool();
    *out = (bench_case){.ops = ops, .T = row->T, .N = row->N, .K = row->K};
    out->head = head < out->N ? head : out->N;
    fl_status status = take_all(out, row);
    if (status != FL_OK) bench_case_close(out);
    return status;
}

void bench_case_close(bench_case *c)
{
    while (c->num_blocks)
        c->ops->release(c->blocks[--c->num_blocks]);
}
