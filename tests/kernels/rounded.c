#include "rounded.h"

#include "backend/linears.h"

#include <string.h>

static const fl_backend_ops *const cpu = &fl_backend_cpu;

/* ---- matrices in fp32 ----------------------------------------------------------------------- */

enum { MAX_TEMPORARIES = 24 };

static float *temporaries[MAX_TEMPORARIES];
static int num_temporaries;

static float *take(int64_t count)
{
    FL_ASSERT(num_temporaries < MAX_TEMPORARIES);
    float **out = &temporaries[num_temporaries++];
    FL_ASSERT(fl_alloc(out, (size_t)count, sizeof **out) == FL_OK);
    return *out;
}

/* Frees what an op took, down to the `kept` that those above it still hold. */
static void give_back(int kept)
{
    while (num_temporaries > kept)
        fl_free(temporaries[--num_temporaries]);
}

static float nearest(float x)
{
    return fl_bf16_to_f32(fl_f32_to_bf16(x));
}

static float *row_of(fl_act x, int64_t t)
{
    return (float *)x.data + t * x.stride;
}

/* A copy in fp32 of x[T,C], without gaps. */
static fl_act widened(fl_act x, int64_t T, int64_t C)
{
    if (!x.data) return x;
    fl_act out = fl_f32(take(T * C), C);
    for (int64_t t = 0; t < T; t++)
        fl_to_f32(row_of(out, t), fl_act_from(x, t, 0).data, x.dtype, (size_t)C);
    return out;
}

/* The same as a product takes it. */
static fl_act operand(fl_act x, int64_t T, int64_t C)
{
    fl_act out = widened(x, T, C);
    for (int64_t i = 0; i < T * C; i++)
        row_of(out, 0)[i] = nearest(row_of(out, 0)[i]);
    return out;
}

static fl_act blank(fl_act like, int64_t T, int64_t C)
{
    return like.data ? fl_f32(take(T * C), C) : like;
}

/* What an op stores: rounded once if `to` is bf16. */
static void store(fl_act to, fl_act from, int64_t T, int64_t C)
{
    for (int64_t t = 0; t < T && to.data; t++)
        (void)fl_from_f32(fl_act_from(to, t, 0).data, to.dtype, row_of(from, t), (size_t)C);
}

/* ---- products ------------------------------------------------------------------------------- */

