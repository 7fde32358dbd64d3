/* Attention of bf16 matrices, on the backends that have it, against double precision on the same,
 * already rounded inputs.
 *
 * Error, as ||got - want|| / ||want|| of a whole tensor: one rounding to bf16 is wrong by at most
 * u = 2^-9 of a value, everything between roundings is fp32, 2^-15 of that.
 *   out  2 u: the probabilities as they enter the product with V, and the result
 *   dv   2 u: the same with dO
 *   dq, dk  4 u: dS as it enters a product, the result, and delta, which is taken from `out` with
 * its two roundings lse  fp32: see test_attention.c decode  u: the result Roundings of different
 * elements are independent, so a tensor whose elements are sums of many is well below that: the
 * largest is printed. */
#include "check.h"
#include "reference.h"

#include "tensor/tensor.h"

#include <stdio.h>

enum { MAX_S = 8, OUTPUTS = 4, MOST = 400 * 2 * 128 };
static const double U = 0x1p-9;

static const struct attention_case {
    int32_t cu[MAX_S + 1];
    int64_t S, H, KV, D, window;
    float softcap;
    int32_t prefix[MAX_S]; /* plus 1; 0: none */
} cases[] = {
    {{0, 0, 1, 64, 128, 193, 393}, 6, 2, 2, 64, 0, 0, {0}},
    {{0, 0, 1, 64, 128, 193, 393}, 6, 1, 1, 128, 0, 0, {0}},
    {{0, 200, 201, 265}, 3, 4, 1, 16, 0, 0, {0}},
    {{0, 65, 128}, 2, 8, 1, 16, 0, 0, {0}},
    {{0, 65, 128}, 2, 1, 1, 80, 0, 0, {0}},
    {{0, 63, 129}, 2, 2, 1, 96, 0, 0, {0}},
    {{0, 1, 66, 130}, 3, 1, 1, 256, 0, 0, {0}},
    {{0, 64, 84}, 2, 2, 2, 18, 0, 0, {0}},
    {{0, 200}, 1, 2, 1, 64, 20, 0, {0}},
    {{0, 200, 264}, 2, 1, 1, 16, 64, 1.5f, {0}},
    {{0, 100}, 1, 1, 1, 256, 33, 0.7f, {0}},
    {{0, 65, 130, 131, 194}, 4, 4, 2, 16, 0, 0, {0, 1, 1, 1}},
    {{0, 90, 90, 190, 195, 260, 330}, 6, 2, 1, 64, 80, 0, {0, 1, 1, 0, 4, 4}},
    {{0, 0, 70, 90}, 3, 1, 1, 128, 0, 0.7f, {0, 1, 1}},
    {{0, 40, 60, 130}, 3, 2, 1, 256, 50, 0, {0, 1, 1}},
};

/* ---- data ----------------------------------------------------------------------------------- */

/* bf16[T, width] in backend memory, with gaps between its rows.  Buffers of check.h begin 4 bytes
 * off a boundary of 16, so where is_aligned is not asked for, heads are not on one. */
typedef struct matrix {
    fl_act act;
    int64_t T, width;
} matrix;

static matrix on_device(const uint16_t *host, int64_t T, int64_t width, bool is_aligned)
{
    bool at_boundary = is_aligned || width % 3 == 0; // then the stride alone is not aligned
    int64_t before = at_boundary ? 6 : 0, stride = width + (is_aligned ? 8 : 3);
    int64_t floats = (before + T * stride + 1) / 2;
    uint16_t *image = (uint16_t *)check_host(floats + 1);
    memset(image, 0xff, (size_t)floats * sizeof(float));
    for (int64_t t = 0; t < T && host; t++)
        memcpy(image + before + t * stride, host + t * width, (size_t)width * sizeof *host);
    uint16_t *data = (uint16_t *)check_copy((const float *)image, floats) + before;
    return (matrix){{.data = data, .dtype = FL_BF16, .stride = stride}, T, width};
}

/* Its elements, from row `first` on; the gaps are as they were. */
static uint16_t *read_rows(const fl_backend_ops *ops, const matrix *m, int64_t first, int64_t rows)
{
    int64_t stride = m->act.stride;
    uint16_t *image = (uint16_t *)check_host(rows * stride / 2 + 1);
    uint16_t *out = (uint16_t *)check_host(rows * m->width / 2 + 1);
    ops->copy_out(image, fl_act_from(m->act, first, 0).data,
                  (size_t)(rows * stride) * sizeof *image);
    for (int64_t t = 0; t < rows; t++) {
        memcpy(out + t * m->width, image + t * stride, (size_t)m->width * sizeof *out);
        for (int64_t c = m->width; c < stride; c++)
            assert_int_equal(image[t * stride + c], 0xffff);
    }
    return out;
}

