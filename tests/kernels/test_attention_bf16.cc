/* Attention in bf16 (kernels/cuda/attention_mma.h) against double precision on the same, already
 * rounded inputs, on the emulated device.
 *
 * Error, as ||got - want|| / ||want|| of a whole tensor: one rounding to bf16 is wrong by at most
 * u = 2^-9 of a value, everything between roundings is fp32, 2^-15 of that.
 *   out  2 u: the probabilities as they enter the product with V, and the result
 *   dv   2 u: the same with dO
 *   dq, dk  4 u: dS as it enters a product, the result, and delta, which is taken from `out` with
 * its two roundings lse  fp32: see test_attention.c Roundings of different elements are
 * independent, so a tensor whose elements are sums of many is well below that; largest seen
 * here: 1.3 u. */
#include "kernels/cuda/attention_mma.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

extern "C" {
#include "check.h"
#include "reference.h"
}

using fl_cuda_emu::bf16;

static const double U = 0x1p-9;

enum { MAX_S = 8 };

static const struct Case {
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
    {{0, 90, 190, 190, 195, 260, 330}, 6, 2, 1, 64, 80, 0, {0, 1, 1, 0, 4, 4}},
    {{0, 0, 70, 90}, 3, 1, 1, 128, 0, 0.7f, {0, 1, 1}},
    {{0, 40, 60, 130}, 3, 2, 1, 256, 50, 0, {0, 1, 1}},
};

/* ---- data ----------------------------------------------------------------------------------- */

/* `count` bf16 in backend memory; the buffers of check.h begin 4 bytes off a boundary of 16. */
static bf16 *on_device(const uint16_t *host, int64_t count, bool is_aligned)
{
    int64_t before = is_aligned ? 6 : 0, floats = (before + count + 1) / 2;
    float *image = check_host(floats);
    memset(image, 0xff, (size_t)floats * sizeof *image);
    if (host) memcpy((uint16_t *)image + before, host, (size_t)count * sizeof *host);
    return (bf16 *)check_copy(image, floats) + before;
}

/* Random values, already rounded. */
struct Rounded {
    uint16_t *bits;
    double *wide;
};

static Rounded random_rounded(uint64_t seed, int64_t count)
{
    const float *x = check_random(seed, count);
    Rounded r = {(uint16_t *)check_host((count + 1) / 2), check_host_double(count)};
    for (int64_t i = 0; i < count; i++) {
        bf16 value = fl_emu::__float2bfloat16(x[i]);
        r.bits[i] = value.bits;
        r.wide[i] = (double)fl_emu::__bfloat162float(value);
    }
    return r;
}

struct Batch {
    fl_attn_shape shape;
    int64_t q_count, k_count, rows;
    Rounded q, k, v, dout;
};

static Batch make_batch(const Case &c)
{
    static int32_t prefix[MAX_S];
    bool continues = false;
    for (int64_t s = 0; s < c.S; s++) {
        prefix[s] = c.prefix[s] - 1;
        continues = continues || c.prefix[s] > 0;
    }
    Batch b = {};
    b.shape.cu = c.cu;
    b.shape.S = c.S;
    b.shape.T = c.cu[c.S];
    b.shape.H = c.H;
    b.shape.KV = c.KV;
    b.shape.D = c.D;
    b.shape.scale = (float)(2 / sqrt((double)c.D));
    b.shape.softcap = c.softcap;
    b.shape.window = c.window;
    b.shape.prefix = continues ? prefix : nullptr;
    b.rows = b.shape.T * c.H;
    b.q_count = b.rows * c.D;
    b.k_count = b.shape.T * c.KV * c.D;
    b.q = random_rounded(1, b.q_count);
    b.k = random_rounded(2, b.k_count);
    b.v = random_rounded(3, b.k_count);
    b.dout = random_rounded(4, b.q_count);
    return b;
}

/* ---- runs ----------------------------------------------------------------------------------- */

struct Results {
    bf16 *out, *dq, *dk, *dv;
    float *lse;
};

/* Tokens first .. first + shape.T of the batch. */
static Results run(const Batch &b, fl_attn_shape shape, int64_t first, bool is_aligned)
{
    int64_t wide = shape.H * shape.D, narrow = shape.KV * shape.D, T = shape.T;
    shape.cu = check_ints(shape.cu, shape.S + 1);
    if (shape.prefix) shape.prefix = check_ints(shape.prefix, shape.S);
    const bf16 *q = on_device(b.q.bits + first * wide, T * wide, is_aligned);
    const bf16 *k = on_device(b.k.bits + first * narrow, T * narrow, is_aligned);
    const bf16 *v = on_device(b.v.bits + first * narrow, T * narrow, is_aligned);
    const bf16 *dout = on_device(b.dout.bits + first * wide, T * wide, is_aligned);
    Results r = {on_device(nullptr, T * wide, is_aligned), on_device(nullptr, T * wide, is_aligned),
                 on_device(nullptr, T * narrow, is_aligned),
                 on_device(nullptr, T * narrow, is_aligned), check_floats(T * shape.H)};
    fl_cuda_emu::attention_fwd_bf16(r.out, r.lse, q, k, v, &shape);
    fl_cuda_emu::attention_bwd_bf16(r.dq, r.dk, r.dv, dout, r.out, r.lse, q, k, v, &shape,
                                    check_floats(T * shape.H));
    if (fl_backend_cuda_emu.status() != FL_OK)
        fail_msg("%s: %s", check_backend_name(), fl_error_text());
    return r;
}