/* The weight's values, each the nearest bf16. */
static fl_weight rounded_weight(const fl_weight *w)
{
    int64_t count = w->rows * w->cols;
    float *values = take(count);
    if (w->quant)
        fl_dequantise(values, w->quant, w->first, count);
    else
        fl_to_f32(values, w->data, w->dtype, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        values[i] = nearest(values[i]);
    return (fl_weight){
        .data = values, .dtype = FL_F32, .rows = w->rows, .cols = w->cols, .bias = w->bias};
}

static void linear_fwd(fl_act y, fl_act x, const fl_weight *w, int64_t T, fl_act add)
{
    int kept = num_temporaries;
    fl_weight values = rounded_weight(w);
    fl_act out = blank(y, T, w->rows);
    cpu->linear_fwd(out, operand(x, T, w->cols), &values, T, widened(add, T, w->rows));
    store(y, out, T, w->rows);
    give_back(kept);
}

static void linear_bwd(fl_act dx, fl_act dy, const fl_weight *w, int64_t T, bool accumulate)
{
    int kept = num_temporaries;
    fl_weight values = rounded_weight(w);
    fl_act out = accumulate ? widened(dx, T, w->cols) : blank(dx, T, w->cols);
    cpu->linear_bwd(out, operand(dy, T, w->rows), &values, T, accumulate);
    store(dx, out, T, w->cols);
    give_back(kept);
}

static void gemm(fl_act c, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
                 bool trans_b, float alpha, float beta)
{
    int kept = num_temporaries;
    fl_act out = beta != 0 ? widened(c, M, N) : blank(c, M, N);
    fl_act left = trans_a ? operand(a, K, M) : operand(a, M, K);
    fl_act right = trans_b ? operand(b, N, K) : operand(b, K, N);
    cpu->gemm(out, left, right, M, N, K, trans_a, trans_b, alpha, beta);
    store(c, out, M, N);
    give_back(kept);
}

/* A group stores its results once, whatever it adds up before. */
static void linears_fwd(const fl_linears *group, fl_act x, int64_t T)
{
    int kept = num_temporaries;
    fl_backend_ops single = *rounded_ops();
    single.linears_fwd = NULL;
    fl_linears wide = *group;
    for (int i = 0; i < group->count; i++)
        wide.y[i] = blank(group->y[i], T, group->w[i]->rows);
    wide.add = widened(group->add, T, group->w[0]->rows);
    fl_linears_fwd(&single, &wide, x, T);
    for (int i = 0; i < group->count; i++)
        store(group->y[i], wide.y[i], T, group->w[i]->rows);
    give_back(kept);
}

static void linears_bwd(const fl_linears *group, fl_act dx, fl_act x, int64_t T, bool accumulate)
{
    int kept = num_temporaries;
    int64_t cols = group->w[0]->cols;
    fl_backend_ops single = *rounded_ops();
    single.linears_bwd = NULL;
    fl_act out = accumulate ? widened(dx, T, cols) : blank(dx, T, cols);
    fl_linears_bwd(&single, group, out, x, T, accumulate);
    store(dx, out, T, cols);
    give_back(kept);
}

/* ---- norms and element-wise ops ------------------------------------------------------------- */

static void rmsnorm_fwd(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                        int64_t C, float eps)
{
    int kept = num_temporaries;
    fl_act wide = blank(out, T, G * C);
    cpu->rmsnorm_fwd(wide, rstd, widened(x, T, G * C), w, T, G, C, eps);
    store(out, wide, T, G * C);
    give_back(kept);
}

static void rmsnorm_bwd(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd,
                        int64_t T, int64_t G, int64_t C)
{
    int kept = num_temporaries;
    fl_act wide = widened(dx, T, G * C);
    cpu->rmsnorm_bwd(wide, widened(dout, T, G * C), widened(x, T, G * C), w, rstd, T, G, C);
    store(dx, wide, T, G * C);
    give_back(kept);
}

static void copy_rows(fl_act to, fl_act from, int64_t T, int64_t C)
{
    int kept = num_temporaries;
    store(to, widened(from, T, C), T, C);
    give_back(kept);
}

static void add(fl_act y, fl_act x, int64_t T, int64_t C)
{
    int kept = num_temporaries;
    fl_act wide = widened(y, T, C);
    cpu->add(wide, widened(x, T, C), T, C);
    store(y, wide, T, C);
    give_back(kept);
}

static void softcap_bwd(fl_act d, const float *y, float cap, int64_t T, int64_t C)
{
    int kept = num_temporaries;
    fl_act wide = widened(d, T, C);
    cpu->softcap_bwd(wide, y, cap, T, C);
    store(d, wide, T, C);
    give_back(kept);
}

static void dropout(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                    bool accumulate)
{
    int kept = num_temporaries;
    fl_act wide = accumulate ? widened(out, T, C) : blank(out, T, C);
    cpu->dropout(wide, widened(x, T, C), T, C, p, rng, accumulate);
    store(out, wide, T, C);
    give_back(kept);
}

typedef void (*gate_fwd)(fl_act, fl_act, fl_act, int64_t, int64_t);
typedef void (*gate_bwd)(fl_act, fl_act, fl_act, fl_act, fl_act, int64_t, int64_t);

static void run_gate_fwd(gate_fwd run, fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    int kept = num_temporaries;
    fl_act wide = blank(out, T, F);
    run(wide, widened(gate, T, F), widened(up, T, F), T, F);
    store(out, wide, T, F);
    give_back(kept);
}

static void run_gate_bwd(gate_bwd run, fl_act dgate, fl_act dup, fl_act dout, fl_act gate,
                         fl_act up, int64_t T, int64_t F)
{
    int kept = num_temporaries;
    fl_act wide_gate = blank(dgate, T, F), wide_up = blank(dup, T, F);
    run(wide_gate, wide_up, widened(dout, T, F), widened(gate, T, F), widened(up, T, F), T, F);
    store(dgate, wide_gate, T, F);
    store(dup, wide_up, T, F);
    give_back(kept);
}

static void swiglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    run_gate_fwd(cpu->swiglu_fwd, out, gate, up, T, F);
}

