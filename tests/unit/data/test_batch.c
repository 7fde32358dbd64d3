/* Packing: positions, offsets, loss rows, weights; and that it does not allocate. */
#include "data_test.h"

/* Four sequences of 4, 1, 3 and 2 tokens. */
static const int32_t ids[] = {1, 5, 6, 2, /**/ 1, /**/ 1, 7, 2, /**/ 1, 9};
static const int32_t labels[] = {-100, -100, 6, 2, /**/ 1, /**/ 1, -100, 2, /**/ -100, -100};
static const int64_t lengths[] = {4, 1, 3, 2};

static fl_examples *make_examples(void)
{
    fl_examples *examples;
    OK(fl_examples_from_ids(&examples, ids, labels, lengths, COUNT_OF(lengths)));
    return examples;
}

#define EXPECT_ARRAY(array, ...)                                   \
    assert_memory_equal((array), ((const int32_t[]){__VA_ARGS__}), \
                        sizeof((const int32_t[]){__VA_ARGS__}))

static void test_from_ids(void **state)
{
    (void)state;
    fl_examples *examples = make_examples();
    assert_int_equal(examples->count, 4);
    assert_int_equal(examples->num_tokens, 10);
    assert_int_equal(examples->num_targets, 3); // a first label is nobody's target
    assert_int_equal(examples->max_length, 4);
    assert_int_equal(fl_example_length(examples, 2), 3);
    fl_examples_destroy(examples);
    OK(fl_examples_from_ids(&examples, NULL, NULL, NULL, 0));
    assert_int_equal(examples->count, 0);
    fl_examples_destroy(examples);
    fl_examples_destroy(NULL);
}

static fl_status pack(fl_batch *batch, const fl_examples *examples, const uint32_t *indices,
                      size_t count)
{
    fl_batch_clear(batch);
    return fl_batch_add(batch, examples, indices, count);
}

static void test_pack(void **state)
{
    (void)state;
    fl_examples *examples = make_examples();
    fl_batch batch;
    OK(fl_batch_init(&batch, 3, 8));
    OK(pack(&batch, examples, (const uint32_t[]){2, 1, 0}, 3));
    assert_int_equal(batch.S, 3);
    assert_int_equal(batch.T, 8);
    assert_int_equal(batch.N, 3);
    EXPECT_ARRAY(batch.ids, 1, 7, 2, 1, 1, 5, 6, 2);
    EXPECT_ARRAY(batch.pos, 0, 1, 2, 0, 0, 1, 2, 3);
    EXPECT_ARRAY(batch.cu, 0, 3, 4, 8);
    EXPECT_ARRAY(batch.loss_rows, 1, 5, 6);
    EXPECT_ARRAY(batch.targets, 2, 6, 2);
    for (int64_t i = 0; i < batch.N; i++)
        assert_true(batch.weights[i] == 1.0f / 3.0f);
    fl_batch_fini(&batch);
    fl_examples_destroy(examples);
}

/* Nothing of the previous content is left, one example may come twice, N may be 0. */
static void test_again(void **state)
{
    (void)state;
    fl_examples *examples = make_examples();
    fl_batch batch;
    OK(fl_batch_init(&batch, 4, 12));
    OK(pack(&batch, examples, (const uint32_t[]){0, 2, 3, 1}, 4));
    OK(pack(&batch, examples, (const uint32_t[]){3, 3, 1}, 3));
    assert_int_equal(batch.S, 3);
    assert_int_equal(batch.T, 5);
    assert_int_equal(batch.N, 0);
    EXPECT_ARRAY(batch.cu, 0, 2, 4, 5);
    EXPECT_ARRAY(batch.pos, 0, 1, 0, 1, 0);
    OK(pack(&batch, examples, NULL, 0));
    assert_int_equal(batch.S + batch.T + batch.N, 0);
    OK(pack(&batch, examples, (const uint32_t[]){2}, 1));
    assert_true(batch.N == 1 && batch.weights[0] == 1.0f);
    fl_batch_fini(&batch);
    fl_examples_destroy(examples);
}

static void test_no_allocation(void **state)
{
    (void)state;
    fl_examples *examples = make_examples();
    fl_batch batch;
    OK(fl_batch_init(&batch, 4, 12));
    const uint64_t before = fl_alloc_count();
    for (int i = 0; i < 100; i++)
        OK(pack(&batch, examples, (const uint32_t[]){0, 1, 2, 3}, 4));
    assert_true(fl_alloc_count() == before);
    fl_batch_fini(&batch);
    fl_examples_destroy(examples);
}

static void test_limits(void **state)
{
    (void)state;
    fl_examples *examples = make_examples();
    fl_batch batch = {0};
    fl_batch_fini(&batch);
    FAILS(fl_batch_init(&batch, 0, 8), FL_ERR_USAGE, "0 sequences");
    FAILS(fl_batch_init(&batch, 1, (int64_t)1 << 31), FL_ERR_USAGE, "2147483648 tokens");
    OK(fl_batch_init(&batch, 2, 5));
    FAILS(pack(&batch, examples, (const uint32_t[]){1, 1, 1}, 3), FL_ERR_INTERNAL, "3 sequences");
    FAILS(pack(&batch, examples, (const uint32_t[]){0, 3}, 2), FL_ERR_INTERNAL, "example 3");
    OK(pack(&batch, examples, (const uint32_t[]){0, 1}, 2));
    fl_batch_fini(&batch);
    fl_examples_destroy(examples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_ids), cmocka_unit_test(test_pack),
        cmocka_unit_test(test_again),    cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