static double most_seen;

static void check_norm(const fl_backend_ops *ops, const char *what, int64_t index, const bf16 *got,
                       const double *want, int64_t count, double bound)
{
    uint16_t *host = (uint16_t *)check_host((count + 1) / 2);
    ops->copy_out(host, got, (size_t)count * sizeof *host);
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        double apart = (double)fl_emu::__bfloat162float({host[i]}) - want[i];
        error += apart * apart;
        norm += want[i] * want[i];
    }
    double ratio = sqrt(error / norm);
    most_seen = fmax(most_seen, ratio);
    if (!(ratio <= bound))
        fail_msg("%s, case %lld, %s: relative error %.3g, at most %.3g", check_backend_name(),
                 (long long)index, what, ratio, bound);
}

/* ---- tests ---------------------------------------------------------------------------------- */

struct Wanted {
    double *out, *lse, *dq, *dk, *dv;
};

static Wanted reference(const Batch &b)
{
    Wanted w = {check_host_double(b.q_count), check_host_double(b.rows),
                check_host_double(b.q_count), check_host_double(b.k_count),
                check_host_double(b.k_count)};
    ref_attention(w.out, w.lse, b.q.wide, b.k.wide, b.v.wide, &b.shape);
    ref_attention_bwd(w.dq, w.dk, w.dv, b.dout.wide, b.q.wide, b.k.wide, b.v.wide, &b.shape);
    return w;
}

static void check_results(const fl_backend_ops *ops, const Batch &b, int64_t index,
                          const Results &got, const Wanted &want)
{
    double length = (double)b.shape.T;
    check_norm(ops, "out", index, got.out, want.out, b.q_count, 2 * U);
    check_close("lse", got.lse, want.lse, b.rows, (20 + sqrt(length)) * CHECK_EPS, 2 * CHECK_EPS);
    check_norm(ops, "dq", index, got.dq, want.dq, b.q_count, 4 * U);
    check_norm(ops, "dk", index, got.dk, want.dk, b.k_count, 4 * U);
    check_norm(ops, "dv", index, got.dv, want.dv, b.k_count, 2 * U);
}

/* Calls act on the emulated backend in each order of its threads. */
template <class Act> static void in_every_order(const Act &act)
{
    const fl_backend_ops *ops;
    int orders = 0;
    for (int b = 0; (ops = check_backend(b)); b++)
        if (strcmp(ops->name, "cuda_emu") == 0) act(ops, orders++);
    assert_int_equal(orders, 3);
}

/* Close to the reference, and the same bits in every order, wherever the arrays lie. */
static void test_against_reference(void **)
{
    enum { MOST = 400 * 2 * 128 };
    static uint16_t first[CHECK_COUNT(cases)][4][MOST];
    in_every_order([](const fl_backend_ops *ops, int order) {
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++) {
            Batch b = make_batch(cases[i]);
            Results got = run(b, b.shape, 0, order != 0);
            if (order == 0) check_results(ops, b, i, got, reference(b));
            const bf16 *arrays[4] = {got.out, got.dq, got.dk, got.dv};
            for (int a = 0; a < 4; a++) {
                size_t count = (size_t)(a < 2 ? b.q_count : b.k_count);
                assert_true(count <= MOST);
                uint16_t *bits = (uint16_t *)check_host(MOST / 2);
                ops->copy_out(bits, arrays[a], count * sizeof *bits);
                if (order == 0) memcpy(first[i][a], bits, count * sizeof *bits);
                assert_memory_equal(bits, first[i][a], count * sizeof *bits);
            }
            check_release();
        }
    });
    print_message("largest relative error: %.3g, %.2f u\n", most_seen, most_seen / U);
}

/* Scores far below zero: exp(-lse) is beyond fp32, where a tile has no key too.  So few keys have
 * all the weight that dP - delta cancels: dq and dk show only that nothing overflowed. */