/* Random values, already rounded. */
typedef struct rounded {
    uint16_t *bits;
    double *wide;
} rounded;

static rounded random_rounded(uint64_t seed, int64_t count)
{
    const float *x = check_random(seed, count);
    rounded r = {(uint16_t *)check_host(count / 2 + 1), check_host_double(count)};
    for (int64_t i = 0; i < count; i++) {
        r.bits[i] = fl_f32_to_bf16(x[i]);
        r.wide[i] = (double)fl_bf16_to_f32(r.bits[i]);
    }
    return r;
}

typedef struct batch {
    fl_attn_shape shape;  /* with its arrays on the host */
    int64_t wide, narrow; /* H * D, KV * D */
    rounded q, k, v, dout;
} batch;

static batch make_batch(int64_t index)
{
    const struct attention_case *c = &cases[index];
    static int32_t prefix[MAX_S];
    bool continues = false;
    for (int64_t s = 0; s < c->S; s++) {
        prefix[s] = c->prefix[s] - 1;
        continues = continues || c->prefix[s] > 0;
    }
    batch b = {.shape = {.cu = c->cu,
                         .S = c->S,
                         .T = c->cu[c->S],
                         .H = c->H,
                         .KV = c->KV,
                         .D = c->D,
                         .scale = (float)(2 / sqrt((double)c->D)),
                         .softcap = c->softcap,
                         .window = c->window,
                         .prefix = continues ? prefix : NULL},
               .wide = c->H * c->D,
               .narrow = c->KV * c->D};
    b.q = random_rounded(1, b.shape.T * b.wide);
    b.k = random_rounded(2, b.shape.T * b.narrow);
    b.v = random_rounded(3, b.shape.T * b.narrow);
    b.dout = random_rounded(4, b.shape.T * b.wide);
    return b;
}

/* ---- runs ----------------------------------------------------------------------------------- */

typedef struct results {
    matrix out, dq, dk, dv;
    float *lse;
} results;

/* `shape` of tokens `first` .. of the batch. */
static results run(const fl_backend_ops *ops, const batch *b, fl_attn_shape shape, int64_t first,
                   bool is_aligned)
{
    int64_t T = shape.T;
    shape.cu = check_ints(shape.cu, shape.S + 1);
    if (shape.prefix) shape.prefix = check_ints(shape.prefix, shape.S);
    matrix q = on_device(b->q.bits + first * b->wide, T, b->wide, is_aligned);
    matrix k = on_device(b->k.bits + first * b->narrow, T, b->narrow, is_aligned);
    matrix v = on_device(b->v.bits + first * b->narrow, T, b->narrow, is_aligned);
    matrix dout = on_device(b->dout.bits + first * b->wide, T, b->wide, is_aligned);
    results r = {.out = on_device(NULL, T, b->wide, is_aligned),
                 .dq = on_device(NULL, T, b->wide, is_aligned),
                 .dk = on_device(NULL, T, b->narrow, is_aligned),
                 .dv = on_device(NULL, T, b->narrow, is_aligned),
                 .lse = check_floats(T * shape.H)};
    ops->attention_fwd(r.out.act, r.lse, q.act, k.act, v.act, &shape);
    ops->attention_bwd(r.dq.act, r.dk.act, r.dv.act, dout.act, r.out.act, r.lse, q.act, k.act,
                       v.act, &shape, check_floats(ops->attention_bwd_scratch(&shape)));
    if (ops->status() != FL_OK) fail_msg("%s: %s", check_backend_name(), fl_error_text());
    return r;
}

static double most_seen;

static void check_norm(const fl_backend_ops *ops, const char *what, int64_t index,
                       const matrix *got, const double *want, double bound)
{
    int64_t count = got->T * got->width;
    const uint16_t *host = read_rows(ops, got, 0, got->T);
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        double apart = (double)fl_bf16_to_f32(host[i]) - want[i];
        error += apart * apart;
        norm += want[i] * want[i];
    }
    double ratio = sqrt(error / norm);
    if (bound <= 4 * U) most_seen = fmax(most_seen, ratio);
    if (!(ratio <= bound))
        fail_msg("%s, case %lld, %s: relative error %.3g, at most %.3g", check_backend_name(),
                 (long long)index, what, ratio, bound);
}

