/* attention_fwd, attention_bwd, attention_decode.
 *
 * Tolerance: q, k, v are in [-1, 1] and scale keeps scores of order 1, so a score is wrong by some
 * D eps / sqrt(D), an output (a mean of values below 1) by that plus the roundings of a sum of n
 * weights, together below (20 + sqrt(n)) eps.  A gradient sums up to n such terms (keys: over
 * queries and heads), each of order 1/n to 1: the same with `group` more terms and the cancelling
 * dP - delta. */
#include "check.h"
#include "reference.h"

static const struct {
    int32_t cu[8];
    int64_t S, H, KV, D, window;
    float softcap;
    int32_t prefix[8]; /* of the shape, plus 1; 0: none */
} cases[] = {
    {{0, 1}, 1, 1, 1, 2, 0, 0, {0}},
    {{0, 5}, 1, 2, 1, 8, 0, 0, {0}},
    {{0, 0, 3, 3, 4, 4}, 5, 4, 2, 6, 0, 0, {0}},
    {{0, 70}, 1, 2, 2, 64, 0, 0, {0}},
    {{0, 33, 34, 130}, 3, 6, 2, 18, 0, 0, {0}},
    {{0, 200}, 1, 9, 3, 64, 0, 0, {0}},
    {{0, 17, 40}, 2, 8, 1, 128, 0, 0, {0}},
    {{0, 9, 12}, 2, 2, 1, 256, 0, 0, {0}},
    {{0, 150}, 1, 2, 1, 160, 0, 0, {0}},
    {{0, 10, 430}, 2, 1, 1, 16, 0, 0, {0}},
    {{0, 0}, 1, 2, 2, 4, 0, 0, {0}},
    {{0, 430}, 1, 2, 1, 16, 100, 0, {0}},
    {{0, 200}, 1, 4, 2, 16, 1, 0, {0}},
    {{0, 33, 34, 130}, 3, 6, 2, 18, 7, 0, {0}},
    {{0, 170}, 1, 2, 1, 32, 64, 1.5f, {0}},
    {{0, 5, 90}, 2, 4, 4, 8, 0, 0.7f, {0}},
    {{0, 90}, 1, 2, 1, 8, 1000, 50, {0}},
    {{0, 5, 9, 12}, 3, 2, 1, 8, 0, 0, {0, 1, 1}},
    {{0, 40, 90, 125, 160}, 4, 4, 2, 16, 0, 0, {0, 1, 1}},
    {{0, 3, 40, 130, 150}, 4, 6, 2, 18, 20, 0, {0, 0, 2, 2}},
    {{0, 0, 30, 75}, 3, 2, 2, 32, 9, 0.7f, {0, 1, 1}},
    {{0, 100, 110, 260, 300, 301, 390}, 6, 4, 1, 16, 64, 1.5f, {0, 1, 1, 0, 4, 4}},
    {{0, 31, 300, 420}, 3, 2, 1, 64, 200, 0, {0, 1, 1}},
};

/* Does a sequence of the case continue another? */
static bool continues(int64_t index)
{
    for (int64_t s = 0; s < cases[index].S; s++)
        if (cases[index].prefix[s]) return true;
    return false;
}

typedef struct attention_data {
    fl_attn_shape shape;     /* with cu on the host, for the reference */
    fl_attn_shape on_device; /* with cu in backend memory */
    int64_t q_count, k_count;
    const float *q, *k, *v, *dout;
    double *out, *lse, *dq, *dk, *dv;
} attention_data;

static attention_data make_case(int64_t index)
{
    attention_data d = {0};
    int64_t S = cases[index].S, D = cases[index].D;
    d.shape = (fl_attn_shape){.cu = cases[index].cu,
                              .S = S,
                              .T = cases[index].cu[S],
                              .H = cases[index].H,
                              .KV = cases[index].KV,
                              .D = D,
                              .scale = (float)(2 / sqrt((double)D)),
                              .softcap = cases[index].softcap,
                              .window = cases[index].window};
    static int32_t prefix[8];
    for (int64_t s = 0; s < S; s++)
        prefix[s] = cases[index].prefix[s] - 1;
    if (continues(index)) d.shape.prefix = prefix;
    d.on_device = d.shape;
    d.on_device.cu = check_ints(d.shape.cu, S + 1);
    if (d.shape.prefix) d.on_device.prefix = check_ints(prefix, S);
    d.q_count = d.shape.T * d.shape.H * D;
    d.k_count = d.shape.T * d.shape.KV * D;
    d.q = check_random(1, d.q_count);
    d.k = check_random(2, d.k_count);
    d.v = check_random(3, d.k_count);
    d.dout = check_random(4, d.q_count);
    d.out = check_host_double(d.q_count);
    d.lse = check_host_double(d.shape.T * d.shape.H);
    d.dq = check_host_double(d.q_count);
    d.dk = check_host_double(d.k_count);
    d.dv = check_host_double(d.k_count);
    return d;
}

