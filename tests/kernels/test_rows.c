/* The table, memory, embedding, gather_rows, scatter_add_rows, argmax: nothing is rounded, results
 * are exact.
 */
#include "check.h"

#include <stddef.h>

/* Every required member is there: callers do not ask. */
static void test_table(void **state)
{
    (void)state;
    typedef void (*member)(void);
    static const size_t optional[] = {
        offsetof(fl_backend_ops, scratch_bytes), offsetof(fl_backend_ops, linears_fwd),
        offsetof(fl_backend_ops, linears_bwd), offsetof(fl_backend_ops, device)};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        size_t begin = offsetof(fl_backend_ops, present), size = sizeof *ops - begin;
        assert_int_equal(size % sizeof(member), 0);
        for (size_t i = 0; i < size / sizeof(member); i++) {
            member found;
            memcpy(&found, (const char *)ops + begin + i * sizeof found, sizeof found);
            size_t at = begin + i * sizeof found;
            bool may_lack = false;
            for (int64_t o = 0; o < CHECK_COUNT(optional); o++)
                may_lack = may_lack || at == optional[o];
            if (!found && !may_lack) fail_msg("%s: op %zu is not there", ops->name, i);
        }
    }
}

static void test_memory(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        float in[5] = {1, 2, 3, 4, 5}, out[5] = {0}, *x = NULL, *y = NULL;
        assert_int_equal(ops->alloc(&x, sizeof in), FL_OK);
        assert_int_equal(ops->alloc(&y, sizeof in), FL_OK);
        assert_int_equal((uintptr_t)x % 64, 0);
        ops->copy_out(out, x, sizeof out);
        for (int i = 0; i < 5; i++)
            assert_true(out[i] == 0);
        ops->copy_in(x, in, sizeof in);
        ops->copy(y, x, sizeof in);
        ops->zero(x, 2 * sizeof(float));
        ops->copy_out(out, y, sizeof out);
        assert_memory_equal(in, out, sizeof in);
        ops->copy_out(out, x, sizeof out);
        assert_true(out[0] == 0 && out[1] == 0 && out[2] == 3);
        ops->zero(NULL, 0);
        ops->release(x);
        ops->release(y);
        ops->release(NULL);
    }
}

static void run_embedding(const fl_backend_ops *ops, fl_dtype dtype, int64_t V, int64_t C)
{
    enum { T = 19 };
    float *table = check_random(1, V * C);
    fl_weight weight = check_weight(table, dtype, V, C);
    int32_t ids[T];
    double *want = check_host_double(T * C);
    for (int64_t t = 0; t < T; t++) {
        ids[t] = (int32_t)(t * t % V);
        for (int64_t c = 0; c < C; c++)
            want[t * C + c] = (double)table[ids[t] * C + c];
    }
    float *out = check_floats(T * C);
    ops->embedding(out, &weight, check_ints(ids, T), T);
    check_close("embedding", out, want, T * C, 0x1p-149, 0);
    check_release();
}

static void test_embedding(void **state)
{
    (void)state;
    static const fl_dtype dtypes[] = {FL_F32, FL_BF16, FL_F16};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t d = 0; d < CHECK_COUNT(dtypes); d++) {
            run_embedding(ops, dtypes[d], 1, 1);
            run_embedding(ops, dtypes[d], 23, 13);
            run_embedding(ops, dtypes[d], 7, 64);
        }
    }
}

static void run_gather(const fl_backend_ops *ops, int64_t C)
{
    enum { T = 40, N = 6 };
    static const int32_t rows[N] = {39, 0, 7, 8, 30, 12};
    const float *x = check_random(2, T * C), *add = check_random(3, N * C);
    double *want = check_host_double(N * C), *want_sum = check_widen(x, T * C);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t c = 0; c < C; c++) {
            want[n * C + c] = (double)x[rows[n] * C + c];
            float sum = x[rows[n] * C + c] + add[n * C + c];
            want_sum[rows[n] * C + c] = (double)sum;
        }
    }
    float *out = check_floats(N * C), *sum = check_copy(x, T * C);
    const int32_t *rows_in = check_ints(rows, N);
    ops->gather_rows(out, check_copy(x, T * C), rows_in, N, C);
    ops->scatter_add_rows(sum, check_copy(add, N * C), rows_in, N, C);
    check_close("gather_rows", out, want, N * C, 0x1p-149, 0);
    check_close("scatter_add_rows", sum, want_sum, T * C, 0x1p-149, 0);
    check_release();
}

static void test_gather_and_scatter(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        run_gather(ops, 1);
        run_gather(ops, 33);
    }
}

static void test_argmax(void **state)
{
    (void)state;
    enum { V = 77 };
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        float x[4 * V];
        for (int i = 0; i < 4 * V; i++)
            x[i] = (float)(i % 5);
        x[20] = x[60] = 9;                  // two largest: the first counts
        x[V + 76] = 9;                      // the last place
        for (int i = 2 * V; i < 3 * V; i++) // all equal
            x[i] = -INFINITY;
        x[3 * V + 40] = NAN; // passed over
        x[3 * V + 41] = 9;
        static const int32_t want[4] = {20, 76, 0, 41};
        int32_t got[4], *out = check_ints(NULL, 4);
        ops->argmax(out, check_copy(x, 4 * V), 4, V);
        ops->copy_out(got, out, sizeof got);
        assert_memory_equal(got, want, sizeof want);
        int32_t *one = check_ints(NULL, 1);
        ops->argmax(one, check_copy(x, 1), 1, 1);
        ops->copy_out(got, one, sizeof got[0]);
        assert_int_equal(got[0], 0);
        check_release();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_embedding), cmocka_unit_test(test_gather_and_scatter),
        cmocka_unit_test(test_argmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