static void test_far_scores(void **)
{
    in_every_order([](const fl_backend_ops *ops, int order) {
        if (order != 0) return;
        for (int64_t i = 11; i < 14; i++) { // sequences that continue others
            Batch b = make_batch(cases[i]);
            Rounded *positive[2] = {&b.q, &b.k};
            for (int a = 0; a < 2; a++) {
                for (int64_t e = 0; e < (a == 0 ? b.q_count : b.k_count); e++) {
                    positive[a]->bits[e] &= 0x7fff;
                    positive[a]->wide[e] = fabs(positive[a]->wide[e]);
                }
            }
            b.shape.softcap = 0;
            b.shape.scale = -800.0f / (float)b.shape.D; // scores around -200
            Wanted want = reference(b);
            Results got = run(b, b.shape, 0, true);
            check_norm(ops, "out", i, got.out, want.out, b.q_count, 2 * U);
            check_norm(ops, "dq", i, got.dq, want.dq, b.q_count, 0.1);
            check_norm(ops, "dk", i, got.dk, want.dk, b.k_count, 0.1);
            check_norm(ops, "dv", i, got.dv, want.dv, b.k_count, 2 * U);
            check_release();
        }
    });
}

/* A sequence, with those that continue it, gives the same bits alone and in a batch. */
static void test_batched_is_alone(void **)
{
    static const struct {
        int which, from, to; /* sequences of the case */
    } parts[] = {{0, 4, 5}, {0, 5, 6}, {3, 1, 2}, {10, 0, 1}, {12, 3, 6}, {6, 2, 3}};
    in_every_order([](const fl_backend_ops *, int order) {
        for (const auto &part : parts) {
            if (order != part.which % 3) continue; // each once
            Batch b = make_batch(cases[part.which]);
            const int32_t *cu = b.shape.cu;
            int32_t own_cu[MAX_S + 1], own_prefix[MAX_S], start = cu[part.from];
            fl_attn_shape alone = b.shape;
            alone.S = part.to - part.from;
            alone.T = cu[part.to] - start;
            for (int s = part.from; s <= part.to; s++)
                own_cu[s - part.from] = cu[s] - start;
            for (int s = part.from; s < part.to && b.shape.prefix; s++)
                own_prefix[s - part.from] =
                    b.shape.prefix[s] < 0 ? -1 : b.shape.prefix[s] - part.from;
            alone.cu = own_cu;
            if (b.shape.prefix) alone.prefix = own_prefix;
            Results whole = run(b, b.shape, 0, true), own = run(b, alone, start, true);
            int64_t wide = b.shape.H * b.shape.D, narrow = b.shape.KV * b.shape.D;
            size_t q_bytes = (size_t)(alone.T * wide) * 2, k_bytes = (size_t)(alone.T * narrow) * 2;
            check_same("out", own.out, whole.out + start * wide, q_bytes);
            check_same("lse", own.lse, whole.lse + start * b.shape.H,
                       (size_t)(alone.T * b.shape.H) * sizeof(float));
            check_same("dq", own.dq, whole.dq + start * wide, q_bytes);
            check_same("dk", own.dk, whole.dk + start * narrow, k_bytes);
            check_same("dv", own.dv, whole.dv + start * narrow, k_bytes);
            check_release();
        }
    });
}

/* The last token of a full pass; unused cache holds NaN.  One rounding: that of the result. */
static void run_decode(const fl_backend_ops *ops, int64_t index, fl_attn_shape shape)
{
    enum { S = 2, CAPACITY = 150 };
    static const int32_t lengths[S] = {1, 140};
    int64_t entry = shape.KV * shape.D, wide = shape.H * shape.D, cache = S * CAPACITY * entry;
    Rounded q = random_rounded(1, S * wide), k = random_rounded(2, cache),
            v = random_rounded(3, cache);
    double *want = check_host_double(S * wide);
    for (int64_t s = 0; s < S; s++) {
        int32_t n = lengths[s], cu[2] = {0, n};
        fl_attn_shape one = shape;
        one.cu = cu;
        one.S = 1;
        one.T = n;
        double *q_all = check_host_double(n * wide), *out = check_host_double(n * wide);
        memcpy(q_all + (n - 1) * wide, q.wide + s * wide, (size_t)wide * sizeof *q_all);
        int64_t at = s * CAPACITY * entry;
        ref_attention(out, nullptr, q_all, k.wide + at, v.wide + at, &one);
        memcpy(want + s * wide, out + (n - 1) * wide, (size_t)wide * sizeof *out);
        for (int64_t i = at + n * entry; i < at + CAPACITY * entry; i++)
            k.bits[i] = v.bits[i] = 0x7fff;
    }
    bf16 *out = on_device(nullptr, S * wide, false);
    shape.S = S;
    fl_cuda_emu::attention_decode_bf16(
        out, on_device(q.bits, S * wide, false), on_device(k.bits, cache, true),
        on_device(v.bits, cache, false), check_ints(lengths, S), CAPACITY, &shape);
    check_norm(ops, "decode", index, out, want, S * wide, 1.01 * U);
    check_release();
}

static void test_decode(void **)
{
    in_every_order([](const fl_backend_ops *ops, int) {
        static const int64_t which[] = {2, 4, 9, 10}; // of `cases`: heads, windows, caps
        for (int64_t i : which)
            run_decode(ops, i, make_batch(cases[i]).shape);
    });
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_far_scores),
        cmocka_unit_test(test_batched_is_alone),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