static void run_attention(const fl_backend_ops *ops, int64_t index)
{
    attention_data d = make_case(index);
    const fl_attn_shape *shape = &d.on_device;
    int64_t rows = shape->T * shape->H;
    const float *q = check_copy(d.q, d.q_count), *k = check_copy(d.k, d.k_count);
    const float *v = check_copy(d.v, d.k_count);
    float *out = check_floats(d.q_count), *lse = check_floats(rows);
    float *dq = check_floats(d.q_count), *dk = check_floats(d.k_count);
    float *dv = check_floats(d.k_count);
    float *scratch = check_floats(ops->attention_bwd_scratch(shape));
    dense_attention_fwd(ops, out, lse, q, k, v, shape);
    dense_attention_bwd(ops, dq, dk, dv, check_copy(d.dout, d.q_count), out, lse, q, k, v, shape,
                        scratch);

    double *wide_q = check_widen(d.q, d.q_count), *wide_k = check_widen(d.k, d.k_count);
    double *wide_v = check_widen(d.v, d.k_count);
    ref_attention(d.out, d.lse, wide_q, wide_k, wide_v, &d.shape);
    ref_attention_bwd(d.dq, d.dk, d.dv, check_widen(d.dout, d.q_count), wide_q, wide_k, wide_v,
                      &d.shape);
    double length = (double)shape->T, group = (double)(shape->H / shape->KV);
    double tolerance = (20 + sqrt(length)) * CHECK_EPS;
    check_close("attention_fwd", out, d.out, d.q_count, tolerance, 0);
    check_close("attention_fwd lse", lse, d.lse, rows, tolerance, 2 * CHECK_EPS);
    check_close("attention_bwd dq", dq, d.dq, d.q_count, 8 * tolerance, 0);
    check_close("attention_bwd dk", dk, d.dk, d.k_count, (8 + group) * tolerance, 0);
    check_close("attention_bwd dv", dv, d.dv, d.k_count, (8 + group) * tolerance, 0);
    check_release();
}

static void test_attention(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++)
            if (ops->shares_prefixes || !continues(i)) run_attention(ops, i);
    }
}

/* Tokens of one sequence do not see those of another, nor later ones: bits stay when they change.
 */
static void test_isolation(void **state)
{
    (void)state;
    enum { T = 560, H = 4, KV = 2, D = 16, CUT = 471 };
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        static const int32_t whole[] = {0, 20, T}, part[] = {0, 20, CUT};
        fl_attn_shape shape = {.S = 2, .T = T, .H = H, .KV = KV, .D = D, .scale = 0.25f};
        shape.cu = check_ints(whole, 3);
        float *q = check_random(1, T * H * D), *k = check_random(2, T * KV * D);
        float *v = check_random(3, T * KV * D);
        float *out = check_floats(T * H * D), *out2 = check_floats(CUT * H * D);
        float *lse = check_floats(T * H), *lse2 = check_floats(CUT * H);
        const float *q_in = check_copy(q, T * H * D);
        dense_attention_fwd(ops, out, lse, q_in, check_copy(k, T * KV * D),
                            check_copy(v, T * KV * D), &shape);
        for (int i = 0; i < 20 * KV * D; i++) // the other sequence
            k[i] = v[i] = 5.0f;
        shape.cu = check_ints(part, 3);
        shape.T = CUT;
        dense_attention_fwd(ops, out2, lse2, q_in, check_copy(k, CUT * KV * D),
                            check_copy(v, CUT * KV * D), &shape);
        check_same("attention_fwd rows", out2 + 20 * H * D, out + 20 * H * D,
                   (CUT - 20) * H * D * sizeof *out);
        check_same("attention_fwd lse rows", lse2 + 20 * H, lse + 20 * H,
                   (CUT - 20) * H * sizeof *lse);
        check_release();
    }
}

/* Rows of `width` elements, `stride` apart in `strided` from element `first` on, are those of
 * `whole`. */
static void check_rows(const fl_backend_ops *ops, const char *what, const float *strided,
                       int64_t first, int64_t stride, const float *whole, int64_t T, int64_t width)
{
    float *a = check_host(T * stride), *b = check_host(T * width);
    ops->copy_out(a, strided, (size_t)(T * stride) * sizeof *a);
    ops->copy_out(b, whole, (size_t)(T * width) * sizeof *b);
    for (int64_t t = 0; t < T; t++)
        if (memcmp(a + t * stride + first, b + t * width, (size_t)width * sizeof *a) != 0)
            fail_msg("%s, %s: row %lld depends on the stride", check_backend_name(), what,
                     (long long)t);
}