static void geglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    run_gate_fwd(cpu->geglu_fwd, out, gate, up, T, F);
}

static void swiglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                       int64_t F)
{
    run_gate_bwd(cpu->swiglu_bwd, dgate, dup, dout, gate, up, T, F);
}

static void geglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                      int64_t F)
{
    run_gate_bwd(cpu->geglu_bwd, dgate, dup, dout, gate, up, T, F);
}

static void rope(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
                 int64_t T, int64_t heads, int64_t D, bool inverse)
{
    int kept = num_temporaries;
    fl_act wide = widened(x, T, heads * D);
    cpu->rope(wide, pos, cos_table, sin_table, T, heads, D, inverse);
    store(x, wide, T, heads * D);
    give_back(kept);
}

/* ---- attention, loss ------------------------------------------------------------------------ */

static void attention_fwd(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *s)
{
    int kept = num_temporaries;
    int64_t T = s->T, HD = s->H * s->D, KVD = s->KV * s->D;
    fl_act wide = blank(out, T, HD);
    cpu->attention_fwd(wide, lse, widened(q, T, HD), widened(k, T, KVD), widened(v, T, KVD), s);
    store(out, wide, T, HD);
    give_back(kept);
}

static void attention_bwd(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out,
                          const float *lse, fl_act q, fl_act k, fl_act v, const fl_attn_shape *s,
                          float *scratch)
{
    int kept = num_temporaries;
    int64_t T = s->T, HD = s->H * s->D, KVD = s->KV * s->D;
    fl_act wide[3] = {blank(dq, T, HD), blank(dk, T, KVD), blank(dv, T, KVD)};
    cpu->attention_bwd(wide[0], wide[1], wide[2], widened(dout, T, HD), widened(out, T, HD), lse,
                       widened(q, T, HD), widened(k, T, KVD), widened(v, T, KVD), s, scratch);
    store(dq, wide[0], T, HD);
    store(dk, wide[1], T, KVD);
    store(dv, wide[2], T, KVD);
    give_back(kept);
}

static void attention_decode(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                             const int32_t *lengths, int64_t capacity, const fl_attn_shape *s)
{
    int kept = num_temporaries;
    int64_t rows = s->S * capacity, HD = s->H * s->D, KVD = s->KV * s->D;
    fl_act wide = blank(out, s->S, HD);
    cpu->attention_decode(wide, widened(q, s->S, HD), widened(k_cache, rows, KVD),
                          widened(v_cache, rows, KVD), lengths, capacity, s);
    store(out, wide, s->S, HD);
    give_back(kept);
}

static void cross_entropy(double *loss, fl_act grad, const float *logits, const int32_t *target,
                          const float *weight, int64_t N, int64_t V)
{
    int kept = num_temporaries;
    fl_act wide = blank(grad, N, V);
    cpu->cross_entropy(loss, wide, logits, target, weight, N, V);
    store(grad, wide, N, V);
    give_back(kept);
}

const fl_backend_ops *rounded_ops(void)
{
    static fl_backend_ops ops;
    if (ops.name) return &ops;
    ops = *cpu;
    ops.copy_rows = copy_rows;
    ops.rmsnorm_fwd = rmsnorm_fwd;
    ops.rmsnorm_bwd = rmsnorm_bwd;
    ops.linear_fwd = linear_fwd;
    ops.linear_bwd = linear_bwd;
    ops.gemm = gemm;
    ops.linears_fwd = linears_fwd;
    ops.linears_bwd = linears_bwd;
    ops.add = add;
    ops.softcap_bwd = softcap_bwd;
    ops.dropout = dropout;
    ops.swiglu_fwd = swiglu_fwd;
    ops.swiglu_bwd = swiglu_bwd;
    ops.geglu_fwd = geglu_fwd;
    ops.geglu_bwd = geglu_bwd;
    ops.rope = rope;
    ops.attention_fwd = attention_fwd;
    ops.attention_bwd = attention_bwd;
    ops.attention_decode = attention_decode;
    ops.cross_entropy = cross_entropy;
    return &ops;
}