/* Backend number *index or a later one that has bf16; NULL at the end. */
static const fl_backend_ops *next_backend(int *index)
{
    const fl_backend_ops *ops;
    while ((ops = check_backend((*index)++)))
        if (strncmp(ops->name, "cuda", 4) == 0) return ops;
    return NULL;
}

/* ---- tests ---------------------------------------------------------------------------------- */

typedef struct wanted {
    double *out, *lse, *dq, *dk, *dv;
} wanted;

static wanted reference(const batch *b)
{
    int64_t wide = b->shape.T * b->wide, narrow = b->shape.T * b->narrow;
    wanted w = {check_host_double(wide), check_host_double(b->shape.T * b->shape.H),
                check_host_double(wide), check_host_double(narrow), check_host_double(narrow)};
    ref_attention(w.out, w.lse, b->q.wide, b->k.wide, b->v.wide, &b->shape);
    ref_attention_bwd(w.dq, w.dk, w.dv, b->dout.wide, b->q.wide, b->k.wide, b->v.wide, &b->shape);
    return w;
}

static void check_results(const fl_backend_ops *ops, int64_t index, const batch *b,
                          const results *got)
{
    wanted want = reference(b);
    double tolerance = (20 + sqrt((double)b->shape.T)) * CHECK_EPS;
    check_norm(ops, "out", index, &got->out, want.out, 2 * U);
    check_close("lse", got->lse, want.lse, b->shape.T * b->shape.H, tolerance, 2 * CHECK_EPS);
    check_norm(ops, "dq", index, &got->dq, want.dq, 4 * U);
    check_norm(ops, "dk", index, &got->dk, want.dk, 4 * U);
    check_norm(ops, "dv", index, &got->dv, want.dv, 2 * U);
}

/* Close to the reference, and the same bits in every order and wherever the arrays lie. */
static void test_against_reference(void **state)
{
    (void)state;
    static uint16_t first[CHECK_COUNT(cases)][OUTPUTS][MOST];
    const fl_backend_ops *ops, *before = NULL;
    for (int b = 0; (ops = next_backend(&b)); before = ops) {
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++) {
            batch data = make_batch(i);
            results got = run(ops, &data, data.shape, 0, ops == before);
            if (ops != before) check_results(ops, i, &data, &got);
            const matrix *outputs[OUTPUTS] = {&got.out, &got.dq, &got.dk, &got.dv};
            for (int o = 0; o < OUTPUTS; o++) {
                size_t count = (size_t)(outputs[o]->T * outputs[o]->width);
                assert_true(count <= MOST);
                const uint16_t *bits = read_rows(ops, outputs[o], 0, outputs[o]->T);
                if (ops != before) memcpy(first[i][o], bits, count * sizeof *bits);
                assert_memory_equal(bits, first[i][o], count * sizeof *bits);
            }
            check_release();
        }
    }
    if (most_seen > 0) print_message("largest error: %.3g, %.2f u\n", most_seen, most_seen / U);
}

/* Scores far below zero: exp(-lse) is beyond fp32, where a tile has no key too.  So few keys have
 * all the weight that dP - delta cancels: dq and dk show only that nothing overflowed. */
static void test_far_scores(void **state)
{
    (void)state;
    int index = 0;
    const fl_backend_ops *ops = next_backend(&index);
    for (int64_t i = 11; i < 14 && ops; i++) { // sequences that continue others
        batch b = make_batch(i);
        const rounded *positive[2] = {&b.q, &b.k};
        for (int a = 0; a < 2; a++) {
            for (int64_t e = 0; e < b.shape.T * (a == 0 ? b.wide : b.narrow); e++) {
                positive[a]->bits[e] &= 0x7fff;
                positive[a]->wide[e] = fabs(positive[a]->wide[e]);
            }
        }
        b.shape.softcap = 0;
        b.shape.scale = -800.0f / (float)b.shape.D; // scores around -200
        wanted want = reference(&b);
        results got = run(ops, &b, b.shape, 0, true);
        check_norm(ops, "out", i, &got.out, want.out, 2 * U);
        check_norm(ops, "dq", i, &got.dq, want.dq, 0.1);
        check_norm(ops, "dk", i, &got.dk, want.dk, 0.1);
        check_norm(ops, "dv", i, &got.dv, want.dv, 2 * U);
        check_release();
    }
}

