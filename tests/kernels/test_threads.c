/* The same bits with 1, 2 and 3 threads, and in three orders of the emulated device's threads, for
 * every op and sizes that are really cut. */
#include "check.h"
#include "emulation.h"

enum { T = 150, H = 6, KV = 2, D = 16, C = H * D, F = 520, V = 999, N = 50003 };

typedef struct outputs {
    float *data[16];
    int64_t count[16];
    int used;
} outputs;

/* A new output of this run: NaN, or a copy of `start` for ops that read it. */
static float *output(outputs *out, const float *start, int64_t count)
{
    float *data = start ? check_copy(start, count) : check_floats(count);
    out->data[out->used] = data;
    out->count[out->used++] = count;
    return data;
}

static void run_matrices(const fl_backend_ops *ops, outputs *out)
{
    const float *x = check_copy(check_random(1, T * C), T * C);
    const float *y = check_copy(check_random(2, T * F), T * F);
    fl_weight w = check_weight(check_random(3, F * C), FL_BF16, F, C);
    dense_linear_fwd(ops, output(out, NULL, T * F), x, &w, T, false);
    dense_linear_bwd(ops, output(out, NULL, T * C), y, &w, T, false);
    dense_gemm(ops, output(out, NULL, F * C), y, x, F, C, T, true, false, 0.5f, 0);
    // a narrow product, cut along its rows
    dense_gemm(ops, output(out, NULL, F * 8), y, x, F, 8, T, true, false, 1, 0);
}

static void run_elements(const fl_backend_ops *ops, outputs *out)
{
    const float *a = check_copy(check_random(4, N), N), *b = check_copy(check_random(5, N), N);
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    dense_add(ops, output(out, check_random(6, N), N), a, N);
    dense_dropout(ops, output(out, NULL, N), a, N, 0.3f, check_stream(&rng), false);
    dense_swiglu_fwd(ops, output(out, NULL, N), a, b, N);
    float *dgate = output(out, NULL, N);
    dense_swiglu_bwd(ops, dgate, output(out, NULL, N), a, b, a, N);
    const fl_adamw opt = {1e-3, 0.9, 0.999, 1e-8, 0.01, 1, 3};
    float *p = output(out, check_random(7, N), N), *m = output(out, check_random(8, N), N);
    ops->adamw(p, m, check_copy(check_random(9, N), N), a, N, &opt);
    double sum = ops->sum_squares(a, N);
    ops->copy_in(output(out, NULL, 2), &sum, sizeof sum);
}

static void run_rows(const fl_backend_ops *ops, outputs *out)
{
    const float *x_host = check_random(10, T * C), *x = check_copy(x_host, T * C);
    const float *w = check_copy(check_random(11, C), C);
    float *rstd = output(out, NULL, T);
    dense_rmsnorm_fwd(ops, output(out, NULL, T * C), rstd, x, w, T, C, 1e-5f);
    dense_rmsnorm_bwd(ops, output(out, x_host, T * C), x, x, w, rstd, T, C);
    int32_t pos[T], target[T];
    for (int t = 0; t < T; t++) {
        pos[t] = t % 50;
        target[t] = t * 5;
    }
    const int32_t *pos_in = check_ints(pos, T);
    const float *table = check_copy(check_random(12, 50 * D / 2), 50 * D / 2);
    dense_rope(ops, output(out, x_host, T * C), pos_in, table, table, T, H, D, false);
    double *loss = check_doubles(T);
    dense_cross_entropy(ops, loss, output(out, check_random(13, T * V), T * V),
                        check_ints(target, T), x, T, V, true);
    ops->copy(output(out, NULL, 2 * T), loss, T * sizeof *loss);
    ops->gather_rows(output(out, NULL, 50 * C), x, pos_in, 50, C);
}

static void run_attention(const fl_backend_ops *ops, outputs *out)
{
    static const int32_t cu_host[] = {0, 90, 90, 100, T}, lengths_host[] = {5, 70};
    fl_attn_shape shape = {.S = 4, .T = T, .H = H, .KV = KV, .D = D, .scale = 0.5f};
    shape.cu = check_ints(cu_host, 5);
    const float *q = check_copy(check_random(14, T * C), T * C);
    const float *k = check_copy(check_random(15, T * KV * D), T * KV * D);
    const float *v = check_copy(check_random(16, T * KV * D), T * KV * D);
    float *o = output(out, NULL, T * C), *lse = output(out, NULL, T * H);
    dense_attention_fwd(ops, o, lse, q, k, v, &shape);
    float *dq = output(out, NULL, T * C), *dk = output(out, NULL, T * KV * D);
    float *dv = output(out, NULL, T * KV * D);
    float *scratch = check_floats(ops->attention_bwd_scratch(&shape));
    dense_attention_bwd(ops, dq, dk, dv, q, o, lse, q, k, v, &shape, scratch);
    shape.S = 2;
    dense_attention_decode(ops, output(out, NULL, 2 * C), q, k, v, check_ints(lengths_host, 2), 75,
                           &shape);
}

typedef void (*run_fn)(const fl_backend_ops *ops, outputs *out);

static void compare_threads(const fl_backend_ops *ops, const char *what, run_fn run)
{
    outputs one = {.used = 0};
    fl_backend_set_threads(1);
    check_emulation_order(0);
    run(ops, &one);
    for (int threads = 2; threads <= 3; threads++) {
        outputs many = {.used = 0};
        fl_backend_set_threads(threads);
        check_emulation_order((uint64_t)threads);
        run(ops, &many);
        for (int i = 0; i < one.used; i++)
            check_same(what, many.data[i], one.data[i], (size_t)one.count[i] * sizeof(float));
    }
    fl_backend_set_threads(1);
    check_release();
}

static void test_threads(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        compare_threads(ops, "matrices", run_matrices);
        compare_threads(ops, "elements", run_elements);
        compare_threads(ops, "rows", run_rows);
        compare_threads(ops, "attention", run_attention);
    }
}

/* After the first call nothing is allocated any more. */
static void test_no_allocation(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        const float *x = check_copy(check_random(1, T * C), T * C);
        fl_weight w = check_weight(check_random(3, F * C), FL_BF16, F, C);
        float *y = check_floats(T * F);
        dense_linear_fwd(ops, y, x, &w, T, false);
        uint64_t before = fl_alloc_count();
        dense_linear_fwd(ops, y, x, &w, T, false);
        dense_linear_fwd(ops, y, x, &w, 3, false);
        assert_int_equal(fl_alloc_count(), before);
        check_release();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