/* q, k and v side by side in one matrix, their gradients in another: the same bits as alone. */
static void test_strides(void **state)
{
    (void)state;
    enum { T = 70, H = 4, KV = 2, D = 16, HD = H * D, KVD = KV * D, ROW = HD + 2 * KVD + 5 };
    static const int32_t cu[] = {0, 40, T};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        fl_attn_shape shape = {.S = 2, .T = T, .H = H, .KV = KV, .D = D, .scale = 0.25f};
        shape.cu = check_ints(cu, 3);
        const float *all = check_random(1, T * ROW), *dout = check_random(2, T * HD);
        float *part[3] = {check_host(T * HD), check_host(T * KVD), check_host(T * KVD)};
        for (int64_t t = 0, width = HD; t < T; t++, width = HD) {
            for (int64_t p = 0, at = t * ROW; p < 3; p++, at += width, width = KVD)
                memcpy(part[p] + t * width, all + at, (size_t)width * sizeof *all);
        }
        const float *q = check_copy(part[0], T * HD), *k = check_copy(part[1], T * KVD);
        const float *v = check_copy(part[2], T * KVD), *d = check_copy(dout, T * HD);
        float *out = check_floats(T * HD), *lse = check_floats(T * H), *dq = check_floats(T * HD);
        float *dk = check_floats(T * KVD), *dv = check_floats(T * KVD);
        float *scratch = check_floats(ops->attention_bwd_scratch(&shape));
        dense_attention_fwd(ops, out, lse, q, k, v, &shape);
        dense_attention_bwd(ops, dq, dk, dv, d, out, lse, q, k, v, &shape, scratch);

        fl_act in = fl_f32(check_copy(all, T * ROW), ROW),
               grad = fl_f32(check_floats(T * ROW), ROW);
        fl_act out2 = fl_f32(check_floats(T * ROW), ROW);
        fl_act keys = fl_act_from(in, 0, HD), values = fl_act_from(in, 0, HD + KVD);
        ops->attention_fwd(out2, lse, in, keys, values, &shape);
        ops->attention_bwd(grad, fl_act_from(grad, 0, HD), fl_act_from(grad, 0, HD + KVD),
                           fl_f32(d, HD), out2, lse, in, keys, values, &shape, scratch);
        check_rows(ops, "out", out2.data, 0, ROW, out, T, HD);
        check_rows(ops, "dq", grad.data, 0, ROW, dq, T, HD);
        check_rows(ops, "dk", grad.data, HD, ROW, dk, T, KVD);
        check_rows(ops, "dv", grad.data, HD + KVD, ROW, dv, T, KVD);
        check_release();
    }
}

/* Decoding gives what the last token of a full pass gives; unused cache holds NaN. */
static void run_decode(const fl_backend_ops *ops, const fl_attn_shape *shape)
{
    enum { S = 3, CAPACITY = 90 };
    static const int32_t lengths[S] = {1, 90, 37};
    int64_t H = shape->H, KV = shape->KV, D = shape->D;
    int64_t entry = KV * D, cache = S * CAPACITY * entry;
    float *k = check_random(5, cache), *v = check_random(6, cache);
    const float *q = check_random(7, S * H * D);
    double *want = check_host_double(S * H * D);
    for (int64_t s = 0; s < S; s++) {
        int64_t n = lengths[s], at = s * CAPACITY * entry;
        int32_t cu[2] = {0, lengths[s]};
        fl_attn_shape one = *shape;
        one.cu = cu;
        one.S = 1;
        one.T = n;
        double *q_all = check_host_double(n * H * D), *out = check_host_double(n * H * D);
        for (int64_t i = 0; i < H * D; i++)
            q_all[(n - 1) * H * D + i] = (double)q[s * H * D + i];
        ref_attention(out, NULL, q_all, check_widen(k + at, n * entry),
                      check_widen(v + at, n * entry), &one);
        memcpy(want + s * H * D, out + (n - 1) * H * D, (size_t)(H * D) * sizeof *out);
        for (int64_t i = at + n * entry; i < at + CAPACITY * entry; i++)
            k[i] = v[i] = NAN;
    }
    float *out = check_floats(S * H * D);
    dense_attention_decode(ops, out, check_copy(q, S * H * D), check_copy(k, cache),
                           check_copy(v, cache), check_ints(lengths, S), CAPACITY, shape);
    check_close("attention_decode", out, want, S * H * D, (20 + sqrt(CAPACITY)) * CHECK_EPS, 0);
    check_release();
}

static void test_decode(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        static const fl_attn_shape shapes[] = {
            {.S = 3, .H = 1, .KV = 1, .D = 2, .scale = 1.4f},
            {.S = 3, .H = 6, .KV = 2, .D = 20, .scale = 0.45f},
            {.S = 3, .H = 9, .KV = 3, .D = 64, .scale = 0.25f},
            {.S = 3, .H = 2, .KV = 2, .D = 128, .scale = 0.18f},
            {.S = 3, .H = 4, .KV = 2, .D = 16, .scale = 0.5f, .window = 20},
            {.S = 3, .H = 4, .KV = 1, .D = 16, .scale = 0.5f, .window = 37, .softcap = 0.8f},
        };
        for (int64_t i = 0; i < CHECK_COUNT(shapes); i++)
            run_decode(ops, &shapes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_isolation),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