static void check_rows(const fl_backend_ops *ops, const char *what, const matrix *alone,
                       const matrix *whole, int64_t start)
{
    const uint16_t *a = read_rows(ops, alone, 0, alone->T);
    const uint16_t *b = read_rows(ops, whole, start, alone->T);
    if (memcmp(a, b, (size_t)(alone->T * alone->width) * sizeof *a) != 0)
        fail_msg("%s: %s of a sequence alone is not that in a batch", check_backend_name(), what);
}

/* Sequences from .. to-1 of the case give the same bits alone and in a batch. */
static void run_alone(const fl_backend_ops *ops, int64_t index, int64_t from, int64_t to)
{
    batch b = make_batch(index);
    int32_t cu[MAX_S + 1], prefix[MAX_S], start = b.shape.cu[from];
    fl_attn_shape part = b.shape;
    for (int64_t s = from; s <= to; s++)
        cu[s - from] = b.shape.cu[s] - start;
    for (int64_t s = from; s < to && b.shape.prefix; s++)
        prefix[s - from] = b.shape.prefix[s] < 0 ? -1 : b.shape.prefix[s] - (int32_t)from;
    part.cu = cu;
    if (b.shape.prefix) part.prefix = prefix;
    part.S = to - from;
    part.T = b.shape.cu[to] - start;
    results whole = run(ops, &b, b.shape, 0, true), alone = run(ops, &b, part, start, true);
    check_rows(ops, "out", &alone.out, &whole.out, start);
    check_rows(ops, "dq", &alone.dq, &whole.dq, start);
    check_rows(ops, "dk", &alone.dk, &whole.dk, start);
    check_rows(ops, "dv", &alone.dv, &whole.dv, start);
    check_same("lse", alone.lse, whole.lse + start * b.shape.H,
               (size_t)(part.T * b.shape.H) * sizeof(float));
    check_release();
}

static void test_batched_is_alone(void **state)
{
    (void)state;
    static const struct {
        int64_t index, from, to;
    } parts[] = {{0, 4, 5}, {0, 5, 6}, {3, 1, 2}, {10, 0, 1}, {12, 3, 6}, {6, 2, 3}};
    int index = 0;
    const fl_backend_ops *ops = next_backend(&index);
    for (int64_t i = 0; i < CHECK_COUNT(parts) && ops; i++)
        run_alone(ops, parts[i].index, parts[i].from, parts[i].to);
}

/* The last token of a full pass; unused cache holds NaN. */
static void run_decode(const fl_backend_ops *ops, int64_t index)
{
    enum { S = 2, CAPACITY = 150 };
    static const int32_t lengths[S] = {1, 140};
    fl_attn_shape shape = make_batch(index).shape;
    int64_t wide = shape.H * shape.D, narrow = shape.KV * shape.D, cache = S * CAPACITY;
    rounded q = random_rounded(1, S * wide), k = random_rounded(2, cache * narrow);
    rounded v = random_rounded(3, cache * narrow);
    double *want = check_host_double(S * wide);
    for (int64_t s = 0; s < S; s++) {
        int32_t n = lengths[s], cu[2] = {0, n};
        fl_attn_shape one = shape;
        one.cu = cu;
        one.S = 1;
        one.T = n;
        one.prefix = NULL;
        double *q_all = check_host_double(n * wide), *out = check_host_double(n * wide);
        memcpy(q_all + (n - 1) * wide, q.wide + s * wide, (size_t)wide * sizeof *q_all);
        int64_t at = s * CAPACITY * narrow;
        ref_attention(out, NULL, q_all, k.wide + at, v.wide + at, &one);
        memcpy(want + s * wide, out + (n - 1) * wide, (size_t)wide * sizeof *out);
        for (int64_t i = at + n * narrow; i < at + CAPACITY * narrow; i++)
            k.bits[i] = v.bits[i] = 0x7fff;
    }
    shape.S = S;
    matrix out = on_device(NULL, S, wide, false);
    ops->attention_decode(
        out.act, on_device(q.bits, S, wide, false).act, on_device(k.bits, cache, narrow, true).act,
        on_device(v.bits, cache, narrow, false).act, check_ints(lengths, S), CAPACITY, &shape);
    check_norm(ops, "decode", index, &out, want, 1.01 * U);
    check_release();
}

static void test_decode(void **state)
{
    (void)state;
    static const int64_t which[] = {2, 4, 9, 10}; // heads, windows, caps
    const fl_backend_ops *ops;
    for (int b = 0; (ops = next_backend(&b));)
        for (int64_t i = 0; i < CHECK_COUNT(which); i++)
            run_decode(ops, which[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_far_scores),
        cmocka_unit_test(test_batched_is_alone),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
