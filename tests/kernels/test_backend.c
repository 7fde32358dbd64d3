/* The registry, and how failures of ops come out. */
#include "check.h"

static void test_names(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    assert_ptr_equal(fl_backend_find("cpu"), &fl_backend_cpu);
    assert_null(fl_backend_find("abacus"));
    assert_int_equal(fl_backend_open(&ops, "abacus", 0), FL_ERR_USAGE);
    assert_non_null(strstr(fl_error_text(), "backend = \"abacus\": this build has"));
    assert_non_null(strstr(fl_error_text(), " cpu"));
    /* auto is what is there, and never the emulation */
    assert_int_equal(fl_backend_open(&ops, "auto", -1), FL_OK);
    const fl_backend_ops *cuda = fl_backend_find("cuda");
    assert_ptr_equal(ops, cuda && cuda->present() ? cuda : &fl_backend_cpu);
}

/* A backend that is in the build and has nothing to run on says so when it is opened. */
static void test_absent_device(void **state)
{
    (void)state;
    const fl_backend_ops *ops = fl_backend_find("cuda");
    if (!ops || ops->present()) skip();
    assert_int_equal(fl_backend_open(&ops, "cuda", -1), FL_OK); // a rank that runs no ops
    assert_int_equal(fl_backend_open(&ops, "cuda", 0), FL_ERR_UNSUPPORTED);
    assert_non_null(strstr(fl_error_text(), "cuda backend: no device: "));
    assert_null(strchr(fl_error_text(), '\n'));
}

static void test_compute_words(void **state)
{
    (void)state;
    assert_int_equal(fl_backend_set_compute(&fl_backend_cpu, "auto"), FL_OK);
    assert_int_equal(fl_backend_set_compute(&fl_backend_cpu, "float32"), FL_OK);
    assert_int_equal(fl_backend_set_compute(&fl_backend_cpu, "bfloat16"), FL_ERR_UNSUPPORTED);
}

/* The last test: a failure stays. */
static void test_failure_is_kept(void **state)
{
    (void)state;
    const fl_backend_ops *ops = fl_backend_find("cuda_emu");
    if (!ops) skip();
    assert_int_equal(ops->open(0), FL_OK);
    void *much = NULL; // no memory is the caller's failure, which may try with less
    assert_int_equal(ops->alloc(&much, SIZE_MAX / 2 + 1), FL_ERR_MEMORY);
    assert_non_null(strstr(fl_error_text(), "out of memory"));
    assert_int_equal(ops->status(), FL_OK);

    enum { D = 300, T = 2 };
    float *x = NULL, host[T * D];
    int32_t *cu = NULL, ends[] = {0, T};
    assert_int_equal(ops->alloc(&x, 4 * sizeof host), FL_OK);
    assert_int_equal(ops->alloc(&cu, sizeof ends), FL_OK);
    ops->copy_in(cu, ends, sizeof ends);
    fl_attn_shape shape = {.cu = cu, .S = 1, .T = T, .H = 1, .KV = 1, .D = D, .scale = 1};
    dense_attention_fwd(ops, x, x + T * D, x + 2 * T * D, x + 2 * T * D, x + 2 * T * D, &shape);
    for (int i = 0; i < 2; i++) { // also when asked again
        assert_int_equal(ops->status(), FL_ERR_UNSUPPORTED);
        assert_string_equal(fl_error_text(),
                            "cuda_emu backend: attention heads of more than 256 elements");
    }
    memset(host, 0x55, sizeof host); // nothing is computed or copied any more; the host gets zeros
    dense_add(ops, x, x, T * D);
    ops->copy_out(host, x, sizeof host);
    for (int i = 0; i < T * D; i++)
        assert_true(host[i] == 0);
    assert_int_equal(ops->status(), FL_ERR_UNSUPPORTED);
    ops->release(x);
    ops->release(cu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_absent_device),
        cmocka_unit_test(test_compute_words),
        cmocka_unit_test(test_failure_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
